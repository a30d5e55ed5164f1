// Package cicd stores the runs of workflows with their jobs, who approved them,
// their secrets and variables, artifacts and caches.
package cicd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/workflow"
)

// Topic wakes those who wait for changes of runs.
const Topic = "cicd"

// Store keeps runs in db.
type Store struct{ db *store.DB }

// New returns the store.
func New(db *store.DB) *Store { return &Store{db: db} }

// DB is the database below, for those who span a transaction with others.
func (s *Store) DB() *store.DB { return s.db }

// Record is a run as it is stored.
type Record struct {
	*workflow.Run
	RepoID int64
	// StatusSHA is the commit whose checks the run is: of a pull request, its
	// head and not the merge that is tested.
	StatusSHA string
	// Files names the files below .github that it runs by.
	Files string
	// Settled: all that follows from its end was done.
	Settled bool
	Version int64
}

const columns = `workspace_id, repo_id, status_sha, files, doc, settled, version`

func scan(row func(...any) error) (*Record, error) {
	r := &Record{Run: &workflow.Run{}}
	var doc string
	var ws int64
	if err := row(&ws, &r.RepoID, &r.StatusSHA, &r.Files, &doc, &r.Settled, &r.Version); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(doc), r.Run); err != nil {
		return nil, fmt.Errorf("read a run of a workflow: %w", err)
	}
	r.WorkspaceID = ws
	return r, nil
}

// Keep stores the files below .github, once each, and returns their digest.
func Keep(tx *store.Tx, files workflow.Files) (string, error) {
	b, err := json.Marshal(files)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	digest := hex.EncodeToString(sum[:])
	_, err = tx.Exec(`INSERT INTO ci_files (digest, files) VALUES ($1, $2) ON CONFLICT DO NOTHING`, digest, string(b))
	return digest, err
}

// Files returns what Keep stored.
func (s *Store) Files(ctx context.Context, digest string) (files workflow.Files, err error) {
	var doc string
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Row(`SELECT files FROM ci_files WHERE digest = $1`, digest).Scan(&doc)
	})
	if err != nil {
		return nil, err
	}
	return files, json.Unmarshal([]byte(doc), &files)
}

// Insert stores a new run and gives it its id and number.
func Insert(tx *store.Tx, r *Record) (err error) {
	if r.ID, err = tx.NextID("ci_run"); err != nil {
		return err
	}
	err = tx.Row(`INSERT INTO ci_number (repo_id, path, last) VALUES ($1, $2, 1)
		ON CONFLICT (repo_id, path) DO UPDATE SET last = ci_number.last + 1 RETURNING last`, r.RepoID, r.Path).Scan(&r.Number)
	if err != nil {
		return err
	}
	doc, err := json.Marshal(r.Run)
	if err != nil {
		return err
	}
	r.Version = 1
	tx.Changed(Topic)
	_, err = tx.Exec(`INSERT INTO ci_run (id, workspace_id, repo_id, path, event, ref, sha, status_sha, state, concurrency, files, doc, settled, created_at, version)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1)`,
		r.ID, r.WorkspaceID, r.RepoID, r.Path, r.Event.Name, r.Event.Ref, r.Event.SHA, r.StatusSHA, r.State, r.Group, r.Files, string(doc), r.Settled, r.CreatedAt)
	return err
}

// Save stores a run that was changed; ABORTED if another changed it first. Jobs
// that are new get their ids.
func Save(tx *store.Tx, r *Record) error {
	for _, j := range r.Jobs {
		if j.ID != 0 {
			continue
		}
		id, err := tx.NextID("ci_job")
		if err != nil {
			return err
		}
		j.ID = id
		if _, err := tx.Exec(`INSERT INTO ci_job (id, run_id, attempt, job_run, task_run) VALUES ($1, $2, $3, 0, 0)`, j.ID, r.ID, r.Attempt); err != nil {
			return err
		}
	}
	doc, err := json.Marshal(r.Run)
	if err != nil {
		return err
	}
	err = tx.ExecVersioned(`UPDATE ci_run SET state = $1, doc = $2, settled = $3, version = version + 1 WHERE id = $4 AND version = $5`,
		r.State, string(doc), r.Settled, r.ID, r.Version)
	if err == nil {
		r.Version++
		tx.Changed(Topic)
	}
	return err
}

// Started notes which job run carries a job.
func Started(tx *store.Tx, jobID, jobRun, taskRun int64) error {
	_, err := tx.Exec(`UPDATE ci_job SET job_run = $1, task_run = $2 WHERE id = $3`, jobRun, taskRun, jobID)
	return err
}

// Change reads a run, has fn change it, and saves it, again after a lost race.
// What fn returns is returned; a run that fn does not want to change it leaves
// with ErrUnchanged.
func (s *Store) Change(ctx context.Context, ws, id int64, fn func(*store.Tx, *Record) error) (r *Record, err error) {
	for range 20 {
		err = s.db.Write(ctx, func(tx *store.Tx) error {
			if r, err = byID(tx, ws, id); err != nil {
				return err
			}
			if err := fn(tx, r); err != nil {
				return err
			}
			return Save(tx, r)
		})
		if wherry.CodeOf(err) != wherry.CodeAborted {
			break
		}
	}
	if errors.Is(err, ErrUnchanged) {
		err = nil
	}
	return r, err
}

// ErrUnchanged leaves a run as it is: Change stores nothing.
var ErrUnchanged = errors.New("nothing to change")

func byID(tx *store.Tx, ws, id int64) (*Record, error) {
	r, err := scan(tx.Row(`SELECT `+columns+` FROM ci_run WHERE workspace_id = $1 AND id = $2`, ws, id).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return nil, wherry.Errorf(wherry.CodeDoesNotExist, "there is no workflow run %d: `wherry ci list` shows those there are", id)
	}
	return r, err
}

// Run returns a run; RESOURCE_DOES_NOT_EXIST if there is none.
func (s *Store) Run(ctx context.Context, ws, id int64) (r *Record, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		r, err = byID(tx, ws, id)
		return err
	})
	return r, err
}

// RepoOf is the repository of a run, whichever workspace it is in.
func (s *Store) RepoOf(ctx context.Context, id int64) (repoID int64, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Row(`SELECT repo_id FROM ci_run WHERE id = $1`, id).Scan(&repoID)
	})
	return repoID, err
}

// Filter narrows Runs; what is zero does not.
type Filter struct {
	WorkspaceID int64
	RepoID      int64
	SHA         string // the commit whose checks they are
	Path        string
	Before      int64 // ids below
	Limit       int
}

// Runs lists runs, the newest first.
func (s *Store) Runs(ctx context.Context, f Filter) ([]*Record, error) {
	query, args := `SELECT `+columns+` FROM ci_run WHERE workspace_id = $1`, []any{f.WorkspaceID}
	and := func(set bool, condition string, arg any) {
		if set {
			args = append(args, arg)
			query += fmt.Sprintf(" AND "+condition, len(args))
		}
	}
	and(f.RepoID != 0, "repo_id = $%d", f.RepoID)
	and(f.SHA != "", "status_sha = $%d", f.SHA)
	and(f.Path != "", "path = $%d", f.Path)
	and(f.Before != 0, "id < $%d", f.Before)
	and(true, "1 = 1 ORDER BY id DESC LIMIT $%d", max(1, f.Limit))
	return s.records(ctx, query, args...)
}

// Open lists the runs of all workspaces of which something is still to do, the
// oldest first.
func (s *Store) Open(ctx context.Context) ([]*Record, error) {
	return s.records(ctx, `SELECT `+columns+` FROM ci_run WHERE NOT settled ORDER BY id`)
}

func (s *Store) records(ctx context.Context, query string, args ...any) (list []*Record, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(query, args, func(row func(...any) error) error {
			r, err := scan(row)
			list = append(list, r)
			return err
		})
	})
	return list, err
}

// Job returns a job with its run.
func (s *Store) Job(ctx context.Context, id int64) (*Record, *workflow.Job, error) {
	return s.job(ctx, `SELECT `+columns+` FROM ci_run WHERE id = (SELECT run_id FROM ci_job WHERE id = $1)`, id, func(j *workflow.Job) bool { return j.ID == id })
}

// JobOfTask returns the job that an attempt carries, with its run.
func (s *Store) JobOfTask(ctx context.Context, taskRun int64) (*Record, *workflow.Job, error) {
	return s.job(ctx, `SELECT `+columns+` FROM ci_run WHERE id = (SELECT run_id FROM ci_job WHERE task_run = $1)`, taskRun,
		func(j *workflow.Job) bool { return j.TaskRun == taskRun })
}

func (s *Store) job(ctx context.Context, query string, arg int64, is func(*workflow.Job) bool) (*Record, *workflow.Job, error) {
	list, err := s.records(ctx, query, arg)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range list {
		for _, j := range r.Jobs {
			if is(j) {
				return r, j, nil
			}
		}
	}
	return nil, nil, wherry.Errorf(wherry.CodeDoesNotExist, "this is no job of a workflow that runs")
}

// Launched is the job run, and its attempt, that carry a job; 0 for none.
func Launched(tx *store.Tx, jobID int64) (jobRun, taskRun int64, err error) {
	err = tx.Row(`SELECT job_run, task_run FROM ci_job WHERE id = $1`, jobID).Scan(&jobRun, &taskRun)
	if errors.Is(err, store.ErrNoRows) {
		return 0, 0, nil
	}
	return jobRun, taskRun, err
}
