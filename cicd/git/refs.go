package git

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store/git"
)

// lock is the lock of a repository's refs in this process.
func (s *Service) lock(r git.Repo) *refLock {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.ToLower(r.Name)
	if s.locks[key] == nil {
		s.locks[key] = &refLock{}
	}
	return s.locks[key]
}

// lockFile opens the file that every receive-pack holds a shared lock on, through
// a descriptor it inherits. So the next server knows whether one that a killed
// server started still moves refs.
func (s *Service) lockFile(r git.Repo, how int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(s.dir(r), "wherry.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; err == unix.EINTR; {
		err = unix.Flock(int(f.Fd()), how)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", r.Name, err)
	}
	return f, nil
}

// settle waits for what an earlier server left running in a repository and
// records the refs that it moved, once in the life of this process.
func (s *Service) settle(ctx context.Context, r git.Repo) error {
	l := s.lock(r)
	if l.settled.Load() { // whoever reads does not wait for whoever writes
		return nil
	}
	l.Lock()
	defer l.Unlock()
	if l.settled.Load() {
		return nil
	}
	if err := s.open(ctx, r); err != nil {
		return err
	}
	f, err := s.lockFile(r, unix.LOCK_EX|unix.LOCK_NB)
	for errors.Is(err, unix.EWOULDBLOCK) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond): // a file's lock wakes nobody who can also stop waiting
		}
		f, err = s.lockFile(r, unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	who := s.pusher(r)
	if _, err := s.reconcile(ctx, r, who.Actor, who.RunID); err != nil {
		return err
	}
	if err := s.finishMerge(ctx, r, who); err != nil {
		return err
	}
	s.forget(r)
	l.settled.Store(true)
	return nil
}

// follow does at once what a push means to the repository itself: pull requests
// from its branches move on, and a repository whose first branch is not the one
// that it was to have takes that one.
func (s *Service) follow(ctx context.Context, r git.Repo, pushes []git.Push) {
	moved := map[string]bool{}
	for _, p := range pushes {
		moved[p.Branch()] = true
	}
	err := s.syncPulls(ctx, r.ID, func(p git.PullRequest) bool { return p.HeadRepoID == r.ID && moved[p.Head] })
	if err == nil {
		err = s.adoptBranch(ctx, r, pushes)
	}
	if err != nil {
		slog.Error("follow a push", "repo", r.Name, "err", err)
	}
}

func (s *Service) adoptBranch(ctx context.Context, r git.Repo, pushes []git.Push) error {
	refs, err := s.store.Refs(ctx, r.ID)
	if err != nil || refs["refs/heads/"+r.DefaultBranch] != "" || len(refs) != len(pushes) {
		return err
	}
	for _, p := range pushes {
		if branch := p.Branch(); branch != "" && p.Old == git.Zero {
			return s.setDefault(ctx, r, branch, p.Actor)
		}
	}
	return nil
}

func (s *Service) setDefault(ctx context.Context, r git.Repo, branch, actor string) error {
	if _, err := s.output(ctx, s.dir(r), "symbolic-ref", "HEAD", "refs/heads/"+branch); err != nil {
		return err
	}
	return s.store.SetDefaultBranch(ctx, r, branch, actor)
}

// refs lists what git has. Refs of pull requests are ours, not pushed; what cannot
// be recorded, which no push may make but a mirror's original may have, is left out.
func (s *Service) refs(ctx context.Context, r git.Repo) (map[string]string, error) {
	return s.refsIn(ctx, s.dir(r))
}

func (s *Service) refsIn(ctx context.Context, dir string) (map[string]string, error) {
	out, err := s.output(ctx, dir, "for-each-ref", "--format=%(objectname) %(refname)")
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		sha, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if strings.HasPrefix(name, "refs/pull/") {
			continue
		}
		if err := git.CheckRef(name); err != nil {
			slog.Warn("a ref is left out", "dir", dir, "err", err)
			continue
		}
		refs[name] = sha
	}
	return refs, nil
}

// pusher is whose push may be moving refs. It is written beside the repository
// before the first ref moves, for the server that comes after a killed one.
type pusher struct {
	Actor string `json:"actor"`
	RunID int64  `json:"run_id"`
	// Of a merge: the pull request, and what its base becomes.
	Pull  int64  `json:"pull,omitempty"`
	Merge string `json:"merge,omitempty"`
}

func (s *Service) note(r git.Repo, who pusher) error {
	b, err := json.Marshal(who)
	if err != nil {
		return err
	}
	return state.WriteFile(filepath.Join(s.dir(r), "wherry.pusher"), b, 0o600)
}

// pusher returns who was noted; nobody if no push was under way.
func (s *Service) pusher(r git.Repo) (who pusher) {
	if b, err := os.ReadFile(filepath.Join(s.dir(r), "wherry.pusher")); err == nil {
		_ = json.Unmarshal(b, &who) // it was written whole
	}
	return who
}

func (s *Service) forget(r git.Repo) {
	_ = os.Remove(filepath.Join(s.dir(r), "wherry.pusher")) // it may not be there
}

// reconcile records every ref that is elsewhere than the store knows.
func (s *Service) reconcile(ctx context.Context, r git.Repo, actor string, runID int64) ([]git.Push, error) {
	have, err := s.refs(ctx, r)
	if err != nil {
		return nil, err
	}
	known, err := s.store.Refs(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	var moved []git.Movement
	for name, sha := range have {
		if known[name] != sha {
			moved = append(moved, s.movement(ctx, r, name, known[name], sha))
		}
	}
	for name := range known {
		if have[name] == "" {
			moved = append(moved, git.Movement{Ref: name, New: git.Zero})
		}
	}
	if len(moved) == 0 {
		return nil, nil
	}
	return s.store.Record(ctx, r, actor, runID, moved)
}

// movement says whether a ref was moved by force: to what does not come after
// the old commit. A tag that moves always is.
func (s *Service) movement(ctx context.Context, r git.Repo, ref, old, sha string) git.Movement {
	m := git.Movement{Ref: ref, New: sha}
	if old == "" || old == git.Zero || sha == git.Zero || old == sha {
		return m
	}
	_, err := s.output(ctx, s.dir(r), "merge-base", "--is-ancestor", old, sha)
	after, err := said(err)
	m.Forced = err != nil || !after || strings.HasPrefix(ref, "refs/tags/")
	return m
}
