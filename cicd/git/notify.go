package git

import (
	"context"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/git"
)

// notifyIn is who is told of the workflows of a repository in the path. A list
// that is not there stays as it is.
type notifyIn struct {
	Name      string    `json:"name"`
	OnFailure *[]string `json:"on_failure"`
	OnSuccess *[]string `json:"on_success"`
}

func (s *Service) notify(ctx context.Context, in *repoPath) (*git.Notify, error) {
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	n, err := s.store.Notify(ctx, r.ID)
	return &n, err
}

// setNotify names destinations of the installation's first workspace, as
// environments do: repositories are of no other.
func (s *Service) setNotify(ctx context.Context, in *notifyIn) (*git.Notify, error) {
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	n, err := s.store.Notify(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	for _, l := range []struct {
		given *[]string
		kept  *[]string
	}{{in.OnFailure, &n.OnFailure}, {in.OnSuccess, &n.OnSuccess}} {
		if l.given == nil {
			continue
		}
		if *l.kept, err = s.cfg.Outbox.Receivers(ctx, wherry.DefaultWorkspace, *l.given); err != nil {
			return nil, err
		}
	}
	return &n, s.store.SetNotify(ctx, r, n, wherry.IdentityFrom(ctx).UserName)
}
