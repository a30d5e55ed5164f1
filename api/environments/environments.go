// Package environments serves the places that bundles are deployed to, with
// what is deployed there.
package environments

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/environments"
	"github.com/wherry-ml/wherry/store/notify"
	"github.com/wherry-ml/wherry/store/verification"
)

// API serves the routes.
type API struct {
	store    *environments.Store
	deployed *deployments.Store
	proofs   *verification.Store
	outbox   *notify.Store
}

// New returns the API.
func New(s *environments.Store, deployed *deployments.Store, proofs *verification.Store, outbox *notify.Store) *API {
	return &API{store: s, deployed: deployed, proofs: proofs, outbox: outbox}
}

// Routes is the API's part of the route table.
func (a *API) Routes() []api.Route {
	const one = "/api/wherry/environments/{name}"
	return []api.Route{
		{Method: "GET", Path: "/api/wherry/environments", Permission: api.Read, Handler: api.JSON(a.list), Summary: "List environments with what is deployed there"},
		{Method: "GET", Path: one, Permission: api.Read, Handler: api.JSON(a.get), Summary: "An environment and what is deployed there"},
		{Method: "PUT", Path: one, Permission: api.Admin, Handler: api.JSON(a.put), Summary: "Make or change an environment"},
		{Method: "DELETE", Path: one, Permission: api.Admin, Handler: api.JSON(a.remove), Summary: "Delete an environment; what is deployed stays"},
	}
}

// Shown is an environment with what is deployed there.
type Shown struct {
	wherry.Environment
	Deployed []Deployed `json:"deployed"`
}

// Deployed is the version of a bundle that is live in an environment.
type Deployed struct {
	DeploymentID string `json:"deployment_id"`
	Bundle       string `json:"bundle"`
	RootPath     string `json:"root_path,omitempty"`
	Version      int64  `json:"version"`
	Commit       string `json:"commit,omitempty"`
	Branch       string `json:"branch,omitempty"`
	Dirty        bool   `json:"dirty,omitempty"` // the files are not those of Commit
	By           string `json:"by"`
	Since        int64  `json:"since"` // milliseconds since 1970
	// Verification is "verified", "waiting", "rolling back" or "failed"; "" where
	// no job has to prove it.
	Verification string `json:"verification,omitempty"`
	VerifiedBy   int64  `json:"verified_by_run,omitempty"`
	Note         string `json:"note,omitempty"`
	// Workspace is the host name of the workspace, "" for the first.
	Workspace string `json:"workspace,omitempty"`
}

// String names what is deployed in a few words.
func (d Deployed) String() string {
	source := "from no commit"
	if d.Commit != "" {
		source = fmt.Sprintf("commit %.12s", d.Commit)
		if d.Dirty {
			source += " with changes that are in no commit"
		}
	}
	if d.Workspace != "" {
		source += ", in the workspace " + d.Workspace
	}
	return fmt.Sprintf("%s version %d, %s", d.Bundle, d.Version, source)
}

type nameIn struct {
	Name string `json:"name"`
}

type listOut struct {
	Environments []Shown `json:"environments"`
}

func (a *API) list(ctx context.Context, _ *api.Empty) (*listOut, error) {
	list, err := a.List(ctx)
	return &listOut{Environments: list}, err
}

// List returns all environments with what is deployed there, by name.
func (a *API) List(ctx context.Context) ([]Shown, error) {
	list, err := a.store.List(ctx)
	if err != nil {
		return nil, err
	}
	out := []Shown{}
	for _, e := range list {
		shown, err := a.show(ctx, e)
		if err != nil {
			return nil, err
		}
		out = append(out, *shown)
	}
	return out, nil
}

func (a *API) get(ctx context.Context, in *nameIn) (*Shown, error) { return a.Get(ctx, in.Name) }

// Get returns an environment with what is deployed there.
func (a *API) Get(ctx context.Context, name string) (*Shown, error) {
	e, err := a.store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return a.show(ctx, e)
}

func (a *API) show(ctx context.Context, e wherry.Environment) (*Shown, error) {
	shown := &Shown{Environment: e, Deployed: []Deployed{}}
	live, err := a.deployed.Live(ctx, wherry.IdentityFrom(ctx).Scope(), e.DeploysFrom())
	if err != nil {
		return nil, err
	}
	for _, l := range live {
		proof, _, err := a.proofs.Of(ctx, l.Deployment.ID, l.Current.Version)
		if err != nil {
			return nil, err
		}
		if l.Current.Restores > 0 {
			taken, err := a.proofs.RolledBack(ctx, l.Deployment.ID)
			if err != nil {
				return nil, err
			}
			if failed := before(taken, l.Current); failed > 0 {
				proof.Note = fmt.Sprintf("it brought version %d back, as version %d failed its verification", l.Current.Restores, failed)
			}
		}
		shown.Deployed = append(shown.Deployed, Deployed{
			Verification: proof.State, VerifiedBy: proof.JobRunID, Note: proof.Note, Workspace: auth.ElsewhereHost(l.WorkspaceID),
			DeploymentID: l.Deployment.ID, Bundle: l.Bundle, RootPath: l.RootPath, Version: l.Current.Version, Commit: l.Current.Git.Commit,
			Branch: l.Current.Git.Branch, Dirty: l.Current.DirtyDigest != "", By: l.Current.CreatedBy, Since: l.Current.CompletedAt,
		})
	}
	return shown, nil
}

// before is the last version that a gate took away for the one that v brought
// back, 0 for none.
func before(taken map[int64]int64, v deployments.Version) (failed int64) {
	for version, back := range taken {
		if back == v.Restores && version < v.Version {
			failed = max(failed, version)
		}
	}
	return failed
}

// Version is a version of a bundle that was deployed to an environment.
type Version struct {
	deployments.Version
	Bundle       string
	Verification string // see Deployed
	RolledBackTo int64  // the version that the gate brought back in its place, 0 for none
	Live         bool
}

// History lists the last versions of what is deployed to an environment, the
// newest first; those that came to nothing too.
func (a *API) History(ctx context.Context, e *Shown, limit int) (list []Version, err error) {
	for _, d := range e.Deployed {
		dep, err := a.deployed.ByID(ctx, d.DeploymentID)
		if err != nil {
			return nil, err
		}
		versions, err := a.deployed.Versions(ctx, dep.WorkspaceID, d.DeploymentID, limit, 0)
		if err != nil {
			return nil, err
		}
		taken, err := a.proofs.RolledBack(ctx, d.DeploymentID)
		if err != nil {
			return nil, err
		}
		for _, v := range versions {
			proof, _, err := a.proofs.Of(ctx, d.DeploymentID, v.Version)
			if err != nil {
				return nil, err
			}
			list = append(list, Version{v, d.Bundle, proof.State, taken[v.Version], v.Version == d.Version})
		}
	}
	slices.SortStableFunc(list, func(a, b Version) int { return cmp.Compare(b.CreatedAt, a.CreatedAt) })
	return list[:min(limit, len(list))], nil
}

func (a *API) put(ctx context.Context, in *wherry.Environment) (*Shown, error) {
	notify, err := a.outbox.Receivers(ctx, wherry.DefaultWorkspace, in.Notify)
	if err != nil {
		return nil, err
	}
	in.Notify = notify
	if err := a.known(ctx, in); err != nil {
		return nil, err
	}
	if err := a.proves(ctx, in); err != nil {
		return nil, err
	}
	e, err := a.store.Put(ctx, *in, wherry.IdentityFrom(ctx).UserName)
	if err != nil {
		return nil, err
	}
	return a.show(ctx, e)
}

// known refuses reviewers that are nobody, but for those that the environment
// has already: they may have been removed since.
func (a *API) known(ctx context.Context, in *wherry.Environment) error {
	in.Normalise()
	have, err := a.store.Get(ctx, in.Name)
	if err != nil && wherry.CodeOf(err) != wherry.CodeDoesNotExist {
		return err
	}
	fresh := slices.DeleteFunc(slices.Clone(in.Reviewers), func(name string) bool { return slices.Contains(have.Reviewers, name) })
	return a.proofs.DB().Read(ctx, func(tx *store.Tx) error {
		for _, name := range fresh {
			switch ok, err := auth.Exists(tx, name); {
			case err != nil:
				return err
			case !ok:
				return wherry.Errorf(wherry.CodeInvalidParameter, "the reviewer %s is no user, service principal or group of this installation: `wherry user list` and `wherry group list` show them", name)
			}
		}
		return nil
	})
}

// proves refuses a job that is to prove deploys and is none of what is deployed,
// but for the one that the environment has already. Before the first deploy any
// name will do.
func (a *API) proves(ctx context.Context, in *wherry.Environment) error {
	have, err := a.store.Get(ctx, in.Name)
	if err != nil && wherry.CodeOf(err) != wherry.CodeDoesNotExist {
		return err
	}
	if in.VerifyJob == "" || in.VerifyJob == have.VerifyJob {
		return nil
	}
	live, err := a.deployed.Live(ctx, wherry.IdentityFrom(ctx).Scope(), in.DeploysFrom())
	if err != nil {
		return err
	}
	var keys []string
	for _, l := range live {
		d, err := a.deployed.ByID(ctx, l.Deployment.ID)
		if err != nil {
			return err
		}
		if _, ok, err := a.proofs.Job(ctx, verification.Verification{WorkspaceID: d.WorkspaceID, DeploymentID: d.ID}, in.VerifyJob); err != nil || ok {
			return err
		}
		resources, err := a.deployed.Resources(ctx, d.ID)
		if err != nil {
			return err
		}
		for _, r := range resources {
			if r.Kind == "jobs" && !r.Doomed {
				keys = append(keys, strings.TrimPrefix(r.Key, "jobs."))
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	slices.Sort(keys)
	return wherry.Errorf(wherry.CodeInvalidParameter, "%s is no job of what is deployed to %s: there are %s", in.VerifyJob, in.Name, strings.Join(slices.Compact(keys), ", "))
}

func (a *API) remove(ctx context.Context, in *nameIn) (*api.Empty, error) {
	return &api.Empty{}, a.store.Delete(ctx, in.Name, wherry.IdentityFrom(ctx).UserName)
}
