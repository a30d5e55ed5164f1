package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/catalog"
	graph "github.com/wherry-ml/wherry/store/trace"
)

// chains and links make a million nodes: chains of what came of a commit, where
// each link came of a thing beside the chain too. deltaTables, each with
// deltaCommits, are what a question reads the logs of before it is answered.
const (
	chains       = 10_000
	links        = 50
	deltaTables  = 50
	deltaCommits = 20
)

// traceQuery measures the question what the end of a chain came of, as a client
// asks it, in a graph of a million nodes.
func (b *bench) traceQuery(ctx context.Context) error {
	dir := b.state("trace")
	if err := b.fillTrace(ctx, dir); err != nil {
		return err
	}
	c, err := b.connected(ctx, dir)
	if err != nil {
		return err
	}
	var out struct{ Nodes, Edges []json.RawMessage }
	i := 0
	ask := func() error {
		end := link(i*197%chains, links-1)
		i++
		if err := c.Do(ctx, "GET", "/api/wherry/trace?kind="+end.Kind+"&id="+url.QueryEscape(end.Key), nil, &out); err != nil {
			return err
		}
		if nodes, edges := 2*links, 3*links-2; len(out.Nodes) != nodes || len(out.Edges) != edges {
			return fmt.Errorf("the trace has %d nodes and %d edges, not %d and %d", len(out.Nodes), len(out.Edges), nodes, edges)
		}
		return nil
	}
	first, err := sample(1, ask) // it reads all logs for the first time
	if err != nil {
		return err
	}
	b.print(fmt.Sprintf("the first trace of a server, which reads %d commits of %d tables", deltaTables*deltaCommits, deltaTables), "ms", 0, first...)
	took, err := sample(50, ask)
	if err != nil {
		return err
	}
	b.print(fmt.Sprintf("GET trace: %d nodes and %d edges, %d steps back among 1,000,000 nodes, with the logs of %d tables looked at", 2*links, 3*links-2, links, deltaTables), "ms", 50, took...)
	return nil
}

func link(chain, at int) graph.Ref {
	kind := []string{graph.Commit, graph.Deployment, graph.JobRun, graph.TaskRun, graph.ModelVersion}[at%5]
	return graph.Ref{Kind: kind, Key: fmt.Sprintf("%05d/%03d", chain, at)}
}

// fillTrace makes the graph and the tables in the database of a server that is
// yet to start.
func (b *bench) fillTrace(ctx context.Context, dir state.Dir) error {
	if err := dir.Create(); err != nil {
		return err
	}
	db, err := store.Open(ctx, "sqlite://"+dir.Path("wherry.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	if err := makeTables(ctx, dir, catalog.New(db)); err != nil {
		return err
	}
	const together = 50
	for from := 0; from < chains; from += together {
		err := db.Write(ctx, func(tx *store.Tx) error {
			for n := range together * links {
				if err := addLink(tx, from+n/links, n%links); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// addLink adds a link of a chain and a thing beside it, from which the next link
// came too.
func addLink(tx *store.Tx, chain, at int) error {
	here, beside := link(chain, at), graph.Ref{Kind: graph.TestResults, Key: fmt.Sprintf("%05d/%03d", chain, at)}
	payload, err := json.Marshal(map[string]any{
		"run_id": chain, "attempt": 1, "repo": "bench", "ref": "refs/heads/main", "title": "A change that somebody made", "author": "Ada Lovelace <ada@example.com>",
		"steps": []string{strings.Repeat("a step of it, ", 10), strings.Repeat("another one, ", 10)}, "result": "success",
	})
	if err != nil {
		return err
	}
	for _, ref := range []graph.Ref{here, beside} {
		if err := graph.PutNode(tx, graph.Account, graph.Node{Ref: ref, Digest: ref.Key, Actor: "ada", At: time.UnixMilli(int64(at)), Payload: payload}); err != nil {
			return err
		}
	}
	edges := []graph.Edge{{Src: beside, Dst: here, Rel: "tested_by"}}
	if at > 0 {
		edges = append(edges, graph.Edge{Src: link(chain, at-1), Dst: here, Rel: "ran_as"})
		edges = append(edges, graph.Edge{Src: graph.Ref{Kind: beside.Kind, Key: fmt.Sprintf("%05d/%03d", chain, at-1)}, Dst: here, Rel: "proved"})
	}
	for _, e := range edges {
		if err := graph.PutEdge(tx, graph.Account, e); err != nil {
			return err
		}
	}
	return nil
}

// makeTables makes managed Delta tables with their logs.
func makeTables(ctx context.Context, dir state.Dir, catalogs *catalog.Store) error {
	const actor = "admin@localhost"
	if err := catalogs.Bootstrap(ctx, actor); err != nil {
		return err
	}
	if _, err := catalogs.Create(ctx, catalog.DefaultCatalog, wherry.Securable{Kind: wherry.SecurableSchema, Name: "bench"}, actor); err != nil {
		return err
	}
	for n := range deltaTables {
		t, err := catalogs.Create(ctx, catalog.DefaultCatalog+".bench", wherry.Securable{Kind: wherry.SecurableTable, Name: fmt.Sprintf("t%d", n), TableType: wherry.Managed}, actor)
		if err != nil {
			return err
		}
		log := filepath.Join(dir.Managed(), "tables", t.ID, "_delta_log")
		if err := os.MkdirAll(log, 0o755); err != nil {
			return err
		}
		for v := range deltaCommits {
			text := fmt.Sprintf("{\"commitInfo\":{\"timestamp\":5,\"operation\":\"WRITE\"}}\n{\"add\":{\"path\":\"f%d.parquet\",\"dataChange\":true}}\n", v)
			if err := os.WriteFile(filepath.Join(log, fmt.Sprintf("%020d.json", v)), []byte(text), 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}
