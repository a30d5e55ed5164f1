package git

import (
	"context"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/git"
)

// repoOut is a repository with its address.
type repoOut struct {
	git.Repo
	URL    string      `json:"url"`
	Mirror *git.Mirror `json:"mirror,omitempty"`
	// Unreported says what the mirror's forge could not be told.
	Unreported []string `json:"unreported,omitempty"`
}

func out(ctx context.Context, r git.Repo) repoOut {
	return repoOut{Repo: r, URL: wherry.IdentityFrom(ctx).BaseURL + "/git/" + r.Name + ".git"}
}

// repoList is the answer of list.
type repoList struct {
	Repos []repoOut `json:"repos"`
}

func (s *Service) list(ctx context.Context, _ *struct{}) (*repoList, error) {
	list, err := s.store.Repos(ctx)
	all := &repoList{Repos: []repoOut{}}
	for _, r := range list {
		all.Repos = append(all.Repos, out(ctx, r))
	}
	return all, err
}

// repoIn asks for a new repository.
type repoIn struct {
	Name          string `json:"name"`
	DefaultBranch string `json:"default_branch"`
	OriginURL     string `json:"origin_url"`
	ForkOf        string `json:"fork_of"`
}

func (s *Service) make(ctx context.Context, in *repoIn) (*repoOut, error) {
	id := wherry.IdentityFrom(ctx)
	r, err := s.create(ctx, git.Repo{WorkspaceID: id.WorkspaceID, Name: in.Name, DefaultBranch: in.DefaultBranch, OriginURL: in.OriginURL, ForkOf: in.ForkOf, Creator: id.UserName})
	if err != nil {
		return nil, err
	}
	o := out(ctx, r)
	return &o, nil
}

// repoPath names a repository in the path.
type repoPath struct {
	Name  string `json:"name"`
	Limit int    `json:"limit"`
}

func (s *Service) show(ctx context.Context, in *repoPath) (*repoOut, error) {
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	o := out(ctx, r)
	m, ok, err := s.store.Mirror(ctx, r.ID)
	if err != nil || !ok {
		return &o, err
	}
	o.Mirror = &m
	o.Unreported, err = s.store.FailedReports(ctx, r.ID)
	return &o, err
}

// pushList is the answer of pushes.
type pushList struct {
	Pushes []git.Push `json:"pushes"`
}

func (s *Service) pushes(ctx context.Context, in *repoPath) (*pushList, error) {
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	if in.Limit <= 0 || in.Limit > 1000 {
		in.Limit = 100
	}
	list, err := s.store.Pushes(ctx, r.ID, in.Limit)
	return &pushList{list}, err
}

// protectionIn is a protection of a repository in the path.
type protectionIn struct {
	Name string `json:"name"`
	git.Protection
}

// protectionList is the answer of protections.
type protectionList struct {
	Protections []git.Protection `json:"protections"`
}

func (s *Service) protections(ctx context.Context, in *repoPath) (*protectionList, error) {
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	list, err := s.store.Protections(ctx, r.ID)
	return &protectionList{list}, err
}

func (s *Service) protect(ctx context.Context, in *protectionIn) (*protectionList, error) {
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	if err := s.store.Protect(ctx, r, in.Protection, wherry.IdentityFrom(ctx).UserName); err != nil {
		return nil, err
	}
	return s.protections(ctx, &repoPath{Name: in.Name})
}

func (s *Service) unprotect(ctx context.Context, in *protectionIn) (*protectionList, error) {
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	if err := s.store.Unprotect(ctx, r, in.Pattern, wherry.IdentityFrom(ctx).UserName); err != nil {
		return nil, err
	}
	return s.protections(ctx, &repoPath{Name: in.Name})
}

// statusIn is a status of a commit in the path.
type statusIn struct {
	Name string `json:"name"`
	git.Status
}

// statusList is the answer of statuses.
type statusList struct {
	Statuses []git.Status `json:"statuses"`
}

func (s *Service) statuses(ctx context.Context, in *statusIn) (*statusList, error) {
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	list, err := s.store.Statuses(ctx, r.ID, in.SHA)
	return &statusList{list}, err
}

func (s *Service) setStatus(ctx context.Context, in *statusIn) (*statusList, error) {
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	in.Actor = wherry.IdentityFrom(ctx).UserName
	if err := s.checkCommit(ctx, r, in.SHA); err != nil {
		return nil, err
	}
	if err := s.store.SetStatus(ctx, r, in.Status); err != nil {
		return nil, err
	}
	return s.statuses(ctx, in)
}

// checkCommit says that a repository has no such commit.
func (s *Service) checkCommit(ctx context.Context, r git.Repo, sha string) error {
	if s.git == "" {
		return errNoGit()
	}
	if len(sha) != 40 || strings.Trim(sha, "0123456789abcdef") != "" {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%.60q is not the id of a commit: give all 40 digits", sha)
	}
	if _, err := s.output(ctx, s.dir(r), "cat-file", "-e", sha+"^{commit}"); err != nil {
		return wherry.Errorf(wherry.CodeDoesNotExist, "%s has no commit %s", r.Name, sha)
	}
	return nil
}

// deployedIn is what became of a deployment of a repository in the path.
type deployedIn struct {
	Name string `json:"name"`
	git.Deployment
}

func (s *Service) reportDeployed(ctx context.Context, in *deployedIn) (*api.Empty, error) {
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	if in.Key == "" || in.Environment == "" || !slices.Contains([]string{"pending", "in_progress", "success", "failure", "error", "inactive"}, in.State) {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "a deployment needs key, sha, environment, and a state: pending, in_progress, success, failure, error or inactive")
	}
	if err := s.checkCommit(ctx, r, in.SHA); err != nil {
		return nil, err
	}
	if m, ok, err := s.store.Mirror(ctx, r.ID); err != nil || !ok || !m.Reports {
		if err != nil {
			return nil, err
		}
		return nil, wherry.Errorf(wherry.CodeInvalidState, "%s reports to no forge: `wherry repo mirror --report` says to which", r.Name)
	}
	return &api.Empty{}, s.store.ReportDeployed(ctx, r, in.Deployment)
}
