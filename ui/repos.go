package ui

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/cicd/git"
	cistore "github.com/wherry-ml/wherry/store/cicd"
	gitstore "github.com/wherry-ml/wherry/store/git"
	"github.com/wherry-ml/wherry/workflow"
)

// repoRoutes are the pages of Git repositories.
func (s *Service) repoRoutes() []api.Route {
	const repo = "/repos/{repo}"
	return []api.Route{
		{Method: "GET", Path: "/repos", Permission: api.Read, Summary: "Page of all Git repositories", Handler: api.Raw(s.repos)},
		{Method: "GET", Path: repo, Permission: api.Read, Summary: "Page of a Git repository: commits with their checks, branches, pull requests", Handler: api.Raw(s.repo)},
		{Method: "GET", Path: repo + "/commits/{sha}", Permission: api.Read, Summary: "Page of a commit with its checks", Handler: api.Raw(s.commit)},
	}
}

// viewCheck is what a check says of a commit, by shape and word.
func viewCheck(state string) stateView {
	switch state {
	case gitstore.StateSuccess:
		return stateView{"ok", "Succeeded"}
	case gitstore.StatePending:
		return stateView{"running", "Pending"}
	case gitstore.StateError:
		return stateView{"warn", "Could not run"}
	default:
		return stateView{"failed", "Failed"}
	}
}

// checks are those of one commit.
type checks []gitstore.Status

// Word is what all checks together come to; "" for no checks.
func (c checks) Word() (v stateView) {
	for _, state := range []string{gitstore.StateSuccess, gitstore.StatePending, gitstore.StateError, gitstore.StateFailure} { // the last one there is counts
		if slices.ContainsFunc(c, func(st gitstore.Status) bool { return st.State == state }) {
			v = viewCheck(state)
		}
	}
	return v
}

// ref is a branch or a tag.
type ref struct {
	Name, SHA string
	Checks    checks
	Protected bool
}

// refsOf lists the branches and tags of a repository, its default branch first.
func refsOf(r gitstore.Repo, all map[string]string) (branches, tags []ref) {
	for name, sha := range all {
		if branch, ok := strings.CutPrefix(name, "refs/heads/"); ok {
			branches = append(branches, ref{Name: branch, SHA: sha})
		} else if tag, ok := strings.CutPrefix(name, "refs/tags/"); ok {
			tags = append(tags, ref{Name: tag, SHA: sha})
		}
	}
	slices.SortFunc(branches, func(a, b ref) int {
		if (a.Name == r.DefaultBranch) != (b.Name == r.DefaultBranch) {
			return map[bool]int{true: -1, false: 1}[a.Name == r.DefaultBranch]
		}
		return cmp.Compare(a.Name, b.Name)
	})
	slices.SortFunc(tags, func(a, b ref) int { return cmp.Compare(b.Name, a.Name) })
	return branches, tags
}

type repoRow struct {
	gitstore.Repo
	Tip   string
	Last  gitstore.Push
	Open  int // pull requests
	State stateView
}

func (s *Service) repos(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	list, err := s.cfg.Git.Repos(ctx)
	if err != nil {
		return err
	}
	rows := make([]repoRow, 0, len(list))
	for _, repo := range list {
		row := repoRow{Repo: repo}
		refs, err := s.cfg.Git.Refs(ctx, repo.ID)
		if err != nil {
			return err
		}
		row.Tip = refs["refs/heads/"+repo.DefaultBranch]
		found, err := s.cfg.Git.StatusesOf(ctx, repo.ID, []string{row.Tip})
		if err != nil {
			return err
		}
		row.State = checks(found[row.Tip]).Word()
		pushes, err := s.cfg.Git.Pushes(ctx, repo.ID, 1)
		if err != nil {
			return err
		}
		if len(pushes) > 0 {
			row.Last = pushes[0]
		}
		open, err := s.cfg.Git.Pulls(ctx, repo.ID, gitstore.PullOpen)
		if err != nil {
			return err
		}
		row.Open = len(open)
		rows = append(rows, row)
	}
	return s.render(w, r, http.StatusOK, "repos", page{Title: "Repositories", Section: "repos", Body: rows})
}

// Bounds of a repository's page.
const (
	maxCommits = 30
	maxRefs    = 40
	maxPulls   = 30
)

type repoView struct {
	gitstore.Repo
	URL      string
	Mirror   *gitstore.Mirror
	At       string // the branch or tag whose commits are listed
	Commits  []commitRow
	Older    string // link
	Branches []ref
	Tags     []ref
	MoreRefs int // that are not listed
	Pulls    []pullRow
	State    string // of the pull requests that are listed, "" for the open ones
}

type commitRow struct {
	git.Commit
	When   int64
	Checks checks
}

type pullRow struct {
	gitstore.PullRequest
	Checks checks
}

// Standing is a pull request's state, by shape and word.
func (p pullRow) Standing() stateView {
	switch {
	case p.State == gitstore.PullMerged:
		return stateView{"ok", "Merged"}
	case p.State == gitstore.PullClosed:
		return stateView{"canceled", "Closed"}
	case p.MergeSHA == "":
		return stateView{"warn", "Open, cannot be merged"}
	default:
		return stateView{"running", "Open"}
	}
}

// repo shows a repository: the commits of a branch or tag with their checks,
// its branches and tags, its pull requests.
func (s *Service) repo(w http.ResponseWriter, r *http.Request) error {
	ctx, q := r.Context(), r.URL.Query()
	repo, err := s.cfg.Git.Repo(ctx, r.PathValue("repo"))
	if err != nil {
		return err
	}
	v := &repoView{Repo: repo, URL: wherry.IdentityFrom(ctx).BaseURL + "/git/" + repo.Name + ".git", At: cmp.Or(q.Get("ref"), repo.DefaultBranch), State: q.Get("pulls")}
	if m, ok, err := s.cfg.Git.Mirror(ctx, repo.ID); err != nil {
		return err
	} else if ok {
		v.Mirror = &m
	}
	skip, _ := strconv.Atoi(q.Get("skip"))
	if err := s.refs(ctx, v, max(0, skip)); err != nil {
		return err
	}
	if err := s.pulls(ctx, v); err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "repo", page{Title: repo.Name, Section: "repos", Body: v})
}

// refs fills in branches, tags and commits.
func (s *Service) refs(ctx context.Context, v *repoView, skip int) error {
	all, err := s.cfg.Git.Refs(ctx, v.ID)
	if err != nil {
		return err
	}
	v.Branches, v.Tags = refsOf(v.Repo, all)
	tip := cmp.Or(all["refs/heads/"+v.At], all["refs/tags/"+v.At])
	if tip == "" && v.At != v.DefaultBranch {
		return wherry.Errorf(wherry.CodeNotFound, "%s has no branch or tag %.100q", v.Name, v.At)
	}
	if tip == "" {
		return nil // empty
	}
	for _, list := range []*[]ref{&v.Branches, &v.Tags} {
		v.MoreRefs += max(0, len(*list)-maxRefs)
		*list = (*list)[:min(maxRefs, len(*list))]
	}
	log, err := s.cfg.Hosting.Log(ctx, v.Repo, tip, skip, maxCommits+1)
	if err != nil {
		return err
	}
	if len(log) > maxCommits {
		log = log[:maxCommits]
		v.Older = "?" + url.Values{"ref": {v.At}, "skip": {strconv.Itoa(skip + maxCommits)}}.Encode()
	}
	var shas []string
	for _, c := range log {
		shas = append(shas, c.SHA)
	}
	for _, b := range v.Branches {
		shas = append(shas, b.SHA)
	}
	found, err := s.cfg.Git.StatusesOf(ctx, v.ID, shas)
	if err != nil {
		return err
	}
	for _, c := range log {
		v.Commits = append(v.Commits, commitRow{c, moment(c.At), found[c.SHA]})
	}
	rules, err := s.cfg.Git.Protections(ctx, v.ID)
	for i, b := range v.Branches {
		v.Branches[i].Checks, v.Branches[i].Protected = found[b.SHA], gitstore.RuleOf(rules, b.Name).Protected
	}
	return err
}

func (s *Service) pulls(ctx context.Context, v *repoView) error {
	state := cmp.Or(v.State, gitstore.PullOpen)
	if state == "all" {
		state = ""
	}
	list, err := s.cfg.Git.Pulls(ctx, v.ID, state)
	if err != nil {
		return err
	}
	list = list[:min(maxPulls, len(list))]
	var shas []string
	for _, p := range list {
		shas = append(shas, p.HeadSHA)
	}
	found, err := s.cfg.Git.StatusesOf(ctx, v.ID, shas)
	for _, p := range list {
		v.Pulls = append(v.Pulls, pullRow{p, found[p.HeadSHA]})
	}
	return err
}

// moment is a time in RFC 3339 as milliseconds since 1970, 0 for none.
func moment(text string) int64 {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0
	}
	return t.UnixMilli()
}

type commitPage struct {
	gitstore.Repo
	commitRow
	Body string // of the message, without its first line
	Runs []*workflow.Run
}

// commit shows a commit: what its checks say, and the runs that they are of.
func (s *Service) commit(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	repo, err := s.cfg.Git.Repo(ctx, r.PathValue("repo"))
	if err != nil {
		return err
	}
	sha, err := s.cfg.Hosting.Resolve(ctx, repo, r.PathValue("sha"))
	if err != nil {
		return wherry.Errorf(wherry.CodeNotFound, "%s has no commit %.60q", repo.Name, r.PathValue("sha"))
	}
	v := commitPage{Repo: repo}
	if v.Commit, err = s.cfg.Hosting.Commit(ctx, repo, sha); err != nil {
		return err
	}
	_, body, _ := strings.Cut(v.Message, "\n")
	v.When, v.Body = moment(v.At), strings.TrimSpace(body)
	found, err := s.cfg.Git.StatusesOf(ctx, repo.ID, []string{sha})
	if err != nil {
		return err
	}
	v.Checks = found[sha]
	f := cistore.Filter{WorkspaceID: wherry.IdentityFrom(ctx).WorkspaceID, SHA: sha, Limit: maxCommits}
	if v.Runs, err = s.cfg.Workflows.Runs(ctx, f, repo.Name); err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "commit", page{Title: short(80, v.Subject), Section: "repos", Body: v})
}

// commitPath is the page of a commit of a repository here.
func commitPath(repo, sha string) string {
	return "/repos/" + url.PathEscape(repo) + "/commits/" + url.PathEscape(sha)
}
