package trace

import (
	"context"
	"log/slog"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/delta"
	graph "github.com/wherry-ml/wherry/store/trace"
)

// maxNodes bounds one answer.
const maxNodes = 2000

// Graph is an answer: the nodes in the order they were reached, the asked one
// first, and the edges between them.
type Graph struct {
	Nodes []*graph.Node `json:"nodes"`
	Edges []Edge        `json:"edges"`
	// Truncated says that the answer ends at its limit, and there is more.
	Truncated bool `json:"truncated"`
}

// Edge is an edge of a Graph.
type Edge struct {
	Src graph.Ref `json:"src"`
	Rel string    `json:"rel"`
	Dst graph.Ref `json:"dst"`
}

// Back returns all that a node came of; Forward all that came of it.
func (s *Service) Back(ctx context.Context, ws int64, from graph.Ref) (*Graph, error) {
	return s.walk(ctx, ws, from, true)
}

// Forward returns all that came of a node. A commit may be given by the first
// digits of its sha.
func (s *Service) Forward(ctx context.Context, ws int64, from graph.Ref) (*Graph, error) {
	return s.walk(ctx, ws, from, false)
}

func (s *Service) walk(ctx context.Context, ws int64, from graph.Ref, backwards bool) (*Graph, error) {
	if from.Kind == graph.Commit {
		found, err := s.store.Find(ctx, ws, from.Kind, from.Key)
		if err != nil {
			return nil, err
		}
		switch len(found) {
		case 0:
			return nil, wherry.Errorf(wherry.CodeDoesNotExist, "nothing is known of commit %s: no deployment, push or workflow run named it", from.Key)
		case 1:
			from = found[0]
		default:
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%s begins the sha of several commits: give more digits", from.Key)
		}
	}
	nodes, edges, more, err := s.store.Walk(ctx, ws, from, backwards, maxNodes)
	if err != nil {
		return nil, err
	}
	g := &Graph{Nodes: nodes, Edges: make([]Edge, len(edges)), Truncated: more}
	for i, e := range edges {
		g.Edges[i] = Edge{e.Src, e.Rel, e.Dst}
	}
	return g, nil
}

// Origin is a commit of a table that may have written a file's rows.
type Origin struct {
	graph.Ref        // a table version
	Version   int64  `json:"version"`
	Operation string `json:"operation"`
	RunID     int64  `json:"run_id"` // the task run that wrote it, 0 for an unknown writer
}

// Origins finds the commits that wrote the rows of a file of a table; exact is
// false if the file was rewritten and there are several candidates. file is a
// path or URI that ends in the file's path within the table.
func (s *Service) Origins(ctx context.Context, table, file string) (origins []Origin, exact bool, err error) {
	t, err := s.Table(ctx, table)
	if err != nil {
		return nil, false, err
	}
	if t.Files == nil {
		return nil, false, wherry.Errorf(wherry.CodeInvalidState, "the files of %s are at %s, not on this machine: their log cannot be read", t.Name, t.Location)
	}
	_, inside, ok := strings.Cut(file, t.Location[strings.LastIndex(t.Location, "/")+1:]+"/")
	if !ok {
		inside = file
	}
	commits, exact, err := delta.Origins(t.Files, inside)
	if err != nil {
		return nil, false, err
	}
	for _, c := range commits {
		origins = append(origins, Origin{
			Ref:     graph.Ref{Kind: graph.TableVersion, Key: versionKey(t.ID, c.Version)},
			Version: c.Version, Operation: c.Operation, RunID: c.RunID,
		})
	}
	return origins, exact, nil
}

// History is what is known of a table: some of its versions, the newest first,
// and the task runs that read it last.
type History struct {
	Versions []graph.Version
	Readers  []*graph.Node
}

// History reads what is new in a table's log and returns its versions below a
// number, at most limit, and as many of its readers.
func (s *Service) History(ctx context.Context, ws int64, table string, below int64, limit int) (h History, err error) {
	t, err := s.Table(ctx, table)
	if err != nil {
		return h, err
	}
	if err := s.refresh(ctx, t); err != nil {
		return h, err
	}
	if h.Versions, err = s.store.Versions(ctx, ws, t.ID, below, limit); err != nil {
		return h, err
	}
	h.Readers, err = s.store.Readers(ctx, ws, t.ID, limit)
	return h, err
}

func (s *Service) refresh(ctx context.Context, t Table) error {
	s.passing.Lock()
	defer s.passing.Unlock()
	if t.Files != nil {
		if err := s.readLog(ctx, t); err != nil {
			slog.Warn("trace: the log of a table could not be read", "table", t.Name, "err", err)
		}
	}
	_, err := s.project(ctx)
	return err
}

// Table returns a table of the catalog by its full name.
func (s *Service) Table(ctx context.Context, name string) (Table, error) {
	tables, err := s.catalog(ctx)
	if err != nil {
		return Table{}, err
	}
	for _, t := range tables {
		if strings.EqualFold(t.Name, name) {
			return t, nil
		}
	}
	return Table{}, wherry.Errorf(wherry.CodeDoesNotExist, "there is no table %s", name)
}

// Tree is a node with what lies behind it, for printing: a node that was
// reached before is named but not opened again.
type Tree struct {
	*graph.Node
	Rel      string  `json:"rel,omitempty"` // how it is tied to its parent
	Children []*Tree `json:"children,omitempty"`
}

// AsTree lays a graph out from its first node, along the edges in the given
// direction.
func (g *Graph) AsTree(backwards bool) *Tree {
	if len(g.Nodes) == 0 {
		return nil
	}
	byRef := map[graph.Ref]*graph.Node{}
	for _, n := range g.Nodes {
		byRef[n.Ref] = n
	}
	next := map[graph.Ref][]Edge{}
	for _, e := range g.Edges {
		if backwards {
			next[e.Dst] = append(next[e.Dst], e)
		} else {
			next[e.Src] = append(next[e.Src], e)
		}
	}
	opened := map[graph.Ref]bool{}
	var grow func(graph.Ref, string) *Tree
	grow = func(at graph.Ref, rel string) *Tree {
		t := &Tree{Node: byRef[at], Rel: rel}
		if t.Node == nil || opened[at] {
			return t
		}
		opened[at] = true
		for _, e := range next[at] {
			other := e.Dst
			if backwards {
				other = e.Src
			}
			if byRef[other] != nil {
				t.Children = append(t.Children, grow(other, e.Rel))
			}
		}
		return t
	}
	return grow(g.Nodes[0].Ref, "")
}
