package git

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/git"
)

// This file answers the few calls of GitHub's REST API that workflows make with
// actions/github-script and gh: statuses, pull requests, and comments on them.
// Shapes are those of docs.github.com/rest; the owner may be any.

// githubErrors is GitHub's error document.
var githubErrors = api.Family{Name: "github", Status: githubStatus, Body: func(_ http.ResponseWriter, _ int, e *wherry.Error) any {
	return map[string]string{"message": e.Message, "documentation_url": "https://docs.github.com/rest"}
}}

func githubStatus(code string) int {
	if code == wherry.CodeInvalidParameter || code == wherry.CodeAlreadyExists {
		return http.StatusUnprocessableEntity
	}
	return api.WorkspaceStatus(code)
}

// githubRoutes are those of GitHub's API that are there.
func (s *Service) githubRoutes() []api.Route {
	const repo = "/api/v3/repos/{owner}/{repo}"
	return []api.Route{
		{Method: "POST", Path: repo + "/statuses/{sha}", Permission: api.Own, Family: githubErrors, Summary: "GitHub: set a commit status", Handler: api.As[githubStatusIn, githubStatusOut](created(s.githubSetStatus))},
		{Method: "GET", Path: repo + "/commits/{ref}/statuses", Permission: api.Own, Family: githubErrors, Summary: "GitHub: list the statuses of a commit", Handler: api.JSON(s.githubStatuses)},
		{Method: "GET", Path: repo + "/commits/{ref}/status", Permission: api.Own, Family: githubErrors, Summary: "GitHub: the combined status of a commit", Handler: api.JSON(s.githubCombined)},
		{Method: "GET", Path: repo + "/commits/{ref...}", Permission: api.Own, Family: githubErrors, Summary: "GitHub: the statuses of a branch or tag with slashes in its name", Handler: api.Raw(s.githubSlashed)},
		{Method: "GET", Path: repo + "/pulls", Permission: api.Own, Family: githubErrors, Summary: "GitHub: list pull requests", Handler: api.JSON(s.githubPulls)},
		{Method: "GET", Path: repo + "/pulls/{number}", Permission: api.Own, Family: githubErrors, Summary: "GitHub: show a pull request", Handler: api.JSON(s.githubPull)},
		{Method: "GET", Path: repo + "/issues/{number}/comments", Permission: api.Own, Family: githubErrors, Summary: "GitHub: list the comments on a pull request", Handler: api.JSON(s.githubComments)},
		{Method: "POST", Path: repo + "/issues/{number}/comments", Permission: api.Own, Family: githubErrors, Summary: "GitHub: comment on a pull request", Handler: api.As[githubCommentIn, githubComment](created(s.githubAddComment))},
		{Method: "PATCH", Path: repo + "/issues/comments/{id}", Permission: api.Own, Family: githubErrors, Summary: "GitHub: change a comment", Handler: api.JSON(s.githubEditComment)},
		{Method: "DELETE", Path: repo + "/issues/comments/{id}", Permission: api.Own, Family: githubErrors, Summary: "GitHub: delete a comment", Handler: api.Raw(s.githubDeleteComment)},
		{Path: "/api/v3/{path...}", Permission: api.Own, Family: githubErrors, Summary: "Not supported: what else there is of GitHub's API", Handler: api.Raw(noGitHub)},
		{Path: "/api/graphql", Permission: api.Own, Family: githubErrors, Summary: "Not supported: GitHub's GraphQL", Handler: api.Raw(noGitHub)},
		{Path: repo + "/{path...}", Permission: api.Own, Family: githubErrors, Summary: "Not supported: what else there is of GitHub's API", Handler: api.Raw(noGitHub)},
	}
}

func noGitHub(_ http.ResponseWriter, r *http.Request) error {
	return wherry.Errorf(wherry.CodeNotImplemented, "%s %s is not supported by wherry: of GitHub's API statuses, reading pull requests, and comments on them are, what else there is of GitHub's API and GitHub's GraphQL are not", r.Method, r.URL.Path)
}

// adminsOnly is who may use GitHub's API where there are no workflows.
func adminsOnly(context.Context, wherry.Identity, git.Repo, string, []string) error {
	return wherry.Errorf(wherry.CodePermissionDenied, "only admins may use this")
}

// may checks that a call may touch a part of the repository: admins may, and a
// workflow's job what its permissions say of one of the scopes.
func (s *Service) may(ctx context.Context, repo, level string, scopes ...string) error {
	id := wherry.IdentityFrom(ctx)
	if id.Admin || id.ForAdmin {
		return nil
	}
	r, err := s.store.Repo(ctx, repo)
	if err != nil {
		return err
	}
	return s.PermitScope(ctx, id, r, level, scopes)
}

// created makes a handler that answers 201, as GitHub does for what it makes.
func created[In, Out any](fn func(context.Context, *In) (*Out, error)) api.Handler {
	return api.Raw(func(w http.ResponseWriter, r *http.Request) error {
		in := new(In)
		if err := api.Decode(r, in); err != nil {
			return err
		}
		out, err := fn(r.Context(), in)
		if err != nil {
			return err
		}
		return api.WriteJSON(w, http.StatusCreated, out)
	})
}

type githubUser struct {
	Login string `json:"login"`
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// githubPath names what a call is about.
type githubPath struct {
	Owner  string       `json:"owner"`
	Repo   string       `json:"repo"`
	Ref    string       `json:"ref"`
	Number wherry.Int64 `json:"number"`
	ID     wherry.Int64 `json:"id"`
	State  string       `json:"state"`
	Head   string       `json:"head"` // owner:branch
	Base   string       `json:"base"`
}

// githubStatusIn sets a status.
type githubStatusIn struct {
	Repo        string `json:"repo"`
	SHA         string `json:"sha"`
	State       string `json:"state"`
	TargetURL   string `json:"target_url"`
	Description string `json:"description"`
	Context     string `json:"context"`
}

type githubStatusOut struct {
	State       string     `json:"state"`
	Description string     `json:"description"`
	TargetURL   string     `json:"target_url"`
	Context     string     `json:"context"`
	CreatedAt   string     `json:"created_at"`
	UpdatedAt   string     `json:"updated_at"`
	Creator     githubUser `json:"creator"`
}

func githubStatusOf(base string, st git.Status) githubStatusOut {
	link := st.Path
	if strings.HasPrefix(link, "/") {
		link = base + link
	}
	return githubStatusOut{st.State, st.Description, link, st.Context, stamp(st.CreatedAt), stamp(st.UpdatedAt), githubUser{st.Actor}}
}

func (s *Service) githubSetStatus(ctx context.Context, in *githubStatusIn) (*githubStatusOut, error) {
	if err := s.may(ctx, in.Repo, "write", "statuses"); err != nil {
		return nil, err
	}
	id := wherry.IdentityFrom(ctx)
	st := git.Status{
		SHA: in.SHA, State: in.State, Context: in.Context, Description: in.Description,
		Path: strings.TrimPrefix(in.TargetURL, id.BaseURL),
	}
	if st.Context == "" {
		st.Context = "default" // as GitHub does
	}
	list, err := s.setStatus(ctx, &statusIn{in.Repo, st})
	if err != nil {
		return nil, err
	}
	for _, got := range list.Statuses {
		if got.Context == st.Context {
			st = got
		}
	}
	o := githubStatusOf(id.BaseURL, st)
	return &o, nil
}

// commit finds the commit that a branch, tag or id names.
func (s *Service) commit(ctx context.Context, in *githubPath) (git.Repo, string, error) {
	r, err := s.store.Repo(ctx, in.Repo)
	if err != nil {
		return r, "", err
	}
	refs, err := s.store.Refs(ctx, r.ID)
	if err != nil {
		return r, "", err
	}
	for _, name := range []string{"refs/heads/" + in.Ref, "refs/tags/" + in.Ref, "refs/" + in.Ref} {
		if sha := refs[name]; sha != "" {
			return r, sha, nil
		}
	}
	return r, in.Ref, s.checkCommit(ctx, r, in.Ref)
}

func (s *Service) githubStatuses(ctx context.Context, in *githubPath) (*[]githubStatusOut, error) {
	if err := s.may(ctx, in.Repo, "read", "statuses"); err != nil {
		return nil, err
	}
	r, sha, err := s.commit(ctx, in)
	if err != nil {
		return nil, err
	}
	list, err := s.store.Statuses(ctx, r.ID, sha)
	all := []githubStatusOut{}
	for _, st := range list {
		all = append(all, githubStatusOf(wherry.IdentityFrom(ctx).BaseURL, st))
	}
	return &all, err
}

// githubTogether is what all checks of a commit come to.
type githubTogether struct {
	State    string            `json:"state"`
	SHA      string            `json:"sha"`
	Total    int               `json:"total_count"`
	Statuses []githubStatusOut `json:"statuses"`
}

func (s *Service) githubCombined(ctx context.Context, in *githubPath) (*githubTogether, error) {
	if err := s.may(ctx, in.Repo, "read", "statuses"); err != nil {
		return nil, err
	}
	_, sha, err := s.commit(ctx, in)
	if err != nil {
		return nil, err
	}
	list, err := s.githubStatuses(ctx, in)
	if err != nil {
		return nil, err
	}
	o := &githubTogether{State: git.StateSuccess, SHA: sha, Total: len(*list), Statuses: *list}
	if o.Total == 0 {
		o.State = git.StatePending
	}
	for _, st := range *list {
		switch {
		case st.State == git.StateFailure || st.State == git.StateError:
			o.State = git.StateFailure
		case st.State == git.StatePending && o.State == git.StateSuccess:
			o.State = git.StatePending
		}
	}
	return o, nil
}

// githubSlashed answers for a branch or tag whose slashes are those of the path,
// as gh api sends them.
func (s *Service) githubSlashed(w http.ResponseWriter, r *http.Request) error {
	in := &githubPath{}
	if err := api.Decode(r, in); err != nil {
		return err
	}
	var out any
	var err error
	if ref, ok := strings.CutSuffix(in.Ref, "/status"); ok {
		in.Ref = ref
		out, err = s.githubCombined(r.Context(), in)
	} else if ref, ok := strings.CutSuffix(in.Ref, "/statuses"); ok {
		in.Ref = ref
		out, err = s.githubStatuses(r.Context(), in)
	} else {
		return noGitHub(w, r)
	}
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, out)
}

type githubEnd struct {
	Ref  string `json:"ref"`
	SHA  string `json:"sha"`
	Repo struct {
		Name     string `json:"name"`
		FullName string `json:"full_name"`
		Fork     bool   `json:"fork"`
	} `json:"repo"`
}

type githubPullOut struct {
	Number    int64      `json:"number"`
	State     string     `json:"state"` // open or closed
	Merged    bool       `json:"merged"`
	Title     string     `json:"title"`
	Body      string     `json:"body"`
	User      githubUser `json:"user"`
	Head      githubEnd  `json:"head"`
	Base      githubEnd  `json:"base"`
	Merge     string     `json:"merge_commit_sha"`
	Mergeable bool       `json:"mergeable"`
	CreatedAt string     `json:"created_at"`
	UpdatedAt string     `json:"updated_at"`
}

func githubPullOf(owner, repo string, p git.PullRequest) githubPullOut {
	o := githubPullOut{
		Number: p.Number, State: "open", Merged: p.State == git.PullMerged, Title: p.Title, Body: p.Body, User: githubUser{p.Author}, Merge: p.MergeSHA,
		Mergeable: p.State == git.PullOpen && p.MergeSHA != "", CreatedAt: stamp(p.CreatedAt), UpdatedAt: stamp(p.UpdatedAt),
		Head: githubEnd{Ref: p.Head, SHA: p.HeadSHA}, Base: githubEnd{Ref: p.Base, SHA: p.BaseSHA},
	}
	if p.State != git.PullOpen {
		o.State = "closed"
	}
	o.Base.Repo.Name, o.Base.Repo.FullName = repo, owner+"/"+repo
	o.Head.Repo = o.Base.Repo
	if p.Fork() {
		o.Head.Repo.Name, o.Head.Repo.FullName, o.Head.Repo.Fork = p.HeadRepo, owner+"/"+p.HeadRepo, true
	}
	return o
}

func (s *Service) githubPulls(ctx context.Context, in *githubPath) (*[]githubPullOut, error) {
	if err := s.may(ctx, in.Repo, "read", "pull-requests"); err != nil {
		return nil, err
	}
	r, err := s.store.Repo(ctx, in.Repo)
	if err != nil {
		return nil, err
	}
	list, err := s.store.Pulls(ctx, r.ID, "")
	_, head, named := strings.Cut(in.Head, ":")
	if !named {
		head = in.Head
	}
	all := []githubPullOut{}
	for _, p := range list {
		o := githubPullOf(in.Owner, r.Name, p)
		if (in.State == "all" || o.State == in.State || in.State == "" && o.State == "open") && (head == "" || head == p.Head) && (in.Base == "" || in.Base == p.Base) {
			all = append(all, o)
		}
	}
	return &all, err
}

func (s *Service) githubPull(ctx context.Context, in *githubPath) (*githubPullOut, error) {
	if err := s.may(ctx, in.Repo, "read", "pull-requests"); err != nil {
		return nil, err
	}
	r, p, err := s.pull(ctx, &pullPath{in.Repo, in.Number})
	if err != nil {
		return nil, err
	}
	o := githubPullOf(in.Owner, r.Name, p)
	return &o, nil
}

type githubComment struct {
	ID        int64      `json:"id"`
	Body      string     `json:"body"`
	User      githubUser `json:"user"`
	CreatedAt string     `json:"created_at"`
	UpdatedAt string     `json:"updated_at"`
}

func githubCommentOf(c git.Comment) *githubComment {
	return &githubComment{c.ID, c.Body, githubUser{c.Author}, stamp(c.CreatedAt), stamp(c.UpdatedAt)}
}

// githubCommentIn is a comment's text.
type githubCommentIn struct {
	githubPath
	Body string `json:"body"`
}

func (s *Service) githubComments(ctx context.Context, in *githubPath) (*[]githubComment, error) {
	if err := s.may(ctx, in.Repo, "read", "issues", "pull-requests"); err != nil {
		return nil, err
	}
	r, p, err := s.pull(ctx, &pullPath{in.Repo, in.Number})
	if err != nil {
		return nil, err
	}
	list, err := s.store.Comments(ctx, r.ID, p.Number)
	all := []githubComment{}
	for _, c := range list {
		all = append(all, *githubCommentOf(c))
	}
	return &all, err
}

func (s *Service) githubAddComment(ctx context.Context, in *githubCommentIn) (*githubComment, error) {
	if err := s.may(ctx, in.Repo, "write", "issues", "pull-requests"); err != nil {
		return nil, err
	}
	c, err := s.comment(ctx, &commentIn{pullPath{in.Repo, in.Number}, in.Body})
	if err != nil {
		return nil, err
	}
	return githubCommentOf(*c), nil
}

func (s *Service) githubEditComment(ctx context.Context, in *githubCommentIn) (*githubComment, error) {
	if err := s.may(ctx, in.Repo, "write", "issues", "pull-requests"); err != nil {
		return nil, err
	}
	r, err := s.store.Repo(ctx, in.Repo)
	if err != nil {
		return nil, err
	}
	c, err := s.store.EditComment(ctx, r, int64(in.ID), in.Body)
	if err != nil {
		return nil, err
	}
	return githubCommentOf(c), nil
}

func (s *Service) githubDeleteComment(w http.ResponseWriter, r *http.Request) error {
	in := &githubPath{}
	if err := api.Decode(r, in); err != nil {
		return err
	}
	if err := s.may(r.Context(), in.Repo, "write", "issues", "pull-requests"); err != nil {
		return err
	}
	repo, err := s.store.Repo(r.Context(), in.Repo)
	if err != nil {
		return err
	}
	if err := s.store.DeleteComment(r.Context(), repo, int64(in.ID)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
