package ui

import (
	"context"
	"fmt"
	"net/url"

	graph "github.com/wherry-ml/wherry/store/trace"
)

// traceGraph is what is around a thing, laid out from what it came of to what
// came of it.
type traceGraph struct {
	Width, Height int
	Nodes         []traceNode
	Edges         []traceEdge
	More          bool // there is more than it shows
	Shapes        []traceShape
}

type traceNode struct {
	spot
	node
	Shape string
	Here  bool
	Walk  string // to the graph around it
}

type traceEdge struct {
	dagEdge
	Rel  string
	Back bool // against the others' direction
	Far  bool // past other nodes
}

// traceShape is a family of kinds: nodes of one have one shape.
type traceShape struct{ Shape, Word string }

// families are the shapes in the order of the legend.
var families = []traceShape{
	{"source", "source"}, {"ci", "workflow"}, {"person", "approval"}, {"deploy", "deployment"}, {"run", "run"}, {"data", "table"}, {"model", "model"}, {"note", "other"},
}

// shapeOf is the shape of a kind.
func shapeOf(kind string) string {
	switch kind {
	case graph.Commit, graph.RefEvent:
		return "source"
	case graph.WorkflowRun, graph.CIJob, graph.TestResults, graph.Artifact:
		return "ci"
	case graph.Approval:
		return "person"
	case graph.Deployment, graph.InfraApply, graph.Verification, graph.Drift:
		return "deploy"
	case graph.JobRun, graph.TaskRun:
		return "run"
	case graph.TableVersion:
		return "data"
	case graph.MLflowRun, graph.ModelVersion, graph.AliasChange:
		return "model"
	default:
		return "note"
	}
}

// testedBy leads from tests back to the commit that they came of.
const testedBy = "tested_by"

// maxAround is how many nodes a graph shows on each side of its middle, the
// nearest ones.
const maxAround = 24

// around lays out what is near a node. Its nodes lead to the graphs around them.
func (s *Service) around(ctx context.Context, from graph.Ref, forward bool) (g traceGraph, err error) {
	nodes, edges, more, err := s.cfg.Graph.Walk(ctx, graph.Account, from, true, maxAround)
	if err != nil {
		return g, err
	}
	after, others, further, err := s.cfg.Graph.Walk(ctx, graph.Account, from, false, maxAround)
	if err != nil {
		return g, err
	}
	g.More = more || further
	name := func(r graph.Ref) string { return r.Kind + " " + r.Key }
	found, needs := map[string]*graph.Node{}, map[string][]string{}
	var keys []string
	for _, n := range append(nodes, after...) {
		if key := name(n.Ref); found[key] == nil {
			found[key] = n
			keys = append(keys, key)
		}
	}
	for _, e := range append(edges, others...) {
		if e.Rel != testedBy {
			needs[name(e.Dst)] = append(needs[name(e.Dst)], name(e.Src))
		}
	}
	at, width, height := layered(keys, needs)
	g.Width, g.Height = width, height
	for _, key := range keys {
		n := found[key]
		v := traceNode{spot: at[key], node: viewNode(n), Shape: shapeOf(n.Kind), Here: n.Ref == from, Walk: traceLink(n.Kind, n.Key)}
		if forward {
			v.Walk += "&direction=" + url.QueryEscape("forward")
		}
		g.Nodes = append(g.Nodes, v)
	}
	g.join(append(edges, others...), at, name)
	return g, nil
}

// join adds the edges between nodes that are shown, and the legend.
func (g *traceGraph) join(edges []graph.Edge, at map[string]spot, name func(graph.Ref) string) {
	seen := map[graph.Edge]bool{}
	for _, e := range edges {
		src, ok := at[name(e.Src)]
		dst, both := at[name(e.Dst)]
		plain := graph.Edge{Src: e.Src, Dst: e.Dst, Rel: e.Rel}
		if ok && both && !seen[plain] {
			seen[plain] = true
			line := traceEdge{curve(src, dst, ""), e.Rel, dst.X <= src.X, dst.X-src.X > nodeWidth+gapX}
			if line.Back {
				line.Path = below(src, dst)
				g.Height = max(g.Height, max(src.Y, dst.Y)+nodeHeight+bow)
			}
			g.Edges = append(g.Edges, line)
		}
	}
	shown := map[string]bool{}
	for _, n := range g.Nodes {
		shown[n.Shape] = true
	}
	for _, f := range families {
		if shown[f.Shape] {
			g.Shapes = append(g.Shapes, f)
		}
	}
}

// bow is how deep a line hangs that leads back, in pixels.
const bow = 30

// below leads from the lower side of a node to that of another, left of it.
func below(from, to spot) string {
	x1, y1, x2, y2 := from.X+nodeWidth/2, from.Y+nodeHeight, to.X+nodeWidth/2, to.Y+nodeHeight+7
	return fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1, y1+bow, x2, y2+bow, x2, y2)
}
