package verification_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/environments"
	"github.com/wherry-ml/wherry/store/jobs"
	"github.com/wherry-ml/wherry/store/mlflow"
	"github.com/wherry-ml/wherry/store/notify"
	"github.com/wherry-ml/wherry/store/storetest"
	verifications "github.com/wherry-ml/wherry/store/verification"
	"github.com/wherry-ml/wherry/verification"
)

// site is a deployment with a job, and the loop over it.
type site struct {
	t      *testing.T
	db     *store.DB
	loop   *verification.Loop
	id     string
	ids    int64
	last   int64 // moment that later gave, in milliseconds since 1970
	killed error // what the next rollback ends with after it is done
}

func newSite(t *testing.T, db *store.DB) *site {
	t.Helper()
	s := &site{t: t, db: db, ids: 100}
	deployed := deployments.New(db)
	d, err := deployed.Open(t.Context(), deployments.Deployment{WorkspaceID: 1, Bundle: "shop", RootPath: "/Workspace/a/b", Target: "prod"})
	s.ok(err)
	s.id = d.ID
	s.exec(`INSERT INTO principal (id, kind, user_name, display_name, application_id, admin, active, created_at) VALUES (1, 'user', 'ada', '', '', true, true, 0)`)
	s.exec(`INSERT INTO job (id, workspace_id, name, name_folded, creator, run_as, settings, created_at) VALUES (7, 1, 'smoke', 'smoke', 'ada', 1, '{}', 0)`)
	s.loop = verification.New(verification.Config{
		Store: verifications.New(db), Environments: environments.New(db), Deployed: deployed, Jobs: jobs.New(db), Models: mlflow.New(db),
		Rollback: func(_ context.Context, _ int64, _, _ string, to int64) error {
			s.deploy(to)
			err := s.killed
			s.killed = nil
			return err
		},
	})
	return s
}

func (s *site) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) exec(query string, args ...any) {
	s.t.Helper()
	s.ok(s.db.Write(s.t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	}))
}

// deploy makes the next version, one that brings another back unless that is 0.
func (s *site) deploy(restores int64) int64 {
	s.t.Helper()
	deployed := deployments.New(s.db)
	v, err := deployed.Begin(s.t.Context(), 1, deployments.Version{DeploymentID: s.id, Kind: deployments.KindDeploy, CreatedBy: "ada", Restores: restores}, false)
	s.ok(err)
	s.ok(deployed.Succeed(s.t.Context(), v, "ada", deployments.Done{
		Workspace: 1, Target: "prod", Request: "{}", Upserts: []deployments.Resource{{Key: "jobs.smoke_test", Kind: "jobs", ResourceID: "7", State: "{}"}},
	}))
	s.exec(`UPDATE deployment_version SET completed_at = $1 WHERE deployment_id = $2 AND version = $3`, s.later(), s.id, v.Version)
	return v.Version
}

// later is a moment after all that were asked for before: two versions and a run
// may come within a millisecond.
func (s *site) later() int64 {
	s.last = max(s.last+1, time.Now().UnixMilli())
	return s.last
}

// ran stores a run of the job that has ended; it began now, or long ago.
func (s *site) ran(result string, now bool) int64 {
	s.t.Helper()
	s.ids++
	at := int64(1)
	if now {
		at = s.later()
	}
	s.exec(`INSERT INTO job_run (id, workspace_id, job_id, name, run_type, trigger_kind, trigger_time, settings, timeout_seconds, parameters, overriding,
			only_tasks, creator, run_as, state, result, code, message, cause, queue, created_at, queued_at, start_time, end_time, parent_task_run, level, repairs, wake_at, released)
			VALUES ($1, 1, 7, 'smoke', 'JOB_RUN', 'ONE_TIME', 0, '{}', 0, '[]', '', '', 'ada', 1, 'TERMINATED', $2, '', '', '', false, $3, 0, $3, $3, 0, 0, '', 0, true)`, s.ids, result, at)
	return s.ids
}

func (s *site) environment(e wherry.Environment) {
	s.t.Helper()
	e.Name = "prod"
	_, err := environments.New(s.db).Put(s.t.Context(), e, "ada")
	s.ok(err)
}

// want compares what is known of a version, and which version is live.
func (s *site) want(version int64, state string, run, back, live int64) {
	s.t.Helper()
	s.ok(s.loop.Pass(s.t.Context()))
	v, _, err := verifications.New(s.db).Of(s.t.Context(), s.id, version)
	s.ok(err)
	last, _, err := deployments.New(s.db).LastDeployed(s.t.Context(), s.id)
	s.ok(err)
	if v.State != state || v.JobRunID != run || v.RolledBackTo != back || last.Version != live {
		s.t.Errorf("version %d is %q by run %d, back to %d, and %d is live (%s); want %q by %d, back to %d, and %d", version, v.State, v.JobRunID, v.RolledBackTo, last.Version, v.Note, state, run, back, live)
	}
}

func TestVerification(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := newSite(t, db)
		s.environment(wherry.Environment{VerifyJob: "smoke_test", Notify: []string{"ada@example.com"}})
		s.deploy(0)
		s.ran("SUCCESS", false) // before the deploy
		s.want(1, verifications.Waiting, 0, 0, 1)
		s.ran("CANCELED", true) // proves nothing
		s.want(1, verifications.Waiting, 0, 0, 1)
		run := s.ran("SUCCESS", true)
		s.want(1, verifications.Verified, run, 0, 1)
		s.ran("FAILED", true) // decided already
		s.want(1, verifications.Verified, run, 0, 1)
		s.deploy(0)
		s.deploy(0) // before any run ended
		s.want(2, "", 0, 0, 3)
		s.deploy(0) // amid its verification
		s.want(3, verifications.Superseded, 0, 0, 4)
		if told := s.told(); told != "3 superseded back to 0 by wherry" {
			t.Errorf("told %q", told)
		}
		run = s.ran("FAILED", true)
		s.want(4, verifications.Failed, run, 0, 4)                        // the gate is off: nothing moves
		told, err := notify.New(db).List(t.Context(), 1, notify.Filter{}) // of the failed one only
		if err != nil || len(told) != 1 || told[0].Address != "ada@example.com" || told[0].RunID != run || told[0].Notice.Subject != "[shop, prod] version 4 was not proven" ||
			!strings.Contains(told[0].Notice.Text, "ended with FAILED") || !told[0].Notice.Bad {
			t.Errorf("told %+v, %v", told, err)
		}
	})
}

// model registers the model m with n versions.
func (s *site) model(n int) (*mlflow.Store, mlflow.Who) {
	s.t.Helper()
	models, who := mlflow.New(s.db), mlflow.Who{WorkspaceID: 1, User: "ada"}
	_, err := models.CreateModel(s.t.Context(), who, 1, "m", "", nil)
	s.ok(err)
	for range n {
		_, err := models.CreateVersion(s.t.Context(), who, 1, mlflow.NewVersion{Name: "m", Source: "dbfs:/x"})
		s.ok(err)
	}
	return models, who
}

// With the gate on a version that fails is rolled back to the last that did
// not, with the alias that the run moved; a loop that is killed goes on.
func TestGate(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := newSite(t, db)
		ctx := t.Context()
		s.environment(wherry.Environment{VerifyJob: "smoke_test", Gate: true})
		models, who := s.model(2)
		s.ok(models.SetAlias(ctx, who, 1, "m", "champion", "1"))
		s.deploy(0)
		good := s.ran("SUCCESS", true)
		s.want(1, verifications.Verified, good, 0, 1)

		s.deploy(0)
		bad := s.ran("FAILED", true)
		s.exec(`INSERT INTO task_run (id, workspace_id, job_run_id, task_key, parent_id, iteration, input, number, repair, original_id, state, result, code, message, cause, not_before,
			start_time, end_time, outcome) VALUES (900, 1, $1, 'a', 0, 0, '', 0, 0, 0, 'TERMINATED', 'FAILED', '', '', '', 0, 1, 1, '')`, bad)
		s.ok(models.SetAlias(ctx, mlflow.Who{WorkspaceID: 1, User: "ada", TaskRunID: 900}, 1, "m", "champion", "2"))
		s.killed = fmt.Errorf("begin: %w", wherry.Errorf(wherry.CodeConflict, "the server was killed once the rollback was done"))
		s.want(2, verifications.RollingBack, bad, 1, 3)
		s.want(2, verifications.Failed, bad, 1, 3)
		s.want(3, verifications.Verified, good, 0, 3) // it is version 1 again
		if v, err := models.VersionByAlias(ctx, 1, "m", "champion"); err != nil || fmt.Sprint(v.Version) != "1" {
			t.Errorf("the alias is at %v, %v", v, err)
		}
		if n := s.verified(); n != 2 {
			t.Errorf("%d events", n)
		}
		if told := s.told(); told != "2 rolling back back to 1 by wherry" {
			t.Errorf("told %q", told)
		}

		s.deploy(0)
		s.killed = wherry.Errorf(wherry.CodeInvalidState, "the files are gone")
		bad = s.ran("FAILED", true)
		s.ok(s.loop.Pass(ctx))
		v, _, err := verifications.New(db).Of(ctx, s.id, 4)
		if err != nil || v.State != verifications.Failed || v.JobRunID != bad || v.Note != "verification failed, and version 1 could not be brought back: the files are gone" {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// told is what the events say of steps that decide nothing.
func (s *site) told() string {
	s.t.Helper()
	var all []string
	s.ok(s.db.Read(s.t.Context(), func(tx *store.Tx) error {
		return tx.Each(`SELECT actor, payload FROM event WHERE kind = $1 ORDER BY id`, []any{wherry.EventVerifying}, func(scan func(...any) error) error {
			var actor, doc string
			if err := scan(&actor, &doc); err != nil {
				return err
			}
			var said struct {
				Version int64  `json:"version"`
				State   string `json:"state"`
				Back    int64  `json:"rolled_back_to"`
			}
			err := json.Unmarshal([]byte(doc), &said)
			all = append(all, fmt.Sprintf("%d %s back to %d by %s", said.Version, said.State, said.Back, actor))
			return err
		})
	}))
	return strings.Join(all, "\n")
}

func (s *site) verified() (n int) {
	s.t.Helper()
	s.ok(s.db.Read(s.t.Context(), func(tx *store.Tx) error {
		return tx.Row(`SELECT count(*) FROM event WHERE kind = $1`, wherry.EventVerified).Scan(&n)
	}))
	return n
}

// A rollback that goes wrong in the server, be it that a disk is full for some
// minutes, is tried again, not at each event, and told of where it does not help.
func TestGateTriesAgain(t *testing.T) {
	for name, minutes := range map[string]int{"over soon": 3, "for long": 60} {
		synctest.Test(t, func(t *testing.T) {
			db := storetest.SQLite(t)
			s := newSite(t, db)
			s.environment(wherry.Environment{VerifyJob: "smoke_test", Gate: true})
			rollback, tried, begun := s.loop.Rollback, 0, time.Now()
			s.loop.Rollback = func(ctx context.Context, ws int64, id, actor string, to int64) error {
				if tried++; time.Since(begun) < time.Duration(minutes)*time.Minute {
					return errors.New("no space left on device")
				}
				return rollback(ctx, ws, id, actor, to)
			}
			s.deploy(0)
			s.want(1, verifications.Verified, s.ran("SUCCESS", true), 0, 1)
			s.deploy(0)
			bad := s.ran("FAILED", true)
			s.want(2, verifications.RollingBack, bad, 1, 2)
			s.want(2, verifications.RollingBack, bad, 1, 2)
			if tried != 1 {
				t.Errorf("%s: tried %d times at once", name, tried)
			}
			for range 15 * 6 {
				time.Sleep(10 * time.Second) // of the bubble
				s.ok(s.loop.Pass(t.Context()))
			}
			if minutes == 3 {
				s.want(2, verifications.Failed, bad, 1, 3)
			} else {
				s.want(2, verifications.Failed, bad, 0, 2)
			}
			if tried > 11 {
				t.Errorf("%s: tried %d times", name, tried)
			}
		})
	}
}

// The first version has nothing to go back to: it is marked, and stays.
func TestGateOfTheFirstVersion(t *testing.T) {
	s := newSite(t, storetest.SQLite(t))
	s.environment(wherry.Environment{VerifyJob: "smoke", Gate: true}) // by the job's name
	s.deploy(0)
	s.want(1, verifications.Failed, s.ran("TIMEDOUT", true), 0, 1)
}

// TestOnlyMovedAliasesAreNamed: of the aliases that the failed run moved the one
// that somebody moved on stays and is not said to be back, nor is one that was
// deleted; a database that cannot be asked decides nothing.
func TestOnlyMovedAliasesAreNamed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := newSite(t, db)
		ctx := t.Context()
		s.environment(wherry.Environment{VerifyJob: "smoke_test", Gate: true})
		models, who := s.model(3)
		names := []string{"back", "on", "deleted"}
		for _, name := range names {
			s.ok(models.SetAlias(ctx, who, 1, "m", name, "1"))
		}
		s.deploy(0)
		s.want(1, verifications.Verified, s.ran("SUCCESS", true), 0, 1)
		s.deploy(0)
		bad := s.ran("FAILED", true)
		s.exec(`INSERT INTO task_run (id, workspace_id, job_run_id, task_key, parent_id, iteration, input, number, repair, original_id, state, result, code, message, cause, not_before,
			start_time, end_time, outcome) VALUES (900, 1, $1, 'a', 0, 0, '', 0, 0, 0, 'TERMINATED', 'FAILED', '', '', '', 0, 1, 1, '')`, bad)
		for _, name := range names {
			s.ok(models.SetAlias(ctx, mlflow.Who{WorkspaceID: 1, User: "ada", TaskRunID: 900}, 1, "m", name, "2"))
		}
		s.ok(models.SetAlias(ctx, who, 1, "m", "on", "3"))
		s.ok(models.DeleteAlias(ctx, 1, "m", "deleted"))
		s.exec(`ALTER TABLE mlflow_model_alias RENAME TO away`)
		s.want(2, verifications.RollingBack, bad, 1, 3)
		s.exec(`ALTER TABLE away RENAME TO mlflow_model_alias`)
		s.want(2, verifications.Failed, bad, 1, 3)
		var doc string
		s.ok(db.Read(ctx, func(tx *store.Tx) error {
			return tx.Row(`SELECT payload FROM event WHERE kind = $1 ORDER BY id DESC LIMIT 1`, wherry.EventVerified).Scan(&doc)
		}))
		var said struct {
			Aliases []verifications.Alias `json:"aliases"`
		}
		s.ok(json.Unmarshal([]byte(doc), &said))
		if len(said.Aliases) != 1 || said.Aliases[0] != (verifications.Alias{Name: "m", Alias: "back", From: "1", To: "2"}) {
			t.Errorf("said to be back: %+v", said.Aliases)
		}
		for name, want := range map[string]string{"back": "1", "on": "3"} {
			if v, err := models.VersionByAlias(ctx, 1, "m", name); err != nil || v.Version != want {
				t.Errorf("%s is at %+v, %v", name, v, err)
			}
		}
	})
}
