package ui

import (
	"bytes"
	"context"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/notify"
	graph "github.com/wherry-ml/wherry/store/trace"
)

// runView is a run as its page shows it.
type runView struct {
	*wherry.Run
	Path     string
	Tasks    []taskRow
	Failures []failure
	DAG      dag
	Gantt    gantt
	Compute  []computeNote
	// NotEffective are whole sentences on what is stored and changes nothing.
	NotEffective []string
	Commit       *commitView
	Notices      []notify.Notification // the oldest first
}

// Waiting says what a run that has not ended waits for.
func (v *runView) Waiting() string {
	if v.Message != "" {
		return v.Message
	}
	if v.State == wherry.Queued {
		return v.Legacy().QueueReason
	}
	return ""
}

// CanRepair reports whether failed tasks can run again.
func (v *runView) CanRepair() bool {
	return v.Terminal() && v.Result != wherry.ResultSuccess && v.Type == wherry.RunTypeJob && len(v.Attempts) > 0
}

// telling reports whether a notice of the run is about to be sent first.
func (v *runView) telling() bool {
	return slices.ContainsFunc(v.Notices, func(n notify.Notification) bool { return n.State == notify.Pending && n.LastError == "" })
}

type taskRow struct {
	*wherry.TaskRun
	Task     *wherry.Task
	Attempts []*wherry.TaskRun // earlier ones
	Path     string
}

// Does is what the task runs, for people.
func (t taskRow) Does() string {
	switch {
	case t.Task == nil:
		return ""
	case t.Task.Condition != nil:
		c := t.Task.Condition
		return c.Left + " " + comparison[c.Op] + " " + c.Right
	case t.Task.ForEach != nil:
		return "for each of " + t.Task.ForEach.Inputs
	case t.Task.RunJob != nil:
		return fmt.Sprintf("run job %d", int64(t.Task.RunJob.JobID))
	default:
		return t.Task.Path()
	}
}

var comparison = map[string]string{
	"EQUAL_TO": "=", "NOT_EQUAL": "≠", "GREATER_THAN": ">", "GREATER_THAN_OR_EQUAL": "≥", "LESS_THAN": "<", "LESS_THAN_OR_EQUAL": "≤",
}

// computeNote says what is different about a cluster from what was asked for.
type computeNote struct{ ID, Cluster, Text string }

// commitView is the commit that a run came of.
type commitView struct {
	SHA, Message, Author, Branch string
	Deployment                   string // key of its node
	Bundle, Target               string
}

// Short is the first digits of the sha.
func (c commitView) Short() string { return c.SHA[:min(10, len(c.SHA))] }

// find returns a run that the caller may see.
func (s *Service) find(ctx context.Context, runID int64) (*wherry.Run, *wherry.TaskRun, error) {
	id := wherry.IdentityFrom(ctx)
	ws := scope(id)
	if ws == 0 {
		var err error
		if ws, err = s.cfg.Jobs.WorkspaceOfRun(ctx, runID); err != nil {
			return nil, nil, err
		}
	}
	r, t, err := s.cfg.Jobs.Run(ctx, ws, runID)
	if err == nil && !id.Admin && r.RunAs.ID != id.Principal.ID {
		return nil, nil, wherry.Errorf(wherry.CodeInvalidParameter, "Run %d does not exist.", runID)
	}
	return r, t, err
}

func (s *Service) run(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "run")
	if err != nil {
		return err
	}
	run, t, err := s.find(r.Context(), id)
	if err != nil {
		return err
	}
	p := runPath(run.JobID, run.ID)
	if t != nil { // run_page_url of a task run
		return seeOther(w, r, taskPath(run, t))
	}
	if r.URL.Path != p { // the job's id was another: MLflow's links have one for submitted runs
		return seeOther(w, r, p)
	}
	v, err := s.viewRun(r.Context(), run, time.Now())
	if err != nil {
		return err
	}
	sections, err := s.runSections(v)
	if err != nil {
		return err
	}
	out := page{Title: fmt.Sprintf("%s · run %d", run.Name, run.ID), Section: "runs", Output: true, Body: map[string]any{"Run": v, "Sections": sections}}
	if !run.Terminal() {
		out.Live = p + "/live"
	}
	return s.render(w, r, http.StatusOK, "run", out)
}

func taskPath(run *wherry.Run, t *wherry.TaskRun) string {
	return fmt.Sprintf("%s/tasks/%d", runPath(run.JobID, run.ID), t.ID)
}

func (s *Service) viewRun(ctx context.Context, run *wherry.Run, now time.Time) (*runView, error) {
	v := &runView{Run: run, Path: runPath(run.JobID, run.ID), NotEffective: run.Settings.NotEffective()}
	v.NotEffective = append(v.NotEffective, "Grants and permissions are stored; only admin or not is enforced yet.")
	for i := range run.Settings.Tasks {
		task := &run.Settings.Tasks[i]
		last := run.Latest(task.Key)
		if last == nil {
			continue
		}
		row := taskRow{TaskRun: last, Task: task, Path: taskPath(run, last)}
		for _, a := range run.Attempts {
			if a.Key == task.Key && a.ParentID == 0 && a.ID != last.ID {
				row.Attempts = append(row.Attempts, a)
			}
		}
		v.Tasks = append(v.Tasks, row)
	}
	v.DAG = layDAG(run, v.Tasks)
	v.Gantt = layGantt(run, v.Tasks, now)
	var err error
	if v.Failures, err = s.failures(ctx, run, v.Tasks); err != nil {
		return nil, err
	}
	if v.Compute, err = s.computeNotes(ctx, run); err != nil {
		return nil, err
	}
	if v.Notices, err = s.cfg.Notices.List(ctx, run.WorkspaceID, notify.Filter{RunID: run.ID}); err != nil {
		return nil, err
	}
	slices.Reverse(v.Notices)
	v.Commit, err = s.commitOf(ctx, graph.Ref{Kind: graph.JobRun, Key: fmt.Sprint(run.ID)})
	return v, err
}

func (s *Service) computeNotes(ctx context.Context, run *wherry.Run) (notes []computeNote, err error) {
	var seen []string
	for _, a := range run.Attempts {
		if a.ClusterID == "" || slices.Contains(seen, a.ClusterID) {
			continue
		}
		seen = append(seen, a.ClusterID)
		c, err := s.cfg.Compute.Cluster(ctx, run.WorkspaceID, a.ClusterID)
		if wherry.CodeOf(err) == wherry.CodeInvalidParameter {
			continue // serverless
		}
		if err != nil {
			return nil, err
		}
		if c.Message != "" {
			notes = append(notes, computeNote{c.ID, c.Name, c.Message})
		}
	}
	return notes, nil
}

// section is a part of a page that is replaced when it changed.
type section struct {
	ID   string
	HTML template.HTML
}

// runSections renders the live parts of a run's page.
func (s *Service) runSections(v *runView) ([]section, error) {
	return s.sections("run", v, "run-head", "run-failures", "run-dag", "run-tasks", "run-gantt", "run-notices", "run-facts")
}

// sections executes the named templates of a page.
func (s *Service) sections(of string, v any, names ...string) (list []section, err error) {
	for _, name := range names {
		var b bytes.Buffer
		if err := s.pages[of].ExecuteTemplate(&b, name, v); err != nil {
			return nil, err
		}
		list = append(list, section{name, template.HTML(b.String())})
	}
	return list, nil
}

// cancel stops a run, and goes back to its page.
func (s *Service) cancel(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, func(ctx context.Context, ws, id int64) error { return s.cfg.Jobs.Cancel(ctx, ws, id) })
}

// repair runs the failed tasks again.
func (s *Service) repair(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, func(ctx context.Context, ws, id int64) error {
		run, _, err := s.cfg.Jobs.Run(ctx, ws, id)
		if err != nil {
			return err
		}
		q := &wherry.RepairRequest{RunID: wherry.Int64(id), RerunAllFailed: true}
		if n := len(run.Repairs); n > 0 {
			q.LatestRepairID = wherry.Int64(run.Repairs[n-1].ID)
		}
		_, err = s.cfg.Jobs.Repair(ctx, ws, q)
		return err
	})
}

func (s *Service) change(w http.ResponseWriter, r *http.Request, do func(ctx context.Context, ws, id int64) error) error {
	if _, err := form(w, r); err != nil {
		return err
	}
	id, err := pathID(r, "run")
	if err != nil {
		return err
	}
	run, _, err := s.find(r.Context(), id)
	if err != nil {
		return err
	}
	if err := do(r.Context(), run.WorkspaceID, run.ID); err != nil {
		return err
	}
	return seeOther(w, r, runPath(run.JobID, run.ID))
}
