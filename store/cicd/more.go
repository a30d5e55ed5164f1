package cicd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/workflow"
)

// Decisions about an environment of a run.
const (
	Approved = "approved"
	Rejected = "rejected"
)

// Approval is what a reviewer said of one attempt of a run that is to deploy.
type Approval struct {
	RunID       int64  `json:"run_id"`
	Attempt     int64  `json:"attempt"`
	Environment string `json:"environment"`
	Decision    string `json:"decision"`
	By          string `json:"by"`
	Reason      string `json:"reason"`
	At          int64  `json:"at"` // ms
}

// Decide stores a decision; the first counts, and ok is false for a later one.
func Decide(tx *store.Tx, a Approval) (ok bool, err error) {
	n, err := tx.Exec(`INSERT INTO ci_approval (run_id, attempt, environment, decision, reviewer, reason, at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		a.RunID, a.Attempt, a.Environment, a.Decision, a.By, a.Reason, time.Now().UnixMilli())
	tx.Changed(Topic)
	return n == 1, err
}

// Approvals lists the decisions about a run.
func (s *Store) Approvals(ctx context.Context, runID int64) (list []Approval, err error) {
	list = []Approval{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT run_id, attempt, environment, decision, reviewer, reason, at FROM ci_approval WHERE run_id = $1 ORDER BY at`, []any{runID}, func(row func(...any) error) error {
			var a Approval
			err := row(&a.RunID, &a.Attempt, &a.Environment, &a.Decision, &a.By, &a.Reason, &a.At)
			list = append(list, a)
			return err
		})
	})
	return list, err
}

// Decided is a decision with what it was about.
type Decided struct {
	Approval
	Repo, Workflow, Title, Ref string
}

// Decisions lists what was decided about an environment by runs of a workspace,
// the newest first.
func (s *Store) Decisions(ctx context.Context, ws int64, environment string, limit int) (list []Decided, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT a.run_id, a.attempt, a.environment, a.decision, a.reviewer, a.reason, a.at, r.doc FROM ci_approval a JOIN ci_run r ON r.id = a.run_id
			WHERE r.workspace_id = $1 AND a.environment = $2 ORDER BY a.at DESC, a.run_id DESC LIMIT $3`, []any{ws, environment, limit}, func(row func(...any) error) error {
			var d Decided
			var doc string
			if err := row(&d.RunID, &d.Attempt, &d.Environment, &d.Decision, &d.By, &d.Reason, &d.At, &doc); err != nil {
				return err
			}
			var r workflow.Run
			if err := json.Unmarshal([]byte(doc), &r); err != nil {
				return fmt.Errorf("read a run of a workflow: %w", err)
			}
			d.Repo, d.Workflow, d.Title, d.Ref = r.Repo, r.Name, r.Title, r.Event.RefName()
			list = append(list, d)
			return nil
		})
	})
	return list, err
}

// Value is a secret or a variable of a scope: repo:NAME or environment:NAME.
type Value struct {
	WorkspaceID int64  `json:"-"`
	Scope       string `json:"scope"`
	Name        string `json:"name"`
	Secret      bool   `json:"secret"`
	Value       string `json:"value,omitempty"` // sealed, of a secret
	UpdatedBy   string `json:"updated_by"`
	UpdatedAt   int64  `json:"updated_at"` // ms
}

// SetValue stores a secret or a variable.
func (s *Store) SetValue(ctx context.Context, v Value) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO ci_value (workspace_id, scope, name, secret, value, updated_by, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (workspace_id, scope, secret, name) DO UPDATE SET value = excluded.value, updated_by = excluded.updated_by, updated_at = excluded.updated_at`,
			v.WorkspaceID, v.Scope, v.Name, v.Secret, v.Value, v.UpdatedBy, time.Now().UnixMilli())
		return err
	})
}

// DeleteValue deletes a secret or a variable; RESOURCE_DOES_NOT_EXIST if there
// is none.
func (s *Store) DeleteValue(ctx context.Context, v Value) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(`DELETE FROM ci_value WHERE workspace_id = $1 AND scope = $2 AND secret = $3 AND name = $4`, v.WorkspaceID, v.Scope, v.Secret, v.Name)
		if err == nil && n == 0 {
			err = wherry.Errorf(wherry.CodeDoesNotExist, "there is no %s of that name in %s", v.Name, v.Scope)
		}
		return err
	})
}

// Values lists the secrets and variables of a scope, or of all of a workspace
// for "".
func (s *Store) Values(ctx context.Context, ws int64, scope string) (list []Value, err error) {
	list = []Value{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT workspace_id, scope, name, secret, value, updated_by, updated_at FROM ci_value
			WHERE workspace_id = $1 AND ($2 = '' OR scope = $2) ORDER BY scope, secret, name`, []any{ws, scope}, func(row func(...any) error) error {
			var v Value
			err := row(&v.WorkspaceID, &v.Scope, &v.Name, &v.Secret, &v.Value, &v.UpdatedBy, &v.UpdatedAt)
			list = append(list, v)
			return err
		})
	})
	return list, err
}

// Schedule is when a workflow of a default branch fires next.
type Schedule struct {
	RepoID   int64
	Path     string
	Cron     string
	NextFire int64 // ms
}

// Schedules lists those of a repository, or all for 0.
func (s *Store) Schedules(ctx context.Context, repoID int64) (list []Schedule, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT repo_id, path, cron, next_fire FROM ci_schedule WHERE $1 = 0 OR repo_id = $1 ORDER BY next_fire`, []any{repoID}, func(row func(...any) error) error {
			var c Schedule
			err := row(&c.RepoID, &c.Path, &c.Cron, &c.NextFire)
			list = append(list, c)
			return err
		})
	})
	return list, err
}

// SetSchedules replaces those of a repository; one that stays keeps its time.
func SetSchedules(tx *store.Tx, repoID int64, list []Schedule) error {
	var old []Schedule
	err := tx.Each(`SELECT repo_id, path, cron, next_fire FROM ci_schedule WHERE repo_id = $1`, []any{repoID}, func(row func(...any) error) error {
		var c Schedule
		err := row(&c.RepoID, &c.Path, &c.Cron, &c.NextFire)
		old = append(old, c)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM ci_schedule WHERE repo_id = $1`, repoID); err != nil {
		return err
	}
	for _, c := range list {
		for _, o := range old {
			if o.Path == c.Path && o.Cron == c.Cron {
				c.NextFire = o.NextFire
			}
		}
		_, err := tx.Exec(`INSERT INTO ci_schedule (repo_id, path, cron, next_fire) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`, repoID, c.Path, c.Cron, c.NextFire)
		if err != nil {
			return err
		}
	}
	return nil
}

// Fired moves a schedule on; ok is false if another did it first.
func Fired(tx *store.Tx, c Schedule, next int64) (ok bool, err error) {
	n, err := tx.Exec(`UPDATE ci_schedule SET next_fire = $1 WHERE repo_id = $2 AND path = $3 AND cron = $4 AND next_fire = $5`, next, c.RepoID, c.Path, c.Cron, c.NextFire)
	return n == 1, err
}

// Launched is the job run, and its attempt, that carry a job; 0 for none.
func Launched(tx *store.Tx, jobID int64) (jobRun, taskRun int64, err error) {
	err = tx.Row(`SELECT job_run, task_run FROM ci_job WHERE id = $1`, jobID).Scan(&jobRun, &taskRun)
	if errors.Is(err, store.ErrNoRows) {
		return 0, 0, nil
	}
	return jobRun, taskRun, err
}
