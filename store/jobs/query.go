package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// jobRunOf returns the job run that an id belongs to: itself, or that of a task
// run.
func jobRunOf(tx *store.Tx, ws, id int64) (jobRunID int64, err error) {
	err = tx.Row(`SELECT id FROM job_run WHERE workspace_id = $1 AND id = $2
		UNION ALL SELECT job_run_id FROM task_run WHERE workspace_id = $1 AND id = $2`, ws, id).Scan(&jobRunID)
	if noRows(err) {
		err = noRun(id)
	}
	return jobRunID, err
}

// WorkspaceOfRun returns the workspace of a run or task run: their ids are of the
// whole installation.
func (s *Store) WorkspaceOfRun(ctx context.Context, id int64) (ws int64, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Row(`SELECT workspace_id FROM job_run WHERE id = $1 UNION ALL SELECT workspace_id FROM task_run WHERE id = $1`, id).Scan(&ws)
	})
	if noRows(err) {
		err = noRun(id)
	}
	return ws, err
}

// WorkspaceOfJob returns the workspace of a job.
func (s *Store) WorkspaceOfJob(ctx context.Context, id int64) (ws int64, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Row(`SELECT workspace_id FROM job WHERE id = $1`, id).Scan(&ws)
	})
	if noRows(err) {
		err = noJob(id)
	}
	return ws, err
}

// Workspaces lists the workspaces that have jobs, but for those that were deleted.
func (s *Store) Workspaces(ctx context.Context) (list []int64, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT DISTINCT w.id FROM workspace w JOIN job j ON j.workspace_id = w.id WHERE NOT w.removed ORDER BY w.id`, nil, func(scan func(...any) error) error {
			var id int64
			err := scan(&id)
			list = append(list, id)
			return err
		})
	})
	return list, err
}

// Run returns the job run that an id belongs to, and the attempt with that id,
// nil if it is the id of the job run itself.
func (s *Store) Run(ctx context.Context, ws, id int64) (r *wherry.Run, t *wherry.TaskRun, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		jobRunID, err := jobRunOf(tx, ws, id)
		if err != nil {
			return err
		}
		if r, err = s.load(tx, jobRunID); err != nil {
			return err
		}
		t = r.Attempt(id)
		return nil
	})
	return r, t, err
}

// Filter chooses runs.
type Filter struct {
	WorkspaceID      int64 // 0 is any
	JobID            int64 // 0 is any
	Active           bool
	Completed        bool
	Type             string // "" is JOB_RUN and SUBMIT_RUN
	From, To         int64  // start time in milliseconds; 0 is open
	Principal        int64  // runs as that principal; 0 is any
	Before           int64  // runs with a smaller id only; 0 is all
	After            int64  // runs with a larger id only, the oldest first
	Limit            int
	Attempts         bool // read the attempts too
	IncludeWorkflows bool
}

// Runs lists runs, the newest first.
func (s *Store) Runs(ctx context.Context, f Filter) (list []*wherry.Run, err error) {
	where, args := []string{"true"}, []any{}
	and := func(set bool, cond string, arg any) {
		if set {
			args = append(args, arg)
			where = append(where, fmt.Sprintf(cond, len(args)))
		}
	}
	and(f.WorkspaceID != 0, "r.workspace_id = $%d", f.WorkspaceID)
	and(f.JobID != 0, "r.job_id = $%d", f.JobID)
	and(f.Type != "", "r.run_type = $%d", f.Type)
	and(f.From != 0, "r.start_time >= $%d", f.From)
	and(f.To != 0, "r.start_time <= $%d", f.To)
	and(f.Principal != 0, "r.run_as = $%d", f.Principal)
	and(f.Before != 0, "r.id < $%d", f.Before)
	and(f.After != 0, "r.id > $%d", f.After)
	if f.Active {
		where = append(where, "r.end_time = 0")
	}
	if f.Completed {
		where = append(where, "r.end_time > 0")
	}
	if f.Type == "" && !f.IncludeWorkflows {
		where = append(where, "r.run_type <> 'WORKFLOW_RUN'")
	}
	if f.Type == "" {
		where = append(where, "r.run_type <> 'CI_RUN'")
	}
	order := "DESC"
	if f.After != 0 {
		order = "ASC"
	}
	args = append(args, f.Limit)
	query := fmt.Sprintf(`SELECT %s FROM job_run r JOIN principal p ON p.id = r.run_as WHERE %s ORDER BY r.id %s LIMIT $%d`,
		runColumns, strings.Join(where, " AND "), order, len(args))
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		err := tx.Each(query, args, func(scan func(...any) error) error {
			r, err := s.scanRun(scan)
			list = append(list, r)
			return err
		})
		if err != nil || !f.Attempts {
			return err
		}
		for _, r := range list {
			if r.Attempts, err = tasksOf(tx, r.ID); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// Output is what an attempt left, but for its output streams, which are files.
type Output struct {
	Error        string
	Trace        string
	ExitValue    string
	Exited       bool
	SourceDigest string
	// Attempt is what compute was given, nil if it never started.
	Attempt *wherry.Attempt
}

// Outputs returns what the attempts of a job run left, by their ids.
func (s *Store) Outputs(ctx context.Context, jobRunID int64) (map[int64]Output, error) {
	all := map[int64]Output{}
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT id, error, error_trace, exit_value, exited, source_digest, attempt FROM task_run WHERE job_run_id = $1`,
			[]any{jobRunID}, func(scan func(...any) error) error {
				var id int64
				var o Output
				var doc string
				if err := scan(&id, &o.Error, &o.Trace, &o.ExitValue, &o.Exited, &o.SourceDigest, &doc); err != nil {
					return err
				}
				if doc != "" {
					o.Attempt = &wherry.Attempt{}
					if err := json.Unmarshal([]byte(doc), o.Attempt); err != nil {
						return err
					}
				}
				all[id] = o
				return nil
			})
	})
	return all, err
}
