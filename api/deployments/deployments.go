// Package deployments serves the deploys of bundles: it compares what is
// wanted with what is there, takes in the files by content, and makes the whole
// of it live at once or not at all. It serves the public deployments API from
// the same rows.
package deployments

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/deployments"
)

// Service deploys.
type Service struct {
	db    *store.DB
	store *deployments.Store
	dir   state.Dir
	// handler is the server's whole surface: resources are made through their
	// own APIs, with the rights of the caller.
	handler http.Handler
	mu      sync.Mutex
	running map[string]bool // deployments this process is at work on
	// step is told each step of a deploy by its name; tests end the server there.
	step func(string) error
}

// New returns the service. Call Start before the first request.
func New(db *store.DB, s *deployments.Store, dir state.Dir) *Service {
	return &Service{db: db, store: s, dir: dir, running: map[string]bool{}, step: func(string) error { return nil }}
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
		{Method: "POST", Path: own + "plan", Permission: api.Write, Summary: "Compare a bundle with what is deployed", Handler: api.Raw(s.servePlan)},
		{Method: "PUT", Path: own + "blobs/{sha256}", Permission: api.Write, Summary: "Take in a file by its content", Handler: api.Raw(s.putBlob)},
		{Method: "POST", Path: own + "deploy", Permission: api.Write, Summary: "Deploy a bundle, whole or not at all", Handler: api.Raw(s.serveDeploy)},
		{Method: "POST", Path: own + "destroy", Permission: api.Write, Summary: "Take a deployed bundle away", Handler: api.Raw(s.serveDestroy)},
		{Method: "GET", Path: own + "summary", Permission: api.Read, Summary: "What is deployed to a root path", Handler: api.JSON(s.summary)},
		{Method: "GET", Path: own + "stand-ins", Permission: api.Read, Summary: "List stand-ins", Handler: api.JSON(s.standIns)},
	}, s.publicRoutes()...)
}

// Host is who is signed in, and where.
type Host struct {
	UserName    string `json:"user_name"`
	WorkspaceID int64  `json:"workspace_id"`
}

func (s *Service) host(ctx context.Context, _ *api.Empty) (*Host, error) {
	id := wherry.IdentityFrom(ctx)
	return &Host{UserName: id.UserName, WorkspaceID: id.WorkspaceID}, nil
}

// Request is a bundle to be deployed, as the client resolved it.
type Request struct {
	Bundle       string `json:"bundle"`
	Target       string `json:"target"`
	Mode         string `json:"mode"` // "development", "production" or ""
	CLIVersion   string `json:"cli_version"`
	RootPath     string `json:"root_path"`
	FilePath     string `json:"file_path"`
	ArtifactPath string `json:"artifact_path"`
	StatePath    string `json:"state_path"`
	// Git is where the files come from; DirtyDigest is set by the server if
	// Git.Dirty.
	Git       deployments.Git `json:"git"`
	Files     []File          `json:"files"`
	Libraries []File          `json:"libraries"` // paths are absolute, below artifact_path
	Resources []Resource      `json:"resources"`
	// Lookups are references to what exists in the workspace, by name.
	Lookups map[string]Lookup `json:"lookups,omitempty"`
	// StandIns lets what the bundle takes for granted be made.
	StandIns bool `json:"stand_ins"`
	// Wants are catalogs, schemas and volumes that the sources name.
	Wants []Want `json:"wants,omitempty"`
	// ClusterSpecs are the settings of stand-in clusters, by the id they stand
	// in for.
	ClusterSpecs map[string]map[string]any `json:"cluster_specs,omitempty"`
	ForceLock    bool                      `json:"force_lock,omitempty"`
}

// File is one file, by content.
type File struct {
	Path   string `json:"path"` // with slashes, relative to file_path
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	Exec   bool   `json:"exec,omitempty"`
}

// Resource is one resource as the bundle has it: the fields of the REST create
// request, with references like ${resources.jobs.x.id} where a value is known
// only after a deploy.
type Resource struct {
	Type        string           `json:"type"`
	Key         string           `json:"key"`
	Config      map[string]any   `json:"config"`
	Permissions []map[string]any `json:"permissions,omitempty"`
	Grants      []map[string]any `json:"grants,omitempty"`
	At          string           `json:"at,omitempty"` // file:line:column, for messages
}

// ID is "jobs.nightly".
func (r Resource) ID() string { return r.Type + "." + r.Key }

// Lookup names something of the workspace.
type Lookup struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// Want is something that the sources take for granted.
type Want struct {
	Kind string `json:"kind"` // "catalog", "schema", "volume", "secret scope"
	Name string `json:"name"`
	At   string `json:"at,omitempty"`
}

// Plan says what a deploy would do.
type Plan struct {
	DeploymentID string `json:"deployment_id,omitempty"`
	// Version is the version that is live, 0 for none.
	Version   int64    `json:"version"`
	Resources []Change `json:"resources"`
	Files     struct {
		Added     []string `json:"added,omitempty"`
		Changed   []string `json:"changed,omitempty"`
		Removed   []string `json:"removed,omitempty"`
		Unchanged int      `json:"unchanged"`
		Bytes     int64    `json:"bytes"` // to be uploaded
	} `json:"files"`
	TreeDigest string    `json:"tree_digest"`
	Missing    []string  `json:"missing,omitempty"` // contents that the server lacks, by sha256
	StandIns   []StandIn `json:"stand_ins,omitempty"`
	// Source tells that only the commit differs from what is live.
	Source  bool `json:"source_changed,omitempty"`
	Changes bool `json:"changes"` // whether there is anything to do
}

// StandIn is something that the deploy makes, or made, because the bundle
// takes it for granted.
type StandIn struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	At   string `json:"at,omitempty"`
	New  bool   `json:"new"`
}

// Actions of a Change.
const (
	Create    = "create"
	Update    = "update"
	Recreate  = "recreate"
	Delete    = "delete"
	Bind      = "bind" // it is there already, and becomes part of the deployment
	Unchanged = "unchanged"
)

// Change is what happens to one resource.
type Change struct {
	Key    string  `json:"key"` // "jobs.nightly", "jobs.nightly.permissions"
	Action string  `json:"action"`
	ID     string  `json:"id,omitempty"`
	Name   string  `json:"name,omitempty"`
	Fields []Field `json:"fields,omitempty"`
	At     string  `json:"at,omitempty"`
}

// Field is one field that changes; a missing side is nil.
type Field struct {
	Path   string `json:"path"`
	Before any    `json:"before"`
	After  any    `json:"after"`
}

// Report is what a deploy did.
type Report struct {
	DeploymentID string    `json:"deployment_id"`
	Version      int64     `json:"version"`
	Resources    []Change  `json:"resources"`
	TreeDigest   string    `json:"tree_digest"`
	StandIns     []StandIn `json:"stand_ins,omitempty"`
	// Left are resources that should have been deleted and could not be; the
	// next deploy tries again.
	Left []string `json:"left,omitempty"`
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
	in, err := decode[Request](r)
	if err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	p, err := s.plan(r.Context(), s.caller(r), in)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, p.Plan)
}

func (s *Service) serveDeploy(w http.ResponseWriter, r *http.Request) error {
	in, err := decode[Request](r)
	if err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	// Once begun, a deploy comes to its end, whether its client waits or not.
	report, err := s.deploy(context.WithoutCancel(r.Context()), s.caller(r), in)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, report)
}
