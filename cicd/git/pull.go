package git

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/git"
)

// syncPulls follows the branches of open pull requests, of all repositories for
// 0: the refs refs/pull/N/head and refs/pull/N/merge first, then the row. Only
// what is stored decides what is to do, so it may be cut off anywhere.
func (s *Service) syncPulls(ctx context.Context, repoID int64, only func(git.PullRequest) bool) error {
	s.pulls.Lock()
	defer s.pulls.Unlock()
	list, err := s.store.Stale(ctx, repoID)
	if err != nil {
		return err
	}
	for _, p := range list {
		if only != nil && !only(p) {
			continue
		}
		if err := s.syncPull(ctx, p); err != nil && wherry.CodeOf(err) != wherry.CodeAborted { // ABORTED: someone closed it
			slog.Error("follow a pull request", "repo", p.RepoID, "number", p.Number, "err", err)
		}
	}
	return nil
}

func (s *Service) syncPull(ctx context.Context, p git.PullRequest) error {
	r, err := s.store.RepoByID(ctx, p.RepoID)
	if err != nil {
		return err
	}
	base, head, err := s.tips(ctx, p)
	if err != nil {
		return err
	}
	if base == "" || head == "" {
		return s.store.ClosePull(ctx, r, p, "", "")
	}
	if err := s.bringHead(ctx, r, p, head); err != nil {
		return err
	}
	if p.HeadSHA != "" {
		_, err := s.output(ctx, s.dir(r), "merge-base", "--is-ancestor", head, base)
		if merged, err := said(err); err != nil || merged { // somebody pushed it to the base
			if err != nil {
				return err
			}
			return s.store.ClosePull(ctx, r, p, base, "")
		}
	}
	merge, err := s.testMerge(ctx, r, p, base, head)
	if err != nil {
		return err
	}
	return s.store.MovePull(ctx, r, p, base, head, merge)
}

// tips returns where a pull request's branches are, "" for one that is gone.
func (s *Service) tips(ctx context.Context, p git.PullRequest) (base, head string, err error) {
	refs, err := s.store.Refs(ctx, p.RepoID)
	if err != nil {
		return "", "", err
	}
	base, head = refs["refs/heads/"+p.Base], refs["refs/heads/"+p.Head]
	if p.Fork() {
		refs, err = s.store.Refs(ctx, p.HeadRepoID)
		head = refs["refs/heads/"+p.Head]
	}
	return base, head, err
}

func pullRef(p git.PullRequest, name string) string {
	return fmt.Sprintf("refs/pull/%d/%s", p.Number, name)
}

// bringHead sets refs/pull/N/head, with the objects of a fork.
func (s *Service) bringHead(ctx context.Context, r git.Repo, p git.PullRequest, head string) error {
	if !p.Fork() {
		return s.updateRef(ctx, s.dir(r), pullRef(p, "head"), head, "")
	}
	fork, err := s.store.RepoByID(ctx, p.HeadRepoID)
	if err != nil {
		return err
	}
	_, err = s.output(ctx, s.dir(r), "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", s.dir(fork), "+"+head+":"+pullRef(p, "head"))
	return err
}

// testMerge sets refs/pull/N/merge to what the base would become, and returns
// it; "" if the branches conflict, or are too much for git to merge.
func (s *Service) testMerge(ctx context.Context, r git.Repo, p git.PullRequest, base, head string) (string, error) {
	m, err := s.mergeTree(ctx, r, base, head)
	tooMuch := wherry.CodeOf(err) == wherry.CodeExhausted
	if err != nil && !tooMuch {
		return "", err
	}
	if tooMuch || len(m.conflicts) > 0 {
		return "", s.updateRef(ctx, s.dir(r), pullRef(p, "merge"), git.Zero, "")
	}
	sha, err := s.commitTree(ctx, s.dir(r), m.tree, fmt.Sprintf("Merge %s into %s\n", head, base), ourselves, ourselves, base, head)
	if err != nil {
		return "", err
	}
	return sha, s.updateRef(ctx, s.dir(r), pullRef(p, "merge"), sha, "")
}

// pullPath names a pull request in the path.
type pullPath struct {
	Name   string       `json:"name"`
	Number wherry.Int64 `json:"number"`
}

func (s *Service) pull(ctx context.Context, in *pullPath) (git.Repo, git.PullRequest, error) {
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return r, git.PullRequest{}, err
	}
	if s.git == "" {
		return r, git.PullRequest{}, errNoGit()
	}
	if err := s.settle(ctx, r); err != nil {
		return r, git.PullRequest{}, err
	}
	p, err := s.store.Pull(ctx, r, int64(in.Number))
	return r, p, err
}

// pullIn asks for a new pull request.
type pullIn struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Body  string `json:"body"`
	Base  string `json:"base"`
	Head  string `json:"head"` // branch, or FORK:branch
}

func (s *Service) openPull(ctx context.Context, in *pullIn) (*pullOut, error) {
	id := wherry.IdentityFrom(ctx)
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	if err := s.notMirror(ctx, r); err != nil {
		return nil, err
	}
	if s.git == "" || s.oldGit(ctx) {
		return nil, wherry.Errorf(wherry.CodeFeatureDisabled, "pull requests need git 2.38 or newer on the server's PATH")
	}
	if err := s.settle(ctx, r); err != nil {
		return nil, err
	}
	p := git.PullRequest{RepoID: r.ID, HeadRepoID: r.ID, Title: strings.TrimSpace(in.Title), Body: in.Body, Base: in.Base, Head: in.Head, Author: id.UserName}
	if fork, branch, ok := strings.Cut(in.Head, ":"); ok {
		f, err := s.store.Repo(ctx, fork)
		if err != nil {
			return nil, err
		}
		if f.ID != r.ID && f.ForkOf != r.Name {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%s is no fork of %s", f.Name, r.Name)
		}
		p.HeadRepoID, p.Head = f.ID, branch
	}
	if p.Base == "" {
		p.Base = r.DefaultBranch
	}
	if err := s.checkPull(ctx, r, &p); err != nil {
		return nil, err
	}
	if p, err = s.store.OpenPull(ctx, r, p); err != nil {
		return nil, err
	}
	if err := s.syncPulls(context.WithoutCancel(ctx), r.ID, nil); err != nil {
		return nil, err
	}
	return s.showPull(ctx, &pullPath{r.Name, wherry.Int64(p.Number)})
}

// checkPull says what is wrong with a pull request that is to be opened.
func (s *Service) checkPull(ctx context.Context, r git.Repo, p *git.PullRequest) error {
	if err := git.CheckText(p.Title + p.Body); err != nil {
		return err
	}
	base, head, err := s.tips(ctx, *p)
	if err != nil {
		return err
	}
	switch {
	case p.Base == p.Head && !p.Fork():
		return wherry.Errorf(wherry.CodeInvalidParameter, "base and head are both %s", p.Base)
	case base == "":
		return wherry.Errorf(wherry.CodeDoesNotExist, "%s has no branch %q to merge into", r.Name, p.Base)
	case head == "":
		return wherry.Errorf(wherry.CodeDoesNotExist, "there is no branch %q: push it first (git push -u origin %s)", p.Head, p.Head)
	}
	dir := s.dir(r)
	if p.Fork() {
		fork, err := s.store.RepoByID(ctx, p.HeadRepoID)
		if err != nil {
			return err
		}
		if err := s.settle(ctx, fork); err != nil {
			return err
		}
		if _, err := s.output(ctx, dir, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", s.dir(fork), head); err != nil {
			return err
		}
	}
	_, err = s.output(ctx, dir, "merge-base", "--is-ancestor", head, base)
	if in, err := said(err); err != nil || in {
		if err != nil {
			return err
		}
		return wherry.Errorf(wherry.CodeInvalidState, "%s has nothing that %s lacks", p.Head, p.Base)
	}
	_, err = s.output(ctx, dir, "merge-base", base, head)
	if related, err := said(err); err != nil || !related {
		if err != nil {
			return err
		}
		return wherry.Errorf(wherry.CodeInvalidState, "%s and %s have no commit in common", p.Head, p.Base)
	}
	if p.Title == "" {
		c, err := s.Commit(ctx, r, head)
		if err != nil {
			return err
		}
		p.Title = c.Subject
	}
	return nil
}

// pullOut is a pull request with all that decides on it.
type pullOut struct {
	git.PullRequest
	Checks    []git.Status  `json:"checks"`   // of the head
	Required  []string      `json:"required"` // contexts that must be green
	Mergeable bool          `json:"mergeable"`
	Why       string        `json:"why,omitempty"` // it is not mergeable
	Comments  []git.Comment `json:"comments"`
	CloneURL  string        `json:"clone_url"`
}

func (s *Service) showPull(ctx context.Context, in *pullPath) (*pullOut, error) {
	r, p, err := s.pull(ctx, in)
	if err != nil {
		return nil, err
	}
	o := &pullOut{PullRequest: p, Required: []string{}, CloneURL: out(ctx, r).URL}
	if o.Checks, err = s.store.Statuses(ctx, r.ID, p.HeadSHA); err != nil {
		return nil, err
	}
	if o.Comments, err = s.store.Comments(ctx, r.ID, p.Number); err != nil {
		return nil, err
	}
	list, err := s.store.Protections(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	rule := git.RuleOf(list, p.Base)
	o.Required = append(o.Required, rule.Checks...)
	switch err := mergeable(rule, o.Checks, p); {
	case p.State != git.PullOpen:
	case p.MergeSHA == "":
		o.Why = p.Head + " and " + p.Base + " conflict, or are too much for git to merge"
	case err != nil:
		o.Why = err.Error()
	default:
		o.Mergeable = true
	}
	return o, nil
}

// pullListIn asks for the pull requests in a state; "" is open, "all" is any.
type pullListIn struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

// pullList is the answer of listPulls.
type pullList struct {
	Pulls []git.PullRequest `json:"pulls"`
}

func (s *Service) listPulls(ctx context.Context, in *pullListIn) (*pullList, error) {
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	state := in.State
	switch state {
	case "":
		state = git.PullOpen
	case "all":
		state = ""
	case git.PullOpen, git.PullClosed, git.PullMerged:
	default:
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "state must be open, closed, merged or all, not %.40q", state)
	}
	list, err := s.store.Pulls(ctx, r.ID, state)
	return &pullList{list}, err
}

func (s *Service) closePull(ctx context.Context, in *pullPath) (*pullOut, error) {
	s.pulls.Lock()
	defer s.pulls.Unlock()
	r, p, err := s.pull(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := s.notMirror(ctx, r); err != nil {
		return nil, err
	}
	if p.State != git.PullOpen {
		return nil, wherry.Errorf(wherry.CodeInvalidState, "pull request %d is %s", p.Number, p.State)
	}
	if err := s.store.ClosePull(ctx, r, p, "", wherry.IdentityFrom(ctx).UserName); err != nil {
		return nil, err
	}
	return s.showPull(ctx, in)
}

func (s *Service) reopenPull(ctx context.Context, in *pullPath) (*pullOut, error) {
	r, p, err := s.pull(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := s.notMirror(ctx, r); err != nil {
		return nil, err
	}
	if p.State != git.PullClosed {
		return nil, wherry.Errorf(wherry.CodeInvalidState, "pull request %d is %s", p.Number, p.State)
	}
	if err := s.checkPull(ctx, r, &p); err != nil {
		return nil, err
	}
	if err := s.store.ReopenPull(ctx, r, p, wherry.IdentityFrom(ctx).UserName); err != nil {
		return nil, err
	}
	if err := s.syncPulls(context.WithoutCancel(ctx), r.ID, nil); err != nil {
		return nil, err
	}
	return s.showPull(ctx, in)
}

// commentIn is a remark on a pull request.
type commentIn struct {
	pullPath
	Body string `json:"body"`
}

func (s *Service) comment(ctx context.Context, in *commentIn) (*git.Comment, error) {
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	c, err := s.store.AddComment(ctx, r, git.Comment{Number: int64(in.Number), Author: wherry.IdentityFrom(ctx).UserName, Body: in.Body})
	return &c, err
}

// pullRoutes are those of pull requests.
func (s *Service) pullRoutes() []api.Route {
	return []api.Route{
		{Method: "GET", Path: "/api/wherry/repos/{name}/pulls", Permission: api.Read, Summary: "List pull requests", Handler: api.JSON(s.listPulls)},
		{Method: "POST", Path: "/api/wherry/repos/{name}/pulls", Permission: api.Write, Summary: "Open a pull request", Handler: api.JSON(s.openPull)},
		{Method: "GET", Path: "/api/wherry/repos/{name}/pulls/{number}", Permission: api.Read, Summary: "Show a pull request with its checks and comments", Handler: api.JSON(s.showPull)},
		{Method: "POST", Path: "/api/wherry/repos/{name}/pulls/{number}/merge", Permission: api.Write, Summary: "Merge a pull request", Handler: api.JSON(s.mergePull)},
		{Method: "POST", Path: "/api/wherry/repos/{name}/pulls/{number}/close", Permission: api.Write, Summary: "Close a pull request", Handler: api.JSON(s.closePull)},
		{Method: "POST", Path: "/api/wherry/repos/{name}/pulls/{number}/reopen", Permission: api.Write, Summary: "Take a closed pull request up again", Handler: api.JSON(s.reopenPull)},
		{Method: "POST", Path: "/api/wherry/repos/{name}/pulls/{number}/comments", Permission: api.Write, Summary: "Comment on a pull request", Handler: api.JSON(s.comment)},
	}
}
