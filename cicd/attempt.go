package cicd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/git"
	"github.com/wherry-ml/wherry/workflow"
)

// A part of a pass is given up when it went wrong so often, and for so long:
// passes follow each other quickly, and a full disk or a lack of memory is over
// after a while.
const (
	tries    = 3
	patience = time.Minute
)

// failures are those of a part of a pass.
type failures struct {
	n     int
	since time.Time
}

// attempt does one part of a pass: a trigger, a schedule or a run. What goes wrong
// in it, a panic too, is the trouble of that part and holds up no other: whoever
// may push must not end the server. The next passes try again, and then it is
// given up.
func (s *Service) attempt(ctx context.Context, part string, do func() error, giveUp func(why error) error) {
	err := guarded(do)
	switch {
	case err == nil:
		delete(s.failures, part)
		return
	case ctx.Err() != nil:
		return
	case wherry.CodeOf(err) == wherry.CodeAborted: // somebody cancelled or approved: the next pass sees it
		slog.Debug("workflows: it changed meanwhile", "part", part)
		return
	}
	f := s.failures[part]
	if f.n++; f.n == 1 {
		f.since = time.Now()
	}
	s.failures[part] = f
	slog.Error("workflows", "part", part, "try", f.n, "err", err)
	if wherry.CodeOf(err) != wherry.CodeExhausted && (f.n < tries || time.Since(f.since) < patience) { // what is too large stays so
		return
	}
	delete(s.failures, part)
	if err := guarded(func() error { return giveUp(err) }); err != nil && ctx.Err() == nil {
		slog.Error("workflows: it can not be given up", "part", part, "err", err)
	}
}

// guarded makes a panic an error.
func guarded(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it can not be done: %v", p)
		}
	}()
	return do()
}

// leave takes a trigger from the queue that nothing can be started for, and says
// so at its commit.
func (s *Service) leave(ctx context.Context, t git.Trigger, why error) error {
	sha := ""
	switch {
	case t.Push != nil:
		sha = t.Push.New
	case t.Pull != nil:
		sha = t.Pull.HeadSHA
	}
	return s.cfg.Store.DB().Write(ctx, func(tx *store.Tx) error {
		first, err := git.Handled(tx, t.ID)
		if err != nil || !first || len(sha) != len(git.Zero) {
			return err
		}
		return git.SetStatus(tx, t.Repo, git.Status{SHA: sha, Context: "workflows", State: git.StateError, Description: clip("no workflow was started: "+why.Error(), maxDescription), Actor: botName})
	})
}

// giveUp ends a run that can not go on. What of it runs is cancelled first: a
// server that dies in between leaves a run that the next one gives up.
func (s *Service) giveUp(ctx context.Context, r *cicd.Record, why error) error {
	repo, err := s.cfg.Git.RepoByID(ctx, r.RepoID)
	if err != nil {
		return err
	}
	if err := s.stop(ctx, r); err != nil {
		return err
	}
	_, err = s.cfg.Store.Change(ctx, r.WorkspaceID, r.ID, func(tx *store.Tx, r *cicd.Record) error {
		if err := s.abandon(tx, r); err != nil {
			return err
		}
		if r.State == workflow.Completed { // what follows it can not be started
			r.Settled = true
			return nil
		}
		r.State, r.Conclusion, r.Message, r.EndedAt = workflow.Completed, workflow.Failure, "it can not go on: "+why.Error(), time.Now().UnixMilli()
		if len(r.Jobs) == 0 { // nothing of it has begun
			r.Conclusion = workflow.StartupFailure
		}
		if err := s.runEnded(tx, r); err != nil {
			return err
		}
		return s.tell(tx, repo, r, "")
	})
	return err
}

// stop cancels what runs of a run, as it is stored: the run at hand may be one
// whose change came to nothing.
func (s *Service) stop(ctx context.Context, r *cicd.Record) error {
	stored, err := s.cfg.Store.Run(ctx, r.WorkspaceID, r.ID)
	if err != nil {
		return err
	}
	err = s.cfg.Store.DB().Read(ctx, func(tx *store.Tx) (err error) {
		for _, j := range stored.Jobs {
			err = errors.Join(err, resume(tx, j))
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, j := range stored.Jobs {
		if j.State != workflow.Running || j.JobRun == 0 {
			continue
		}
		if err := s.cfg.Jobs.Cancel(ctx, r.WorkspaceID, j.JobRun); err != nil && wherry.CodeOf(err) != wherry.CodeInvalidState {
			return err
		}
	}
	return nil
}

// abandon notes that the jobs of a run that have not ended are cancelled.
func (s *Service) abandon(tx *store.Tx, r *cicd.Record) error {
	for _, j := range r.Jobs {
		if j.State == workflow.Completed {
			continue
		}
		if err := resume(tx, j); err != nil {
			return err
		}
		end(j, workflow.Cancelled, "", time.Now().UnixMilli())
		if err := s.jobEnded(tx, r, j, ""); err != nil {
			return err
		}
	}
	return nil
}

// Bounds of a commit's status, in bytes.
const (
	maxContext     = 255
	maxDescription = 140
)

// clip cuts a text to n bytes, between two characters.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}
