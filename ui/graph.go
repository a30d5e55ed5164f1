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
	X, Y int
}

type dagEdge struct {
	Path, Outcome string // Outcome is the branch of a condition, "" for none
	X, Y          int    // of the outcome's text
}

// layDAG puts each task right of all it depends on, near the middle of them.
func layDAG(run *wherry.Run, tasks []taskRow) dag {
	depth, place := map[string]int{}, map[string]float64{}
	byKey := map[string]*wherry.Task{}
	for i := range run.Settings.Tasks {
		byKey[run.Settings.Tasks[i].Key] = &run.Settings.Tasks[i]
	}
	var deep func(key string) int
	deep = func(key string) int {
		if d, ok := depth[key]; ok || byKey[key] == nil {
			return d
		}
		depth[key] = 0 // also ends a cycle, which valid settings do not have
		d := 0
		for _, on := range byKey[key].DependsOn {
			if byKey[on.TaskKey] != nil {
				d = max(d, deep(on.TaskKey)+1)
			}
		}
		depth[key] = d
		return d
	}
	var layers [][]taskRow
	for _, t := range tasks {
		for d := deep(t.Key); len(layers) <= d; {
			layers = append(layers, nil)
		}
		layers[depth[t.Key]] = append(layers[depth[t.Key]], t)
	}
	var g dag
	tallest := 0
	for _, layer := range layers {
		tallest = max(tallest, len(layer))
	}
	at := map[string]dagNode{}
	for x, layer := range layers {
		slices.SortStableFunc(layer, func(a, b taskRow) int { return cmp.Compare(wish(a, place), wish(b, place)) })
		top := float64(tallest-len(layer)) / 2
		for y, t := range layer {
			place[t.Key] = top + float64(y)
			n := dagNode{t, 4 + x*(nodeWidth+gapX), 4 + int((top+float64(y))*(nodeHeight+gapY))}
			at[t.Key] = n
			g.Nodes = append(g.Nodes, n)
		}
	}
	for _, n := range g.Nodes {
		for _, on := range n.Task.DependsOn {
			if from, ok := at[on.TaskKey]; ok {
				g.Edges = append(g.Edges, curve(from, n, on.Outcome))
			}
		}
	}
	g.Width = 8 + len(layers)*(nodeWidth+gapX) - gapX
	g.Height = 8 + tallest*(nodeHeight+gapY) - gapY
	return g
}

// wish is the mean place of what a task depends on.
func wish(t taskRow, place map[string]float64) float64 {
	if len(t.Task.DependsOn) == 0 {
		return 0
	}
	sum := 0.0
	for _, on := range t.Task.DependsOn {
		sum += place[on.TaskKey]
	}
	return sum / float64(len(t.Task.DependsOn))
}

func curve(from, to dagNode, outcome string) dagEdge {
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
