package deployments

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/drift"
	"github.com/wherry-ml/wherry/store/jobs"
)

func (s *Service) driftRoutes() []api.Route {
	const own = "/api/wherry/drift"
	return []api.Route{
		{Method: "GET", Path: own, Permission: api.Read, Handler: api.JSON(s.report), Summary: "Compare everything deployed with what is there"},
		{Method: "POST", Path: own + "/{id}/revert", Permission: api.Write, Handler: api.Raw(s.serveRevert), Summary: "Write the deployed settings of a drifted resource back"},
		{Method: "POST", Path: own + "/{id}/adopt", Permission: api.Write, Handler: api.JSON(s.adopt), Summary: "Note that the project has what drifted, for the next deploy"},
		{Method: "POST", Path: "/api/wherry/infra", Permission: api.Write, Handler: api.JSON(s.infra), Summary: "Report what an apply of Terraform left"},
	}
}

// DriftReport is what is deployed against what is there.
type DriftReport struct {
	Deployments []Synced      `json:"deployments"`
	Infra       []drift.Drift `json:"infra,omitempty"` // of Terraform's resources
	// History are settled ones, if they were asked for.
	History []drift.Drift `json:"history,omitempty"`
}

// Words of Synced.
const (
	InSync    = "in sync"
	Drifted   = "drifted"
	Healthy   = "healthy"
	Unhealthy = "unhealthy"
	Unknown   = "unknown"
)

// Synced says of a deployment whether it is what was deployed, and, which is
// another thing, whether it works.
type Synced struct {
	DeploymentID string   `json:"deployment_id"`
	WorkspaceID  int64    `json:"workspace_id"`
	Workspace    string   `json:"workspace,omitempty"` // its host name, "" for the first
	Bundle       string   `json:"bundle"`
	Target       string   `json:"target"`
	RootPath     string   `json:"root_path"`
	Version      int64    `json:"version"`
	Commit       string   `json:"commit,omitempty"`
	Sync         string   `json:"sync"`
	Health       string   `json:"health"`
	Failing      []string `json:"failing,omitempty"` // jobs whose last run failed
	// Trouble is why it could not be compared: Sync is unknown then, or drifted by
	// what was found before.
	Trouble string        `json:"trouble,omitempty"`
	Drift   []drift.Drift `json:"drift"`
}

type reportIn struct {
	Target string `json:"target"`
	All    bool   `json:"all"`
}

// report compares every resource of the deployments asked for, also those that
// nobody was seen to write to.
func (s *Service) report(ctx context.Context, in *reportIn) (*DriftReport, error) {
	return s.drift(ctx, in, true)
}

// Drift tells what is known to differ, and what was settled; with look it
// compares every resource first, which takes its time.
func (s *Service) Drift(ctx context.Context, look bool) (*DriftReport, error) {
	return s.drift(ctx, &reportIn{All: true}, look)
}

func (s *Service) drift(ctx context.Context, in *reportIn, look bool) (*DriftReport, error) {
	_, troubles, err := s.Compare(ctx)
	if err != nil {
		return nil, err
	}
	ws := wherry.IdentityFrom(ctx).Scope()
	list, err := s.store.List(ctx, ws, 1000, 0)
	if err != nil {
		return nil, err
	}
	out := &DriftReport{Deployments: []Synced{}}
	index, asked := map[string]int{}, map[string]bool{}
	for _, d := range list {
		asked[d.ID] = in.Target == "" || d.Target == in.Target
		if d.DestroyedAt > 0 || d.RootPath == "" || in.Target != "" && d.Target != in.Target {
			continue
		}
		synced, ok, err := s.synced(ctx, d, look, troubles[d.ID])
		if err != nil {
			return nil, err
		}
		if ok {
			index[d.ID] = len(out.Deployments)
			out.Deployments = append(out.Deployments, *synced)
		}
	}
	drifts, err := s.drifts.List(ctx, ws, in.All, 1000)
	if err != nil {
		return nil, err
	}
	for _, d := range drifts {
		i, ok := index[d.DeploymentID]
		switch {
		case d.State == drift.Settled && in.Target != "" && !asked[d.DeploymentID]: // of another target, or of Terraform
		case d.State == drift.Settled:
			out.History = append(out.History, d)
		case d.Source != "" && in.Target == "":
			out.Infra = append(out.Infra, d)
		case ok:
			out.Deployments[i].Sync, out.Deployments[i].Drift = Drifted, append(out.Deployments[i].Drift, d)
		}
	}
	return out, nil
}

func (s *Service) synced(ctx context.Context, d deployments.Deployment, look bool, trouble error) (*Synced, bool, error) {
	last, ok, err := s.store.LastDeployed(ctx, d.ID)
	if err != nil || !ok {
		return nil, false, err
	}
	if look && trouble == nil {
		if trouble = s.lookAt(ctx, d.ID); ctx.Err() != nil {
			return nil, false, trouble
		}
	}
	rows, err := s.store.Resources(ctx, d.ID)
	if err != nil {
		return nil, false, err
	}
	out := &Synced{
		DeploymentID: d.ID, WorkspaceID: d.WorkspaceID, Workspace: auth.ElsewhereHost(d.WorkspaceID), Bundle: d.Bundle, Target: d.Target, RootPath: d.RootPath, Version: last.Version, Commit: last.Git.Commit,
		Sync: InSync, Health: Unknown, Drift: []drift.Drift{},
	}
	if trouble != nil {
		slog.Error("drift: compare a deployment", "deployment", d.ID, "err", trouble)
		out.Sync, out.Trouble = Unknown, "it could not be compared: "+trouble.Error()
	}
	for _, row := range rows {
		if row.Kind != "jobs" || row.Doomed {
			continue
		}
		result, ran, err := jobs.New(s.db).LastResult(ctx, row.ResourceID, last.CompletedAt)
		switch {
		case err != nil:
			return nil, false, err
		case ran && !result.Succeeded():
			out.Failing = append(out.Failing, row.Key)
		case ran:
			out.Health = Healthy
		}
	}
	if len(out.Failing) > 0 {
		out.Health = Unhealthy
	}
	return out, true, nil
}

// lookAt compares every resource of a deployment, unless a deploy is going on.
func (s *Service) lookAt(ctx context.Context, id string) error {
	p, end, err := s.place(ctx, id)
	if err != nil {
		return err
	}
	defer end()
	for _, key := range slices.Sorted(maps.Keys(p.rows)) {
		if p.busy {
			break
		}
		if _, err := s.compare(ctx, p, drift.Check{DeploymentID: id, Resource: key}); err != nil {
			return err
		}
	}
	return nil
}

type driftIn struct {
	ID wherry.Int64 `json:"id"`
}

func (s *Service) serveRevert(w http.ResponseWriter, r *http.Request) error {
	in := &driftIn{}
	if err := api.Decode(r, in); err != nil {
		return err
	}
	if err := s.Revert(r, int64(in.ID)); err != nil {
		return err
	}
	d, err := s.drifts.Get(r.Context(), wherry.IdentityFrom(r.Context()).Scope(), int64(in.ID))
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, d)
}

// Revert writes the deployed settings of a drifted resource back, with the
// rights of the request's caller.
func (s *Service) Revert(r *http.Request, id int64) error {
	ctx := context.WithoutCancel(r.Context()) // once begun, it comes to its end, whether its client waits or not
	who := wherry.IdentityFrom(ctx)
	d, err := s.drifts.Get(ctx, wherry.IdentityFrom(ctx).Scope(), id)
	if err != nil {
		return err
	}
	switch {
	case d.State == drift.Settled:
		return wherry.Errorf(wherry.CodeInvalidState, "the drift %d of %s is settled already: %s by %s", int64(d.ID), d.Resource, d.Way, d.SettledBy)
	case d.Source != "":
		return wherry.Errorf(wherry.CodeNotImplemented, "reverting %s is not supported by wherry: it is Terraform's, whose next apply brings it back", d.Resource)
	}
	if !s.claim(d.DeploymentID) {
		return wherry.Errorf(wherry.CodeConflict, "a deploy is going on: wait for it")
	}
	defer s.release(d.DeploymentID)
	p, end, err := s.place(ctx, d.DeploymentID)
	if err != nil {
		return err
	}
	defer end()
	if p.busy {
		return wherry.Errorf(wherry.CodeConflict, "a deploy is going on: wait for it")
	}
	row, ok := p.rows[d.Resource]
	if !ok {
		return wherry.Errorf(wherry.CodeInvalidState, "%s is not deployed any more", d.Resource)
	}
	reverting, done, err := s.callerAt(r, p.WorkspaceID, "reverting drift")
	if err != nil {
		return err
	}
	defer done()
	reverting.deployment = d.DeploymentID
	p.c = reverting
	return s.restore(ctx, p, row, d, drift.WayReverted, who.UserName)
}

type adoptIn struct {
	ID   wherry.Int64 `json:"id"`
	Note string       `json:"note"` // the file that has it
}

func (s *Service) adopt(ctx context.Context, in *adoptIn) (*drift.Drift, error) {
	if err := s.Adopt(ctx, int64(in.ID), in.Note); err != nil {
		return nil, err
	}
	d, err := s.drifts.Get(ctx, wherry.IdentityFrom(ctx).Scope(), int64(in.ID))
	return &d, err
}

// Adopt notes that the project has what drifted; the next deploy settles it.
func (s *Service) Adopt(ctx context.Context, id int64, note string) error {
	who := wherry.IdentityFrom(ctx)
	return s.drifts.Mark(ctx, who.Scope(), id, drift.Adopted, strings.TrimSpace(note), who.UserName)
}

func (s *Service) infra(ctx context.Context, in *drift.Infra) (*api.Empty, error) {
	who := wherry.IdentityFrom(ctx)
	return &api.Empty{}, s.drifts.Applied(ctx, who.WorkspaceID, *in, who.UserName, who.RunID)
}
