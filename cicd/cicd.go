// Package cicd runs the workflows of the repositories that are pushed to: what
// a push starts, jobs on agents of their own, approvals, concurrency groups,
// secrets, artifacts and caches.
package cicd

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	hosting "github.com/wherry-ml/wherry/cicd/git"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/drift"
	"github.com/wherry-ml/wherry/store/environments"
	"github.com/wherry-ml/wherry/store/git"
	"github.com/wherry-ml/wherry/store/jobs"
	"github.com/wherry-ml/wherry/store/workspace"
	"github.com/wherry-ml/wherry/workflow"
	"github.com/wherry-ml/wherry/workflow/action"
)

// Config is what New takes.
type Config struct {
	State        state.Dir
	Store        *cicd.Store
	Git          *git.Store
	Hosting      *hosting.Service
	Jobs         *jobs.Store
	Environments *environments.Store
	Drift        *drift.Store
	// Key seals secrets.
	Key *workspace.Key
	// SignIn signs the id-tokens of jobs.
	SignIn *auth.Service
	// URL is scheme://host:port of the server.
	URL string
	// Owner is the owner's name of all repositories, in OWNER/NAME.
	Owner string
	// Tools is what this machine has for workflows.
	Tools func() action.Tools
	// Index is the address of a package index for pip, "" for the machine's own.
	Index string
	// Retention is how long artifacts and caches are kept.
	Retention Retention
}

// Service runs workflows.
type Service struct {
	cfg Config
	bot wherry.Principal // whom jobs run as
	// own decides about who is no job: it was there before us.
	own func(context.Context, wherry.Identity, git.Repo, bool) error

	mu     sync.Mutex
	parsed map[string]*workflow.Workflow // by digest of the files and path

	failures map[string]failures // by the name of the part of a pass that went wrong

	storing  sync.Mutex
	arriving map[string]int // uploads by digest whose rows are not written yet
}

// botName is the user name of whom jobs run as: they may reach their own
// repository, artifacts and caches, and nothing of the workspace.
const botName = "github-actions[bot]"

// New returns the service; Start makes it ready.
func New(cfg Config) *Service {
	cfg.Retention = cfg.Retention.orDefaults()
	return &Service{cfg: cfg, parsed: map[string]*workflow.Workflow{}, failures: map[string]failures{}, arriving: map[string]int{}}
}

// Start finds or makes the principal that jobs run as.
func (s *Service) Start(ctx context.Context) error {
	s.own = s.cfg.Hosting.Permit
	s.cfg.Hosting.Permit, s.cfg.Hosting.PermitScope, s.cfg.Hosting.Remarks = s.permit, s.permitScope, s.remarks
	return s.cfg.Store.DB().Write(ctx, func(tx *store.Tx) (err error) {
		list, err := auth.Principals(tx, wherry.KindServicePrincipal)
		if err != nil {
			return err
		}
		for _, p := range list {
			if p.DisplayName == botName {
				s.bot = p
				return nil
			}
		}
		s.bot, err = auth.AddServicePrincipal(tx, "", botName, false)
		return err
	})
}

// tick is how often what only time changes is looked at: wait timers and
// schedules.
const tick = 5 * time.Second

// Run starts what pushes ask for and brings runs to their ends. A pass looks
// only at what is stored.
func (s *Service) Run(ctx context.Context) error {
	db := s.cfg.Store.DB()
	pushed, stopPushed := s.cfg.Git.Changed()
	defer stopPushed()
	changed, stopChanged := db.Watch(cicd.Topic)
	defer stopChanged()
	ran, stopRan := db.Watch(jobs.TopicRun)
	defer stopRan()
	clock := time.NewTicker(tick)
	defer clock.Stop()
	for {
		if err := s.pass(ctx); err != nil && ctx.Err() == nil {
			slog.Error("workflows", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-pushed:
		case <-changed:
		case <-ran:
		case <-clock.C:
		}
	}
}

func (s *Service) pass(ctx context.Context) error {
	triggers, err := s.cfg.Git.Pending(ctx, 100)
	if err != nil {
		return err
	}
	for _, t := range triggers {
		s.attempt(ctx, fmt.Sprintf("trigger %d", t.ID), func() error { return s.handle(ctx, t) }, func(why error) error { return s.leave(ctx, t, why) })
	}
	if err := s.schedules(ctx); err != nil {
		return err
	}
	open, err := s.cfg.Store.Open(ctx)
	if err != nil {
		return err
	}
	for _, r := range open {
		s.attempt(ctx, fmt.Sprintf("run %d", r.ID), func() error { return s.step(ctx, r, open) }, func(why error) error { return s.giveUp(ctx, r, why) })
	}
	return nil
}

// workflow returns the parsed file that a run runs by.
func (s *Service) workflow(ctx context.Context, r *cicd.Record) (*workflow.Workflow, error) {
	key := r.Files + " " + r.Path
	s.mu.Lock()
	w := s.parsed[key]
	s.mu.Unlock()
	if w != nil {
		return w, nil
	}
	files, err := s.cfg.Store.Files(ctx, r.Files)
	if err != nil {
		return nil, err
	}
	w, problems := workflow.Parse(r.Path, files[r.Path])
	if w == nil {
		return nil, fmt.Errorf("%v", problems)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.parsed) > 256 {
		clear(s.parsed)
	}
	s.parsed[key] = w
	return w, nil
}

// permit lets the jobs of workflows into the repository that they are of: to
// read, and to write if their permissions say so.
func (s *Service) permit(ctx context.Context, id wherry.Identity, repo git.Repo, write bool) error {
	r, j, err := s.cfg.Store.JobOfTask(ctx, id.RunID)
	if id.RunID == 0 || err != nil {
		return s.own(ctx, id, repo, write)
	}
	if r.RepoID != repo.ID && write {
		return wherry.Errorf(wherry.CodePermissionDenied, "a workflow of %s may not write to %s", r.Repo, repo.Name)
	}
	if r.RepoID != repo.ID && !s.related(ctx, r, repo) {
		return wherry.Errorf(wherry.CodePermissionDenied, "a workflow of %s may not read %s", r.Repo, repo.Name)
	}
	if !write {
		return nil
	}
	w, err := s.workflow(ctx, r)
	if err != nil {
		return err
	}
	if r.Fork || w.Permissions(j.Key)["contents"] != "write" {
		return wherry.Errorf(wherry.CodePermissionDenied, "the job %s may only read: give it permissions: contents: write", j.Name)
	}
	return nil
}

// permitScope lets the jobs of workflows use GitHub's API for the repository that
// they are of, as far as their permissions go. A fork's may read.
func (s *Service) permitScope(ctx context.Context, id wherry.Identity, repo git.Repo, level string, scopes []string) error {
	r, j, err := s.cfg.Store.JobOfTask(ctx, id.RunID)
	if id.RunID == 0 || err != nil {
		return wherry.Errorf(wherry.CodePermissionDenied, "%s may not use this: only admins and jobs of workflows may", id.UserName)
	}
	if r.RepoID != repo.ID {
		return wherry.Errorf(wherry.CodePermissionDenied, "a workflow of %s may not use %s", r.Repo, repo.Name)
	}
	w, err := s.workflow(ctx, r)
	if err != nil {
		return err
	}
	has := w.Permissions(j.Key)
	for _, scope := range scopes {
		if has[scope] == level && !(level == "write" && r.Fork) || level == "read" && has[scope] == "write" {
			return nil
		}
	}
	return wherry.Errorf(wherry.CodePermissionDenied, "Resource not accessible by integration: give the job %s permissions: %s: %s", j.Name, scopes[len(scopes)-1], level)
}

// related reports whether a repository is the fork that the run's pull request
// comes from.
func (s *Service) related(ctx context.Context, r *cicd.Record, repo git.Repo) bool {
	var e struct {
		Pull struct {
			Head struct {
				Repo struct {
					FullName string `json:"full_name"`
				} `json:"repo"`
			} `json:"head"`
		} `json:"pull_request"`
	}
	own, err := s.cfg.Git.RepoByID(ctx, r.RepoID)
	return err == nil && repo.ForkOf == own.Name && json.Unmarshal(r.Event.Payload, &e) == nil && e.Pull.Head.Repo.FullName == r.Owner+"/"+repo.Name
}

func (s *Service) emit(tx *store.Tx, r *cicd.Record, kind, actor string, payload map[string]any) error {
	payload["run_id"], payload["attempt"] = r.ID, r.Attempt
	b, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	return tx.Emit(wherry.Event{WorkspaceID: r.WorkspaceID, Kind: kind, Subject: fmt.Sprintf("%d/%d", r.ID, r.Attempt), Actor: actor, Payload: b})
}

// Page is the path of a run's page.
func Page(id int64) string { return fmt.Sprintf("/workflows/runs/%d", id) }
