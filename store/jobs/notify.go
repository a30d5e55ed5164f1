package jobs

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/notify"
)

// slow notes what takes longer than its health rule allows, and tells of it.
func (c *change) slow(r *wherry.Run, p wherry.Plan) error {
	emit := func(id, taskRun int64, key string, after int64) error {
		return c.emit(r, wherry.EventRunSlow, id, taskRun, map[string]any{
			"job_id": r.JobID, "job_name": r.Name, "job_run_id": r.ID, "task_key": key, "seconds": after / 1000,
		})
	}
	if p.SlowRun {
		r.Warned = true
		if err := c.tellRun(r, wherry.OnSlow); err != nil {
			return err
		}
		if err := emit(r.ID, 0, "", r.Settings.SlowAfter()); err != nil {
			return err
		}
	}
	for _, t := range p.Slow {
		t.Warned = true
		if err := c.tellTask(r, t, wherry.OnSlow); err != nil {
			return err
		}
		if err := emit(t.ID, t.ID, t.Key, r.TaskOf(t).SlowAfter()); err != nil {
			return err
		}
	}
	return nil
}

// tellRun enqueues what the job's settings say is told of an event of a run.
func (c *change) tellRun(r *wherry.Run, event string) error {
	emails, destinations := r.Settings.Receivers(event, r.Standing)
	if len(emails)+len(destinations) == 0 {
		return nil
	}
	what := fmt.Sprintf("Job %q", r.Name)
	if r.JobID == 0 {
		what = fmt.Sprintf("Run %q", r.Name)
	}
	lines := []string{
		what + " " + happened(event, r.Standing, r.Settings.SlowAfter()) + ".",
		fmt.Sprintf("Run %d, started %s as %s.", r.ID, clock(r.StartTime), r.RunAs.UserName),
	}
	if r.Message != "" {
		lines = append(lines, r.Message)
	}
	if event == wherry.OnFailure {
		lines = append(lines, failures(r)...)
	}
	return c.tell(r, notify.Notice{
		DedupKey: fmt.Sprintf("jobs.%s/%d/%d", event, r.ID, len(r.Repairs)),
		Subject:  subject(what, event, r.Standing, r.Settings.SlowAfter()),
		Text:     strings.Join(lines, "\n"),
		Link:     fmt.Sprintf("/jobs/%d/runs/%d", r.JobID, r.ID),
		Emails:   emails, Destinations: destinations,
	}, event, runBody{Run: runRef{ID: fmt.Sprint(r.ID)}})
}

// tellTask is tellRun of an attempt, by the settings of its task.
func (c *change) tellTask(r *wherry.Run, t *wherry.TaskRun, event string) error {
	task := r.TaskOf(t)
	if task == nil || task.Condition != nil { // the platform tells nothing of condition tasks
		return nil
	}
	emails, destinations := task.Receivers(event, t.Standing)
	if len(emails)+len(destinations) == 0 {
		return nil
	}
	if task.Notification != nil && task.Notification.AlertOnLastAttempt &&
		(event == wherry.OnStart && r.Repeated(t) || event == wherry.OnFailure && r.Retries(t)) {
		return nil
	}
	what := fmt.Sprintf("Task %q of job %q", t.Key, r.Name)
	lines := []string{
		what + " " + happened(event, t.Standing, task.SlowAfter()) + ".",
		fmt.Sprintf("Run %d, attempt %d of the task, started %s as %s.", r.ID, t.Number, clock(t.StartTime), r.RunAs.UserName),
	}
	if event == wherry.OnFailure && t.Message != "" {
		lines = append(lines, t.Message)
	}
	return c.tell(r, notify.Notice{
		DedupKey: fmt.Sprintf("jobs.%s/%d", event, t.ID),
		Subject:  subject(what, event, t.Standing, task.SlowAfter()),
		Text:     strings.Join(lines, "\n"),
		Link:     fmt.Sprintf("/jobs/%d/runs/%d/tasks/%d", r.JobID, r.ID, t.ID),
		Emails:   emails, Destinations: destinations,
	}, event, runBody{Run: runRef{ID: fmt.Sprint(t.ID), Parent: fmt.Sprint(r.ID)}, Task: &taskRef{t.Key}})
}

// runBody is what a generic webhook gets of a run: the documented shape, in
// which all ids are strings.
type runBody struct {
	Task *taskRef `json:"task,omitempty"`
	Run  runRef   `json:"run"`
	Job  jobRef   `json:"job"`
}

type taskRef struct {
	Key string `json:"task_key"`
}

type runRef struct {
	ID     string `json:"run_id"`
	Parent string `json:"parent_run_id,omitempty"`
}

type jobRef struct {
	ID   string `json:"job_id"`
	Name string `json:"name"`
}

func (c *change) tell(r *wherry.Run, n notify.Notice, event string, body runBody) (err error) {
	body.Job = jobRef{fmt.Sprint(r.JobID), r.Name}
	if n.Body, err = json.Marshal(body); err != nil {
		return err
	}
	n.WorkspaceID, n.RunID, n.Kind, n.Bad = r.WorkspaceID, r.ID, "jobs."+event, event == wherry.OnFailure
	return notify.Enqueue(c.Tx, n)
}

// subject is the first line that people read, as short as it can be.
func subject(what, event string, end wherry.Standing, after int64) string {
	return "[wherry] " + strings.ReplaceAll(what, `"`, "") + " " + happened(event, end, after)
}

func happened(event string, end wherry.Standing, after int64) string {
	switch event {
	case wherry.OnStart:
		return "started"
	case wherry.OnSlow:
		return fmt.Sprintf("takes longer than %s", time.Duration(after)*time.Millisecond)
	}
	switch end.Result {
	case wherry.ResultSuccess:
		return "succeeded"
	case wherry.ResultSuccessWithFailures:
		return "succeeded, with failures"
	case wherry.ResultTimedOut:
		return "timed out"
	case wherry.ResultCanceled:
		return "was cancelled"
	case wherry.ResultMaxConcurrent, wherry.ResultUpstreamFailed, wherry.ResultUpstreamCanceled:
		return "was skipped"
	}
	return "failed"
}

// failures are the last words of the tasks that failed by themselves.
func failures(r *wherry.Run) (lines []string) {
	for _, task := range r.Settings.Tasks {
		t := r.Latest(task.Key)
		if t == nil || t.Result != wherry.ResultFailed && t.Result != wherry.ResultTimedOut {
			continue
		}
		lines = append(lines, fmt.Sprintf("Task %s: %s", t.Key, t.Message))
	}
	return lines
}

func clock(ms int64) string {
	if ms == 0 {
		return "never"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05 UTC")
}
