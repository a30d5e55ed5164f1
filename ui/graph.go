package ui

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/wherry-ml/wherry"
)

// Sizes of the graph, in pixels.
const (
	nodeWidth  = 172
	nodeHeight = 58
	gapX       = 34
	gapY       = 18
)

// dag is the tasks of a run laid out from left to right.
type dag struct {
	Width, Height int
	Nodes         []dagNode
	Edges         []dagEdge
}

type dagNode struct {
	taskRow
	spot
}

type dagEdge struct {
	Path, Outcome string // Outcome is the branch of a condition, "" for none
	X, Y          int    // of the outcome's text
}

// layDAG lays the tasks of a run out.
func layDAG(run *wherry.Run, tasks []taskRow) dag {
	needs := map[string][]string{}
	for _, t := range run.Settings.Tasks {
		for _, on := range t.DependsOn {
			needs[t.Key] = append(needs[t.Key], on.TaskKey)
		}
	}
	keys := make([]string, len(tasks))
	for i, t := range tasks {
		keys[i] = t.Key
	}
	at, width, height := layered(keys, needs)
	g := dag{Width: width, Height: height}
	for _, t := range tasks {
		g.Nodes = append(g.Nodes, dagNode{t, at[t.Key]})
	}
	for _, n := range g.Nodes {
		for _, on := range n.Task.DependsOn {
			if from, ok := at[on.TaskKey]; ok {
				g.Edges = append(g.Edges, curve(from, n.spot, on.Outcome))
			}
		}
	}
	return g
}

// spot is where a node's upper left corner is.
type spot struct{ X, Y int }

// layered puts each key right of all it needs, near the middle of them, and
// tells how large the whole is. What is needed and no key is left out.
func layered(keys []string, needs map[string][]string) (at map[string]spot, width, height int) {
	known, depth := map[string]bool{}, map[string]int{}
	for _, key := range keys {
		known[key] = true
	}
	var deep func(key string) int
	deep = func(key string) int {
		if d, ok := depth[key]; ok {
			return d
		}
		depth[key] = 0 // also ends a cycle
		d := 0
		for _, on := range needs[key] {
			if known[on] {
				d = max(d, deep(on)+1)
			}
		}
		depth[key] = d
		return d
	}
	var layers [][]string
	for _, key := range keys {
		for d := deep(key); len(layers) <= d; {
			layers = append(layers, nil)
		}
		layers[depth[key]] = append(layers[depth[key]], key)
	}
	tallest := 0
	for _, layer := range layers {
		tallest = max(tallest, len(layer))
	}
	at, place := map[string]spot{}, map[string]float64{}
	for x, layer := range layers {
		slices.SortStableFunc(layer, func(a, b string) int { return cmp.Compare(wish(needs[a], place), wish(needs[b], place)) })
		top := float64(tallest-len(layer)) / 2
		for y, key := range layer {
			place[key] = top + float64(y)
			at[key] = spot{4 + x*(nodeWidth+gapX), 4 + int(place[key]*(nodeHeight+gapY))}
		}
	}
	return at, 8 + len(layers)*(nodeWidth+gapX) - gapX, 8 + tallest*(nodeHeight+gapY) - gapY
}

// wish is the mean place of what a node needs.
func wish(needs []string, place map[string]float64) float64 {
	if len(needs) == 0 {
		return 0
	}
	sum := 0.0
	for _, on := range needs {
		sum += place[on]
	}
	return sum / float64(len(needs))
}

// curve leads from the right side of one node to the left side of another.
func curve(from, to spot, outcome string) dagEdge {
	x1, y1, x2, y2 := from.X+nodeWidth, from.Y+nodeHeight/2, to.X, to.Y+nodeHeight/2
	bend := gapX / 2
	e := dagEdge{
		Path:    fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1+bend, y1, x2-bend, y2, x2-7, y2),
		Outcome: outcome, X: x2 - gapX/2 - 1, Y: y2 - 8,
	}
	if y2 > y1 { // the line comes from above: the text goes below
		e.Y = y2 + 17
	}
	return e
}

// gantt is the attempts of a run along its time.
type gantt struct {
	Rows []ganttRow
	// Total is the time that the whole width stands for, in milliseconds.
	Total int64
}

type ganttRow struct {
	*wherry.TaskRun
	Path  string
	Parts []ganttPart
}

// ganttPart is a bar; X and Width are per cent of the whole.
type ganttPart struct {
	Kind, Title string
	X, Width    string
}

// layGantt splits each attempt into waiting, set-up and execution.
func layGantt(run *wherry.Run, tasks []taskRow, now time.Time) gantt {
	start, end := run.StartTime, run.EndTime
	if start == 0 {
		return gantt{}
	}
	if end == 0 {
		end = now.UnixMilli()
	}
	for _, t := range tasks {
		end = max(end, t.EndTime)
	}
	g := gantt{Total: max(1, end-start)}
	for _, t := range tasks {
		for _, a := range append(slices.Clone(t.Attempts), t.TaskRun) {
			if a.StartTime == 0 {
				continue
			}
			row := ganttRow{TaskRun: a, Path: taskPath(run, a)}
			stop := a.EndTime
			if stop == 0 {
				stop = end
			}
			part := func(kind, title string, from, to int64) {
				from, to = max(from, start), min(to, end)
				if to < from {
					return
				}
				row.Parts = append(row.Parts, ganttPart{kind, fmt.Sprintf("%s: %s", title, duration(to-from)), percent(from-start, g.Total), percent(max(to-from, g.Total/400), g.Total)})
			}
			setup := a.StartTime + a.SetupMillis
			if a.State == wherry.Pending {
				setup = stop
			}
			part("setup", "set-up", a.StartTime, min(setup, stop))
			if setup < stop || a.SetupMillis == 0 {
				part(viewState(a.Standing).Kind, "execution", setup, stop)
			}
			g.Rows = append(g.Rows, row)
		}
	}
	return g
}

func percent(part, whole int64) string {
	return fmt.Sprintf("%.2f%%", 100*float64(part)/float64(whole))
}
