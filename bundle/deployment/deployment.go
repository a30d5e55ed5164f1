// Package deployment is what a client and the server say to each other about a
// deploy: what is wanted, what would change, what was done.
package deployment

import "strings"

// Host is who is signed in, and where.
type Host struct {
	UserName    string `json:"user_name"`
	WorkspaceID int64  `json:"workspace_id"`
}

// Request is a bundle to be deployed, as the client resolved it.
type Request struct {
	Bundle string `json:"bundle"`
	Target string `json:"target"`
	Mode   string `json:"mode"` // "development", "production" or ""
	// Namespace is that of a pull request, say; "" for none.
	Namespace    string `json:"namespace,omitempty"`
	CLIVersion   string `json:"cli_version"`
	RootPath     string `json:"root_path"`
	FilePath     string `json:"file_path"`
	ArtifactPath string `json:"artifact_path"`
	StatePath    string `json:"state_path"`
	// Git is where the files come from; DirtyDigest is set by the server if
	// Git.Dirty.
	Git       Git        `json:"git"`
	Files     []File     `json:"files"`
	Libraries []File     `json:"libraries"` // paths are absolute, below artifact_path
	Resources []Resource `json:"resources"`
	// Permissions are those of the root path; each resource has its own.
	Permissions []map[string]any `json:"permissions,omitempty"`
	// Lookups are references to what exists in the workspace, by name.
	Lookups map[string]Lookup `json:"lookups,omitempty"`
	// StandIns lets what the bundle takes for granted be made.
	StandIns bool `json:"stand_ins"`
	// Wants are catalogs, schemas and volumes that the sources name.
	Wants []Want `json:"wants,omitempty"`
	// ClusterSpecs are the settings of stand-in clusters, by the id they stand
	// in for.
	ClusterSpecs map[string]map[string]any `json:"cluster_specs,omitempty"`
	// Select limits the deploy to these resources ("jobs.nightly") and those that
	// they refer to; nothing is deleted then. Empty is all.
	Select    []string `json:"select,omitempty"`
	ForceLock bool     `json:"force_lock,omitempty"`
	// Expect refuses to do anything but what a plan said; the zero Expect is
	// whatever is to be done.
	Expect Digests `json:"expect"`
}

// Digests tell whether a plan still holds.
type Digests struct {
	Want string `json:"want,omitempty"` // of the bundle
	Plan string `json:"plan,omitempty"` // of what would be done, and so of what is live
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
	// PreventDestroy refuses to delete it or to make it anew.
	PreventDestroy bool `json:"prevent_destroy,omitempty"`
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
	// Format is 1. It stands first in a plan that is written to a file, so that
	// a deploy can tell it from the project's own files.
	Format       int    `json:"wherry_plan"`
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
	Source  bool    `json:"source_changed,omitempty"`
	Changes bool    `json:"changes"` // whether there is anything to do
	Digests Digests `json:"digests"`
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
	Move      = "move" // only its key is another one
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
	// MovedFrom is the key that the resource had before.
	MovedFrom string `json:"moved_from,omitempty"`
	// SharedWith are the other deployments that hold a resource which is bound, for people.
	SharedWith []string `json:"shared_with,omitempty"`
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
	// Restores is the version that this one brought back, 0 for none.
	Restores int64 `json:"restores_version,omitempty"`
	// Kept are resources that a former version did not have and that stay,
	// because they may hold data.
	Kept []string `json:"kept,omitempty"`
	// Left are resources that should have been deleted and could not be; the
	// next deploy tries again.
	Left []string `json:"left,omitempty"`
}

// Git is where the files come from; the zero Git if they are in no repository.
type Git struct {
	Branch    string `json:"branch,omitempty"`
	Commit    string `json:"commit,omitempty"`
	OriginURL string `json:"origin_url,omitempty"`
	RootPath  string `json:"bundle_root_path,omitempty"` // of the bundle, in the repository
	Author    string `json:"author,omitempty"`
	Message   string `json:"message,omitempty"`
	Dirty     bool   `json:"dirty,omitempty"` // the files are not those of Commit
}

// Kinds of stand-in.
const (
	StandInCatalog   = "catalog"
	StandInSchema    = "schema"
	StandInVolume    = "volume"
	StandInScope     = "secret scope"
	StandInCluster   = "cluster"
	StandInFolder    = "folder"
	StandInPrincipal = "principal"
)

// Destroy is what `bundle destroy` asks for.
type Destroy struct {
	RootPath  string `json:"root_path"`
	ForceLock bool   `json:"force_lock,omitempty"`
}

// Namespace names what was deployed to a namespace.
type Namespace struct {
	Name      string `json:"namespace"`
	OriginURL string `json:"origin_url,omitempty"` // of the repository, "" for any
	Bundle    string `json:"bundle,omitempty"`     // "" for any
}

// Destroyed are the deployments that were destroyed.
type Destroyed struct {
	Reports []*Report `json:"destroyed"`
}

// Summary is what is deployed to a root path.
type Summary struct {
	DeploymentID string            `json:"deployment_id,omitempty"`
	Version      int64             `json:"version"`
	Status       string            `json:"status,omitempty"`
	Bundle       string            `json:"bundle,omitempty"`
	Target       string            `json:"target,omitempty"`
	TreeDigest   string            `json:"tree_digest,omitempty"`
	Git          Git               `json:"git"`
	DirtyDigest  string            `json:"dirty_digest,omitempty"`
	DeployedBy   string            `json:"deployed_by,omitempty"`
	DeployedAt   int64             `json:"deployed_at,omitempty"` // ms
	Resources    map[string]string `json:"resources"`             // id by key
}

// Places are the workspaces of a server that have something at a root path.
type Places struct {
	Places []Place `json:"places"`
}

// Place is a workspace that a bundle's target is, or was, deployed to.
type Place struct {
	// Host is the name that leads to the workspace, "" for the first: it is at the
	// server's own address.
	Host      string `json:"host,omitempty"`
	Version   int64  `json:"version"` // the live one, 0 for none
	Destroyed bool   `json:"destroyed,omitempty"`
}

// Rollback asks for a former version to be deployed again.
type Rollback struct {
	// Version is the version to go back to, 0 for the one before the live one.
	Version int64 `json:"version"`
	// AllowDataLoss lets resources that may hold data be deleted or made anew.
	AllowDataLoss bool `json:"allow_data_loss,omitempty"`
	ForceLock     bool `json:"force_lock,omitempty"`
}

// Version is one entry of a deployment's history.
type Version struct {
	Version int64  `json:"version"`
	Type    string `json:"type"`   // "deploy" or "destroy"
	Status  string `json:"status"` // "in progress", "success", "failure", "aborted", "expired", or "rolled back" by a gate
	Live    bool   `json:"live,omitempty"`
	// RolledBackTo is the version that a gate brought back in the place of this one, 0 for none.
	RolledBackTo int64  `json:"rolled_back_to,omitempty"`
	Restores     int64  `json:"restores_version,omitempty"`
	Note         string `json:"note,omitempty"` // why, of one that its deployer did not ask for
	Restorable   bool   `json:"restorable"`
	Git          Git    `json:"git"`
	DirtyDigest  string `json:"dirty_digest,omitempty"`
	TreeDigest   string `json:"tree_digest,omitempty"`
	CreatedBy    string `json:"created_by"`
	CreatedAt    int64  `json:"created_at"` // ms
	CompletedAt  int64  `json:"completed_at,omitempty"`
}

// History are the versions of a deployment, the newest first.
type History struct {
	Versions []Version `json:"versions"`
}

// HoldsData tells whether resources of a type may hold data that is lost with
// them. The type is a section's name, as in "schemas".
func HoldsData(kind string) bool {
	switch kind {
	case "catalogs", "schemas", "volumes", "registered_models", "models", "experiments", "secret_scopes", "external_locations":
		return true
	}
	return false
}

// Loses tells whether a change takes away what may hold data.
func (c Change) Loses() bool {
	kind, rest, _ := strings.Cut(c.Key, ".")
	return (c.Action == Delete || c.Action == Recreate) && HoldsData(kind) && !strings.Contains(rest, ".")
}

// Binding ties a key of a bundle to a resource that exists, or unties it.
type Binding struct {
	RootPath string `json:"root_path"`
	FilePath string `json:"file_path,omitempty"`
	Bundle   string `json:"bundle,omitempty"`
	Target   string `json:"target,omitempty"`
	Mode     string `json:"mode,omitempty"`
	Type     string `json:"type"` // "jobs"
	Key      string `json:"key"`
	ID       string `json:"id,omitempty"` // of the resource, to bind
}

// Existing is a resource as its API gives it, in the shape of a create request.
type Existing struct {
	Config map[string]any `json:"config"`
}
