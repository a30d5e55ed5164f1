// Package git hosts Git repositories: the smart HTTP protocol by running the
// real git, the rules of protected branches before a ref moves and the record of
// every movement after, pull requests, and mirrors of repositories elsewhere.
package git

import (
	"cmp"
	"context"
	_ "embed" // hook.sh
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store/git"
	"github.com/wherry-ml/wherry/store/notify"
	"github.com/wherry-ml/wherry/store/workspace"
)

// MaxPush is how large a push may be unless the configuration says otherwise.
const MaxPush = 1 << 30

//go:embed hook.sh
var hook []byte

// Config is what New takes.
type Config struct {
	Store   *git.Store
	State   state.Dir
	Outbox  *notify.Store  // knows the destinations of notifications
	Key     *workspace.Key // seals sign-ins to forges
	URL     string         // of this server, in links that forges are given
	MaxPush int64          // bytes of one push, packed; 0 is MaxPush
}

// Service is the hosting of repositories. The fields may be set before it
// serves.
type Service struct {
	// Permit says whether a caller who is no admin may read, or write to, a
	// repository. It returns an error for the caller, or nil.
	Permit func(ctx context.Context, id wherry.Identity, repo git.Repo, write bool) error
	// PermitScope says whether a caller who is no admin may read or write what one
	// of a token's scopes is of, as statuses or pull-requests. Permissions are
	// those of a workflow's job.
	PermitScope func(ctx context.Context, id wherry.Identity, repo git.Repo, level string, scopes []string) error
	// Remarks gives the lines that a pusher sees after the push, as
	// "ci-build-test queued: URL". base is scheme://host of the push.
	Remarks func(ctx context.Context, base string, repo git.Repo, pushes []git.Push) []string

	cfg   Config
	store *git.Store
	git   string // the program
	slots chan struct{}
	web   *http.Client
	tried map[int64]int // deliveries that failed, of the one loop that does them

	pulls sync.Mutex // one looks after pull requests at a time

	mu           sync.Mutex
	locks        map[string]*refLock // by the repository's key
	refusedSince time.Time
	refused      int // webhooks since then
}

// refLock keeps one push at a time between the question whether its refs may
// move and the record that they did.
type refLock struct {
	sync.Mutex
	settled atomic.Bool // what a server before us left unrecorded, is recorded
}

// processes bounds how many programs of git run at once.
const processes = 16

// New returns the service; Start makes it ready.
func New(cfg Config) *Service {
	if cfg.MaxPush == 0 {
		cfg.MaxPush = MaxPush
	}
	return &Service{cfg: cfg, store: cfg.Store, slots: make(chan struct{}, processes), locks: map[string]*refLock{}, web: webClient(), tried: map[int64]int{}, Permit: ownOnly, PermitScope: adminsOnly, Remarks: noRemarks}
}

// ownOnly is the rule until grants are enforced: who is no admin reads and
// writes the repositories that they made; a task reads what its starter may.
func ownOnly(_ context.Context, id wherry.Identity, repo git.Repo, write bool) error {
	switch {
	case id.RunID != 0 && write:
		return wherry.Errorf(wherry.CodePermissionDenied, "a task's token may not push to %s", repo.Name)
	case id.ForAdmin || repo.Creator == id.UserName:
		return nil
	}
	return wherry.Errorf(wherry.CodePermissionDenied, "%s may not use the repository %s: until grants are enforced only admins and who made it may", id.UserName, repo.Name)
}

func noRemarks(context.Context, string, git.Repo, []git.Push) []string { return nil }

// Start makes what the service needs in the state directory. Without git on the
// PATH it starts too, and every call of git says what is missing.
func (s *Service) Start(ctx context.Context) error {
	path, err := exec.LookPath("git")
	if err != nil {
		slog.Warn("there is no git on the PATH: repositories are not served")
		return nil
	}
	s.git = path
	root := s.cfg.State.Repos()
	if err := os.MkdirAll(filepath.Join(root, ".hooks"), 0o700); err != nil {
		return err
	}
	for _, name := range []string{"pre-receive", "post-receive"} {
		if err := state.WriteFile(s.hooks(name), hook, 0o700); err != nil {
			return err
		}
	}
	if err := s.proveHook(ctx); err != nil {
		return fmt.Errorf("repositories: %w", err)
	}
	if err := s.removeUnfinished(root); err != nil {
		return err
	}
	return s.initBare(ctx, s.nowhere(), "main")
}

func (s *Service) hooks(name string) string {
	return filepath.Join(s.cfg.State.Repos(), ".hooks", name)
}

// nowhere is an empty repository: what one that a push will make looks like.
func (s *Service) nowhere() string { return filepath.Join(s.cfg.State.Repos(), ".empty.git") }

func (s *Service) dir(r git.Repo) string {
	return filepath.Join(s.cfg.State.Repos(), strings.ToLower(r.Name)+".git")
}

// removeUnfinished deletes repositories whose making was cut off.
func (s *Service) removeUnfinished(root string) error {
	list, err := filepath.Glob(filepath.Join(root, ".new-*"))
	for _, dir := range list {
		err = errors.Join(err, state.RemoveAll(dir))
	}
	return err
}

// Run records the pushes that a server before this one could not, and looks
// after pull requests, mirrors and what forges are to be told, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	if s.git == "" {
		<-ctx.Done()
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := s.settleAll(ctx); err != nil {
			return ended(ctx, err)
		}
		return s.loop(ctx, func(ctx context.Context) (time.Duration, error) { return 0, s.syncPulls(ctx, 0, nil) })
	})
	g.Go(func() error { return s.loop(ctx, s.followMirrors) })
	g.Go(func() error { return s.loop(ctx, s.sendReports) })
	g.Go(func() error { return ended(ctx, s.tidy(ctx)) })
	return g.Wait()
}

func (s *Service) settleAll(ctx context.Context) error {
	repos, err := s.store.Repos(ctx)
	if err != nil {
		return err
	}
	for _, r := range repos {
		if err := s.settle(ctx, r); err != nil && ctx.Err() == nil {
			slog.Error("read the refs of a repository", "repo", r.Name, "err", err)
		}
	}
	return nil
}

// tidy lets git pack together what pushes left, every hour, where it is much.
// What no ref leads to stays for two weeks, git's own rule.
func (s *Service) tidy(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		repos, err := s.store.Repos(ctx)
		if err != nil {
			return err
		}
		for _, r := range repos {
			if _, err := s.output(ctx, s.dir(r), "gc", "--auto", "--quiet"); err != nil && ctx.Err() == nil {
				slog.Warn("tidy a repository", "repo", r.Name, "err", err)
			}
		}
	}
}

// retry is when a pass that went wrong is made again.
const retry = 10 * time.Second

// loop makes passes whenever the store tells of a change, and when the last pass
// asked for.
func (s *Service) loop(ctx context.Context, pass func(context.Context) (time.Duration, error)) error {
	woken, stop := s.store.Changed()
	defer stop()
	for {
		wait, err := pass(ctx)
		if err != nil && ctx.Err() == nil {
			slog.Error("repositories", "err", err)
			wait = retry
		}
		if wait == 0 {
			wait = time.Hour // nothing waits
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-woken:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// create makes a repository: its folder first under another name, then its row,
// then its folder's name. A server that is killed between finds a row without a
// folder, and makes it in open.
func (s *Service) create(ctx context.Context, r git.Repo) (git.Repo, error) {
	if s.git == "" {
		return r, errNoGit()
	}
	if err := git.CheckName(r.Name); err != nil {
		return r, err
	}
	if r.DefaultBranch == "" && r.ForkOf != "" {
		from, err := s.store.Repo(ctx, r.ForkOf)
		if err != nil {
			return r, err
		}
		r.DefaultBranch = from.DefaultBranch
	}
	r.DefaultBranch = cmp.Or(r.DefaultBranch, "main")
	if err := s.checkBranch(ctx, r.DefaultBranch); err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp(s.cfg.State.Repos(), ".new-*")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir) // a name that it has no more, once all went well
	if err := s.initBare(ctx, dir, r.DefaultBranch); err != nil {
		return r, err
	}
	var refs map[string]string
	if r.ForkOf != "" {
		if refs, err = s.copyFrom(ctx, r.ForkOf, dir); err != nil {
			return r, err
		}
	}
	l := s.lock(r) // who finds the row already waits in settle for its folder
	l.Lock()
	defer l.Unlock()
	if r, err = s.store.Create(ctx, r, refs); err != nil {
		return r, err
	}
	if err := os.Rename(dir, s.dir(r)); err != nil {
		err = errors.Join(err, s.store.Uncreate(context.WithoutCancel(ctx), r))
		if errors.Is(err, fs.ErrExist) {
			return r, wherry.Errorf(wherry.CodeInvalidState, "the state directory has a folder repos/%s, which is of no repository: move it away", filepath.Base(s.dir(r)))
		}
		return r, err
	}
	return r, nil
}

// copyFrom brings the branches and tags of a repository into a folder.
func (s *Service) copyFrom(ctx context.Context, name, dir string) (map[string]string, error) {
	from, err := s.store.Repo(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := s.settle(ctx, from); err != nil {
		return nil, err
	}
	if _, err := s.output(ctx, dir, "fetch", "--quiet", "--no-write-fetch-head", s.dir(from), "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"); err != nil {
		return nil, err
	}
	return s.refsIn(ctx, dir)
}

// open makes sure that a repository has its folder: where its making was cut off,
// a fork's is copied again. What its parent has moved since counts as pushed.
func (s *Service) open(ctx context.Context, r git.Repo) error {
	if _, err := os.Stat(filepath.Join(s.dir(r), "HEAD")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if r.ForkOf == "" {
		return s.initBare(ctx, s.dir(r), r.DefaultBranch)
	}
	dir, err := os.MkdirTemp(s.cfg.State.Repos(), ".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // a name that it has no more, once all went well
	if err := s.initBare(ctx, dir, r.DefaultBranch); err != nil {
		return err
	}
	if _, err := s.copyFrom(ctx, r.ForkOf, dir); err != nil {
		return err
	}
	return os.Rename(dir, s.dir(r))
}

// newSecret is what a forge proves itself with: 256 random bits.
func newSecret() string { return auth.NewToken("") }

func errNoGit() error {
	return wherry.Errorf(wherry.CodeFeatureDisabled, "there is no git on the server's PATH: install git and start the server again")
}
