package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// AttemptRunning notes that the first line of user code is about to run.
func (s *Store) AttemptRunning(ctx context.Context, runID int64, clusterID string) error {
	return s.write(ctx, func(c *change) error {
		n, err := c.Exec(`UPDATE task_run SET state = 'RUNNING', cluster_id = $1, setup_ms = $2 - start_time
			WHERE id = $3 AND end_time = 0 AND state = 'PENDING'`, clusterID, c.now, runID)
		if err != nil || n == 0 {
			return err
		}
		c.Changed(TopicRun)
		_, err = c.Exec(`UPDATE job_run SET state = 'RUNNING', version = version + 1
			WHERE id = (SELECT job_run_id FROM task_run WHERE id = $1) AND state = 'PENDING' AND end_time = 0`, runID)
		return err
	})
}

// Message says what compute is doing for an attempt that has not ended.
func (s *Store) Message(ctx context.Context, runID int64, message string) error {
	return s.write(ctx, func(c *change) error {
		n, err := c.Exec(`UPDATE task_run SET message = $1 WHERE id = $2 AND end_time = 0 AND message <> $1`, message, runID)
		if n > 0 {
			c.Changed(TopicRun)
		}
		return err
	})
}

// AttemptDone settles an attempt and starts what it made ready. A second result
// of the same attempt changes nothing.
func (s *Store) AttemptDone(ctx context.Context, runID int64, clusterID string, r wherry.Result) error {
	return s.write(ctx, func(c *change) error { return c.done(runID, clusterID, r) })
}

// AttemptDoneTx is AttemptDone within a transaction of compute's own, which
// stores the last of the output beside the result.
func (s *Store) AttemptDoneTx(tx *store.Tx, runID int64, clusterID string, r wherry.Result) error {
	c := s.change(tx)
	if err := c.done(runID, clusterID, r); err != nil {
		return err
	}
	return c.finish()
}

func (c *change) done(taskRunID int64, clusterID string, result wherry.Result) error {
	var jobRunID int64
	err := c.Row(`UPDATE job_run SET version = version + 1 WHERE id = (SELECT job_run_id FROM task_run WHERE id = $1 AND end_time = 0) RETURNING id`,
		taskRunID).Scan(&jobRunID)
	if noRows(err) {
		return nil // it was settled, and its run perhaps deleted since
	}
	if err != nil {
		return err
	}
	r, err := c.s.load(c.Tx, jobRunID)
	if err != nil {
		return err
	}
	t := r.Attempt(taskRunID)
	if t == nil || t.Terminal() {
		return nil
	}
	t.Standing = settled(t.Standing, result)
	t.EndTime, t.SetupMillis, t.ExecutionMillis = c.now, result.SetupMillis, result.ExecutionMillis
	if clusterID != "" {
		t.ClusterID = clusterID
	}
	if _, err := c.Exec(`UPDATE task_run SET state = $1, result = $2, code = $3, message = $4, cause = $5, end_time = $6, cluster_id = $7, setup_ms = $8,
		execution_ms = $9, error = $10, error_trace = $11, exit_value = $12, exited = $13, source_digest = $14 WHERE id = $15`,
		t.State, t.Result, t.Code, t.Message, t.Cause, t.EndTime, t.ClusterID, t.SetupMillis,
		t.ExecutionMillis, result.Error, result.Trace, result.ExitValue, result.Exited, result.SourceDigest, t.ID); err != nil {
		return err
	}
	if err := c.emitTaskFinished(r, t, result.SourceDigest); err != nil {
		return err
	}
	if err := c.cancelAll(`parent_task_run = $1 AND run_type = 'WORKFLOW_RUN'`, t.ID); err != nil {
		return err
	}
	return c.advance(r)
}

// settled is how an attempt ends with a result: who asked for its end is
// believed rather than what the killed process said, unless it had succeeded.
func settled(s wherry.Standing, r wherry.Result) wherry.Standing {
	if s.Cause != "" && r.State != wherry.ResultSuccess {
		return wherry.Cancelled(s.Cause)
	}
	end := wherry.Standing{State: wherry.Terminated, Result: r.State, Code: r.Code, Message: r.Message}
	if end.Message == "" {
		end.Message = r.Error
	}
	return end
}

// ActiveAttempts are the attempts that compute has, or is about to be given.
func (s *Store) ActiveAttempts(ctx context.Context) (list []wherry.Attempt, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT attempt FROM task_run WHERE end_time = 0 AND state IN ('PENDING', 'RUNNING', 'TERMINATING') AND attempt <> ''
			ORDER BY id`, nil, func(scan func(...any) error) error {
			a, err := scanAttempt(scan)
			if err == nil && !settledHere(a.Task) {
				list = append(list, *a)
			}
			return err
		})
	})
	return list, err
}

func scanAttempt(scan func(...any) error) (*wherry.Attempt, error) {
	var doc string
	if err := scan(&doc); err != nil {
		return nil, err
	}
	a := &wherry.Attempt{}
	return a, json.Unmarshal([]byte(doc), a)
}

// settledHere reports whether a task needs no agent.
func settledHere(doc json.RawMessage) bool {
	var t wherry.Task
	return json.Unmarshal(doc, &t) == nil && t.Settled()
}

// Waiting is what the scheduler must tell compute.
type Waiting struct {
	Start, Cancel []int64 // ids of attempts
	Release       []int64 // ids of job runs that have ended
	// WakeAt is when time alone changes something, in milliseconds; 0 for never.
	WakeAt int64
}

// Waiting reads all of it.
func (s *Store) Waiting(ctx context.Context) (w Waiting, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		for q, to := range map[string]*[]int64{
			`SELECT id FROM task_run WHERE end_time = 0 AND state = 'PENDING' ORDER BY id`:     &w.Start,
			`SELECT id FROM task_run WHERE end_time = 0 AND state = 'TERMINATING' ORDER BY id`: &w.Cancel,
			`SELECT id FROM job_run WHERE released = false ORDER BY id`:                        &w.Release,
		} {
			if err := tx.Each(q, nil, func(scan func(...any) error) error {
				var id int64
				err := scan(&id)
				*to = append(*to, id)
				return err
			}); err != nil {
				return err
			}
		}
		return tx.Row(`SELECT COALESCE(MIN(wake_at), 0) FROM job_run WHERE wake_at > 0`).Scan(&w.WakeAt)
	})
	return w, err
}

// Attempt returns what compute is given of an attempt; ok false if it is not
// (or no longer) one that compute runs.
func (s *Store) Attempt(ctx context.Context, runID int64) (a *wherry.Attempt, ok bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		a, err = scanAttempt(tx.Row(`SELECT attempt FROM task_run WHERE id = $1 AND end_time = 0 AND attempt <> ''`, runID).Scan)
		if noRows(err) {
			return nil
		}
		ok = err == nil && !settledHere(a.Task)
		return err
	})
	return a, ok, err
}

// Due advances the runs for which the time has come, and reports how many.
func (s *Store) Due(ctx context.Context) (n int, err error) {
	var ids []int64
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT id FROM job_run WHERE wake_at > 0 AND wake_at <= $1 ORDER BY wake_at LIMIT 100`, []any{s.now().UnixMilli()},
			func(scan func(...any) error) error {
				var id int64
				err := scan(&id)
				ids = append(ids, id)
				return err
			})
	})
	for _, id := range ids { // one that fails does not keep the others
		if aerr := s.write(ctx, func(c *change) error { return c.advanceRun(id) }); aerr != nil {
			err = errors.Join(err, fmt.Errorf("advance run %d: %w", id, aerr))
			continue
		}
		n++
	}
	return n, err
}

// Released notes that compute knows of the end of a run.
func (s *Store) Released(ctx context.Context, jobRunID int64) error {
	return s.write(ctx, func(c *change) error {
		_, err := c.Exec(`UPDATE job_run SET released = true WHERE id = $1`, jobRunID)
		return err
	})
}
