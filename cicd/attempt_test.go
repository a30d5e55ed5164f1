package cicd

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/git"
	"github.com/wherry-ml/wherry/store/jobs"
	"github.com/wherry-ml/wherry/workflow"
)

// begun is a service with a run whose one job was launched, which the run as it
// is stored does not know yet.
func begun(t *testing.T) (s *Service, r *cicd.Record, jobRun int64) {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s = New(Config{State: state.Dir(t.TempDir()), Store: cicd.New(db), Git: git.New(db), Jobs: jobs.New(db)})
	repo, err := s.cfg.Git.Create(t.Context(), git.Repo{WorkspaceID: 1, Name: "app", DefaultBranch: "main"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r = &cicd.Record{RepoID: repo.ID, Run: &workflow.Run{
		WorkspaceID: 1, Repo: "app", Path: "a.yml", Name: "a", Attempt: 1, State: workflow.Running, Event: workflow.Event{Name: "push", Ref: "refs/heads/main"},
		Jobs: []*workflow.Job{{Key: "deploy", Name: "deploy", State: workflow.Queued}},
	}}
	if err := db.Write(t.Context(), func(tx *store.Tx) error {
		var err, kept error
		s.bot, err = auth.AddServicePrincipal(tx, "", botName, false)
		r.Files, kept = cicd.Keep(tx, workflow.Files{"a.yml": []byte("on: push\njobs: {deploy: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}}\n")})
		return errors.Join(err, kept, cicd.Insert(tx, r), cicd.Save(tx, r))
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.start(t.Context(), r, r.Jobs[0]); err != nil {
		t.Fatal(err)
	}
	return s, r, r.Jobs[0].JobRun
}

// isCancelled checks that a job run, and the job that it carries, are cancelled.
func isCancelled(t *testing.T, s *Service, id, jobRun int64) *cicd.Record {
	t.Helper()
	run, _, err := s.cfg.Jobs.Run(t.Context(), 1, jobRun)
	if err != nil || run.Cause != wherry.CauseUser {
		t.Errorf("the job runs on: %s %q, %v", run.State, run.Cause, err)
	}
	r, err := s.cfg.Store.Run(t.Context(), 1, id)
	if err != nil {
		t.Fatal(err)
	}
	if j := r.Jobs[0]; j.State != workflow.Completed || j.Conclusion != workflow.Cancelled {
		t.Errorf("the job is %s %s", j.State, j.Conclusion)
	}
	return r
}

// TestGivenUp: what runs of a run that is given up is cancelled, and the run,
// which had begun, may be run again.
func TestGivenUp(t *testing.T) {
	s, r, jobRun := begun(t)
	if err := s.giveUp(t.Context(), r, errors.New("no space")); err != nil {
		t.Fatal(err)
	}
	r = isCancelled(t, s, r.ID, jobRun)
	if r.State != workflow.Completed || r.Conclusion != workflow.Failure {
		t.Errorf("the run is %s %s", r.State, r.Conclusion)
	}
	if _, err := s.cfg.Store.Change(t.Context(), 1, r.ID, func(_ *store.Tx, r *cicd.Record) error { r.Settled = true; return nil }); err != nil {
		t.Fatal(err)
	}
	ctx := wherry.WithIdentity(t.Context(), wherry.Identity{WorkspaceID: 1, Principal: wherry.Principal{UserName: "ada"}})
	if err := s.Rerun(ctx, r.ID, true); err != nil {
		t.Errorf("it is not run again: %v", err)
	}
}

// TestGivenUpLater: a run is not given up while its job can not be cancelled, so
// that the next pass tries again.
func TestGivenUpLater(t *testing.T) {
	s, r, jobRun := begun(t)
	run := func(query string) {
		t.Helper()
		if err := s.cfg.Store.DB().Write(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(query); return err }); err != nil {
			t.Fatal(err)
		}
	}
	run(`CREATE TRIGGER full BEFORE UPDATE ON job_run BEGIN SELECT RAISE(ABORT, 'disk full'); END`)
	if err := s.giveUp(t.Context(), r, errors.New("no space")); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("it is given up: %v", err)
	}
	run(`DROP TRIGGER full`)
	open, err := s.cfg.Store.Open(t.Context())
	if err != nil || !slices.ContainsFunc(open, func(o *cicd.Record) bool { return o.ID == r.ID && o.State == workflow.Running }) {
		t.Fatal(open, err)
	}
	if err := s.giveUp(t.Context(), open[0], errors.New("no space")); err != nil {
		t.Fatal(err)
	}
	isCancelled(t, s, r.ID, jobRun)
}

// TestEndedBeforeItsJobs: what runs of a run that has ended is cancelled with
// what else follows from its end.
func TestEndedBeforeItsJobs(t *testing.T) {
	s, r, jobRun := begun(t)
	r, err := s.cfg.Store.Change(t.Context(), 1, r.ID, func(_ *store.Tx, r *cicd.Record) error {
		r.State, r.Conclusion, r.EndedAt = workflow.Completed, workflow.StartupFailure, time.Now().UnixMilli()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.step(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	if r = isCancelled(t, s, r.ID, jobRun); !r.Settled {
		t.Error("the end is not settled")
	}
}
