package server

import (
	"context"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	catalogapi "github.com/wherry-ml/wherry/api/catalog"
	computeapi "github.com/wherry-ml/wherry/api/compute"
	deploymentsapi "github.com/wherry-ml/wherry/api/deployments"
	jobsapi "github.com/wherry-ml/wherry/api/jobs"
	mlflowapi "github.com/wherry-ml/wherry/api/mlflow"
	"github.com/wherry-ml/wherry/api/oauth"
	"github.com/wherry-ml/wherry/api/scim"
	storageapi "github.com/wherry-ml/wherry/api/storage"
	traceapi "github.com/wherry-ml/wherry/api/trace"
	workspaceapi "github.com/wherry-ml/wherry/api/workspace"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/egress"
	"github.com/wherry-ml/wherry/scheduler"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/catalog"
	"github.com/wherry-ml/wherry/store/compute"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/jobs"
	"github.com/wherry-ml/wherry/store/mlflow"
	graph "github.com/wherry-ml/wherry/store/trace"
	"github.com/wherry-ml/wherry/store/workspace"
	"github.com/wherry-ml/wherry/trace"
	"github.com/wherry-ml/wherry/trigger"
)

// system is what build makes of the configuration: the two HTTP servers, the
// proxy with the production host names, and the loops that run beside them.
type system struct {
	web, storage *http.Server
	proxy        *egress.Proxy
	loops        []func(context.Context) error
}

// build makes every part, in the order in which data flows, and ties them
// together; it starts none. This is the one place where parts meet.
func build(ctx context.Context, cfg Config, db *store.DB, epoch int64, info Info) (*system, error) {
	sys := &system{}
	routes := []api.Route{
		{Method: "GET", Path: "/health", Permission: api.Public, Summary: "Is the server alive", Handler: api.Raw(health)},
	}

	// Who calls.
	signIn := auth.New(db).Keys(cfg.State.Keys())
	token, err := adminToken(cfg.State)
	if err != nil {
		return nil, err
	}
	if err := signIn.Bootstrap(ctx, token); err != nil {
		return nil, err
	}

	issuer := oauth.New(db, signIn)
	routes = append(routes, issuer.Routes()...)
	routes = append(routes, scim.New(db).Routes()...)

	// How tasks reach us: boxes' listeners are given to proxy.Serve.
	if sys.proxy, err = egress.New(cfg.State); err != nil {
		return nil, err
	}

	// What there is: catalog, files, lake.
	catalogs := catalog.New(db)
	if err := catalogs.Bootstrap(ctx, "admin@localhost"); err != nil {
		return nil, err
	}
	catalogAPI := catalogapi.New(catalogs, cfg.State)
	if err := catalogAPI.Start(ctx); err != nil {
		return nil, err
	}
	routes = append(routes, catalogAPI.Routes()...)
	sys.loops = append(sys.loops, catalogAPI.Run)

	objects := workspace.New(db)
	files := workspaceapi.New(objects, catalogs, cfg.State)
	if err := files.Start(); err != nil {
		return nil, err
	}
	routes = append(routes, files.Routes()...)

	// Experiments, runs and models.
	tracking := mlflow.New(db)
	tracking.CheckSchema = catalog.CheckSchema
	catalogs.Models = tracking
	models, err := mlflowapi.New(mlflowapi.Config{Store: tracking, Artifacts: cfg.State.Artifacts(), Models: cfg.State.Models(), UI: mlflowapi.InstalledUI, Prefix: "/mlflow"})
	if err != nil {
		return nil, err
	}
	routes = append(routes, models.Routes()...)
	files.Files = map[string]workspaceapi.FileHandler{"Models": models.Files, "WorkspaceInternal": models.Files}

	lake, err := storageapi.New(db, cfg.State, signIn.VerifyStorage)
	if err != nil {
		return nil, err
	}
	routes = append(routes, lake.Routes()...)

	// What was deployed: resources are made through the routes above and below.
	deployed := deployments.New(db)
	deployAPI := deploymentsapi.New(db, deployed, cfg.State)
	routes = append(routes, deployAPI.Routes()...)

	// What runs.
	runs := jobs.New(db)
	runs.BaseURL = info.URL
	work := cfg.Compute
	if work == nil {
		clusters := newCompute(cfg, db, epoch, info, runs, deployed, sys.proxy)
		sys.loops = append(sys.loops, clusters.Run)
		routes = append(routes, computeapi.New(clusters, compute.New(db)).Routes()...)
		work = func(*jobs.Store) scheduler.Compute { return clusters }
	}
	jobsAPI := jobsapi.New(runs, cfg.State)
	jobsAPI.Permit = permitJob(objects)
	routes = append(routes, jobsAPI.Routes()...)
	files.Objects = permissionObjects(runs, tracking)
	sys.loops = append(sys.loops, trigger.New(runs).Run, scheduler.New(runs, work(runs)).Run)

	// What came of what.
	tracer := trace.New(db, tables(catalogs, cfg.State))
	routes = append(routes, traceapi.New(tracer, graph.New(db)).Routes()...)
	sys.loops = append(sys.loops, tracer.Run)

	mux := api.NewMux(signIn, routes...)
	if err := deployAPI.Start(ctx, mux); err != nil {
		return nil, err
	}
	web := issuer.Around(mux)
	sys.web = &http.Server{Handler: hostCheck(web), ReadHeaderTimeout: 30 * time.Second}
	sys.storage = &http.Server{Handler: lake, ReadHeaderTimeout: 30 * time.Second}
	sys.proxy.Handle(egress.Handlers{Web: sys.web.Handler, Workspace: web, Storage: lake, SignIn: issuer.Entra()})
	return sys, nil
}

// tables lists the catalog's Delta tables with the folders of those that lie
// below the state directory.
func tables(catalogs *catalog.Store, dir state.Dir) trace.Catalog {
	return func(ctx context.Context) (all []trace.Table, err error) {
		names, err := catalogNames(ctx, catalogs)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			list, err := catalogs.TablesOf(ctx, name)
			if err != nil {
				return nil, err
			}
			for _, t := range list {
				if t.TableType != wherry.View {
					all = append(all, trace.Table{ID: t.ID, Name: t.FullName(), Location: t.Location, Files: folderOf(dir, t.Location)})
				}
			}
		}
		return all, nil
	}
}

func catalogNames(ctx context.Context, catalogs *catalog.Store) (names []string, err error) {
	for page := (catalog.Page{}); ; {
		list, next, err := catalogs.List(ctx, wherry.SecurableCatalog, "", page)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			names = append(names, c.Name)
		}
		if next == "" {
			return names, nil
		}
		page.Token = next
	}
}

// folderOf is the folder of a table's URI on this machine, nil if it has none.
func folderOf(dir state.Dir, uri string) fs.FS {
	if id, ok := strings.CutPrefix(uri, wherry.ManagedTableRoot); ok && path.Base(id) == id {
		return os.DirFS(path.Join(dir.Managed(), "tables", id))
	}
	if rest, ok := strings.CutPrefix(uri, "abfss://"); ok {
		container, rest, _ := strings.Cut(rest, "@")
		host, p, _ := strings.Cut(rest, "/")
		account, _, _ := strings.Cut(host, ".")
		if p = path.Join(account, container, p); fs.ValidPath(p) {
			return os.DirFS(path.Join(dir.Lake(), p))
		}
	}
	return nil
}
