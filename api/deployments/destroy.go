package deployments

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/store/deployments"
)

func (s *Service) serveDestroy(rw http.ResponseWriter, r *http.Request) error {
	in, err := decode[deployment.Destroy](r)
	if err != nil {
		return err
	}
	report, err := s.destroy(context.WithoutCancel(r.Context()), s.caller(r), in)
	if err != nil {
		return err
	}
	return api.WriteJSON(rw, http.StatusOK, report)
}

// Destroy takes a deployment away, with the rights of the principal called
// actor: the resources that it made, and its files.
func (s *Service) Destroy(ctx context.Context, ws int64, id, actor string) (*deployment.Report, error) {
	c, end, err := s.callerNamed(ctx, ws, actor, "destroying a deployment")
	if err != nil {
		return nil, err
	}
	defer end()
	return s.destroyID(ctx, c, id, &deployment.Destroy{})
}

func (s *Service) serveDestroyID(rw http.ResponseWriter, r *http.Request) error {
	in, err := decode[deployment.Destroy](r)
	if err != nil {
		return err
	}
	report, err := s.destroyID(context.WithoutCancel(r.Context()), s.caller(r), r.PathValue("id"), in)
	if err != nil {
		return err
	}
	return api.WriteJSON(rw, http.StatusOK, report)
}

func (s *Service) destroyID(ctx context.Context, c *caller, id string, in *deployment.Destroy) (*deployment.Report, error) {
	d, err := s.store.Get(ctx, c.WorkspaceID, id)
	if err != nil {
		return nil, err
	}
	if d.RootPath == "" || d.DestroyedAt > 0 {
		return nil, wherry.Errorf(wherry.CodeInvalidState, "deployment %s is not one that the server made, or was destroyed before", id)
	}
	in.RootPath = d.RootPath
	return s.destroy(ctx, c, in)
}

// cause is who had a deployment destroyed, and why if they did not ask for it.
type cause struct {
	by, note string
	event    map[string]any // what the event says besides
}

// destroy takes away the resources that a deployment made, and its files.
func (s *Service) destroy(ctx context.Context, c *caller, in *deployment.Destroy) (*deployment.Report, error) {
	return s.destroyFor(ctx, c, in, cause{by: c.UserName})
}

func (s *Service) destroyFor(ctx context.Context, c *caller, in *deployment.Destroy, why cause) (*deployment.Report, error) {
	d, ok, err := s.store.AtRoot(ctx, c.WorkspaceID, in.RootPath)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, wherry.Errorf(wherry.CodeDoesNotExist, "nothing is deployed to %s", in.RootPath)
	}
	if !s.claim(d.ID) {
		return nil, busy(d)
	}
	defer s.release(d.ID)
	c.deployment = d.ID
	if err := s.unprotected(ctx, d); err != nil {
		return nil, err
	}
	report := &deployment.Report{DeploymentID: d.ID}
	var version deployments.Version
	fn := func(ctx context.Context) error {
		report.Version = version.Version
		if err := s.destroyResources(ctx, c, d, report); err != nil {
			return err
		}
		if err := s.step("destroyed"); err != nil {
			return err
		}
		if err := s.clearRoot(ctx, d); err != nil {
			return err
		}
		return s.store.Succeed(ctx, version, why.by, deployments.Done{RunID: c.RunID, Workspace: c.WorkspaceID, Event: why.event})
	}
	v := deployments.Version{DeploymentID: d.ID, Kind: deployments.KindDestroy, DisplayName: d.DisplayName, Target: d.Target, Mode: d.Mode, CreatedBy: why.by, Note: why.note, Resumable: true}
	if err := s.locked(ctx, d, v, in.ForceLock, fn, func(v deployments.Version) { version = v }); err != nil {
		return nil, err
	}
	return report, nil
}

// destroyResources goes from jobs to schemas, so that nothing is taken away
// under what needs it.
func (s *Service) destroyResources(ctx context.Context, c *caller, d deployments.Deployment, report *deployment.Report) error {
	rows, err := s.store.Resources(ctx, d.ID)
	if err != nil {
		return err
	}
	var errs []error
	for i := len(kindOrder) - 1; i >= 0; i-- {
		for _, r := range rows {
			if r.Kind != kindOrder[i] {
				continue
			}
			stays, err := s.remove(ctx, c, r)
			if err != nil {
				errs = append(errs, about(deployment.Resource{Type: r.Kind, Key: strings.TrimPrefix(r.Key, r.Kind+".")}, err))
				continue
			}
			action := deployment.Delete
			if stays {
				action = deployment.Unchanged
			}
			report.Resources = append(report.Resources, deployment.Change{Key: r.Key, Action: action, ID: r.ResourceID})
		}
	}
	return errors.Join(errs...)
}

type summaryRequest struct {
	RootPath string `json:"root_path"`
	// Destroyed asks for what was there last if nothing is.
	Destroyed bool `json:"destroyed"`
}

func (s *Service) summary(ctx context.Context, in *summaryRequest) (*deployment.Summary, error) {
	out := &deployment.Summary{Resources: map[string]string{}}
	at := s.store.AtRoot
	if in.Destroyed {
		at = s.store.LastAtRoot
	}
	d, ok, err := at(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in.RootPath)
	if err != nil || !ok {
		return out, err
	}
	v, _, err := s.store.LastDeployed(ctx, d.ID)
	if err != nil {
		return nil, err
	}
	rows, err := s.store.Resources(ctx, d.ID)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if _, ok := kinds[r.Kind]; ok {
			out.Resources[r.Key] = r.ResourceID
		}
	}
	out.DeploymentID, out.Version, out.Status, out.Bundle, out.Target, out.TreeDigest = d.ID, v.Version, d.Status, d.Bundle, d.Target, d.TreeDigest
	out.Git, out.DirtyDigest, out.DeployedBy, out.DeployedAt = deployment.Git(v.Git), v.DirtyDigest, v.CompletedBy, v.CompletedAt
	return out, nil
}
