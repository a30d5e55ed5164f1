package jobs

import (
	"context"
	"encoding/json"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Documented limits of task values.
const (
	maxValueBytes = 48 << 10
	maxValues     = 250
)

// SetValue stores a task value of the task that an attempt runs; a later
// attempt overwrites it.
func (s *Store) SetValue(ctx context.Context, taskRunID int64, name string, value json.RawMessage) error {
	switch {
	case name == "":
		return wherry.Errorf(wherry.CodeInvalidParameter, "a task value needs a key")
	case len(value) > maxValueBytes:
		return wherry.Errorf(wherry.CodeInvalidParameter, "the task value %q has %d bytes of JSON, and the limit is %d", name, len(value), maxValueBytes)
	case !json.Valid(value):
		return wherry.Errorf(wherry.CodeInvalidParameter, "the task value %q is not JSON", name)
	}
	return s.write(ctx, func(c *change) error {
		jobRunID, key, err := taskOf(c.Tx, taskRunID)
		if err != nil {
			return err
		}
		var n int
		if err := c.Row(`SELECT COUNT(*) FROM task_value WHERE job_run_id = $1 AND NOT (task_key = $2 AND name = $3)`, jobRunID, key, name).Scan(&n); err != nil {
			return err
		}
		if n >= maxValues {
			return wherry.Errorf(wherry.CodeInvalidParameter, "a job run has at most %d task values", maxValues)
		}
		_, err = c.Exec(`INSERT INTO task_value (job_run_id, task_key, name, value, run_id) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (job_run_id, task_key, name) DO UPDATE SET value = excluded.value, run_id = excluded.run_id`,
			jobRunID, key, name, string(value), taskRunID)
		return err
	})
}

// Value returns a value that another task of the same job run has set; ok
// false if it has not.
func (s *Store) Value(ctx context.Context, taskRunID int64, taskKey, name string) (value json.RawMessage, ok bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		jobRunID, _, err := taskOf(tx, taskRunID)
		if err != nil {
			return err
		}
		var v string
		err = tx.Row(`SELECT value FROM task_value WHERE job_run_id = $1 AND task_key = $2 AND name = $3`, jobRunID, taskKey, name).Scan(&v)
		if noRows(err) {
			return nil
		}
		value, ok = json.RawMessage(v), err == nil
		return err
	})
	return value, ok, err
}

func taskOf(tx *store.Tx, taskRunID int64) (jobRunID int64, key string, err error) {
	err = tx.Row(`SELECT job_run_id, task_key FROM task_run WHERE id = $1`, taskRunID).Scan(&jobRunID, &key)
	if noRows(err) {
		err = noRun(taskRunID)
	}
	return jobRunID, key, err
}
