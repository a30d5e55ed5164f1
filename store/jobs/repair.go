package jobs

import (
	"context"
	"encoding/json"

	"github.com/wherry-ml/wherry"
)

// Repair runs tasks of a run that has ended once more, with the job's present
// settings, and returns the id of the repair.
func (s *Store) Repair(ctx context.Context, ws int64, q *wherry.RepairRequest) (repairID int64, err error) {
	err = s.write(ctx, func(c *change) error {
		id, err := jobRunOf(c.Tx, ws, int64(q.RunID))
		if err != nil {
			return err
		}
		if id != int64(q.RunID) {
			return wherry.Errorf(wherry.CodeInvalidParameter, "Run %d is a task run: repair its job run %d", q.RunID, id)
		}
		repairID, err = c.repair(id, q)
		return err
	})
	return repairID, err
}

func (c *change) repair(id int64, q *wherry.RepairRequest) (int64, error) {
	if err := c.claim(id); err != nil {
		return 0, err
	}
	r, err := c.s.load(c.Tx, id)
	if err != nil {
		return 0, err
	}
	if r.JobID != 0 {
		if _, err := c.Exec(`UPDATE job SET admissions = admissions + 1 WHERE id = $1`, r.JobID); err != nil {
			return 0, err
		}
		if j, err := getJob(c.Tx, r.WorkspaceID, r.JobID); err == nil { // a deleted job's run keeps the settings it had
			r.Settings, r.RunAs = j.Settings, j.RunAs
		}
	}
	keys, err := r.RepairTasks(q)
	if err != nil {
		return 0, err
	}
	if err := q.Overriding.Validate(len(r.Settings.Parameters) > 0); err != nil {
		return 0, err
	}
	repairID, err := c.NextID("run")
	if err != nil {
		return 0, err
	}
	r.Standing, r.EndTime = wherry.Standing{State: wherry.Pending}, 0
	if err := c.admit(r); err != nil {
		return 0, err
	}
	if r.Terminal() {
		return 0, wherry.Errorf(wherry.CodeInvalidState, "run %d cannot be repaired now: %s", id, r.Message)
	}
	r.Repairs = append(r.Repairs, wherry.Repair{ID: repairID, StartTime: c.now})
	c.override(r, q)
	if err := c.repairAttempts(r, keys); err != nil {
		return 0, err
	}
	if err := c.storeRepaired(r); err != nil {
		return 0, err
	}
	if r.State != wherry.Queued { // it tells when it starts
		if err := c.emitStarted(r); err != nil {
			return 0, err
		}
	}
	return repairID, c.advance(r)
}

// override puts the parameters that came with the repair over those of the run.
func (c *change) override(r *wherry.Run, q *wherry.RepairRequest) {
	given := map[string]string{}
	for _, p := range r.Parameters {
		if p.Value != nil && (p.Default == nil || *p.Value != *p.Default) {
			given[p.Name] = *p.Value
		}
	}
	for k, v := range q.JobParameters {
		given[k] = v
	}
	r.Parameters = wherry.RunParameters(r.Settings.Parameters, given)
	o := &r.Overriding
	if q.Notebook != nil {
		o.Notebook = q.Notebook
	}
	if q.Python != nil {
		o.Python = q.Python
	}
	if q.PythonNamed != nil {
		o.PythonNamed = q.PythonNamed
	}
}

func (c *change) repairAttempts(r *wherry.Run, keys []string) error {
	var made []*wherry.TaskRun
	for _, key := range keys {
		t := &wherry.TaskRun{Key: key, Repair: len(r.Repairs), Standing: wherry.Standing{State: wherry.Blocked}}
		if old := r.Latest(key); old != nil {
			t.Number, t.Original = old.Number+1, old.Original
		}
		made = append(made, t)
	}
	if err := c.insertTasks(r, made); err != nil {
		return err
	}
	r.Attempts = append(r.Attempts, made...)
	last := &r.Repairs[len(r.Repairs)-1]
	for _, t := range made {
		last.TaskRunIDs = append(last.TaskRunIDs, t.ID)
	}
	return nil
}

func (c *change) storeRepaired(r *wherry.Run) error {
	parameters, err := json.Marshal(r.Parameters)
	if err != nil {
		return err
	}
	overriding, err := json.Marshal(r.Overriding)
	if err != nil {
		return err
	}
	if err := c.storeRepairs(r); err != nil {
		return err
	}
	_, err = c.Exec(`UPDATE job_run SET settings = $1, timeout_seconds = $2, run_as = $3, parameters = $4, overriding = $5, queued_at = $6 WHERE id = $7`,
		string(r.Settings.Raw), r.Settings.TimeoutSeconds, r.RunAs.ID, string(parameters), string(overriding), r.QueuedAt, r.ID)
	return err
}
