package deployments

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/store/deployments"
)

// repoOf is the repository whose pull request the request's namespace is of: that
// of the workflow that deploys, else that of the bundle's working folder; 0 if
// the namespace is of none, or the repository is not one of ours.
func (s *Service) repoOf(ctx context.Context, c *caller, in *deployment.Request) (int64, error) {
	number := deployments.PullOf(in.Namespace)
	if number == 0 {
		return 0, nil
	}
	if id, _, ok := strings.Cut(c.CIRun, "/"); ok {
		run, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("the run of a workflow: %w", err)
		}
		return s.runs.RepoOf(ctx, run)
	}
	return s.repos.PullAt(ctx, c.host, in.Git.OriginURL, number)
}

// Bounds of the wait before something that could not be destroyed is tried again.
const (
	firstWait = 2 * time.Second
	lastWait  = time.Hour
)

// try is when a deployment may be tried again, and how long it waits then.
type try struct {
	at   time.Time
	wait time.Duration
}

// FollowPulls destroys what is deployed to namespaces of pull requests once they
// are merged or closed, until ctx ends. Only what is stored says what is to do,
// so a server that is killed goes on at its next start.
func (s *Service) FollowPulls(ctx context.Context) error {
	changed, stop := s.repos.Changed()
	defer stop()
	tries := map[string]try{}
	for {
		next, err := s.endPulls(ctx, tries)
		if err != nil && ctx.Err() == nil {
			slog.Error("end the namespaces of pull requests", "err", err)
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// endPulls is one pass; it says how long to wait for the next.
func (s *Service) endPulls(ctx context.Context, tries map[string]try) (next time.Duration, err error) {
	next = time.Minute // for what another server, or a deploy that was going on, left
	list, err := s.store.Ended(ctx)
	if err != nil {
		return next, err
	}
	for _, e := range list {
		t := tries[e.ID]
		if wait := time.Until(t.at); wait > 0 {
			next = min(next, wait)
			continue
		}
		err := s.endPull(ctx, e)
		if err == nil {
			delete(tries, e.ID)
			continue
		}
		t.wait = max(firstWait, min(t.wait*2, lastWait))
		if code := wherry.CodeOf(err); code == wherry.CodeConflict || code == wherry.CodeAborted {
			t.wait = firstWait // a deploy is going on: it ends soon
		} else {
			slog.Error("destroy what a pull request deployed", "repo", e.Repo, "pull_request", e.Number, "root", e.RootPath, "again_in", t.wait, "err", err)
		}
		t.at = time.Now().Add(t.wait)
		tries[e.ID], next = t, min(next, t.wait)
	}
	return next, ctx.Err()
}

// endPull destroys one deployment with the rights of who deployed it.
func (s *Service) endPull(ctx context.Context, e deployments.Ended) error {
	who := e.CreatedBy
	if v, ok, err := s.store.LastDeployed(ctx, e.ID); err != nil {
		return err
	} else if ok {
		who = v.CreatedBy
	}
	c, end, err := s.callerFor(ctx, e.WorkspaceID, who, "the end of a pull request")
	if err != nil {
		return err
	}
	defer end()
	_, err = s.destroyFor(ctx, c, &deployment.Destroy{RootPath: e.RootPath}, cause{
		by: cmp.Or(e.By, healer), note: fmt.Sprintf("pull request %d of %s was %s", e.Number, e.Repo, e.State),
		event: map[string]any{"repo": e.Repo, "pull_request": e.Number, "state": e.State},
	})
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist { // somebody was first
		return nil
	}
	return err
}
