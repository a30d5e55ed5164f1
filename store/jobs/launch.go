package jobs

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/deployments"
)

// Launch asks for a run.
type Launch struct {
	WorkspaceID int64
	JobID       int64 // 0 for a run without a saved job: Settings and RunAs are then given
	Settings    wherry.JobSettings
	RunAs       wherry.Principal
	Type        string // wherry.RunType*
	Trigger     string // wherry.Trigger*
	TriggerTime int64  // when a schedule was to fire
	Creator     string // user name
	Parameters  map[string]string
	Overriding  wherry.Overriding
	Only        []string
	Queue       *bool // nil is as the job's settings say
	// Token makes the call idempotent: the run that a token made is returned
	// again.
	Token string

	ParentTaskRun int64
	Level         int
}

const (
	maxToken = 64   // characters of an idempotency token
	maxQueue = 1000 // runs of one job that may wait
)

// Launch starts a run, queues it or skips it, and returns its id.
func (s *Store) Launch(ctx context.Context, l Launch) (runID int64, err error) {
	err = s.write(ctx, func(c *change) error {
		r, err := c.launch(l)
		if err == nil {
			runID = r.ID
		}
		return err
	})
	return runID, err
}

// Fire launches the run of a schedule, unless one was launched for the same
// time: then it returns 0.
func (s *Store) Fire(ctx context.Context, l Launch, index int) (runID int64, err error) {
	err = s.write(ctx, func(c *change) error {
		runID = 0
		n, err := c.Exec(`INSERT INTO job_fire (job_id, trigger_index, fire_time, run_id) VALUES ($1, $2, $3, 0) ON CONFLICT DO NOTHING`,
			l.JobID, index, l.TriggerTime)
		if err != nil || n == 0 {
			return err
		}
		r, err := c.launch(l)
		if err != nil {
			return err
		}
		runID = r.ID
		_, err = c.Exec(`UPDATE job_fire SET run_id = $1 WHERE job_id = $2 AND trigger_index = $3 AND fire_time = $4`, r.ID, l.JobID, index, l.TriggerTime)
		return err
	})
	return runID, err
}

func (c *change) launch(l Launch) (*wherry.Run, error) {
	id, err := c.NextID("run")
	if err != nil {
		return nil, err
	}
	if old, err := c.byToken(l, id); err != nil || old != nil {
		return old, err
	}
	r := &wherry.Run{
		ID: id, WorkspaceID: l.WorkspaceID, JobID: l.JobID, Type: l.Type, Trigger: l.Trigger, TriggerTime: l.TriggerTime,
		Settings: l.Settings, Overriding: l.Overriding, Creator: l.Creator, RunAs: l.RunAs, CreatedAt: c.now, StartTime: c.now,
		ParentTaskRun: l.ParentTaskRun, Level: l.Level, Name: l.Settings.RunName, Standing: wherry.Standing{State: wherry.Pending},
	}
	if l.JobID != 0 {
		if _, err := c.Exec(`UPDATE job SET admissions = admissions + 1 WHERE id = $1`, l.JobID); err != nil {
			return nil, err
		}
		j, err := getJob(c.Tx, l.WorkspaceID, l.JobID)
		if err != nil {
			return nil, err
		}
		r.Settings, r.RunAs, r.Name = j.Settings, j.RunAs, j.Settings.Name
	}
	if r.Name == "" {
		r.Name = "Untitled"
	}
	if len(r.Settings.Tasks) == 0 {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "the job %d has no tasks to run", l.JobID)
	}
	if err := l.Overriding.Validate(len(r.Settings.Parameters) > 0); err != nil {
		return nil, err
	}
	if r.Only, err = r.Settings.SelectTasks(l.Only); err != nil {
		return nil, err
	}
	r.Parameters = wherry.RunParameters(r.Settings.Parameters, l.Parameters)
	r.Queue = r.Settings.Queue != nil && r.Settings.Queue.Enabled
	if l.Queue != nil {
		r.Queue = *l.Queue
	}
	if err := c.admit(r); err != nil {
		return nil, err
	}
	return r, c.insert(r)
}

// byToken returns the run that the token of l made already, or nil.
func (c *change) byToken(l Launch, id int64) (*wherry.Run, error) {
	if l.Token == "" {
		return nil, nil
	}
	if len(l.Token) > maxToken {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "idempotency_token has more than %d characters", maxToken)
	}
	n, err := c.Exec(`INSERT INTO idempotency (workspace_id, token, run_id, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		l.WorkspaceID, l.Token, id, c.now)
	if err != nil || n > 0 {
		return nil, err
	}
	var old int64
	if err := c.Row(`SELECT run_id FROM idempotency WHERE workspace_id = $1 AND token = $2`, l.WorkspaceID, l.Token).Scan(&old); err != nil {
		return nil, err
	}
	r, err := c.s.load(c.Tx, old)
	if wherry.CodeOf(err) == wherry.CodeInvalidParameter {
		err = wherry.Errorf(wherry.CodeInvalidParameter, "the run %d of idempotency_token %q was deleted", old, l.Token)
	}
	return r, err
}

// admit decides whether a run of a job starts, waits or is skipped.
func (c *change) admit(r *wherry.Run) error {
	if r.JobID == 0 {
		return nil
	}
	active, queued, err := c.activeRuns(r.JobID)
	if err != nil {
		return err
	}
	limit := r.Settings.Limit()
	skip := func(code, message string) {
		r.Standing = wherry.Standing{State: wherry.Terminated, Result: wherry.ResultMaxConcurrent, Code: code, Message: message}
		r.EndTime = c.now
	}
	switch {
	case limit > 0 && active < limit && queued == 0:
	case limit == 0 || !r.Queue:
		skip(wherry.TermMaxConcurrent, fmt.Sprintf("Skipped: the job allows %d concurrent runs.", limit))
	case queued >= maxQueue:
		skip(wherry.TermQueueSize, fmt.Sprintf("Skipped: %d runs of the job wait already.", queued))
	default:
		r.State, r.QueuedAt = wherry.Queued, c.now
	}
	return nil
}

func (c *change) activeRuns(jobID int64) (active, queued int, err error) {
	err = c.Row(`SELECT COALESCE(SUM(CASE WHEN state <> 'QUEUED' THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN state = 'QUEUED' THEN 1 ELSE 0 END), 0)
		FROM job_run WHERE job_id = $1 AND end_time = 0`, jobID).Scan(&active, &queued)
	return active, queued, err
}

// insert stores a new run with an attempt for each of its tasks, and does its
// first step.
func (c *change) insert(r *wherry.Run) error {
	if err := c.insertRun(r); err != nil {
		return err
	}
	c.Changed(TopicRun)
	if r.Terminal() {
		return c.emitFinished(r)
	}
	for _, t := range r.Settings.Tasks {
		if r.Selected(t.Key) {
			r.Attempts = append(r.Attempts, &wherry.TaskRun{Key: t.Key, Standing: wherry.Standing{State: wherry.Blocked}})
		}
	}
	if err := c.insertTasks(r, r.Attempts); err != nil {
		return err
	}
	if r.State != wherry.Queued {
		if err := c.emitStarted(r); err != nil {
			return err
		}
	}
	return c.advance(r)
}

func (c *change) emitStarted(r *wherry.Run) error {
	payload := map[string]any{"job_id": r.JobID, "job_name": r.Name, "trigger": r.Trigger}
	if id, version, ok, err := deployments.DeploymentOf(c.Tx, r.JobID); err != nil {
		return err
	} else if ok {
		payload["deployment_id"], payload["version"] = id, version
	}
	if err := c.tellRun(r, wherry.OnStart); err != nil {
		return err
	}
	return c.emit(r, wherry.EventRunStarted, r.ID, 0, payload)
}

func (c *change) emitFinished(r *wherry.Run) error {
	if err := c.tellRun(r, r.Told()); err != nil {
		return err
	}
	return c.emit(r, wherry.EventRunFinished, r.ID, 0, map[string]any{"job_id": r.JobID, "job_name": r.Name, "result_state": r.Result})
}

// promote starts the runs of a job that waited longest, as many as may be
// active.
func (c *change) promote(jobID int64) error {
	if jobID == 0 {
		return nil
	}
	n, err := c.Exec(`UPDATE job SET admissions = admissions + 1 WHERE id = $1`, jobID)
	if err != nil || n == 0 {
		return err
	}
	for {
		active, queued, err := c.activeRuns(jobID)
		if err != nil || queued == 0 {
			return err
		}
		var doc string
		if err := c.Row(`SELECT settings FROM job WHERE id = $1`, jobID).Scan(&doc); err != nil {
			return err
		}
		var settings wherry.JobSettings
		if err := json.Unmarshal([]byte(doc), &settings); err != nil {
			return err
		}
		if active >= settings.Limit() {
			return nil
		}
		var id int64
		if err := c.Row(`SELECT id FROM job_run WHERE job_id = $1 AND end_time = 0 AND state = 'QUEUED' ORDER BY queued_at, id LIMIT 1`, jobID).Scan(&id); err != nil {
			return err
		}
		if err := c.start(id); err != nil {
			return err
		}
	}
}

// start takes a run out of the queue.
func (c *change) start(id int64) error {
	if err := c.claim(id); err != nil {
		return err
	}
	r, err := c.s.load(c.Tx, id)
	if err != nil {
		return err
	}
	r.State = wherry.Pending
	if n := len(r.Repairs); n == 0 {
		r.StartTime = c.now
	} else { // the run has begun before; its repair waited
		r.Repairs[n-1].StartTime = c.now
		if err := c.storeRepairs(r); err != nil {
			return err
		}
	}
	if err := c.emitStarted(r); err != nil {
		return err
	}
	if _, err := c.Exec(`UPDATE job_run SET state = $1, start_time = $2 WHERE id = $3`, r.State, r.StartTime, id); err != nil {
		return err
	}
	return c.advance(r)
}
