package jobs

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

const runColumns = `r.id, r.workspace_id, r.job_id, r.name, r.run_type, r.trigger_kind, r.trigger_time, r.settings, r.timeout_seconds,
	r.parameters, r.overriding, r.only_tasks, r.creator, r.state, r.result, r.code, r.message, r.cause, r.queue, r.created_at, r.queued_at,
	r.start_time, r.end_time, r.parent_task_run, r.level, r.repairs, r.warned, ` + principalColumns

func (s *Store) scanRun(scan func(...any) error) (*wherry.Run, error) {
	r := &wherry.Run{}
	var doc, parameters, overriding, only, repairs string
	var timeout int64
	err := scan(append([]any{
		&r.ID, &r.WorkspaceID, &r.JobID, &r.Name, &r.Type, &r.Trigger, &r.TriggerTime, &doc, &timeout,
		&parameters, &overriding, &only, &r.Creator, &r.State, &r.Result, &r.Code, &r.Message, &r.Cause, &r.Queue, &r.CreatedAt, &r.QueuedAt,
		&r.StartTime, &r.EndTime, &r.ParentTaskRun, &r.Level, &repairs, &r.Warned,
	}, principalFields(&r.RunAs)...)...)
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		text string
		to   any
	}{{parameters, &r.Parameters}, {overriding, &r.Overriding}, {only, &r.Only}, {repairs, &r.Repairs}} {
		if err := json.Unmarshal([]byte(f.text), f.to); err != nil {
			return nil, fmt.Errorf("run %d: %w", r.ID, err)
		}
	}
	if r.Settings, err = s.settings(settingsKey{r.ID, len(r.Repairs)}, doc); err != nil {
		return nil, err
	}
	r.Settings.TimeoutSeconds = timeout
	return r, nil
}

const taskColumns = `t.id, t.job_run_id, t.task_key, t.parent_id, t.iteration, t.input, t.number, t.repair, t.original_id, t.state, t.result,
	t.code, t.message, t.cause, t.not_before, t.start_time, t.end_time, t.setup_ms, t.execution_ms, t.outcome, t.child_run, t.cluster_id, t.warned`

func scanTask(scan func(...any) error) (*wherry.TaskRun, error) {
	t, input := &wherry.TaskRun{}, ""
	err := scan(&t.ID, &t.JobRunID, &t.Key, &t.ParentID, &t.Iteration, &input, &t.Number, &t.Repair, &t.Original, &t.State, &t.Result,
		&t.Code, &t.Message, &t.Cause, &t.NotBefore, &t.StartTime, &t.EndTime, &t.SetupMillis, &t.ExecutionMillis, &t.Outcome, &t.ChildRun, &t.ClusterID, &t.Warned)
	if input != "" {
		t.Input = json.RawMessage(input)
	}
	return t, err
}

func noRun(id int64) error {
	return wherry.Errorf(wherry.CodeInvalidParameter, "Run %d does not exist.", id)
}

// load reads a run with all its attempts.
func (s *Store) load(tx *store.Tx, id int64) (*wherry.Run, error) {
	r, err := s.scanRun(tx.Row(`SELECT `+runColumns+` FROM job_run r JOIN principal p ON p.id = r.run_as WHERE r.id = $1`, id).Scan)
	if noRows(err) {
		return nil, noRun(id)
	}
	if err != nil {
		return nil, err
	}
	r.Attempts, err = tasksOf(tx, id)
	return r, err
}

func tasksOf(tx *store.Tx, id int64) (list []*wherry.TaskRun, err error) {
	err = tx.Each(`SELECT `+taskColumns+` FROM task_run t WHERE t.job_run_id = $1 ORDER BY t.id`, []any{id}, func(scan func(...any) error) error {
		t, err := scanTask(scan)
		list = append(list, t)
		return err
	})
	return list, err
}

// claim puts this transaction in the order of those that change the run. An
// increment depends on no version it saw, so nothing can be lost by it; on
// PostgreSQL the next one waits for the end of this transaction.
func (c *change) claim(runID int64) error {
	n, err := c.Exec(`UPDATE job_run SET version = version + 1 WHERE id = $1`, runID)
	if err == nil && n == 0 {
		return noRun(runID)
	}
	return err
}

func (c *change) insertRun(r *wherry.Run) error {
	var texts []any
	for _, v := range []any{r.Parameters, r.Overriding, r.Only, r.Repairs} {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		texts = append(texts, string(b))
	}
	_, err := c.Exec(`INSERT INTO job_run (id, workspace_id, job_id, name, run_type, trigger_kind, trigger_time, settings, timeout_seconds,
		parameters, overriding, only_tasks, repairs, creator, run_as, state, result, code, message, cause, queue, created_at, queued_at,
		start_time, end_time, parent_task_run, level, wake_at, released)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, 0, true)`,
		r.ID, r.WorkspaceID, r.JobID, r.Name, r.Type, r.Trigger, r.TriggerTime, string(r.Settings.Raw), r.Settings.TimeoutSeconds,
		texts[0], texts[1], texts[2], texts[3], r.Creator, r.RunAs.ID, r.State, r.Result, r.Code, r.Message, r.Cause, r.Queue, r.CreatedAt, r.QueuedAt,
		r.StartTime, r.EndTime, r.ParentTaskRun, r.Level)
	return err
}

// insertTasks gives new attempts their ids and stores them, many in a statement.
func (c *change) insertTasks(r *wherry.Run, list []*wherry.TaskRun) error {
	const columns, most = 19, 50
	for len(list) > 0 {
		batch := list[:min(most, len(list))]
		list = list[len(batch):]
		var rows []string
		var args []any
		for _, t := range batch {
			id, err := c.NextID("run")
			if err != nil {
				return err
			}
			t.ID, t.JobRunID = id, r.ID
			if t.Original == 0 {
				t.Original = id
			}
			rows = append(rows, "("+store.In(len(args)+1, columns)+")")
			args = append(args, id, r.WorkspaceID, r.ID, t.Key, t.ParentID, t.Iteration, string(t.Input), t.Number, t.Repair, t.Original, t.State,
				t.Result, t.Code, t.Message, t.Cause, t.NotBefore, t.StartTime, t.EndTime, t.Outcome)
		}
		_, err := c.Exec(`INSERT INTO task_run (id, workspace_id, job_run_id, task_key, parent_id, iteration, input, number, repair, original_id, state,
			result, code, message, cause, not_before, start_time, end_time, outcome) VALUES `+strings.Join(rows, ", "), args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// updateTask writes how an attempt stands, and what compute is to be given of it
// if it has just begun.
func (c *change) updateTask(t *wherry.TaskRun) error {
	args := []any{t.State, t.Result, t.Code, t.Message, t.Cause, t.StartTime, t.EndTime, t.Outcome, t.ChildRun, t.ParentID, t.ID, t.Warned}
	var begun string
	if doc, ok := c.attempts[t.ID]; ok {
		delete(c.attempts, t.ID)
		begun = ", attempt = $13"
		args = append(args, doc)
	}
	_, err := c.Exec(`UPDATE task_run SET state = $1, result = $2, code = $3, message = $4, cause = $5, start_time = $6, end_time = $7,
		outcome = $8, child_run = $9, parent_id = $10, warned = $12`+begun+` WHERE id = $11`, args...)
	return err
}
