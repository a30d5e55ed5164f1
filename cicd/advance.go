package cicd

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/jobs"
	"github.com/wherry-ml/wherry/workflow"
	"github.com/wherry-ml/wherry/workflow/runner"
)

// step brings one run as far as it goes now. open are all runs that are not
// over, among which concurrency groups are looked up.
func (s *Service) step(ctx context.Context, r *cicd.Record, open []*cicd.Record) error {
	before, err := json.Marshal(r.Run)
	if err != nil {
		return err
	}
	if r.State == workflow.Completed { // and its end is stored
		return s.settle(ctx, r)
	}
	was := states(r.Run)
	if err := s.advance(ctx, r, open); err != nil {
		return err
	}
	after, err := json.Marshal(r.Run)
	if err != nil || bytes.Equal(before, after) {
		return err
	}
	return s.store(ctx, r, was)
}

// states are those of the jobs and of the run itself, under 0, by id.
func states(r *workflow.Run) map[int64]string {
	m := map[int64]string{0: r.State}
	for _, j := range r.Jobs {
		if j.ID != 0 {
			m[j.ID] = j.State
		}
	}
	return m
}

func (s *Service) advance(ctx context.Context, r *cicd.Record, open []*cicd.Record) error {
	w, err := s.workflow(ctx, r)
	if err != nil {
		return err
	}
	r.ServerURL, r.RetentionDays = s.cfg.URL, s.cfg.Retention.ArtifactDays
	if r.Vars, err = s.vars(ctx, r, ""); err != nil {
		return err
	}
	err = s.cfg.Store.DB().Read(ctx, func(tx *store.Tx) (err error) {
		for _, j := range r.Jobs {
			err = errors.Join(err, resume(tx, j))
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, j := range r.Jobs {
		if err := s.collect(ctx, r, j); err != nil {
			return err
		}
	}
	if wait, err := s.takeTurn(ctx, r, open); wait || err != nil {
		return err
	}
	if err := r.Advance(w, time.Now().UnixMilli()); err != nil {
		return err
	}
	for _, j := range r.Jobs {
		switch {
		case j.State == workflow.Waiting:
			if err := s.gate(ctx, r, j, open); err != nil {
				return err
			}
		case j.State == workflow.Running && j.Stop && j.JobRun != 0:
			if err := s.cfg.Jobs.Cancel(ctx, r.WorkspaceID, j.JobRun); err != nil && wherry.CodeOf(err) != wherry.CodeInvalidState {
				return err
			}
		}
	}
	for _, j := range r.Startable() {
		if j.ID == 0 {
			continue // it is stored first, then started
		}
		if err := s.start(ctx, r, j); err != nil {
			return err
		}
	}
	return nil
}

// start has compute run a job. Doing it twice starts one.
func (s *Service) start(ctx context.Context, r *cicd.Record, j *workflow.Job) error {
	task := wherry.Task{}
	doc := fmt.Sprintf(`{"task_key": "job", "timeout_seconds": %d, "ci_job_task": {"job_id": %d}}`, j.Timeout(), j.ID)
	if err := json.Unmarshal([]byte(doc), &task); err != nil {
		return err
	}
	settings, err := runSettings(fmt.Sprintf("%s / %s", r.Name, j.Name), task)
	if err != nil {
		return err
	}
	jobRun, err := s.cfg.Jobs.Launch(ctx, jobs.Launch{
		WorkspaceID: r.WorkspaceID, Settings: settings, RunAs: s.bot, Creator: s.bot.UserName, Type: wherry.RunTypeCI, Trigger: wherry.TriggerOneTime,
		Token: fmt.Sprintf("ci-job-%d", j.ID),
	})
	if err != nil {
		return err
	}
	run, _, err := s.cfg.Jobs.Run(ctx, r.WorkspaceID, jobRun)
	if err != nil {
		return err
	}
	if len(run.Attempts) == 0 {
		return fmt.Errorf("job run %d has no attempt", jobRun)
	}
	j.State, j.StartedAt, j.JobRun, j.TaskRun = workflow.Running, time.Now().UnixMilli(), jobRun, run.Attempts[0].ID
	return s.cfg.Store.DB().Write(ctx, func(tx *store.Tx) error { return cicd.Started(tx, j.ID, j.JobRun, j.TaskRun) })
}

func runSettings(name string, task wherry.Task) (settings wherry.JobSettings, err error) {
	b, err := json.Marshal(map[string]any{"run_name": name, "tasks": []any{task}})
	if err != nil {
		return settings, err
	}
	return settings, json.Unmarshal(b, &settings)
}

// collect takes over how a job's run ended.
func (s *Service) collect(ctx context.Context, r *cicd.Record, j *workflow.Job) error {
	if j.State != workflow.Running || j.JobRun == 0 {
		return nil
	}
	run, _, err := s.cfg.Jobs.Run(ctx, r.WorkspaceID, j.JobRun)
	if err != nil {
		return err
	}
	if !run.Terminal() || len(run.Attempts) == 0 {
		return nil
	}
	a := run.Attempts[len(run.Attempts)-1]
	last, steps, err := s.Events(j)
	if err != nil {
		return err
	}
	j.State, j.Steps, j.EndedAt = workflow.Completed, steps, time.Now().UnixMilli()
	if a.EndTime > 0 {
		j.EndedAt = a.EndTime
	}
	j.Outputs, j.EnvironmentURL, j.Message = last.Outputs, last.EnvironmentURL, last.Message
	switch {
	case last.Conclusion != "" && a.Result != wherry.ResultTimedOut:
		j.Conclusion = last.Conclusion
	case a.Result == wherry.ResultTimedOut:
		j.Conclusion, j.Message = workflow.TimedOut, j.Exceeded()
	case a.Result == wherry.ResultCanceled:
		j.Conclusion = workflow.Cancelled
	default:
		j.Conclusion, j.Message = workflow.Failure, a.Message
	}
	for i := range j.Steps { // what was going on when the process ended
		if j.Steps[i].State != workflow.Completed {
			j.Steps[i].State, j.Steps[i].Conclusion, j.Steps[i].EndedAt = workflow.Completed, workflow.Cancelled, j.EndedAt
		}
	}
	return nil
}

// Events reads what a job's process has told so far: its steps, and at the end
// how it ended.
func (s *Service) Events(j *workflow.Job) (last runner.Event, steps []workflow.Step, err error) {
	if j.TaskRun == 0 {
		return last, nil, nil
	}
	f, err := os.Open(filepath.Join(s.cfg.State.Run(j.TaskRun), "events"))
	if errors.Is(err, fs.ErrNotExist) {
		return last, nil, nil
	}
	if err != nil {
		return last, nil, err
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return last, steps, nil //nolint:nilerr // an unfinished line is not there yet
		}
		var e runner.Event
		if json.Unmarshal(line, &e) != nil {
			continue
		}
		switch {
		case e.Step != nil:
			steps = workflow.Record(steps, *e.Step)
		case e.Type == "job":
			last = e
		}
	}
}

// Log opens a job's output; it ends where it has come to.
func (s *Service) Log(j *workflow.Job) (*os.File, error) {
	return os.Open(filepath.Join(s.cfg.State.Run(j.TaskRun), "out"))
}

// store saves a run with the events of what changed.
func (s *Service) store(ctx context.Context, r *cicd.Record, was map[int64]string) error {
	repo, err := s.cfg.Git.RepoByID(ctx, r.RepoID)
	if err != nil {
		return err
	}
	email := ""
	if c, err := s.cfg.Hosting.Commit(ctx, repo, cmp.Or(r.StatusSHA, r.Event.SHA)); err == nil {
		email = c.Email
	}
	asked, err := s.waitingFor(ctx, r)
	if err != nil {
		return err
	}
	digests := map[int64]string{} // before the transaction: a log may be long
	for _, j := range r.Jobs {
		if j.State == workflow.Completed && was[j.ID] != workflow.Completed {
			if digests[j.ID], err = s.logDigest(j); err != nil {
				return err
			}
		}
	}
	return s.cfg.Store.DB().Write(ctx, func(tx *store.Tx) error {
		if err := cicd.Save(tx, r); err != nil {
			return err
		}
		for _, e := range asked {
			if err := s.askReviewers(tx, r, e); err != nil {
				return err
			}
		}
		for _, j := range r.Jobs {
			if j.State == workflow.Completed && was[j.ID] != workflow.Completed {
				if err := s.jobEnded(tx, r, j, digests[j.ID]); err != nil {
					return err
				}
			}
		}
		if r.State == was[0] {
			return nil
		}
		if r.State == workflow.Completed {
			if err := s.runEnded(tx, r); err != nil {
				return err
			}
		}
		return s.tell(tx, repo, r, email)
	})
}

// logDigest is the SHA-256 of what a job wrote, "" where it wrote nothing.
func (s *Service) logDigest(j *workflow.Job) (string, error) {
	f, err := s.Log(j)
	if err != nil || j.TaskRun == 0 {
		return "", nil //nolint:nilerr // it never began
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

func (s *Service) jobEnded(tx *store.Tx, r *cicd.Record, j *workflow.Job, digest string) error {
	steps := []map[string]any{}
	for _, st := range j.Steps {
		exit := 0
		if st.Conclusion == workflow.Failure {
			exit = 1
		}
		steps = append(steps, map[string]any{"name": st.Name, "result": st.Conclusion, "exit": exit})
	}
	return s.emit(tx, r, wherry.EventCIJobFinished, r.Actor, map[string]any{
		"job": j.Leg(), "name": j.Name, "result": j.Conclusion, "environment": j.Environment, "runner": "wherry", "log_digest": digest,
		"started_at": j.StartedAt, "finished_at": j.EndedAt, "steps": steps,
	})
}

func (s *Service) runEnded(tx *store.Tx, r *cicd.Record) error {
	list := []map[string]any{}
	for _, j := range r.Jobs {
		list = append(list, map[string]any{"job": j.Leg(), "name": j.Name, "result": j.Conclusion})
	}
	return s.emit(tx, r, wherry.EventCIRunFinished, r.Actor, map[string]any{
		"repo": r.Repo, "workflow": r.Name, "event": r.Event.Name, "ref": r.Event.Ref, "sha": r.Event.SHA, "actor": r.Actor, "result": r.Conclusion, "jobs": list,
	})
}

// maxChain is how many workflow_run events may follow from each other.
const maxChain = 3

// settle starts the workflows that wait for this one, in the transaction that
// notes it. Of a run that ended before its jobs did it ends those.
func (s *Service) settle(ctx context.Context, r *cicd.Record) error {
	if slices.ContainsFunc(r.Jobs, func(j *workflow.Job) bool { return j.State != workflow.Completed }) {
		if err := s.stop(ctx, r); err != nil {
			return err
		}
	}
	o, files, list, err := s.following(ctx, r)
	if err != nil {
		return err
	}
	return s.cfg.Store.DB().Write(ctx, func(tx *store.Tx) error {
		r.Settled = true
		if err := s.abandon(tx, r); err != nil {
			return err
		}
		if err := cicd.Save(tx, r); err != nil || len(list) == 0 {
			return err
		}
		return s.insert(tx, o, files, list)
	})
}

// following makes the runs that the end of a run asks for: of workflows of the
// default branch, as on GitHub.
func (s *Service) following(ctx context.Context, r *cicd.Record) (o occasion, files workflow.Files, list []*cicd.Record, err error) {
	if chain(r) >= maxChain || r.Conclusion == workflow.StartupFailure {
		return o, nil, nil, nil
	}
	repo, err := s.cfg.Git.RepoByID(ctx, r.RepoID)
	if err != nil {
		return o, nil, nil, err
	}
	sha, err := s.cfg.Hosting.Resolve(ctx, repo, "refs/heads/"+repo.DefaultBranch)
	if err != nil {
		return o, nil, nil, nil //nolint:nilerr // there is no default branch yet
	}
	commit, err := s.cfg.Hosting.Commit(ctx, repo, sha)
	if err != nil {
		return o, nil, nil, err
	}
	head := r.Event.Branch()
	if r.Event.HeadRef != "" {
		head = r.Event.HeadRef
	}
	payload, err := json.Marshal(map[string]any{
		"action": "completed", "chain": chain(r) + 1,
		"workflow_run": map[string]any{
			"id": r.ID, "name": r.Name, "path": r.Path, "event": r.Event.Name, "status": r.State, "conclusion": r.Conclusion, "head_branch": head, "head_sha": r.Event.SHA,
			"run_number": r.Number, "run_attempt": r.Attempt, "html_url": s.cfg.URL + Page(r.ID), "display_title": r.Title, "actor": map[string]any{"login": r.Actor}, "head_commit": map[string]any{"id": r.Event.SHA, "message": r.Title},
		},
		"repository": map[string]any{"name": repo.Name, "full_name": r.Repository(), "default_branch": repo.DefaultBranch, "owner": map[string]any{"login": r.Owner}},
	})
	if err != nil {
		return o, nil, nil, err
	}
	o = occasion{
		repo: repo, actor: r.Actor, status: r.StatusSHA, fork: r.Fork, commit: commit,
		event: workflow.Event{Name: "workflow_run", Action: "completed", Workflow: r.Name, HeadRef: head, Ref: "refs/heads/" + repo.DefaultBranch, SHA: sha, Payload: payload},
	}
	files, list, err = s.runs(ctx, o)
	return o, files, list, err
}

// chain counts the workflow_run events that led to a run.
func chain(r *cicd.Record) int {
	var p struct {
		Chain int `json:"chain"`
	}
	_ = json.Unmarshal(r.Event.Payload, &p) // other events have none
	return p.Chain
}
