package ui

import (
	"cmp"
	"context"
	"encoding/json"
	"html/template"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/cicd"
	"github.com/wherry-ml/wherry/notebook"
	graph "github.com/wherry-ml/wherry/store/trace"
	"github.com/wherry-ml/wherry/workflow"
)

// ciDAG is the jobs of a workflow laid out by their needs.
type ciDAG struct {
	Width, Height int
	Nodes         []ciNode
	Edges         []dagEdge
}

// ciNode is a job, or one that does not exist yet because it waits for others.
type ciNode struct {
	spot
	Name  string
	ID    int64 // 0 for one that does not exist
	View  stateView
	Start int64
	End   int64
}

// layCI lays the jobs of a run out, each combination of a matrix by itself.
func layCI(shown *cicd.Shown) (g ciDAG) {
	var keys []string
	nodes, of, needs := map[string]ciNode{}, map[string][]string{}, map[string][]string{}
	for _, p := range shown.Plan {
		for _, j := range shown.Run.Jobs {
			if j.Key == p.Key {
				nodes[j.Leg()] = ciNode{Name: j.Name, ID: j.ID, View: viewCI(j.State, j.Conclusion), Start: j.StartedAt, End: j.EndedAt}
				of[p.Key] = append(of[p.Key], j.Leg())
			}
		}
		if of[p.Key] == nil && shown.State != workflow.Completed {
			nodes[p.Key] = ciNode{Name: p.Name, View: stateView{"waiting", "Waits for others"}}
			of[p.Key] = []string{p.Key}
		}
		keys = append(keys, of[p.Key]...)
	}
	for _, p := range shown.Plan {
		for _, name := range of[p.Key] {
			for _, need := range p.Needs {
				needs[name] = append(needs[name], of[need]...)
			}
		}
	}
	at, width, height := layered(keys, needs)
	g.Width, g.Height = width, height
	for _, key := range keys {
		n := nodes[key]
		n.spot = at[key]
		g.Nodes = append(g.Nodes, n)
		for _, need := range needs[key] {
			g.Edges = append(g.Edges, curve(at[need], n.spot, ""))
		}
	}
	return g
}

// ciJob is a job with the ends of its steps' output.
type ciJob struct {
	*workflow.Job
	Before template.HTML // what it wrote before its first step
	Steps  []stepView
}

// Open says that the reader wants to see the job: it runs, or it failed.
func (j ciJob) Open() bool {
	return j.State == workflow.Running || j.State == workflow.Completed && j.Conclusion != workflow.Success && j.Conclusion != workflow.Skipped
}

// HasLog says that there is output to read.
func (j ciJob) HasLog() bool {
	return j.State == workflow.Running || j.State == workflow.Completed && j.Conclusion != workflow.Skipped && j.TaskRun != 0
}

type stepView struct {
	workflow.Step
	Log template.HTML
}

// Open says that the reader wants to see the step.
func (s stepView) Open() bool {
	return s.Log != "" && (s.State == workflow.Running || s.Conclusion == workflow.Failure)
}

// Bounds of what a page shows of the output of jobs, in bytes: of one step, and
// of all. The rest is behind a link.
const (
	maxStep = 16 << 10
	maxTail = 64 << 10
)

// ciJobs reads the output of the jobs: of those that failed or run first, for
// there is a bound to all of it.
func (s *Service) ciJobs(run *workflow.Run) []*ciJob {
	views := make([]*ciJob, len(run.Jobs))
	for i, j := range run.Jobs {
		views[i] = &ciJob{Job: j}
	}
	rank := map[bool]int{true: 0, false: 1}
	first := slices.Clone(views)
	slices.SortStableFunc(first, func(a, b *ciJob) int { return cmp.Compare(rank[a.Open()], rank[b.Open()]) })
	left := int64(maxTail)
	for _, v := range first {
		left = s.readSteps(v, left)
	}
	return views
}

// readSteps reads the ends of a job's steps' output, at most left bytes, and
// returns how many may still be read.
func (s *Service) readSteps(v *ciJob, left int64) int64 {
	for _, step := range v.Job.Steps {
		v.Steps = append(v.Steps, stepView{Step: step})
	}
	if !v.HasLog() {
		return left
	}
	f, err := s.cfg.Workflows.Log(v.Job)
	if err != nil {
		return left // nothing was written yet
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return left
	}
	if len(v.Steps) == 0 {
		v.Before, left = tail(f, 0, info.Size(), left)
		return left
	}
	order := make([]int, len(v.Steps))
	for i := range order {
		order[i] = i
	}
	wanted := func(i int) int { // what failed or runs comes first
		st := v.Steps[i]
		if st.State == workflow.Running || st.Conclusion == workflow.Failure {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(wanted(a), wanted(b)) })
	for _, i := range order {
		st := &v.Steps[i]
		end := st.End
		if st.State != workflow.Completed {
			end = info.Size()
		}
		st.Log, left = tail(f, st.Offset, min(end, info.Size()), left)
	}
	v.Before, left = tail(f, 0, v.Steps[0].Offset, left)
	return left
}

// tail reads the end of a part of a file as HTML, at most left bytes.
func tail(f *os.File, from, end, left int64) (template.HTML, int64) {
	n := min(end-from, maxStep, left)
	if n <= 0 {
		return "", left
	}
	b, err := io.ReadAll(io.NewSectionReader(f, end-n, n))
	if err != nil {
		return "", left
	}
	text := strings.ToValidUTF8(string(b), "\uFFFD")
	if n < end-from {
		if _, rest, ok := strings.Cut(text, "\n"); ok {
			text = rest
		}
		text = "…\n" + text
	}
	return ciLog(text), left - n
}

// ciLog shows the output of a step: what it grouped as a part that opens, its
// warnings and errors as such.
func ciLog(text string) template.HTML {
	var b, plain strings.Builder
	flush := func() {
		if plain.Len() > 0 {
			b.WriteString("<pre>" + string(ansi(plain.String())) + "</pre>")
			plain.Reset()
		}
	}
	grouped := false
	for line := range strings.Lines(text) {
		name, rest, ok := logCommand(line)
		switch {
		case !ok:
			plain.WriteString(line)
		case name == "group":
			flush()
			if grouped {
				b.WriteString("</details>")
			}
			grouped = true
			b.WriteString("<details><summary>" + string(ansi(rest)) + "</summary>")
		case name == "endgroup":
			flush()
			if grouped {
				b.WriteString("</details>")
			}
			grouped = false
		default:
			flush()
			b.WriteString(`<pre class="say-` + name + `"><b>` + name + `</b> ` + string(ansi(rest)) + "</pre>")
		}
	}
	flush()
	if grouped {
		b.WriteString("</details>")
	}
	return template.HTML(b.String())
}

// logCommand reads a line that GitHub shows in another way: ::group::NAME, or
// ##[group]NAME.
func logCommand(line string) (name, rest string, ok bool) {
	line = strings.TrimRight(line, "\r\n")
	if after, found := strings.CutPrefix(line, "##["); found {
		name, rest, ok = strings.Cut(after, "]")
	} else if after, found := strings.CutPrefix(line, "::"); found {
		name, rest, ok = strings.Cut(after, "::")
		name, _, _ = strings.Cut(name, " ") // file=…,line=…
	}
	return name, rest, ok && slices.Contains([]string{"group", "endgroup", "error", "warning", "notice", "debug"}, name)
}

// jobSummary is what the steps of a job wrote for people, as HTML.
type jobSummary struct {
	Job  string
	HTML template.HTML
	Cut  bool
}

// maxSummaries bounds what a page shows of the summaries of all jobs, in bytes
// of Markdown.
const maxSummaries = 64 << 10

func summaries(run *workflow.Run) (list []jobSummary) {
	left := maxSummaries
	for _, j := range run.Jobs {
		var b strings.Builder
		for _, s := range j.Steps {
			if s.Summary != "" {
				b.WriteString(s.Summary + "\n")
			}
		}
		if text := b.String(); text != "" {
			n := min(len(text), left)
			list = append(list, jobSummary{j.Name, template.HTML(notebook.RenderMarkdown(strings.ToValidUTF8(text[:n], ""))), n < len(text)})
			left -= n
		}
	}
	return list
}

// jobTests are the test results that a job uploaded.
type jobTests struct {
	Job    string
	Suites []struct {
		Name                             string
		Tests, Failures, Errors, Skipped int
		Seconds                          float64
	}
	Failed []string
}

// View is what the tests come to, by shape and word.
func (t jobTests) View() stateView {
	for _, s := range t.Suites {
		if s.Failures+s.Errors > 0 {
			return stateView{"failed", "Failed"}
		}
	}
	return stateView{"ok", "Succeeded"}
}

// testsOf reads the test results of a run's jobs, as the trace has them.
func (s *Service) testsOf(ctx context.Context, shown *cicd.Shown) (list []jobTests, err error) {
	for _, j := range shown.Run.Jobs {
		n, err := s.cfg.Graph.Node(ctx, graph.Account, graph.Ref{Kind: graph.TestResults, Key: shown.TraceKey() + "/" + j.Leg()})
		if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
			continue
		}
		if err != nil {
			return nil, err
		}
		var t jobTests
		if json.Unmarshal(n.Payload, &t) == nil && len(t.Suites) > 0 {
			t.Job = j.Name
			list = append(list, t)
		}
	}
	return list, nil
}
