package deployments

import (
	"context"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/bundle/deployment"
)

type placesIn struct {
	RootPath string `json:"root_path"`
}

// findPlaces tells which workspaces have something at a root path: those that the
// caller sees the deployments of.
func (s *Service) findPlaces(ctx context.Context, in *placesIn) (*deployment.Places, error) {
	list, err := s.store.Places(ctx, wherry.IdentityFrom(ctx).Scope(), in.RootPath)
	if err != nil {
		return nil, err
	}
	out := &deployment.Places{Places: []deployment.Place{}}
	for _, d := range list {
		place := deployment.Place{Host: auth.ElsewhereHost(d.WorkspaceID), Destroyed: d.DestroyedAt > 0}
		if !place.Destroyed {
			live, _, err := s.store.LastDeployed(ctx, d.ID)
			if err != nil {
				return nil, err
			}
			place.Version = live.Version
		}
		out.Places = append(out.Places, place)
	}
	return out, nil
}

// here refuses a target that an environment sends to another workspace: nothing
// else is contacted, and deploying it here would be a lie.
func (s *Service) here(ctx context.Context, target string) error {
	e, ok, err := s.places.OfTarget(ctx, target)
	if err != nil || !ok || e.Host == "" {
		return err
	}
	return wherry.Errorf(wherry.CodeNotImplemented, "the environment %s sends the target %s to %s: deploying to another workspace is not supported by wherry. "+
		"`wherry env set %s --host ''` deploys it to this installation", e.Name, target, e.Host, e.Name)
}
