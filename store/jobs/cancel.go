package jobs

import (
	"context"

	"github.com/wherry-ml/wherry"
)

// Cancel asks for the end of a job run or of one task run; one that has ended
// stays as it is. It returns before compute has ended anything.
func (s *Store) Cancel(ctx context.Context, ws, runID int64) error {
	return s.write(ctx, func(c *change) error {
		jobRunID, err := jobRunOf(c.Tx, ws, runID)
		if err != nil {
			return err
		}
		if jobRunID == runID {
			return c.cancelRun(runID, wherry.CauseUser)
		}
		return c.cancelTask(jobRunID, runID)
	})
}

// CancelAll cancels the active runs of a job, or with jobID 0 and queued those
// of all jobs that wait in a queue.
func (s *Store) CancelAll(ctx context.Context, ws, jobID int64, queued bool) error {
	return s.write(ctx, func(c *change) error {
		switch {
		case jobID != 0 && queued:
			return c.cancelAll(`workspace_id = $1 AND job_id = $2 AND state = 'QUEUED'`, ws, jobID)
		case jobID != 0:
			return c.cancelAll(`workspace_id = $1 AND job_id = $2`, ws, jobID)
		default:
			return c.cancelAll(`workspace_id = $1 AND state = 'QUEUED'`, ws)
		}
	})
}

func (c *change) cancelAll(where string, args ...any) error {
	var ids []int64
	err := c.Each(`SELECT id FROM job_run WHERE end_time = 0 AND `+where+` ORDER BY id DESC`, args, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := c.cancelRun(id, wherry.CauseUser); err != nil {
			return err
		}
	}
	return nil
}

func (c *change) cancelRun(id int64, cause string) error {
	if err := c.claim(id); err != nil {
		return err
	}
	r, err := c.s.load(c.Tx, id)
	if err != nil || r.Terminal() || r.Cause != "" {
		return err
	}
	r.State, r.Cause = wherry.Terminating, cause
	return c.advance(r)
}

func (c *change) cancelTask(jobRunID, taskRunID int64) error {
	if err := c.claim(jobRunID); err != nil {
		return err
	}
	r, err := c.s.load(c.Tx, jobRunID)
	if err != nil {
		return err
	}
	t := r.Attempt(taskRunID)
	if t == nil || t.Terminal() || t.Cause != "" {
		return nil
	}
	t.Cause = wherry.CauseUser
	if err := c.updateTask(t); err != nil {
		return err
	}
	if r.State == wherry.Queued {
		return nil
	}
	return c.advance(r)
}

// DeleteRun removes a job run that has ended, with its tasks.
func (s *Store) DeleteRun(ctx context.Context, ws, runID int64) error {
	return s.write(ctx, func(c *change) error {
		id, err := jobRunOf(c.Tx, ws, runID)
		if err != nil {
			return err
		}
		if id != runID {
			return wherry.Errorf(wherry.CodeInvalidParameter, "Run %d is a task run: delete its job run %d", runID, id)
		}
		if err := c.claim(id); err != nil {
			return err
		}
		n, err := c.Exec(`DELETE FROM job_run WHERE id = $1 AND end_time > 0`, id)
		if err == nil && n == 0 {
			return wherry.Errorf(wherry.CodeInvalidState, "Run %d is active: cancel it before it is deleted", id)
		}
		return err
	})
}
