package deployments

import (
	"context"
	"errors"
	"log/slog"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/store/deployments"
)

// work is one version being deployed.
type work struct {
	s       *Service
	c       *caller
	in      *deployment.Request
	plan    *plan
	version deployments.Version
	known   map[string]map[string]any
	upserts []deployments.Resource
	deletes []string
	report  deployment.Report
	// restores is the version that this one brings back, 0 for none.
	restores int64
	// guard refuses a plan that was not looked at by whoever asked; nil for
	// none.
	guard func(*plan) error
}

// deploy makes a bundle live. If it fails, everything is as before: what it
// made is deleted, what it changed gets its old settings, the files stay. Each
// change is journalled before it is made, so that a server that is killed takes
// it back at its next start.
func (s *Service) deploy(ctx context.Context, c *caller, in *deployment.Request) (*deployment.Report, error) {
	return s.deployAs(ctx, &work{s: s, c: c, in: in})
}

func (s *Service) deployAs(ctx context.Context, w *work) (*deployment.Report, error) {
	c, in := w.c, w.in
	repo, err := s.repoOf(ctx, c, in)
	if err != nil {
		return nil, err
	}
	d, err := s.store.Open(ctx, deployments.Deployment{
		WorkspaceID: c.WorkspaceID, RootPath: in.RootPath, FilePath: in.FilePath, Bundle: in.Bundle, Target: in.Target, Mode: publicMode(in.Mode),
		DisplayName: in.Bundle, Status: deployments.StatusInProgress, CreatedBy: c.UserName,
		Namespace: in.Namespace, RepoID: repo,
	})
	if err != nil {
		return nil, err
	}
	if !s.claim(d.ID) {
		return nil, busy(d)
	}
	defer s.release(d.ID)
	c.deployment = d.ID
	if p, err := s.plan(ctx, c, in); err != nil {
		return nil, err
	} else if err := expected(in, p); err != nil {
		return nil, err
	} else if !p.Changes && w.restores == 0 { // another deploy of the same was first
		return &deployment.Report{DeploymentID: d.ID, Version: p.Version, TreeDigest: p.TreeDigest, Resources: p.Resources, StandIns: p.StandIns}, nil
	}
	version := deployments.Version{
		DeploymentID: d.ID, Kind: deployments.KindDeploy, DisplayName: in.Bundle, Target: in.Target, Mode: publicMode(in.Mode), CLIVersion: in.CLIVersion,
		Git: deployments.Git(in.Git), TreeDigest: digestOf(in.Files), CreatedBy: c.UserName, Resumable: true,
		Restores: w.restores,
	}
	if in.Git.Dirty || in.Git.Commit == "" {
		version.DirtyDigest = version.TreeDigest
	}
	err = s.locked(ctx, d, version, in.ForceLock, w.run, func(v deployments.Version) { w.version = v })
	if err != nil {
		return nil, err
	}
	settled, err := s.settle(ctx, c, w.version)
	if errors.Is(err, errKilled) {
		return nil, err
	}
	if err != nil { // it is live all the same; the next start tries again
		slog.Error("settle a deploy", "deployment", d.ID, "version", w.version.Version, "err", err)
	}
	w.report.Resources, w.report.Left = append(w.report.Resources, settled.Resources...), settled.Left
	return &w.report, nil
}

// locked begins a version, keeps its lease while fn works, and takes everything
// back if fn fails.
func (s *Service) locked(ctx context.Context, d deployments.Deployment, v deployments.Version, force bool, fn func(context.Context) error, begun func(deployments.Version)) error {
	v, err := s.store.Begin(ctx, d.WorkspaceID, v, force)
	if err != nil {
		return err
	}
	begun(v)
	stop := s.heartbeat(ctx, d.WorkspaceID, v)
	err = fn(ctx)
	stop()
	if err == nil {
		return nil
	}
	if errors.Is(err, errKilled) {
		return err
	}
	return errors.Join(err, s.failed(ctx, v, deployments.ReasonFailure))
}

// errKilled lets a test leave a deploy as a killed server would.
var errKilled = errors.New("killed")

func busy(d deployments.Deployment) error {
	return wherry.Errorf(wherry.CodeConflict, "another deploy to %s is going on: wait for it", d.RootPath)
}

// claim makes this process's deploys to one place wait for each other; the
// version in progress does it for all servers.
func (s *Service) claim(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[id] {
		return false
	}
	s.running[id] = true
	return true
}

func (s *Service) release(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, id)
}

func (s *Service) heartbeat(ctx context.Context, ws int64, v deployments.Version) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(deployments.Lease / 4)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if _, err := s.store.Heartbeat(ctx, ws, v.DeploymentID, v.Version); err != nil && ctx.Err() == nil {
					slog.Warn("deploy lost its lease", "deployment", v.DeploymentID, "version", v.Version, "err", err)
				}
			}
		}
	}()
	return func() { cancel(); <-done }
}

func publicMode(mode string) string {
	if mode == "" {
		return ""
	}
	return "DEPLOYMENT_MODE_" + strings.ToUpper(mode)
}

func (w *work) run(ctx context.Context) error {
	p, err := w.s.plan(ctx, w.c, w.in)
	if err != nil {
		return err
	}
	w.plan = p
	if err := expected(w.in, p); err != nil {
		return err
	}
	if w.guard != nil {
		if err := w.guard(p); err != nil {
			return err
		}
	}
	if len(p.Missing) > 0 {
		return wherry.Errorf(wherry.CodeInvalidState, "%d files were not uploaded", len(p.Missing))
	}
	digest, err := w.s.makeTree(w.in.Files)
	if err != nil {
		return err
	}
	if err := errors.Join(w.s.step("tree"), w.s.putLibraries(w.c.WorkspaceID, w.in.Libraries)); err != nil {
		return err
	}
	if err := w.s.makeStandIns(ctx, w.c, w.in, p); err != nil {
		return err
	}
	w.known = p.known()
	for _, r := range p.order {
		if err := w.resource(ctx, r); err != nil {
			return about(r, err)
		}
		if err := w.s.step(r.ID()); err != nil {
			return err
		}
	}
	if err := w.folder(ctx); err != nil {
		return err
	}
	d, err := w.s.deploymentOf(ctx, w.version)
	if err != nil {
		return err
	}
	before := d.TreeDigest
	if d.FilePath != w.in.FilePath { // the old place keeps its files
		before = ""
	}
	err = w.s.goLive(w.c.WorkspaceID, before, digest, w.in.FilePath)
	if err == nil {
		err = w.complete(ctx, digest)
	}
	if err == nil || errors.Is(err, errKilled) {
		return err
	}
	return errors.Join(err, w.s.goLive(w.c.WorkspaceID, digest, before, w.in.FilePath))
}

func (w *work) complete(ctx context.Context, digest string) error {
	if err := w.s.step("files"); err != nil {
		return err
	}
	for _, change := range w.plan.Resources {
		if change.Action == deployment.Delete {
			w.deletes = append(w.deletes, change.Key)
		}
	}
	request, err := w.snapshot(ctx)
	if err != nil {
		return err
	}
	done := deployments.Done{
		Files: digest, FilePath: w.in.FilePath, Target: w.in.Target, Mode: publicMode(w.in.Mode), Display: w.in.Bundle, Upserts: w.upserts, Deletes: w.deletes, Forget: w.plan.forget, Request: request,
		RunID: w.c.RunID, Workspace: w.c.WorkspaceID, Event: map[string]any{"bundle": w.in.Bundle, "ci_run": w.c.CIRun},
	}
	if err := w.s.store.Succeed(ctx, w.version, w.c.UserName, done); err != nil {
		return err
	}
	w.report.DeploymentID, w.report.Version, w.report.TreeDigest, w.report.StandIns = w.version.DeploymentID, w.version.Version, digest, w.plan.StandIns
	return nil
}

// resource makes or changes one resource, then its permissions and grants.
func (w *work) resource(ctx context.Context, r deployment.Resource) error {
	k := kinds[r.Type]
	// Compared again: its references are known by now.
	change, err := w.plan.resource(ctx, w.c, w.in, r, w.known)
	if err != nil {
		return err
	}
	config := w.plan.resolve(w.in, r, w.known, false)
	if left := reference.FindString(stateOf(config)); left != "" {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s names a field that does not exist", left)
	}
	have := w.plan.have[r.ID()]
	row := deployments.Resource{Key: r.ID(), Kind: r.Type, ResourceID: change.ID, State: stateOf(config), Owned: have.Owned || have.Key == "" && change.Action == deployment.Create}
	row.Live = rebased(have, row.State, w.plan.live[r.ID()])
	if change.Action != deployment.Unchanged && change.Action != deployment.Move {
		if row.ResourceID, err = w.change(ctx, k, r, change, config); err != nil {
			return err
		}
	}
	if change.Action != deployment.Unchanged || row.Live == "" {
		if row.Live, err = w.look(ctx, row); err != nil {
			return err
		}
	}
	row.Action = actions[change.Action]
	if change.Action == deployment.Unchanged {
		row.Action, row.Version = have.Action, have.Version
	}
	change.ID = row.ResourceID
	w.known[r.ID()] = outputs(r.Type, row.ResourceID, config)
	w.upserts = append(w.upserts, row)
	w.report.Resources = append(w.report.Resources, change)
	return w.extras(ctx, k, r, row.ResourceID)
}

// look is what a resource's API gives of it now, for telling drift later.
func (w *work) look(ctx context.Context, row deployments.Resource) (string, error) {
	live, err := w.s.liveOf(ctx, w.c, row.Kind, row.ResourceID)
	return stateOf(live), err
}

var actions = map[string]string{
	deployment.Create: deployments.ActionCreate, deployment.Update: deployments.ActionUpdate, deployment.Recreate: deployments.ActionRecreate,
	deployment.Delete: deployments.ActionDelete, deployment.Bind: deployments.ActionBind, deployment.Move: deployments.ActionUpdate,
}

// change journals and makes one change.
func (w *work) change(ctx context.Context, k kind, r deployment.Resource, change deployment.Change, config map[string]any) (id string, err error) {
	op := deployments.Operation{
		DeploymentID: w.version.DeploymentID, Version: w.version.Version, Key: r.ID(), Kind: r.Type, Action: actions[change.Action], Status: deployments.OperationPending,
		ResourceID: change.ID, State: stateOf(config), Before: stateOf(w.plan.live[r.ID()]),
	}
	if change.Action == deployment.Create && k.name != nil && k.find != nil {
		op.ResourceID = k.name(config) // for taking it back
	}
	if err := w.s.store.PutOperation(ctx, op); err != nil {
		return "", err
	}
	if r.Type == "jobs" { // tells it from all others if we die before we know its id
		config["deployment"].(map[string]any)["deployment_id"] = w.version.DeploymentID
	}
	body := request(r.Type, config, r.Permissions)
	switch change.Action {
	case deployment.Create:
		id, err = k.create(ctx, w.c, body)
	case deployment.Bind, deployment.Update:
		id = change.ID
		if len(change.Fields) > 0 {
			id, err = k.update(ctx, w.c, change.ID, w.plan.live[r.ID()], config)
		}
	case deployment.Recreate:
		if err = k.remove(ctx, w.c, change.ID); err == nil {
			id, err = k.create(ctx, w.c, body)
		}
	}
	if err != nil {
		op.Status, op.Message = deployments.OperationFailed, err.Error()
		return "", errors.Join(err, w.s.store.PutOperation(ctx, op))
	}
	op.Status, op.ResourceID = deployments.OperationSucceeded, id
	if k.securable != "" && change.Action == deployment.Update && id != change.ID {
		if err := w.follow(ctx, change.ID, id); err != nil {
			return id, err
		}
	}
	return id, w.s.store.PutOperation(ctx, op)
}

// follow notes that a catalog or schema was renamed: what is in it has other
// names now, also what --select leaves out.
func (w *work) follow(ctx context.Context, from, to string) (err error) {
	for key, row := range w.plan.have {
		id := follow(row.ResourceID, from, to)
		if id == row.ResourceID || kinds[strings.SplitN(row.Kind, ".", 2)[0]].securable == "" {
			continue
		}
		row.ResourceID = id
		w.plan.have[key] = row
		owner := strings.TrimSuffix(key, path.Ext(row.Kind))
		if !slices.ContainsFunc(w.plan.order, func(r deployment.Resource) bool { return r.ID() == owner }) {
			if row.Live, err = w.look(ctx, row); err != nil {
				return err
			}
			w.upserts = append(w.upserts, row)
		}
	}
	return nil
}
