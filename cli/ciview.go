package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/wherry-ml/wherry/workflow"
	"github.com/wherry-ml/wherry/workflow/local"
)

// ciView shows a run as it goes: jobs, their steps with their output below, and
// how each ended.
type ciView struct {
	out    io.Writer
	silent bool // JSON comes at the end
	last   *workflow.Job
	begun  map[*workflow.Job]int // the last step that was said to have begun
	ended  map[*workflow.Job]int // and to have ended
}

func newCIView(out io.Writer, format string) *ciView {
	return &ciView{out: out, silent: format == "json", begun: map[*workflow.Job]int{}, ended: map[*workflow.Job]int{}}
}

func (v *ciView) print(format string, args ...any) {
	if !v.silent {
		fmt.Fprintf(v.out, format+"\n", args...)
	}
}

func (v *ciView) begin(w *workflow.Workflow, e workflow.Event, tree *local.Tree) {
	dirty := ""
	if tree.Dirty {
		dirty = ", with uncommitted changes"
	}
	v.print("%s · %s · %s %s%s", w.Name, e.Name, e.Ref, e.SHA[:min(8, len(e.SHA))], dirty)
}

func (v *ciView) update(u local.Update) {
	switch {
	case u.Step != nil:
		v.step(u.Job, u.Step)
	case u.Line != nil:
		v.job(u.Job)
		v.print("    │ %s", u.Line)
	case u.Job.State == workflow.Running:
		v.job(u.Job)
	case u.Job.State == workflow.Completed:
		text := ""
		if u.Job.Message != "" {
			text = ": " + u.Job.Message
		}
		v.print("%s %s %s in %s%s", mark(u.Job.Conclusion), u.Job.Name, u.Job.Conclusion, since(u.Job.StartedAt, u.Job.EndedAt), text)
		v.last = nil
	}
}

// job names the job whose lines follow, where several run at once.
func (v *ciView) job(j *workflow.Job) {
	if v.last != j {
		v.print("● %s", j.Name)
		v.last = j
	}
}

func (v *ciView) step(j *workflow.Job, s *workflow.Step) {
	v.job(j)
	said := v.begun
	if s.State == workflow.Completed {
		said = v.ended
	}
	if said[j] >= s.Number {
		return // its summary came
	}
	said[j] = s.Number
	switch {
	case s.State == workflow.Running:
		v.print("  ▸ %s", s.Name)
	case s.Conclusion == workflow.Skipped:
		v.print("  %s %s (skipped)", mark(s.Conclusion), s.Name)
	default:
		v.print("  %s %s (%s)", mark(s.Conclusion), s.Name, since(s.StartedAt, s.EndedAt))
	}
}

func (v *ciView) end(r *workflow.Run) {
	for _, j := range r.Jobs {
		if j.StartedAt == 0 {
			text := ""
			if j.Message != "" {
				text = ": " + j.Message
			}
			v.print("%s %s %s%s", mark(j.Conclusion), j.Name, j.Conclusion, text)
		}
	}
	v.print("%s %s: %s in %s", mark(r.Conclusion), r.Name, r.Conclusion, since(r.CreatedAt, r.EndedAt))
}

func mark(conclusion string) string {
	switch conclusion {
	case workflow.Success:
		return "✓"
	case workflow.Skipped:
		return "–"
	case workflow.Cancelled:
		return "■"
	default:
		return "✗"
	}
}

func since(from, to int64) string {
	d := time.Duration(max(0, to-from)) * time.Millisecond
	if d < time.Second {
		return d.String()
	}
	return d.Round(100 * time.Millisecond).String()
}
