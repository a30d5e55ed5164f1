package git

import (
	"context"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/git"
)

// repoOut is a repository with its address.
type repoOut struct {
	git.Repo
	URL string `json:"url"`
}

func out(ctx context.Context, r git.Repo) repoOut {
	return repoOut{r, wherry.IdentityFrom(ctx).BaseURL + "/git/" + r.Name + ".git"}
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
}

func (s *Service) make(ctx context.Context, in *repoIn) (*repoOut, error) {
	id := wherry.IdentityFrom(ctx)
	r, err := s.create(ctx, git.Repo{WorkspaceID: id.WorkspaceID, Name: in.Name, DefaultBranch: in.DefaultBranch, OriginURL: in.OriginURL, Creator: id.UserName})
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
	return &o, nil
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
