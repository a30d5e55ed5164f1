// Package verification stores which deployed versions a job has to prove, and
// what came of it.
package verification

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/environments"
	"github.com/wherry-ml/wherry/store/notify"
)

// States of a verification.
const (
	Waiting     = "waiting"      // for a run of the job
	RollingBack = "rolling back" // the run failed, and the gate is on
	Verified    = "verified"
	Failed      = "failed"
	Superseded  = "superseded" // another version was deployed before a run ended
)

// Verification is one deployed version that a job has to prove.
type Verification struct {
	DeploymentID string
	Version      int64
	WorkspaceID  int64
	Environment  string
	JobID        int64 // 0 while there is no such job
	Since        int64 // milliseconds since 1970: runs begun before prove nothing
	State        string
	JobRunID     int64
	// RolledBackTo is the version that was brought back, 0 for none.
	RolledBackTo int64
	Note         string
	DecidedAt    int64
}

// Store keeps verifications in db.
type Store struct{ db *store.DB }

// New returns the store.
func New(db *store.DB) *Store { return &Store{db: db} }

// DB is the database below, for those who watch topics.
func (s *Store) DB() *store.DB { return s.db }

const columns = `deployment_id, version, workspace_id, environment, job_id, since, state, job_run_id, rolled_back_to, note, decided_at`

func scan(row func(...any) error) (v Verification, err error) {
	err = row(&v.DeploymentID, &v.Version, &v.WorkspaceID, &v.Environment, &v.JobID, &v.Since, &v.State, &v.JobRunID, &v.RolledBackTo, &v.Note, &v.DecidedAt)
	return v, err
}

// live is a version that is live and has no verification yet.
type live struct {
	Verification
	job      string
	restores int64
}

// Watch begins the verification of every version that is live in an
// environment with a verification job and has none yet. A version that was
// brought back is what it was the first time.
func (s *Store) Watch(ctx context.Context) error {
	var fresh []live
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT e.settings, d.id, d.workspace_id, v.version, v.completed_at, v.restores FROM environment e
			JOIN deployment d ON d.target = e.target AND d.destroyed_at = 0 AND d.root_path <> ''
			JOIN deployment_version v ON v.deployment_id = d.id AND v.version =
				(SELECT max(m.version) FROM deployment_version m WHERE m.deployment_id = d.id AND m.reason = 'VERSION_COMPLETE_SUCCESS')
			WHERE NOT EXISTS (SELECT 1 FROM verification f WHERE f.deployment_id = d.id AND f.version = v.version)`, nil,
			func(row func(...any) error) error {
				var l live
				var settings string
				var e wherry.Environment
				if err := row(&settings, &l.DeploymentID, &l.WorkspaceID, &l.Version, &l.Since, &l.restores); err != nil {
					return err
				}
				if err := json.Unmarshal([]byte(settings), &e); err != nil {
					return err
				}
				l.Environment, l.State, l.job = e.Name, Waiting, e.VerifyJob
				if l.job != "" {
					fresh = append(fresh, l)
				}
				return nil
			})
	})
	if err != nil {
		return err
	}
	for _, l := range fresh {
		if err := s.begin(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) begin(ctx context.Context, l live) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		if err := supersede(tx, l); err != nil {
			return err
		}
		if l.restores > 0 {
			before, err := scan(tx.Row(`SELECT `+columns+` FROM verification WHERE deployment_id = $1 AND version = $2`, l.DeploymentID, l.restores).Scan)
			if err == nil && (before.State == Verified || before.State == Failed) {
				l.State, l.JobRunID, l.DecidedAt = before.State, before.JobRunID, before.DecidedAt
				l.Note = fmt.Sprintf("it brought version %d back", l.restores)
			} else if err != nil && !errors.Is(err, store.ErrNoRows) {
				return err
			}
		}
		_, err := tx.Exec(`INSERT INTO verification (`+columns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10) ON CONFLICT DO NOTHING`,
			l.DeploymentID, l.Version, l.WorkspaceID, l.Environment, l.JobID, l.Since, l.State, l.JobRunID, l.Note, l.DecidedAt)
		return err
	})
}

// supersede ends those that wait for a version before.
func supersede(tx *store.Tx, l live) error {
	var before []Verification
	err := tx.Each(`SELECT `+columns+` FROM verification WHERE deployment_id = $1 AND version < $2 AND state = $3 ORDER BY version`, []any{l.DeploymentID, l.Version, Waiting},
		func(row func(...any) error) error {
			v, err := scan(row)
			before = append(before, v)
			return err
		})
	if err != nil {
		return err
	}
	for _, v := range before {
		v.State, v.Note = Superseded, fmt.Sprintf("version %d was deployed before a run of the job ended", l.Version)
		n, err := tx.Exec(`UPDATE verification SET state = $1, note = $2 WHERE deployment_id = $3 AND version = $4 AND state = $5`, v.State, v.Note, v.DeploymentID, v.Version, Waiting)
		if err == nil && n > 0 {
			err = emit(tx, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// emit tells of a step that decides nothing yet.
func emit(tx *store.Tx, v Verification) error {
	payload, err := json.Marshal(map[string]any{
		"deployment_id": v.DeploymentID, "version": v.Version, "environment": v.Environment, "state": v.State, "job_run_id": v.JobRunID, "rolled_back_to": v.RolledBackTo, "note": v.Note,
	})
	if err != nil {
		return err
	}
	return tx.Emit(wherry.Event{WorkspaceID: v.WorkspaceID, Kind: wherry.EventVerifying, Subject: fmt.Sprintf("%s/%d", v.DeploymentID, v.Version), Actor: "wherry", Payload: payload})
}

// Undecided lists the verifications that wait for a run or for a rollback.
func (s *Store) Undecided(ctx context.Context) (list []Verification, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+columns+` FROM verification WHERE state IN ('waiting', 'rolling back') ORDER BY since, deployment_id`, nil, func(row func(...any) error) error {
			v, err := scan(row)
			list = append(list, v)
			return err
		})
	})
	return list, err
}

// Of returns what is known of a version; ok is false where nothing has to
// prove it.
func (s *Store) Of(ctx context.Context, deploymentID string, version int64) (v Verification, ok bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		v, err = scan(tx.Row(`SELECT `+columns+` FROM verification WHERE deployment_id = $1 AND version = $2`, deploymentID, version).Scan)
		return err
	})
	if errors.Is(err, store.ErrNoRows) {
		return v, false, nil
	}
	return v, err == nil, err
}

// RolledBack tells of the versions of a deployment that a gate took away which
// version came back.
func (s *Store) RolledBack(ctx context.Context, deploymentID string) (map[int64]int64, error) {
	to := map[int64]int64{}
	return to, s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT version, rolled_back_to FROM verification WHERE deployment_id = $1 AND rolled_back_to > 0 AND state = $2`, []any{deploymentID, Failed},
			func(row func(...any) error) error {
				var version, before int64
				err := row(&version, &before)
				to[version] = before
				return err
			})
	})
}

// Job finds the job that an environment names: by its key in the bundle, else
// by its name; ok is false if there is none.
func (s *Store) Job(ctx context.Context, v Verification, name string) (id int64, ok bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		err := tx.Row(`SELECT j.id FROM deployment_resource r JOIN job j ON CAST(j.id AS TEXT) = r.resource_id WHERE r.deployment_id = $1 AND r.key = $2 AND r.kind = 'jobs'`,
			v.DeploymentID, "jobs."+strings.TrimPrefix(name, "jobs.")).Scan(&id)
		if errors.Is(err, store.ErrNoRows) {
			err = tx.Row(`SELECT id FROM job WHERE workspace_id = $1 AND name = $2 ORDER BY id DESC LIMIT 1`, v.WorkspaceID, name).Scan(&id)
		}
		return err
	})
	if errors.Is(err, store.ErrNoRows) {
		return 0, false, nil
	}
	return id, err == nil, err
}

// Before finds the version to go back to: the newest one before that was
// deployed whole and was not found to fail. ok is false if there is none.
func (s *Store) Before(ctx context.Context, v Verification) (version int64, ok bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Row(`SELECT v.version FROM deployment_version v WHERE v.deployment_id = $1 AND v.version < $2 AND v.reason = 'VERSION_COMPLETE_SUCCESS'
			AND v.restores = 0 AND v.request <> '' AND NOT EXISTS (SELECT 1 FROM verification f WHERE f.deployment_id = v.deployment_id AND f.version = v.version AND f.state = $3)
			ORDER BY v.version DESC LIMIT 1`, v.DeploymentID, v.Version, Failed).Scan(&version)
	})
	if errors.Is(err, store.ErrNoRows) {
		return 0, false, nil
	}
	return version, err == nil, err
}

// RollBack notes, before anything moves, that a version is to be rolled back.
func (s *Store) RollBack(ctx context.Context, v Verification) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(`UPDATE verification SET state = $1, job_run_id = $2, rolled_back_to = $3 WHERE deployment_id = $4 AND version = $5 AND state = $6`,
			RollingBack, v.JobRunID, v.RolledBackTo, v.DeploymentID, v.Version, Waiting)
		if err != nil || n == 0 {
			return err // another pass was first
		}
		v.State = RollingBack
		return emit(tx, v)
	})
}

// Alias is an alias of a model that the failed run moved.
type Alias struct {
	Name  string `json:"name"`
	Alias string `json:"alias"`
	From  string `json:"from"` // the version before, "" for none
	To    string `json:"to"`   // the version that the run set
}

// Moved lists the aliases that the tasks of a job run moved, with the version
// that each had before.
func (s *Store) Moved(ctx context.Context, jobRunID int64) (list []Alias, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		type moved struct{ first, last int64 }
		subjects := map[string]moved{}
		var order []string
		if err := tx.Each(`SELECT e.subject, min(e.id), max(e.id) FROM event e WHERE e.kind = $1 AND e.run_id IN (SELECT t.id FROM task_run t WHERE t.job_run_id = $2)
			GROUP BY e.subject ORDER BY e.subject`, []any{wherry.EventModelAlias, jobRunID}, func(row func(...any) error) error {
			var subject string
			var m moved
			err := row(&subject, &m.first, &m.last)
			subjects[subject], order = m, append(order, subject)
			return err
		}); err != nil {
			return err
		}
		for _, subject := range order {
			a, err := aliasAt(tx, `id = $1`, subjects[subject].last)
			if err != nil {
				return err
			}
			before, err := aliasAt(tx, `kind = $1 AND subject = $2 AND id < $3 ORDER BY id DESC LIMIT 1`, wherry.EventModelAlias, subject, subjects[subject].first)
			if err != nil && !errors.Is(err, store.ErrNoRows) {
				return err
			}
			a.From = before.To
			list = append(list, a)
		}
		return nil
	})
	return list, err
}

func aliasAt(tx *store.Tx, where string, args ...any) (a Alias, err error) {
	var doc string
	if err := tx.Row(`SELECT payload FROM event WHERE `+where, args...).Scan(&doc); err != nil {
		return a, err
	}
	var p struct {
		Name    string
		Alias   string
		Version any
	}
	err = json.Unmarshal([]byte(doc), &p)
	return Alias{Name: p.Name, Alias: p.Alias, To: fmt.Sprint(p.Version)}, err
}

// Outcome is what came of a verification.
type Outcome struct {
	State string // Verified or Failed
	Note  string
	Gate  bool
	// RollbackVersion is the version that brought RolledBackTo back.
	RollbackVersion int64
	Aliases         []Alias
}

// Decide ends a verification, with its event, and a notice of one that failed.
func (s *Store) Decide(ctx context.Context, v Verification, o Outcome) error {
	result := map[string]string{Verified: "success", Failed: "failed"}[o.State]
	payload, err := json.Marshal(map[string]any{
		"deployment_id": v.DeploymentID, "version": v.Version, "environment": v.Environment, "job_id": v.JobID, "job_run_id": v.JobRunID, "result": result,
		"gate": o.Gate, "rolled_back_to": v.RolledBackTo, "rollback_version": o.RollbackVersion, "aliases": append([]Alias{}, o.Aliases...), "note": o.Note,
	})
	if err != nil {
		return err
	}
	return s.db.Write(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		n, err := tx.Exec(`UPDATE verification SET state = $1, job_id = $2, job_run_id = $3, rolled_back_to = $4, note = $5, decided_at = $6
			WHERE deployment_id = $7 AND version = $8 AND state IN ('waiting', 'rolling back')`,
			o.State, v.JobID, v.JobRunID, v.RolledBackTo, o.Note, now, v.DeploymentID, v.Version)
		if err != nil || n == 0 {
			return err // decided already
		}
		if o.State == Failed {
			if err := tell(tx, v, o); err != nil {
				return err
			}
		}
		return tx.Emit(wherry.Event{
			WorkspaceID: v.WorkspaceID, Kind: wherry.EventVerified, Subject: fmt.Sprintf("%s/%d", v.DeploymentID, v.Version), Payload: payload,
		})
	})
}

// tell has those told of a version that failed whom its environment names.
func tell(tx *store.Tx, v Verification, o Outcome) error {
	bundle := ""
	if err := tx.Row(`SELECT bundle FROM deployment WHERE id = $1`, v.DeploymentID).Scan(&bundle); err != nil {
		return fmt.Errorf("the deployment of a verification: %w", err)
	}
	e, _, err := environments.Named(tx, v.Environment)
	if err != nil {
		return err
	}
	return notify.Tell(tx, notify.Notice{
		DedupKey: fmt.Sprintf("deployment.verification_failed/%s/%d", v.DeploymentID, v.Version), Kind: "deployment.verification_failed", Bad: true,
		Subject: fmt.Sprintf("[%s, %s] version %d was not proven", bundle, v.Environment, v.Version),
		Text:    o.Note, Link: "/environments/" + url.PathEscape(v.Environment), RunID: v.JobRunID,
	}, e.Notify)
}
