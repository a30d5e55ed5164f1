package deployments

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/git"
)

func (s *Service) serveDestroyNamespace(w http.ResponseWriter, r *http.Request) error {
	in, err := decode[deployment.Namespace](r)
	if err != nil {
		return err
	}
	out, err := s.destroyNamespace(context.WithoutCancel(r.Context()), s.caller(r), in)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, out)
}

// destroyNamespace destroys what was deployed to a namespace: of one repository
// if its URL is given, of one bundle if its name is. It returns a report for each
// deployment destroyed; none is no error.
func (s *Service) destroyNamespace(ctx context.Context, c *caller, in *deployment.Namespace) (*deployment.Destroyed, error) {
	if in.Name == "" {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "namespace is missing")
	}
	list, err := s.store.Requests(ctx, c.WorkspaceID)
	if err != nil {
		return nil, err
	}
	out := &deployment.Destroyed{Reports: []*deployment.Report{}}
	var errs []error
	for id, request := range list {
		var was deployment.Request
		if err := json.Unmarshal([]byte(request), &was); err != nil {
			return nil, err
		}
		if was.Namespace != in.Name || in.Bundle != "" && was.Bundle != in.Bundle || in.OriginURL != "" && !git.SameOrigin(was.Git.OriginURL, in.OriginURL) {
			continue
		}
		report, err := s.destroy(ctx, c, &deployment.Destroy{RootPath: was.RootPath})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		report.DeploymentID = id
		out.Reports = append(out.Reports, report)
	}
	return out, errors.Join(errs...)
}

// protected refuses to delete, or to make anew, what the bundle protects with
// lifecycle.prevent_destroy. Of what the bundle has no more the last version
// tells.
func protected(p *plan, in, before *deployment.Request) error {
	for _, change := range p.Resources {
		if change.Action != deployment.Delete && change.Action != deployment.Recreate {
			continue
		}
		of := in
		if change.Action == deployment.Delete {
			of = before
		}
		for _, r := range of.Resources {
			if r.ID() == change.Key && r.PreventDestroy {
				return wherry.Errorf(wherry.CodeInvalidState, "%s would be %sd, and lifecycle.prevent_destroy protects it: %s", change.Key, change.Action, r.At)
			}
		}
	}
	return nil
}

// unprotected refuses to destroy a deployment with a protected resource.
func (s *Service) unprotected(ctx context.Context, d deployments.Deployment) error {
	before, err := s.requestBefore(ctx, d.ID)
	if err != nil {
		return err
	}
	for _, r := range before.Resources {
		if r.PreventDestroy {
			return wherry.Errorf(wherry.CodeInvalidState, "%s is protected by lifecycle.prevent_destroy (%s): deploy the bundle without it, then destroy", r.ID(), r.At)
		}
	}
	return nil
}
