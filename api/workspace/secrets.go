package workspace

import (
	"context"
	"encoding/base64"
	"regexp"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	store "github.com/wherry-ml/wherry/store/workspace"
)

// maxSecret bounds a secret's value, in bytes, as the platform documents.
const maxSecret = 128 << 10

// Names of scopes and keys, as the platform documents them.
var secretNames = regexp.MustCompile(`^[A-Za-z0-9_.@/ -]{1,128}$`)

func (s *Service) secretRoutes() []api.Route {
	return []api.Route{
		{Method: "POST", Path: "/api/2.0/secrets/scopes/create", Permission: api.Write, Summary: "Make a scope", Handler: api.JSON(s.createScope)},
		{Method: "POST", Path: "/api/2.0/secrets/scopes/delete", Permission: api.Write, Summary: "Delete a scope", Handler: api.JSON(s.deleteScope)},
		{Method: "GET", Path: "/api/2.0/secrets/scopes/list", Permission: api.Own, Summary: "List scopes", Handler: api.JSON(s.listScopes)},
		{Method: "POST", Path: "/api/2.0/secrets/put", Permission: api.Write, Summary: "Set a secret", Handler: api.JSON(s.putSecret)},
		{Method: "GET", Path: "/api/2.0/secrets/get", Permission: api.Own, Summary: "Read a secret, within a run or as admin", Handler: api.JSON(s.getSecret)},
		{Method: "GET", Path: "/api/2.0/secrets/list", Permission: api.Own, Summary: "List secrets, without values", Handler: api.JSON(s.listSecrets)},
		{Method: "POST", Path: "/api/2.0/secrets/delete", Permission: api.Write, Summary: "Delete a secret", Handler: api.JSON(s.deleteSecret)},
		{Method: "POST", Path: "/api/2.0/secrets/acls/put", Permission: api.Write, Summary: "Grant on a scope", Handler: api.JSON(s.putACL)},
		{Method: "POST", Path: "/api/2.0/secrets/acls/delete", Permission: api.Write, Summary: "Revoke on a scope", Handler: api.JSON(s.deleteACL)},
		{Method: "GET", Path: "/api/2.0/secrets/acls/get", Permission: api.Read, Summary: "Get a grant on a scope", Handler: api.JSON(s.getACL)},
		{Method: "GET", Path: "/api/2.0/secrets/acls/list", Permission: api.Read, Summary: "List grants on a scope", Handler: api.JSON(s.listACLs)},
	}
}

type secretInput struct {
	Scope                  string  `json:"scope"`
	Key                    string  `json:"key"`
	StringValue            *string `json:"string_value"`
	BytesValue             string  `json:"bytes_value"` // base64
	Principal              string  `json:"principal"`
	Permission             string  `json:"permission"`
	BackendType            string  `json:"scope_backend_type"`
	InitialManagePrincipal string  `json:"initial_manage_principal"`
	StandIn                bool    `json:"stand_in"` // set by the bundle engine for a scope that a project takes for granted
}

func (s *Service) createScope(ctx context.Context, in *secretInput) (*api.Empty, error) {
	if in.BackendType != "" && in.BackendType != "DATABRICKS" {
		return nil, wherry.NotImplemented("a secret scope with the backend " + in.BackendType)
	}
	if !secretNames.MatchString(in.Scope) {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%.150q is not a name of a scope: 1 to 128 letters, digits, dashes, underscores, dots, @", in.Scope)
	}
	id, manager := wherry.IdentityFrom(ctx), in.InitialManagePrincipal
	if manager == "" {
		manager = id.UserName
	}
	return &api.Empty{}, s.store.CreateScope(ctx, id.WorkspaceID, in.Scope, manager, in.StandIn)
}

func (s *Service) deleteScope(ctx context.Context, in *secretInput) (*api.Empty, error) {
	return &api.Empty{}, s.store.DeleteScope(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in.Scope)
}

type scopesOutput struct {
	Scopes []store.Scope `json:"scopes,omitempty"`
}

func (s *Service) listScopes(ctx context.Context, _ *api.Empty) (*scopesOutput, error) {
	list, err := s.store.Scopes(ctx, wherry.IdentityFrom(ctx).WorkspaceID)
	return &scopesOutput{list}, err
}

func (s *Service) putSecret(ctx context.Context, in *secretInput) (*api.Empty, error) {
	if !secretNames.MatchString(in.Key) {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%.150q is not a name of a secret: 1 to 128 letters, digits, dashes, underscores, dots", in.Key)
	}
	var value []byte
	switch {
	case in.StringValue != nil && in.BytesValue != "":
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "give string_value or bytes_value, not both")
	case in.StringValue != nil:
		value = []byte(*in.StringValue)
	default:
		b, err := base64.StdEncoding.DecodeString(in.BytesValue)
		if err != nil || len(b) == 0 {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "string_value, or bytes_value in base64, is required")
		}
		value = b
	}
	if len(value) > maxSecret {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "the value is larger than %d bytes", maxSecret)
	}
	return &api.Empty{}, s.store.PutSecret(ctx, s.key, wherry.IdentityFrom(ctx).WorkspaceID, in.Scope, in.Key, value)
}

type secretOutput struct {
	Key   string `json:"key"`
	Value string `json:"value"` // base64
}

// getSecret gives values to code that runs in a task, and to admins: a token
// of a person who is not an admin reads none, as on the platform.
func (s *Service) getSecret(ctx context.Context, in *secretInput) (*secretOutput, error) {
	id := wherry.IdentityFrom(ctx)
	if id.RunID == 0 && !id.Admin {
		return nil, wherry.Errorf(wherry.CodePermissionDenied, "secrets are read within a run (dbutils.secrets.get) or by an admin")
	}
	value, err := s.store.GetSecret(ctx, s.key, id.WorkspaceID, in.Scope, in.Key, id.Principal)
	if err != nil {
		return nil, err
	}
	return &secretOutput{Key: in.Key, Value: base64.StdEncoding.EncodeToString(value)}, nil
}

// Secret returns a secret's value to one who may read its scope.
func (s *Service) Secret(ctx context.Context, workspaceID int64, scope, key string, reader wherry.Principal) (string, error) {
	value, err := s.store.GetSecret(ctx, s.key, workspaceID, scope, key, reader)
	return string(value), err
}

type secretsOutput struct {
	Secrets []store.Secret `json:"secrets,omitempty"`
}

func (s *Service) listSecrets(ctx context.Context, in *secretInput) (*secretsOutput, error) {
	id := wherry.IdentityFrom(ctx)
	list, err := s.store.Secrets(ctx, id.WorkspaceID, in.Scope, id.Principal)
	return &secretsOutput{list}, err
}

func (s *Service) deleteSecret(ctx context.Context, in *secretInput) (*api.Empty, error) {
	return &api.Empty{}, s.store.DeleteSecret(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in.Scope, in.Key)
}

func (s *Service) putACL(ctx context.Context, in *secretInput) (*api.Empty, error) {
	return &api.Empty{}, s.store.PutACL(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in.Scope, in.Principal, in.Permission)
}

func (s *Service) deleteACL(ctx context.Context, in *secretInput) (*api.Empty, error) {
	return &api.Empty{}, s.store.DeleteACL(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in.Scope, in.Principal)
}

type aclsOutput struct {
	Items []store.ACL `json:"items,omitempty"`
}

func (s *Service) listACLs(ctx context.Context, in *secretInput) (*aclsOutput, error) {
	list, err := s.store.ACLs(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in.Scope)
	return &aclsOutput{list}, err
}

func (s *Service) getACL(ctx context.Context, in *secretInput) (*store.ACL, error) {
	all, err := s.listACLs(ctx, in)
	if err != nil {
		return nil, err
	}
	for _, a := range all.Items {
		if a.Principal == in.Principal {
			return &a, nil
		}
	}
	return nil, wherry.Errorf(wherry.CodeDoesNotExist, "Failed to get secret acl for %s for scope %s.", in.Principal, in.Scope)
}
