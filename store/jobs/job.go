package jobs

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/drift"
)

const jobColumns = `j.id, j.workspace_id, j.creator, j.settings, j.created_at, j.version, ` + principalColumns

func scanJob(scan func(...any) error) (*wherry.Job, error) {
	j, doc := &wherry.Job{}, ""
	if err := scan(append([]any{&j.ID, &j.WorkspaceID, &j.Creator, &doc, &j.CreatedAt, &j.Version}, principalFields(&j.RunAs)...)...); err != nil {
		return nil, err
	}
	return j, json.Unmarshal([]byte(doc), &j.Settings)
}

func noJob(id int64) error {
	return wherry.Errorf(wherry.CodeInvalidParameter, "Job %d does not exist.", id)
}

func getJob(tx *store.Tx, ws, id int64) (*wherry.Job, error) {
	j, err := scanJob(tx.Row(`SELECT `+jobColumns+` FROM job j JOIN principal p ON p.id = j.run_as
		WHERE j.workspace_id = $1 AND j.id = $2`, ws, id).Scan)
	if noRows(err) {
		return nil, noJob(id)
	}
	return j, err
}

// Create stores a job and gives it its id. What also stores (its permissions) is
// there with the job or, like the job, not at all.
func (s *Store) Create(ctx context.Context, j *wherry.Job, also ...func(tx *store.Tx, jobID int64) error) error {
	return s.write(ctx, func(c *change) (err error) {
		if j.ID, err = c.NextID("job"); err != nil {
			return err
		}
		j.CreatedAt, j.Version = c.now, 1
		if err := checkRunJobs(c.Tx, j.WorkspaceID, j.ID, &j.Settings); err != nil {
			return err
		}
		_, err = c.Exec(`INSERT INTO job (id, workspace_id, name, name_folded, creator, run_as, settings, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			j.ID, j.WorkspaceID, j.Settings.Name, strings.ToLower(j.Settings.Name), j.Creator, j.RunAs.ID, string(j.Settings.Raw), c.now)
		for _, fn := range also {
			if err == nil {
				err = fn(c.Tx, j.ID)
			}
		}
		c.Changed(TopicJob)
		return err
	})
}

// Job returns a job; "Job … does not exist." if there is none.
func (s *Store) Job(ctx context.Context, ws, id int64) (j *wherry.Job, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) (err error) {
		j, err = getJob(tx, ws, id)
		return err
	})
	return j, err
}

// Jobs lists jobs, the newest first, from the offset on; name "" is any, else
// it is compared without regard to case. Those of all workspaces for ws 0.
func (s *Store) Jobs(ctx context.Context, ws int64, name string, limit, offset int) (list []*wherry.Job, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+jobColumns+` FROM job j JOIN principal p ON p.id = j.run_as
			WHERE (j.workspace_id = $1 OR $1 = 0) AND ($2 = '' OR j.name_folded = $2) ORDER BY j.id DESC LIMIT $3 OFFSET $4`,
			[]any{ws, strings.ToLower(name), limit, offset}, func(scan func(...any) error) error {
				j, err := scanJob(scan)
				list = append(list, j)
				return err
			})
	})
	return list, err
}

// Search finds the jobs whose name holds a text, in any case, the newest first; of
// all workspaces for ws 0.
func (s *Store) Search(ctx context.Context, ws int64, text string, limit int) (list []*wherry.Job, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+jobColumns+` FROM job j JOIN principal p ON p.id = j.run_as
			WHERE (j.workspace_id = $1 OR $1 = 0) AND j.name_folded LIKE $2 ESCAPE '!' ORDER BY j.id DESC LIMIT $3`,
			[]any{ws, store.Containing(strings.ToLower(text)), limit}, func(scan func(...any) error) error {
				j, err := scanJob(scan)
				list = append(list, j)
				return err
			})
	})
	return list, err
}

// Update replaces the settings, and who the job runs as, by what edit makes of
// them. Runs that exist keep theirs, but for timeout_seconds.
func (s *Store) Update(ctx context.Context, ws, id int64, edit func(*wherry.Job) error) error {
	return s.write(ctx, func(c *change) error {
		j, err := getJob(c.Tx, ws, id)
		if err != nil {
			return err
		}
		if err := edit(j); err != nil {
			return err
		}
		if err := checkRunJobs(c.Tx, ws, id, &j.Settings); err != nil {
			return err
		}
		if err := c.ExecVersioned(`UPDATE job SET name = $1, name_folded = $2, run_as = $3, settings = $4, version = version + 1
			WHERE id = $5 AND version = $6`, j.Settings.Name, strings.ToLower(j.Settings.Name), j.RunAs.ID, string(j.Settings.Raw), id, j.Version); err != nil {
			return err
		}
		c.Changed(TopicJob)
		if err := drift.Touch(ctx, c.Tx, "jobs", strconv.FormatInt(id, 10)); err != nil {
			return err
		}
		if err := c.applyTimeout(id, j.Settings.TimeoutSeconds); err != nil {
			return err
		}
		return c.promote(id)
	})
}

// applyTimeout sets the time-out of a job's active runs.
func (c *change) applyTimeout(jobID, seconds int64) error {
	var ids []int64
	err := c.Each(`SELECT id FROM job_run WHERE job_id = $1 AND end_time = 0 AND timeout_seconds <> $2`, []any{jobID, seconds},
		func(scan func(...any) error) error {
			var id int64
			err := scan(&id)
			ids = append(ids, id)
			return err
		})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := c.Exec(`UPDATE job_run SET timeout_seconds = $1 WHERE id = $2`, seconds, id); err != nil {
			return err
		}
		if err := c.advanceRun(id); err != nil {
			return err
		}
	}
	return nil
}

// Delete removes a job; its runs stay, and the active ones are cancelled.
func (s *Store) Delete(ctx context.Context, ws, id int64) error {
	return s.write(ctx, func(c *change) error {
		if _, err := getJob(c.Tx, ws, id); err != nil {
			return err
		}
		if err := c.cancelAll(`job_id = $1`, id); err != nil {
			return err
		}
		for _, q := range []string{`DELETE FROM job_schedule WHERE job_id = $1`, `DELETE FROM job_fire WHERE job_id = $1`, `DELETE FROM job WHERE id = $1`} {
			if _, err := c.Exec(q, id); err != nil {
				return err
			}
		}
		c.Changed(TopicJob)
		return drift.Touch(ctx, c.Tx, "jobs", strconv.FormatInt(id, 10))
	})
}

// maxRunJobLevels is how deep jobs may start jobs.
const maxRunJobLevels = 3

// checkRunJobs refuses run_job tasks whose job does not exist, that form a
// cycle or that nest too deep.
func checkRunJobs(tx *store.Tx, ws, id int64, settings *wherry.JobSettings) error {
	var visit func(s *wherry.JobSettings, path []int64) error
	visit = func(s *wherry.JobSettings, path []int64) error {
		for _, t := range s.Tasks {
			if t.ForEach != nil {
				t = t.ForEach.Task
			}
			if t.RunJob == nil {
				continue
			}
			child := int64(t.RunJob.JobID)
			for _, p := range path {
				if p == child {
					return wherry.Errorf(wherry.CodeInvalidParameter, "task %q: run_job_task of job %d forms a cycle", t.Key, child)
				}
			}
			if len(path) >= maxRunJobLevels {
				return wherry.Errorf(wherry.CodeInvalidParameter, "task %q: run_job_task nests deeper than %d levels", t.Key, maxRunJobLevels)
			}
			j, err := getJob(tx, ws, child)
			if err != nil {
				return err
			}
			if err := visit(&j.Settings, append(path, child)); err != nil {
				return err
			}
		}
		return nil
	}
	return visit(settings, []int64{id})
}
