package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/wherry-ml/wherry"
)

// advanceRun reads a run and carries out what comes next.
func (c *change) advanceRun(id int64) error {
	if err := c.claim(id); err != nil {
		return err
	}
	r, err := c.s.load(c.Tx, id)
	if err != nil {
		return err
	}
	return c.advance(r)
}

// advance carries out plans until there is nothing to do but wait, then stores
// the run. The run must be claimed, or new.
func (c *change) advance(r *wherry.Run) error {
	changed := map[*wherry.TaskRun]bool{}
	for {
		p := r.Advance(c.now)
		if p.Empty() {
			return c.store(r, changed, p.WakeAt)
		}
		for _, s := range p.Settle {
			s.Attempt.Standing, s.Attempt.EndTime = s.Standing, c.now
			changed[s.Attempt] = true
			if err := c.emitTaskFinished(r, s.Attempt, ""); err != nil {
				return err
			}
		}
		for _, k := range p.Cancel {
			c.cancelAttempt(r, k.Attempt, k.Cause)
			changed[k.Attempt] = true
		}
		if err := c.retry(r, p.Retry); err != nil {
			return err
		}
		for _, t := range p.Start {
			if err := c.begin(r, t); err != nil {
				return err
			}
			changed[t] = true
		}
		if err := c.slow(r, p); err != nil {
			return err
		}
		for _, t := range p.Slow {
			changed[t] = true
		}
		if p.Stop != "" {
			r.State, r.Cause = wherry.Terminating, p.Stop
		}
		if p.Finish != nil {
			if err := c.finishRun(r, *p.Finish); err != nil {
				return err
			}
		}
	}
}

// store writes what has changed in a run.
func (c *change) store(r *wherry.Run, changed map[*wherry.TaskRun]bool, wakeAt int64) error {
	for _, t := range r.Attempts {
		if changed[t] {
			if err := c.updateTask(t); err != nil {
				return err
			}
		}
	}
	c.Changed(TopicRun)
	_, err := c.Exec(`UPDATE job_run SET state = $1, result = $2, code = $3, message = $4, cause = $5, end_time = $6, wake_at = $7,
		released = $8, warned = $9 WHERE id = $10`, r.State, r.Result, r.Code, r.Message, r.Cause, r.EndTime, wakeAt, !r.Terminal() || !usesCompute(r), r.Warned, r.ID)
	return err
}

func usesCompute(r *wherry.Run) bool {
	return slices.ContainsFunc(r.Attempts, func(t *wherry.TaskRun) bool {
		task := r.TaskOf(t)
		return t.StartTime > 0 && task != nil && !task.Settled()
	})
}

func (c *change) retry(r *wherry.Run, list []wherry.Retry) error {
	var made []*wherry.TaskRun
	for _, o := range list {
		made = append(made, &wherry.TaskRun{
			Key: o.Of.Key, ParentID: o.Of.ParentID, Iteration: o.Of.Iteration, Input: o.Of.Input,
			Number: o.Of.Number + 1, Repair: o.Of.Repair, Original: o.Of.Original, NotBefore: o.NotBefore,
			Standing: wherry.Standing{State: wherry.Waiting},
		})
	}
	r.Attempts = append(r.Attempts, made...)
	return c.insertTasks(r, made)
}

// cancelAttempt marks an attempt that runs; the scheduler tells compute.
func (c *change) cancelAttempt(r *wherry.Run, t *wherry.TaskRun, cause string) {
	t.State, t.Cause = wherry.Terminating, cause
	if t.ChildRun != 0 {
		c.later = append(c.later, func() error { return c.cancelRun(t.ChildRun, wherry.CauseUser) })
	}
}

func (c *change) finishRun(r *wherry.Run, end wherry.Standing) error {
	cause := r.Cause
	r.Standing, r.EndTime = end, c.now
	r.Cause = cause
	if n := len(r.Repairs); n > 0 {
		last := &r.Repairs[n-1]
		last.EndTime, last.Result, last.Code, last.Message = c.now, end.Result, end.Code, end.Message
		if err := c.storeRepairs(r); err != nil {
			return err
		}
	}
	if err := c.emitFinished(r); err != nil {
		return err
	}
	c.later = append(c.later, func() error { return c.promote(r.JobID) })
	if r.ParentTaskRun != 0 && r.Type == wherry.RunTypeJob {
		c.later = append(c.later, func() error { return c.childDone(r) })
	}
	return nil
}

func (c *change) storeRepairs(r *wherry.Run) error {
	b, err := json.Marshal(r.Repairs)
	if err != nil {
		return err
	}
	_, err = c.Exec(`UPDATE job_run SET repairs = $1 WHERE id = $2`, string(b), r.ID)
	return err
}

// childDone settles the run_job task whose run has ended.
func (c *change) childDone(child *wherry.Run) error {
	result := wherry.Result{State: wherry.ResultSuccess, Code: wherry.TermSuccess}
	switch child.Result {
	case wherry.ResultSuccess, wherry.ResultSuccessWithFailures:
	default:
		result = wherry.Result{
			State: wherry.ResultFailed, Code: wherry.TermExecutionError,
			Message: fmt.Sprintf("Run %d of job %d ended as %s. %s", child.ID, child.JobID, child.Result, child.Message),
		}
	}
	return c.done(child.ParentTaskRun, "", result)
}

// begin starts an attempt: gives it to compute, or settles it here.
func (c *change) begin(r *wherry.Run, t *wherry.TaskRun) error {
	t.State, t.StartTime = wherry.Pending, c.now
	task := r.TaskOf(t)
	x := &wherry.References{Run: r, TaskRun: t, BaseURL: c.s.BaseURL, Value: c.values(r.ID)}
	if task != nil {
		x.Scalars = task.Condition != nil
	}
	a, err := x.Resolve()
	if err == nil {
		if err := c.keep(t, a); err != nil {
			return err
		}
		if err := c.emitTaskStarted(r, t, task); err != nil {
			return err
		}
		if task.Settled() && r.State == wherry.Pending {
			r.State = wherry.Running
		}
		switch {
		case task.Condition != nil:
			err = evaluate(a, t)
			t.EndTime = c.now
		case task.ForEach != nil:
			err = c.expand(r, t, task, x)
		case task.RunJob != nil:
			err = c.runJob(r, t, task, a)
		}
	}
	fault, ok := errors.AsType[*wherry.Error](err)
	if ok {
		code := wherry.TermInvalidRun
		if task != nil && task.Condition != nil {
			code = wherry.TermExecutionError
		}
		t.Standing = wherry.Standing{State: wherry.Terminated, Result: wherry.ResultFailed, Code: code, Message: fault.Message}
		err = nil
	}
	if err == nil && t.Terminal() {
		t.EndTime = c.now
		return c.emitTaskFinished(r, t, "")
	}
	return err
}

// keep has updateTask store what compute is to be given of an attempt.
func (c *change) keep(t *wherry.TaskRun, a *wherry.Attempt) error {
	doc, err := json.Marshal(a)
	c.attempts[t.ID] = string(doc)
	return err
}

// values reads task values as references want them.
func (c *change) values(jobRunID int64) func(taskKey, name string) (json.RawMessage, bool) {
	return func(taskKey, name string) (json.RawMessage, bool) {
		var v string
		err := c.Row(`SELECT value FROM task_value WHERE job_run_id = $1 AND task_key = $2 AND name = $3`, jobRunID, taskKey, name).Scan(&v)
		return json.RawMessage(v), err == nil
	}
}

func evaluate(a *wherry.Attempt, t *wherry.TaskRun) error {
	var task wherry.Task
	if err := json.Unmarshal(a.Task, &task); err != nil {
		return err
	}
	ok, err := task.Condition.Evaluate()
	if err != nil {
		return err
	}
	t.Outcome = fmt.Sprint(ok)
	t.Standing = wherry.Standing{State: wherry.Terminated, Result: wherry.ResultSuccess, Code: wherry.TermSuccess}
	return nil
}

// expand makes the iterations of a for_each attempt. In a repair, iterations
// that succeeded with the same element before are taken over.
func (c *change) expand(r *wherry.Run, t *wherry.TaskRun, task *wherry.Task, x *wherry.References) error {
	inputs, err := x.Expand(task.ForEach.Inputs)
	if err != nil {
		return err
	}
	elements, err := task.ForEach.Elements(inputs)
	if err != nil {
		return err
	}
	earlier := map[int]*wherry.TaskRun{}
	for _, o := range r.Attempts {
		if o.Key == t.Key && o.ParentID == 0 && o.ID != t.ID {
			for _, it := range r.Iterations(o.ID) {
				earlier[it.Iteration] = it
			}
		}
	}
	var made []*wherry.TaskRun
	for i, e := range elements {
		it := &wherry.TaskRun{
			Key: task.ForEach.Task.Key, ParentID: t.ID, Iteration: i, Input: e, Repair: t.Repair,
			Standing: wherry.Standing{State: wherry.Blocked},
		}
		if old := earlier[i]; old != nil && string(old.Input) == string(e) {
			if old.Result == wherry.ResultSuccess {
				old.ParentID = t.ID
				if err := c.updateTask(old); err != nil {
					return err
				}
				continue
			}
			it.Number, it.Original = old.Number+1, old.Original
		}
		made = append(made, it)
	}
	r.Attempts = append(r.Attempts, made...)
	t.State = wherry.Running
	return c.insertTasks(r, made)
}

func (c *change) runJob(r *wherry.Run, t *wherry.TaskRun, task *wherry.Task, a *wherry.Attempt) error {
	if r.Level >= maxRunJobLevels {
		return wherry.Errorf(wherry.CodeInvalidParameter, "run_job_task nests deeper than %d levels", maxRunJobLevels)
	}
	t.State = wherry.Running
	child, err := c.launch(Launch{
		WorkspaceID: r.WorkspaceID, JobID: int64(task.RunJob.JobID), Type: wherry.RunTypeJob, Trigger: wherry.TriggerRunJob, Creator: r.Creator,
		Parameters: a.Parameters, ParentTaskRun: t.ID, Level: r.Level + 1,
	})
	if err != nil {
		return err
	}
	t.ChildRun = child.ID
	if child.Terminal() && len(child.Attempts) == 0 { // skipped at once: nobody else will tell
		c.later = append(c.later, func() error { return c.childDone(child) })
	}
	return nil
}

func (c *change) emitTaskStarted(r *wherry.Run, t *wherry.TaskRun, task *wherry.Task) error {
	if err := c.tellTask(r, t, wherry.OnStart); err != nil {
		return err
	}
	return c.emit(r, wherry.EventTaskStarted, t.ID, t.ID, map[string]any{
		"job_run_id": r.ID, "job_id": r.JobID, "task_key": t.Key,
		"attempt_number": t.Number, "task_type": task.Kind(), "path": task.Path(),
	})
}

func (c *change) emitTaskFinished(r *wherry.Run, t *wherry.TaskRun, digest string) error {
	if err := c.tellTask(r, t, t.Told()); err != nil {
		return err
	}
	return c.emit(r, wherry.EventTaskFinished, t.ID, t.ID, map[string]any{
		"job_run_id": r.ID, "job_id": r.JobID, "task_key": t.Key,
		"attempt_number": t.Number, "result_state": t.Result, "executed_digest": digest,
	})
}
