package deployments

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/deployments"
)

// Destroy is what `bundle destroy` asks for.
type Destroy struct {
	RootPath  string `json:"root_path"`
	ForceLock bool   `json:"force_lock,omitempty"`
}

func (s *Service) serveDestroy(rw http.ResponseWriter, r *http.Request) error {
	in, err := decode[Destroy](r)
	if err != nil {
		return err
	}
	report, err := s.destroy(context.WithoutCancel(r.Context()), s.caller(r), in)
	if err != nil {
		return err
	}
	return api.WriteJSON(rw, http.StatusOK, report)
}

// destroy takes away the resources that a deployment made, and its files.
func (s *Service) destroy(ctx context.Context, c *caller, in *Destroy) (*Report, error) {
	d, ok, err := s.store.AtRoot(ctx, c.WorkspaceID, in.RootPath)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, wherry.Errorf(wherry.CodeDoesNotExist, "nothing is deployed to %s", in.RootPath)
	}
	report := &Report{DeploymentID: d.ID}
	var version deployments.Version
	fn := func(ctx context.Context) error {
		report.Version = version.Version
		if err := s.destroyResources(ctx, c, d, report); err != nil {
			return err
		}
		if err := os.RemoveAll(s.local(c.WorkspaceID, d.RootPath)); err != nil {
			return err
		}
		return s.store.Succeed(ctx, version, c.UserName, deployments.Done{RunID: c.RunID, Workspace: c.WorkspaceID})
	}
	v := deployments.Version{DeploymentID: d.ID, Kind: deployments.KindDestroy, DisplayName: d.DisplayName, Target: d.Target, Mode: d.Mode, CreatedBy: c.UserName}
	if err := s.locked(ctx, d, v, in.ForceLock, fn, func(v deployments.Version) { version = v }); err != nil {
		return nil, err
	}
	return report, nil
}

// destroyResources goes from jobs to schemas, so that nothing is taken away
// under what needs it.
func (s *Service) destroyResources(ctx context.Context, c *caller, d deployments.Deployment, report *Report) error {
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
			if err := s.remove(ctx, c, r); err != nil {
				errs = append(errs, about(Resource{Type: r.Kind, Key: strings.TrimPrefix(r.Key, r.Kind+".")}, err))
				continue
			}
			action := Delete
			if !r.Owned {
				action = Unchanged
			}
			report.Resources = append(report.Resources, Change{Key: r.Key, Action: action, ID: r.ResourceID})
		}
	}
	return errors.Join(errs...)
}

// Summary is what is deployed to a root path.
type Summary struct {
	DeploymentID string            `json:"deployment_id,omitempty"`
	Version      int64             `json:"version"`
	Status       string            `json:"status,omitempty"`
	Bundle       string            `json:"bundle,omitempty"`
	Target       string            `json:"target,omitempty"`
	TreeDigest   string            `json:"tree_digest,omitempty"`
	Git          deployments.Git   `json:"git"`
	DirtyDigest  string            `json:"dirty_digest,omitempty"`
	DeployedBy   string            `json:"deployed_by,omitempty"`
	DeployedAt   int64             `json:"deployed_at,omitempty"` // ms
	Resources    map[string]string `json:"resources"`             // id by key
}

type summaryRequest struct {
	RootPath string `json:"root_path"`
}

func (s *Service) summary(ctx context.Context, in *summaryRequest) (*Summary, error) {
	out := &Summary{Resources: map[string]string{}}
	d, ok, err := s.store.AtRoot(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in.RootPath)
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
	out.Git, out.DirtyDigest, out.DeployedBy, out.DeployedAt = v.Git, v.DirtyDigest, v.CompletedBy, v.CompletedAt
	return out, nil
}
