// Package deployments serves the deploys of bundles: it compares what is
// wanted with what is there, takes in the files by content, and makes the whole
// of it live at once or not at all. It serves the public deployments API from
// the same rows.
package deployments

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/drift"
	"github.com/wherry-ml/wherry/store/environments"
	"github.com/wherry-ml/wherry/store/git"
	"github.com/wherry-ml/wherry/store/verification"
)

// Service deploys.
type Service struct {
	db    *store.DB
	store *deployments.Store
	// places says where a target goes.
	places *environments.Store
	drifts *drift.Store
	// repos and runs tell whose pull request a namespace is of.
	repos *git.Store
	runs  *cicd.Store
	// proofs tell which versions a gate took away.
	proofs *verification.Store
	dir    state.Dir
	// handler is the server's whole surface: resources are made through their
	// own APIs, with the rights of the caller.
	handler   http.Handler
	comparing sync.Mutex // one pass over drift at a time
	mu        sync.Mutex
	running   map[string]bool // deployments this process is at work on
	// step is told each step of a deploy by its name; tests end the server there.
	step func(string) error
}

// New returns the service. Call Start before the first request.
func New(db *store.DB, s *deployments.Store, dir state.Dir) *Service {
	return &Service{db: db, store: s, places: environments.New(db), drifts: drift.New(db), repos: git.New(db), runs: cicd.New(db), proofs: verification.New(db), dir: dir, running: map[string]bool{}, step: func(string) error { return nil }}
}

// Start gives the service the server's handler, and takes back what a killed
// server left half deployed.
func (s *Service) Start(ctx context.Context, handler http.Handler) error {
	s.handler = handler
	if err := s.sweep(); err != nil {
		return err
	}
	return s.recover(ctx)
}

// Routes lists the calls.
func (s *Service) Routes() []api.Route {
	const own = "/api/wherry/deployments/"
	return append([]api.Route{
		{Method: "GET", Path: own + "host", Permission: api.SignedIn, Summary: "Who is signed in, and where", Handler: api.JSON(s.host)},
		{Method: "POST", Path: own + "plan", Permission: api.Write, Summary: "Compare a bundle with what is deployed", Handler: api.As[deployment.Request, deployment.Plan](api.Raw(s.servePlan))},
		{Method: "PUT", Path: own + "blobs/{sha256}", Permission: api.Write, Summary: "Take in a file by its content", Handler: api.Raw(s.putBlob)},
		{Method: "POST", Path: own + "deploy", Permission: api.Write, Summary: "Deploy a bundle, whole or not at all", Handler: api.As[deployment.Request, deployment.Report](api.Raw(s.serveDeploy))},
		{Method: "POST", Path: own + "destroy", Permission: api.Write, Summary: "Take a deployed bundle away", Handler: api.As[deployment.Destroy, deployment.Report](api.Raw(s.serveDestroy))},
		{Method: "POST", Path: own + "destroy-namespace", Permission: api.Write, Summary: "Take away what was deployed to a namespace", Handler: api.As[deployment.Namespace, deployment.Destroyed](api.Raw(s.serveDestroyNamespace))},
		{Method: "POST", Path: own + "bind", Permission: api.Write, Summary: "Tie a key of a bundle to a resource that exists", Handler: api.As[deployment.Binding, api.Empty](api.Raw(s.serveBind))},
		{Method: "POST", Path: own + "unbind", Permission: api.Write, Summary: "Forget a deployed resource, which stays", Handler: api.As[deployment.Binding, api.Empty](api.Raw(s.serveUnbind))},
		{Method: "GET", Path: own + "existing/{type}/{id}", Permission: api.Read, Summary: "A resource in the shape of a bundle's", Handler: api.As[api.Empty, deployment.Existing](api.Raw(s.serveExisting))},
		{Method: "POST", Path: own + "{id}/destroy", Permission: api.Write, Summary: "Take a deployment away", Handler: api.As[deployment.Destroy, deployment.Report](api.Raw(s.serveDestroyID))},
		{Method: "POST", Path: own + "{id}/rollback", Permission: api.Write, Summary: "Deploy a former version again", Handler: api.As[deployment.Rollback, deployment.Report](api.Raw(s.serveRollback))},
		{Method: "GET", Path: own + "{id}/history", Permission: api.Read, Summary: "List the versions of a deployment", Handler: api.JSON(s.history)},
		{Method: "GET", Path: own + "summary", Permission: api.Read, Summary: "What is deployed to a root path", Handler: api.JSON(s.summary)},
		{Method: "GET", Path: own + "places", Permission: api.Read, Summary: "Which workspaces have something at a root path", Handler: api.JSON(s.findPlaces)},
		{Method: "GET", Path: own + "stand-ins", Permission: api.Read, Summary: "List stand-ins", Handler: api.JSON(s.standIns)},
	}, slices.Concat(s.driftRoutes(), s.publicRoutes())...)
}

func (s *Service) host(ctx context.Context, _ *api.Empty) (*deployment.Host, error) {
	id := wherry.IdentityFrom(ctx)
	return &deployment.Host{UserName: id.UserName, WorkspaceID: id.WorkspaceID}, nil
}

func decode[T any](r *http.Request) (*T, error) {
	in := new(T)
	body := http.MaxBytesReader(nil, r.Body, 64<<20)
	if err := json.NewDecoder(body).Decode(in); err != nil {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "the request is not valid: %v", err)
	}
	return in, nil
}

func (s *Service) servePlan(w http.ResponseWriter, r *http.Request) error {
	in, err := decode[deployment.Request](r)
	if err != nil {
		return err
	}
	if err := check(in); err != nil {
		return err
	}
	if err := s.here(r.Context(), in.Target); err != nil {
		return err
	}
	p, err := s.plan(r.Context(), s.caller(r), in)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, p.Plan)
}

func (s *Service) serveDeploy(w http.ResponseWriter, r *http.Request) error {
	in, err := decode[deployment.Request](r)
	if err != nil {
		return err
	}
	if err := check(in); err != nil {
		return err
	}
	if err := s.here(r.Context(), in.Target); err != nil {
		return err
	}
	// Once begun, a deploy comes to its end, whether its client waits or not.
	report, err := s.deploy(context.WithoutCancel(r.Context()), s.caller(r), in)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, report)
}
