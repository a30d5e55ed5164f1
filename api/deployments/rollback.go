package deployments

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/store/deployments"
)

// snapshot is what a version is deployed again from: the request without its
// files, and with the resources that --select left as they were.
func (w *work) snapshot(ctx context.Context) (string, error) {
	in := *w.in
	in.Files, in.Select, in.ForceLock, in.Expect = nil, nil, false, deployment.Digests{}
	if len(w.in.Select) > 0 {
		before, err := w.s.requestBefore(ctx, w.version.DeploymentID)
		if err != nil {
			return "", err
		}
		in.Resources = slices.Clone(w.plan.order)
		for _, r := range before.Resources {
			if !has(&in, r.ID()) {
				in.Resources = append(in.Resources, r)
			}
		}
	}
	b, err := json.Marshal(in)
	return string(b), err
}

// requestBefore is the request of the version that is live; an empty one if
// that is not known.
func (s *Service) requestBefore(ctx context.Context, id string) (*deployment.Request, error) {
	in := &deployment.Request{}
	last, ok, err := s.store.LastDeployed(ctx, id)
	if err != nil || !ok {
		return in, err
	}
	request, err := s.store.Request(ctx, id, last.Version)
	if err != nil || request == "" {
		return in, err
	}
	return in, json.Unmarshal([]byte(request), in)
}

func (s *Service) serveRollback(w http.ResponseWriter, r *http.Request) error {
	in, err := decode[deployment.Rollback](r)
	if err != nil {
		return err
	}
	report, err := s.rollback(context.WithoutCancel(r.Context()), s.caller(r), r.PathValue("id"), in)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, report)
}

// Rollback deploys a former version of a deployment again, with the rights of
// the principal called actor, or the installation's admin's once they are gone: its files, its resources with their settings, its
// permissions and grants. in.Version 0 is the version before the live one. It
// makes a new version that names the one it restores. Resources that may hold
// data and that the former version did not have stay, unless in.AllowDataLoss.
// While another deploy is going on it is RESOURCE_CONFLICT.
func (s *Service) Rollback(ctx context.Context, ws int64, id, actor string, in deployment.Rollback) (*deployment.Report, error) {
	c, end, err := s.callerFor(ctx, ws, actor, "rollback of a deploy")
	if err != nil {
		return nil, err
	}
	defer end()
	return s.rollback(ctx, c, id, &in)
}

func (s *Service) rollback(ctx context.Context, c *caller, id string, in *deployment.Rollback) (*deployment.Report, error) {
	v, request, err := s.store.Restorable(ctx, c.WorkspaceID, id, in.Version)
	if err != nil {
		return nil, err
	}
	old := &deployment.Request{}
	if err := json.Unmarshal([]byte(request), old); err != nil {
		return nil, fmt.Errorf("read the request of version %d: %w", v.Version, err)
	}
	if old.Files = s.filesOf(v.TreeDigest); len(old.Files) == 0 && v.TreeDigest != "" {
		return nil, wherry.Errorf(wherry.CodeInvalidState, "The files of version %d are gone: deploy its commit %s anew.", v.Version, v.Git.Commit)
	}
	old.ForceLock = in.ForceLock
	w := &work{s: s, c: c, in: old, restores: v.Version}
	kept := []string{}
	if !in.AllowDataLoss {
		if kept, err = s.keepData(ctx, v, old); err != nil {
			return nil, err
		}
		w.guard = refuseLoss
	}
	report, err := s.deployAs(ctx, w)
	if err != nil {
		return nil, err
	}
	report.Restores, report.Kept = v.Version, kept
	return report, nil
}

// keepData adds to a former request what is live now, may hold data and was not
// there then; it returns the keys.
func (s *Service) keepData(ctx context.Context, v deployments.Version, old *deployment.Request) (kept []string, err error) {
	now, err := s.requestBefore(ctx, v.DeploymentID)
	if err != nil {
		return nil, err
	}
	for _, r := range now.Resources {
		renamed := slices.ContainsFunc(old.Resources, func(o deployment.Resource) bool { // only its key is another one
			return o.Type == r.Type && kinds[r.Type].name(o.Config) == kinds[r.Type].name(r.Config)
		})
		if deployment.HoldsData(r.Type) && !has(old, r.ID()) && !renamed {
			old.Resources = append(old.Resources, r)
			kept = append(kept, r.ID())
		}
	}
	return kept, nil
}

func refuseLoss(p *plan) error {
	for _, change := range p.Resources {
		if change.Loses() {
			return wherry.Errorf(wherry.CodeInvalidState, "not rolled back: %s would be %sd, and what it holds would be lost; roll back with --auto-approve if it may", change.Key, change.Action)
		}
	}
	return nil
}

type historyRequest struct {
	ID    string `json:"id"`
	Limit int    `json:"limit"`
}

// endings are what became of a version, by its reason.
var endings = map[string]string{
	"": "in progress", deployments.ReasonSuccess: "success", deployments.ReasonFailure: "failure", deployments.ReasonForce: "aborted", deployments.ReasonExpired: "expired",
}

func (s *Service) history(ctx context.Context, in *historyRequest) (*deployment.History, error) {
	if in.Limit <= 0 || in.Limit > 1000 {
		in.Limit = 100
	}
	list, err := s.store.Versions(ctx, workspace(ctx), in.ID, in.Limit, 0)
	if err != nil {
		return nil, err
	}
	live, _, err := s.store.LastDeployed(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	taken, err := s.proofs.RolledBack(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	gone := len(list) > 0 && list[0].Kind == deployments.KindDestroy && list[0].Reason == deployments.ReasonSuccess
	out := &deployment.History{Versions: []deployment.Version{}}
	for _, v := range list {
		kind := "deploy"
		if v.Kind == deployments.KindDestroy {
			kind = "destroy"
		}
		status := endings[v.Reason]
		if taken[v.Version] != 0 {
			status = "rolled back"
		}
		out.Versions = append(out.Versions, deployment.Version{
			Version: v.Version, Type: kind, Status: status, RolledBackTo: taken[v.Version], Live: v.Version == live.Version && kind == "deploy" && !gone, Restores: v.Restores, Note: v.Note,
			Restorable: v.Restorable, Git: deployment.Git(v.Git), DirtyDigest: v.DirtyDigest, TreeDigest: v.TreeDigest, CreatedBy: v.CreatedBy, CreatedAt: v.CreatedAt,
			CompletedAt: v.CompletedAt,
		})
	}
	return out, nil
}
