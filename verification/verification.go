// Package verification proves deploys: in an environment with a verification
// job, the next run of that job decides about a deployed version, whoever
// started it. Where the gate is on, a version that fails is rolled back.
package verification

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/environments"
	"github.com/wherry-ml/wherry/store/jobs"
	"github.com/wherry-ml/wherry/store/mlflow"
	"github.com/wherry-ml/wherry/store/verification"
)

// Rollback deploys a former version again, with the rights of actor.
type Rollback func(ctx context.Context, ws int64, deploymentID, actor string, to int64) error

// Config is what the loop works with.
type Config struct {
	Store        *verification.Store
	Environments *environments.Store
	Deployed     *deployments.Store
	Jobs         *jobs.Store
	Models       *mlflow.Store
	Rollback     Rollback
}

// Loop decides about deployed versions.
type Loop struct {
	Config
	passing  sync.Mutex       // one pass at a time
	failures map[string]tries // rollbacks that went wrong, by their version; of passing
}

// tries are those of a rollback that went wrong in the server, not by a rule: a
// disk that is full, say.
type tries struct{ first, last time.Time }

// A rollback is tried again after a pause, since each try makes a version, and
// given up once it went wrong for so long: somebody has to be told.
const (
	pause    = time.Minute
	patience = 10 * time.Minute
)

// New returns the loop; Run does its work.
func New(cfg Config) *Loop { return &Loop{Config: cfg, failures: map[string]tries{}} }

// tick is how often it looks without being woken: for a rollback that had to
// wait for another deploy.
const tick = 10 * time.Second

// Run works until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	changed, stop := l.Store.DB().Watch("event")
	defer stop()
	timer := time.NewTicker(tick)
	defer timer.Stop()
	for {
		if err := l.Pass(ctx); err != nil && ctx.Err() == nil {
			slog.Error("verification", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-timer.C:
		}
	}
}

// Pass looks at what is stored and takes each verification as far as it goes.
// One that was broken off anywhere is taken up where it is.
func (l *Loop) Pass(ctx context.Context) error {
	l.passing.Lock()
	defer l.passing.Unlock()
	if err := l.Store.Watch(ctx); err != nil {
		return err
	}
	list, err := l.Store.Undecided(ctx)
	if err != nil {
		return err
	}
	for _, v := range list {
		if err := l.advance(ctx, v); err != nil && ctx.Err() == nil {
			slog.Warn("verification", "deployment", v.DeploymentID, "version", v.Version, "err", err)
		}
	}
	return nil
}

func (l *Loop) advance(ctx context.Context, v verification.Verification) error {
	if v.State == verification.RollingBack {
		return l.rollBack(ctx, v)
	}
	e, err := l.Environments.Get(ctx, v.Environment)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist || err == nil && e.VerifyJob == "" {
		return nil // nothing proves it now; it may again
	}
	if err != nil {
		return err
	}
	job, ok, err := l.Store.Job(ctx, v, e.VerifyJob)
	if err != nil || !ok {
		return err
	}
	v.JobID = job
	run, ended, err := l.Jobs.FirstResult(ctx, job, v.Since)
	if err != nil || !ended {
		return err
	}
	v.JobRunID = run.RunID
	if run.Succeeded() {
		return l.Store.Decide(ctx, v, verification.Outcome{State: verification.Verified, Gate: e.Gate})
	}
	failed := verification.Outcome{State: verification.Failed, Gate: e.Gate, Note: "verification failed: run " + fmt.Sprint(run.RunID) + " ended with " + run.Result}
	if !e.Gate {
		return l.Store.Decide(ctx, v, failed)
	}
	before, ok, err := l.Store.Before(ctx, v)
	if err != nil {
		return err
	}
	if !ok {
		failed.Note += "; there is no version before to go back to"
		return l.Store.Decide(ctx, v, failed)
	}
	v.RolledBackTo = before
	if err := l.Store.RollBack(ctx, v); err != nil {
		return err
	}
	return l.rollBack(ctx, v)
}

// rollBack brings the version before back, and the aliases that the failed run
// moved. Each step looks first whether it was done.
func (l *Loop) rollBack(ctx context.Context, v verification.Verification) error {
	out := verification.Outcome{State: verification.Failed, Gate: true, Note: fmt.Sprintf("verification failed: rolled back to version %d", v.RolledBackTo)}
	live, ok, err := l.Deployed.LastDeployed(ctx, v.DeploymentID)
	if err != nil || !ok {
		return err
	}
	switch {
	case live.Version == v.Version:
		key := fmt.Sprintf("%s/%d", v.DeploymentID, v.Version)
		failed, again := l.failures[key]
		if again && time.Since(failed.last) < pause {
			return nil
		}
		err := l.Rollback(ctx, v.WorkspaceID, v.DeploymentID, live.CreatedBy, v.RolledBackTo)
		code := wherry.CodeOf(err)
		if code == wherry.CodeConflict || code == wherry.CodeAborted {
			return nil // another deploy is going on: it decides, or the next pass does
		}
		if failed.last = time.Now(); !again {
			failed.first = failed.last
		}
		if code == wherry.CodeInternal && (ctx.Err() != nil || failed.last.Sub(failed.first) < patience) {
			l.failures[key] = failed
			return fmt.Errorf("bring version %d back, which is tried again: %w", v.RolledBackTo, err)
		}
		delete(l.failures, key)
		if err != nil {
			out.Note = fmt.Sprintf("verification failed, and version %d could not be brought back: %v", v.RolledBackTo, err)
			v.RolledBackTo = 0
			return l.Store.Decide(ctx, v, out)
		}
		if live, _, err = l.Deployed.LastDeployed(ctx, v.DeploymentID); err != nil {
			return err
		}
	case live.Restores != v.RolledBackTo: // someone deployed in the meantime
		out.Note, v.RolledBackTo = fmt.Sprintf("verification failed; version %d was deployed in the meantime", live.Version), 0
		return l.Store.Decide(ctx, v, out)
	}
	out.RollbackVersion = live.Version
	if out.Aliases, err = l.moveBack(ctx, v); err != nil {
		return err
	}
	return l.Store.Decide(ctx, v, out)
}

// moveBack points aliases that the failed run moved at what they were, unless
// someone moved them on since. It returns those that are back, also by a pass
// that was broken off.
func (l *Loop) moveBack(ctx context.Context, v verification.Verification) (back []verification.Alias, err error) {
	moved, err := l.Store.Moved(ctx, v.JobRunID)
	if err != nil {
		return nil, err
	}
	for _, a := range moved {
		ws := v.WorkspaceID
		if strings.Count(a.Name, ".") == 2 {
			ws = mlflow.Account
		}
		at, err := l.at(ctx, ws, a)
		if err != nil {
			return nil, err
		}
		switch {
		case at == a.From:
		case at != a.To: // elsewhere by now, or gone
			continue
		case a.From == "":
			err = l.Models.DeleteAlias(ctx, ws, a.Name, a.Alias)
		default:
			err = l.Models.SetAlias(ctx, mlflow.Who{WorkspaceID: v.WorkspaceID, User: "wherry"}, ws, a.Name, a.Alias, a.From)
		}
		if wherry.CodeOf(err) == wherry.CodeDoesNotExist { // the version that it was at was deleted
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("move %s@%s back: %w", a.Name, a.Alias, err)
		}
		back = append(back, a)
	}
	return back, nil
}

// at is the version that an alias points at now, "" if it or its model is gone.
func (l *Loop) at(ctx context.Context, ws int64, a verification.Alias) (string, error) {
	now, err := l.Models.VersionByAlias(ctx, ws, a.Name, a.Alias)
	switch wherry.CodeOf(err) {
	case wherry.CodeDoesNotExist, wherry.CodeInvalidParameter: // MLflow's word for an alias that is not there
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look at %s@%s: %w", a.Name, a.Alias, err)
	}
	return now.Version, nil
}
