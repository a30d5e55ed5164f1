package main

import (
	"context"
	"fmt"
	"time"

	"github.com/wherry-ml/wherry/store"
	graph "github.com/wherry-ml/wherry/store/trace"
)

// chains and links make a million nodes: chains of a commit and what came of it.
const (
	chains = 10_000
	links  = 100
)

// traceQuery measures a walk back from the end of a chain in a graph of a
// million nodes.
func (b *bench) traceQuery(ctx context.Context) error {
	db, err := store.Open(ctx, "sqlite://"+b.dir+"/trace.db")
	if err != nil {
		return err
	}
	defer db.Close()
	ref := func(chain, link int) graph.Ref {
		kind := []string{graph.Commit, graph.Deployment, graph.JobRun, graph.TaskRun, graph.TableVersion}[link%5]
		return graph.Ref{Kind: kind, Key: fmt.Sprintf("%05d/%03d", chain, link)}
	}
	for from := 0; from < chains; from += 100 {
		err := db.Write(ctx, func(tx *store.Tx) error {
			for n := range 100 * links {
				chain, link := from+n/links, n%links
				if err := graph.AddNode(tx, 1, graph.Node{Ref: ref(chain, link), Payload: []byte(`{}`)}); err != nil {
					return err
				}
				if link == 0 {
					continue
				}
				if err := graph.PutEdge(tx, 1, graph.Edge{Src: ref(chain, link-1), Dst: ref(chain, link), Rel: "ran_as"}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	s := graph.New(db)
	var took []float64
	for i := range 50 {
		at := time.Now()
		nodes, _, _, err := s.Walk(ctx, 1, ref(i*197%chains, links-1), true, 2000)
		if err != nil {
			return err
		}
		if len(nodes) != links {
			return fmt.Errorf("the walk found %d nodes, not %d", len(nodes), links)
		}
		took = append(took, milliseconds(time.Since(at)))
	}
	b.print("trace of 100 steps back, among 1,000,000 nodes", "ms", 50, took...)
	return nil
}
