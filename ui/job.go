package ui

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/jobs"
)

type jobView struct {
	*wherry.Job
	Runs         []*wherry.Run // the newest first
	Matrix       matrix
	Next         int64
	Paused       bool
	Median, P95  int64 // of the durations of runs that succeeded, in milliseconds; 0 without any
	YAML         string
	NotEffective []string
}

// matrix has a row for each task and a column for each run, the newest last.
type matrix struct {
	Runs []*wherry.Run
	Rows []matrixRow
}

type matrixRow struct {
	Key   string
	Cells []*wherry.TaskRun // nil where a run does not have the task
}

// maxCells bounds a page's matrix.
const maxCells = 1500

func (s *Service) job(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	id, err := pathID(r, "job")
	if err != nil {
		return err
	}
	j, err := s.findJob(ctx, id)
	if err != nil {
		return err
	}
	v := jobView{Job: j, Paused: paused(&j.Settings), NotEffective: j.NotEffective()}
	columns := min(25, max(5, maxCells/max(1, len(j.Settings.Tasks))))
	if v.Runs, err = s.cfg.Jobs.Runs(ctx, jobs.Filter{WorkspaceID: j.WorkspaceID, JobID: id, Limit: columns, Attempts: true}); err != nil {
		return err
	}
	v.Matrix = newMatrix(j, v.Runs)
	v.Median, v.P95 = quantiles(v.Runs)
	doc, err := yaml.JSONToYAML(j.Settings.Raw)
	if err != nil {
		doc = j.Settings.Raw
	}
	v.YAML = string(doc)
	schedules, err := s.cfg.Jobs.Schedules(ctx)
	if err != nil {
		return err
	}
	for _, c := range schedules {
		if c.JobID == id {
			v.Next = c.NextFire
		}
	}
	return s.render(w, r, http.StatusOK, "job", page{Title: j.Settings.Name, Section: "jobs", Body: v})
}

// findJob returns a job that the caller may see.
func (s *Service) findJob(ctx context.Context, id int64) (*wherry.Job, error) {
	ws := scope(wherry.IdentityFrom(ctx))
	if ws == 0 {
		var err error
		if ws, err = s.cfg.Jobs.WorkspaceOfJob(ctx, id); err != nil {
			return nil, err
		}
	}
	return s.cfg.Jobs.Job(ctx, ws, id)
}

func newMatrix(j *wherry.Job, runs []*wherry.Run) matrix {
	m := matrix{Runs: slices.Clone(runs)}
	slices.Reverse(m.Runs)
	keys := map[string]bool{}
	var order []string
	add := func(tasks []wherry.Task) {
		for _, t := range tasks {
			if !keys[t.Key] {
				keys[t.Key] = true
				order = append(order, t.Key)
			}
		}
	}
	add(j.Settings.Tasks)
	for _, r := range runs { // tasks that the job had once
		add(r.Settings.Tasks)
	}
	for _, key := range order {
		row := matrixRow{Key: key}
		for _, r := range m.Runs {
			row.Cells = append(row.Cells, r.Latest(key))
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}

func quantiles(runs []*wherry.Run) (median, p95 int64) {
	var all []int64
	for _, r := range runs {
		if r.Result == wherry.ResultSuccess {
			all = append(all, r.EndTime-r.StartTime)
		}
	}
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return all[len(all)/2], all[min(len(all)-1, len(all)*95/100)]
}

// runNow starts a run with the job parameters of the form, and goes to its page.
func (s *Service) runNow(w http.ResponseWriter, r *http.Request) error {
	fields, err := form(w, r)
	if err != nil {
		return err
	}
	id, err := pathID(r, "job")
	if err != nil {
		return err
	}
	who := wherry.IdentityFrom(r.Context())
	j, err := s.findJob(r.Context(), id)
	if err != nil {
		return err
	}
	parameters := map[string]string{}
	for name, values := range fields {
		if key, ok := strings.CutPrefix(name, "parameter."); ok {
			parameters[key] = values[0]
		}
	}
	run, err := s.cfg.Jobs.Launch(r.Context(), jobs.Launch{
		WorkspaceID: j.WorkspaceID, JobID: id, Type: wherry.RunTypeJob, Trigger: wherry.TriggerOneTime, Creator: who.UserName, Parameters: parameters,
	})
	if err != nil {
		return err
	}
	return seeOther(w, r, runPath(id, run))
}

func runPath(job, run int64) string { return fmt.Sprintf("/jobs/%d/runs/%d", job, run) }
