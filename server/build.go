package server

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	azureapi "github.com/wherry-ml/wherry/api/azure"
	catalogapi "github.com/wherry-ml/wherry/api/catalog"
	computeapi "github.com/wherry-ml/wherry/api/compute"
	deploymentsapi "github.com/wherry-ml/wherry/api/deployments"
	environmentsapi "github.com/wherry-ml/wherry/api/environments"
	"github.com/wherry-ml/wherry/api/index"
	jobsapi "github.com/wherry-ml/wherry/api/jobs"
	mlflowapi "github.com/wherry-ml/wherry/api/mlflow"
	notifyapi "github.com/wherry-ml/wherry/api/notify"
	"github.com/wherry-ml/wherry/api/oauth"
	"github.com/wherry-ml/wherry/api/openid"
	"github.com/wherry-ml/wherry/api/scim"
	storageapi "github.com/wherry-ml/wherry/api/storage"
	traceapi "github.com/wherry-ml/wherry/api/trace"
	workspaceapi "github.com/wherry-ml/wherry/api/workspace"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/cicd"
	"github.com/wherry-ml/wherry/cicd/git"
	"github.com/wherry-ml/wherry/cluster"
	"github.com/wherry-ml/wherry/egress"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/notify"
	"github.com/wherry-ml/wherry/scheduler"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/catalog"
	cistore "github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/compute"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/drift"
	"github.com/wherry-ml/wherry/store/environments"
	gitstore "github.com/wherry-ml/wherry/store/git"
	"github.com/wherry-ml/wherry/store/jobs"
	"github.com/wherry-ml/wherry/store/mlflow"
	notices "github.com/wherry-ml/wherry/store/notify"
	graph "github.com/wherry-ml/wherry/store/trace"
	verifications "github.com/wherry-ml/wherry/store/verification"
	"github.com/wherry-ml/wherry/store/workspace"
	"github.com/wherry-ml/wherry/trace"
	"github.com/wherry-ml/wherry/trace/provenance"
	"github.com/wherry-ml/wherry/trigger"
	"github.com/wherry-ml/wherry/ui"
	"github.com/wherry-ml/wherry/verification"
	"github.com/wherry-ml/wherry/workflow/action"
)

// system is what build makes of the configuration: the two HTTP servers, the
// proxy with the production host names, and the loops that run beside them.
type system struct {
	web, storage *http.Server
	proxy        *egress.Proxy
	loops        []func(context.Context) error
	table        *api.Mux // all routes of web
}

// builder ties the parts together. Its fields are those that later parts need.
type builder struct {
	cfg    Config
	db     *store.DB
	epoch  int64
	info   Info
	sys    *system
	routes []api.Route

	signIn    *auth.Service
	issuer    *oauth.API
	catalogs  *catalog.Store
	objects   *workspace.Store
	files     *workspaceapi.Service
	tracking  *mlflow.Store
	lake      *storageapi.Service
	azure     *azureapi.Service
	deployed  *deployments.Store
	deployAPI *deploymentsapi.Service
	places    *environments.Store
	placesAPI *environmentsapi.API
	proofs    *verifications.Store
	clusters  *cluster.Manager // nil if the configuration has another compute
	runs      *jobs.Store
	tracer    *trace.Service
	commits   *gitstore.Store
	hosting   *git.Service
	outbox    *notices.Store
	ci        *cicd.Service
	tools     func() action.Tools
}

// build makes every part, in the order in which data flows, and ties them
// together; it starts none. This is the one place where parts meet.
func build(ctx context.Context, cfg Config, db *store.DB, epoch int64, info Info) (*system, error) {
	b := &builder{cfg: cfg, db: db, epoch: epoch, info: info, sys: &system{}}
	b.add(nil, api.Route{Method: "GET", Path: "/health", Permission: api.Public, Summary: "Is the server alive", Handler: api.Raw(health)})
	for _, part := range []func(context.Context) error{b.callers, b.data, b.models, b.work, b.cloud, b.sources, b.packages, b.workflows, b.notices, b.history, b.pages} {
		if err := part(ctx); err != nil {
			return nil, err
		}
	}
	return b.sys, b.serve(ctx)
}

// add puts routes into the table, and a loop beside the servers unless it is nil.
func (b *builder) add(loop func(context.Context) error, routes ...api.Route) {
	b.routes = append(b.routes, routes...)
	if loop != nil {
		b.sys.loops = append(b.sys.loops, loop)
	}
}

// owner is the organisation of the repositories.
func (b *builder) owner() string { return cmp.Or(b.cfg.Owner, "wherry") }

// callers: who calls, and how tasks reach us.
func (b *builder) callers(ctx context.Context) error {
	b.signIn = auth.New(b.db).Keys(b.cfg.State.Keys())
	token, err := adminToken(b.cfg.State)
	if err != nil {
		return err
	}
	if err := b.signIn.Bootstrap(ctx, token); err != nil {
		return err
	}
	b.issuer = oauth.New(b.db, b.signIn)
	b.add(nil, b.issuer.Routes()...)
	b.add(nil, scim.New(b.db).Routes()...)
	b.sys.proxy, err = egress.New(b.cfg.State) // boxes' listeners are given to proxy.Serve
	if err != nil {
		return err
	}
	b.sys.proxy.Reach(b.cfg.Reach)
	return nil
}

// data: catalog, files, lake.
func (b *builder) data(ctx context.Context) error {
	b.catalogs = catalog.New(b.db)
	if err := b.catalogs.Bootstrap(ctx, "admin@localhost"); err != nil {
		return err
	}
	api := catalogapi.New(b.catalogs, b.cfg.State)
	if err := api.Start(ctx); err != nil {
		return err
	}
	b.add(api.Run, api.Routes()...)

	b.objects = workspace.New(b.db)
	b.files = workspaceapi.New(b.objects, b.catalogs, b.cfg.State)
	if err := b.files.Start(); err != nil {
		return err
	}
	b.add(nil, b.files.Routes()...)

	var err error
	b.lake, err = storageapi.New(b.db, b.cfg.State, b.signIn.VerifyStorage)
	if err != nil {
		return err
	}
	api.Vend = b.lake.Vend
	b.add(nil, b.lake.Routes()...)
	return b.lake.Sweep(ctx)
}

// models: experiments, runs and models of MLflow.
func (b *builder) models(context.Context) error {
	b.tracking = mlflow.New(b.db)
	b.tracking.CheckSchema, b.tracking.MoveModel = catalog.CheckSchema, catalog.MoveModel
	b.catalogs.Models = b.tracking
	dir := b.cfg.State
	m, err := mlflowapi.New(mlflowapi.Config{Store: b.tracking, Artifacts: dir.Artifacts(), Models: dir.Models(), UI: mlflowapi.InstalledUI, Prefix: "/mlflow"})
	if err != nil {
		return err
	}
	b.add(nil, m.Routes()...)
	b.files.Files = map[string]workspaceapi.FileHandler{"Models": m.Files, "WorkspaceInternal": m.Files}
	return nil
}

// ciWork is what compute asks of the workflows, which come after it.
func (b *builder) ciWork() workflows {
	b.tools = sync.OnceValue(func() action.Tools { return action.Detect() })
	return workflows{
		input: func(ctx context.Context, job int64, token string) (json.RawMessage, error) {
			return b.ci.Input(ctx, job, token)
		},
		keep: func() []string { return cicd.Keep(b.tools()) },
	}
}

// work: what was deployed, and what runs.
func (b *builder) work(ctx context.Context) error {
	b.deployed = deployments.New(b.db)
	b.deployAPI = deploymentsapi.New(b.db, b.deployed, b.cfg.State)
	b.add(b.deployAPI.Watch, b.deployAPI.Routes()...)
	b.add(b.deployAPI.FollowPulls)
	b.places, b.proofs, b.outbox = environments.New(b.db), verifications.New(b.db), notices.New(b.db)
	b.placesAPI = environmentsapi.New(b.places, b.deployed, b.proofs, b.outbox)
	b.add(nil, b.placesAPI.Routes()...)

	b.runs = jobs.New(b.db)
	b.runs.BaseURL = b.info.URL
	work := b.cfg.Compute
	if work == nil {
		clusters := newCompute(b.cfg, b.db, b.epoch, b.info, b.runs, b.deployed, b.sys.proxy, b.files,
			func() (map[string]string, error) { return b.files.ExternalVolumes(ctx) }, func() []string { return b.azure.Hosts(ctx) }, b.ciWork())
		b.clusters, b.lake.NewAccount = clusters, clusters.TellHosts
		b.add(clusters.Run, computeapi.New(clusters, compute.New(b.db)).Routes()...)
		work = func(*jobs.Store) scheduler.Compute { return clusters }
	}
	api := jobsapi.New(b.runs, b.cfg.State)
	api.Permit = workspaceapi.PermitJob
	b.add(trigger.New(b.runs).Run, api.Routes()...)
	b.add(scheduler.New(b.runs, work(b.runs)).Run)
	proving := verification.New(verification.Config{
		Store: b.proofs, Environments: b.places, Deployed: b.deployed, Jobs: b.runs, Models: b.tracking,
		Rollback: func(ctx context.Context, ws int64, id, actor string, to int64) error {
			_, err := b.deployAPI.Rollback(ctx, ws, id, actor, deployment.Rollback{Version: to})
			return err
		},
	})
	b.add(proving.Run)
	b.files.Objects = permissionObjects(b.runs, b.tracking)
	return nil
}

// sources: the repositories that are pushed to.
func (b *builder) sources(ctx context.Context) error {
	key, err := workspace.OpenKey(b.cfg.State.Keys())
	if err != nil {
		return err
	}
	b.commits = gitstore.New(b.db)
	b.hosting = git.New(git.Config{Store: b.commits, State: b.cfg.State, Outbox: b.outbox, Key: key, URL: b.info.URL, MaxPush: b.cfg.MaxPush})
	if err := b.hosting.Start(ctx); err != nil {
		return err
	}
	b.add(b.hosting.Run, b.hosting.Routes()...)
	return nil
}

// workflows: what a push starts.
func (b *builder) workflows(ctx context.Context) error {
	key, err := workspace.OpenKey(b.cfg.State.Keys())
	if err != nil {
		return err
	}
	b.ci = cicd.New(cicd.Config{
		State: b.cfg.State, Store: cistore.New(b.db), Git: b.commits, Hosting: b.hosting, Jobs: b.runs, Environments: b.places, Drift: drift.New(b.db), Key: key,
		SignIn: b.signIn, URL: b.info.URL, Index: b.info.URL + "/pypi/simple/", Owner: b.owner(), Tools: b.tools,
		Retention: b.cfg.CIRetention,
	})
	if err := b.ci.Start(ctx); err != nil {
		return err
	}
	b.add(b.ci.Prune, b.ci.Routes()...)
	if !b.cfg.KeepTriggers {
		b.add(b.ci.Run)
	}
	return nil
}

// notices: who is told.
func (b *builder) notices(context.Context) error {
	key, err := workspace.OpenKey(b.cfg.State.Keys())
	if err != nil {
		return err
	}
	sender := notify.New(notify.Config{Options: b.cfg.Notify, Store: b.outbox, Key: key, Epoch: b.epoch, URL: cmp.Or(b.cfg.PublicURL, b.info.URL)})
	b.add(sender.Run, notifyapi.New(b.outbox, key).Routes()...)
	return nil
}

// packages: the package index of this machine, kept for boxes and workflows.
func (b *builder) packages(context.Context) error {
	find := b.cfg.PackageIndex
	if find == nil {
		find = environment.PackageIndex
	}
	a, err := index.New(index.Config{Dir: b.cfg.State.Path("cache", "pypi"), Upstream: find})
	if err != nil {
		return err
	}
	b.add(a.Run, a.Routes()...)
	return nil
}

// history: what came of what.
func (b *builder) history(context.Context) error {
	b.tracer = trace.New(b.db, tables(b.catalogs, b.cfg.State))
	key, err := provenance.OpenKey(b.cfg.State.Keys())
	if err != nil {
		return err
	}
	b.add(b.tracer.Run, traceapi.New(b.tracer, graph.New(b.db), key).Routes()...)
	return nil
}

// pages: what people look at.
func (b *builder) pages(ctx context.Context) error {
	pages := ui.New(ui.Config{
		State: b.cfg.State, Jobs: b.runs, Compute: compute.New(b.db), Clusters: b.clusters, Catalog: b.catalogs, Files: b.files,
		Models: b.tracking, Trace: b.tracer, Graph: graph.New(b.db), Notices: b.outbox, Stop: ctx.Done(), SignIn: b.signIn, Issuer: b.cfg.OpenID.Issuer,
		Workflows: b.ci, Git: b.commits, Hosting: b.hosting, Environments: b.placesAPI, Deployments: b.deployAPI, Deployed: b.deployed, Owner: b.owner(),
		Permits: func(id wherry.Identity, path string) bool { return b.sys.table.Permits(id, path) }, // the table comes after its pages
	})
	b.add(nil, pages.Routes()...)
	if b.cfg.OpenID.Enabled() {
		if err := b.cfg.OpenID.Check(); err != nil {
			return err
		}
		b.add(nil, openid.New(b.cfg.OpenID, b.signIn).Routes(pages.Family())...)
	}
	return nil
}

// manages tells whether a principal manages a workspace that is not the first:
// by an assignment of the account, or by a role of the management API.
func (b *builder) manages(ctx context.Context, p wherry.Principal, workspace int64) (bool, error) {
	if ok, err := b.signIn.Administers(ctx, p, workspace); ok || err != nil {
		return ok, err
	}
	return b.azure.Manages(ctx, p, workspace)
}

// serve puts the table behind the listeners.
func (b *builder) serve(ctx context.Context) error {
	b.add(nil, api.OpenAPI(b.routes))
	mux := api.NewMux(b.signIn, b.routes...)
	mux.Workspace, mux.Manages, mux.CIRun = b.signIn.WorkspaceAt, b.manages, b.ci.JobOf
	b.sys.table = mux
	if err := b.deployAPI.Start(ctx, mux); err != nil {
		return err
	}
	web := b.issuer.Around(mux)
	b.sys.web = &http.Server{Handler: api.OwnHosts(web), ReadHeaderTimeout: 30 * time.Second}
	b.sys.storage = &http.Server{Handler: b.lake, ReadHeaderTimeout: 30 * time.Second}
	b.sys.proxy.Handle(egress.Handlers{Web: b.sys.web.Handler, Workspace: web, Storage: b.lake, SignIn: b.issuer.Entra(), Azure: b.azure, Actions: b.issuer.Actions()})
	return nil
}
