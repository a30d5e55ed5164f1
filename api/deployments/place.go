package deployments

import (
	"context"

	"github.com/wherry-ml/wherry"
)

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
