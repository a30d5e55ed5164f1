package wherry

import "context"

// DefaultWorkspace is the id of the workspace that exists from the start.
const DefaultWorkspace int64 = 1

// Principal is who acts: a user or a service principal of the account.
type Principal struct {
	ID          int64  `json:"id"`
	Kind        string `json:"kind"` // KindUser or KindServicePrincipal
	UserName    string `json:"user_name"`
	DisplayName string `json:"display_name"`
	// ApplicationID is the client id of a service principal, "" for a user.
	ApplicationID string `json:"application_id,omitempty"`
	// ObjectID is what Entra calls the principal; "" if it has only the one that
	// auth.ObjectID makes of its client id or number.
	ObjectID string `json:"-"`
	// ExternalID and Entitlements are kept for SCIM, the latter with a space
	// between two; they are not enforced.
	ExternalID   string `json:"-"`
	Entitlements string `json:"-"`
	Admin        bool   `json:"admin"`
	Active       bool   `json:"active"`
}

// Kinds of principal.
const (
	KindUser             = "user"
	KindServicePrincipal = "service_principal"
)

// Identity is what the server knows of the caller of one request. It is the
// only thing that handlers take from a context.
type Identity struct {
	Principal
	WorkspaceID int64
	// RunID is the id of the task run (attempt) whose token made the call, 0
	// for a person or a service outside of a run. Trace rests on it.
	RunID int64
	// ForAdmin says that the call is of a run which an admin started. Until
	// grants are enforced it may do what they may, whoever it runs as.
	// It is also said of a principal with a role that manages the workspace.
	ForAdmin bool
	// Deployment is the id of the deployment that makes the call itself, as part
	// of its own deploy; "" for everyone's own calls. It is never taken from a
	// request.
	Deployment string
	// Account says that the caller signed in for the account, not for one
	// workspace: any of its workspaces is open to it.
	Account bool
	// CIRun names the job of a workflow that the call comes from, as
	// run/attempt/job; "" outside of workflows and for a call without
	// CIRunHeader. The job's token says which it is, or with another's token the
	// header, a proof that only the steps of the job have, while it runs.
	CIRun string
	// BaseURL is scheme://host of the request, without a slash at the end:
	// links and artifact locations are rendered from it and never stored.
	BaseURL string
	// UserAgent is what the client says it is: MLflow's artifact locations have
	// another form for clients that go through databricks-sdk.
	UserAgent string
}

// Scope is the workspace whose deployments the caller sees: an admin at the
// installation's own address sees those of all, 0.
func (id Identity) Scope() int64 {
	if id.Admin && id.WorkspaceID == DefaultWorkspace {
		return 0
	}
	return id.WorkspaceID
}

// CIRunHeader says that a call comes from a workflow's job, whoever's token it
// has: its value is a proof. Wherry's commands set it from CIRunEnv, which the
// steps of the job have.
const (
	CIRunHeader = "X-Wherry-Ci-Run"
	CIRunEnv    = "WHERRY_CI_RUN"
)

// WorkspaceHeader names a workspace by its host name in a call to the server's own
// address, as calling that host does. Wherry's commands set it.
const WorkspaceHeader = "X-Wherry-Workspace"

type identityKey struct{}

// WithIdentity returns a context that carries id.
func WithIdentity(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// IdentityFrom returns the identity of the request; the zero Identity (no
// principal, no workspace) if the request was not signed in.
func IdentityFrom(ctx context.Context) Identity {
	id, _ := ctx.Value(identityKey{}).(Identity)
	return id
}
