// Package scim serves the people and service principals of the installation in
// the form of SCIM 2.0 (RFC 7644), and the secrets of service principals.
package scim

import (
	"net/http"
	"strconv"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store"
)

// API serves principals.
type API struct{ db *store.DB }

// New returns the API.
func New(db *store.DB) *API { return &API{db: db} }

// resource is a SCIM document as it is answered.
type resource = map[string]any

// Routes is the part of the workspace API.
func (a *API) Routes() []api.Route {
	const base = "/api/2.0/preview/scim/v2"
	// The account's own API, and the workspace's way to it.
	const secrets = "/api/2.0/accounts/{account}/servicePrincipals/{id}/credentials/secrets"
	const proxied = "/api/2.0/accounts/servicePrincipals/{id}/credentials/secrets"
	user, service := kinds[0], kinds[1]
	return append(a.policies(), []api.Route{
		{Method: "GET", Path: base + "/Me", Permission: api.SignedIn, Family: family, Summary: "Who the caller is", Handler: api.As[api.Empty, resource](api.Raw(a.me))},
		{Method: "GET", Path: base + "/Users", Permission: api.Read, Family: family, Summary: "List users", Handler: api.As[api.Empty, resource](api.Raw(a.list(user)))},
		{Method: "POST", Path: base + "/Users", Permission: api.Admin, Family: family, Summary: "Create a user", Handler: api.As[input, resource](api.Raw(a.create(user)))},
		{Method: "GET", Path: base + "/Users/{id}", Permission: api.Read, Family: family, Summary: "Get a user", Handler: api.As[api.Empty, resource](api.Raw(a.get(user)))},
		{Method: "PUT", Path: base + "/Users/{id}", Permission: api.Admin, Family: family, Summary: "Replace a user", Handler: api.As[input, resource](api.Raw(a.replace(user)))},
		{Method: "PATCH", Path: base + "/Users/{id}", Permission: api.Admin, Family: family, Summary: "Change a user", Handler: api.As[operations, resource](api.Raw(a.patch(user)))},
		{Method: "DELETE", Path: base + "/Users/{id}", Permission: api.Admin, Family: family, Summary: "Remove a user", Handler: api.Raw(a.remove(user))},
		{Method: "GET", Path: base + "/ServicePrincipals", Permission: api.Read, Family: family, Summary: "List service principals", Handler: api.As[api.Empty, resource](api.Raw(a.list(service)))},
		{Method: "POST", Path: base + "/ServicePrincipals", Permission: api.Admin, Family: family, Summary: "Create a service principal", Handler: api.As[input, resource](api.Raw(a.create(service)))},
		{Method: "GET", Path: base + "/ServicePrincipals/{id}", Permission: api.Read, Family: family, Summary: "Get a service principal", Handler: api.As[api.Empty, resource](api.Raw(a.get(service)))},
		{Method: "PUT", Path: base + "/ServicePrincipals/{id}", Permission: api.Admin, Family: family, Summary: "Replace a service principal", Handler: api.As[input, resource](api.Raw(a.replace(service)))},
		{Method: "PATCH", Path: base + "/ServicePrincipals/{id}", Permission: api.Admin, Family: family, Summary: "Change a service principal", Handler: api.As[operations, resource](api.Raw(a.patch(service)))},
		{Method: "DELETE", Path: base + "/ServicePrincipals/{id}", Permission: api.Admin, Family: family, Summary: "Remove a service principal", Handler: api.Raw(a.remove(service))},
		{Method: "GET", Path: base + "/Groups", Permission: api.Read, Family: family, Summary: "List groups: admins and users", Handler: api.As[api.Empty, resource](api.Raw(a.groups))},
		{Method: "GET", Path: base + "/Groups/{id}", Permission: api.Read, Family: family, Summary: "Get a group", Handler: api.As[api.Empty, resource](api.Raw(a.group))},
		{Path: base + "/{rest...}", Permission: api.Admin, Family: family, Summary: "Other SCIM calls (not supported)", Handler: api.Raw(notSupported)},
		{Method: "POST", Path: secrets, Permission: api.Admin, Summary: "Create a secret of a service principal", Handler: api.JSON(a.createSecret)},
		{Method: "GET", Path: secrets, Permission: api.Admin, Summary: "List secrets of a service principal", Handler: api.JSON(a.listSecrets)},
		{Method: "DELETE", Path: secrets + "/{secret_id}", Permission: api.Admin, Summary: "Delete a secret of a service principal", Handler: api.JSON(a.deleteSecret)},
		{Method: "POST", Path: proxied, Permission: api.Admin, Summary: "Create a secret of a service principal", Handler: api.JSON(a.createSecret)},
		{Method: "GET", Path: proxied, Permission: api.Admin, Summary: "List secrets of a service principal", Handler: api.JSON(a.listSecrets)},
		{Method: "DELETE", Path: proxied + "/{secret_id}", Permission: api.Admin, Summary: "Delete a secret of a service principal", Handler: api.JSON(a.deleteSecret)},
		{Method: "POST", Path: "/api/wherry/service-principals", Permission: api.Admin, Summary: "Create a service principal with a secret, or a secret of one by application id", Handler: api.JSON(a.simple)},
		{Method: "POST", Path: "/api/wherry/tokens", Permission: api.Admin, Summary: "Create a token for a user or service principal by name", Handler: api.JSON(a.tokenFor)},
	}...)
}

func notSupported(_ http.ResponseWriter, r *http.Request) error {
	return wherry.NotImplemented("the SCIM call " + r.Method + " " + r.URL.Path)
}

// family writes errors as SCIM clients read them.
var family = api.Family{
	Name: "scim",
	Status: func(code string) int {
		if code == wherry.CodeAlreadyExists {
			return http.StatusConflict
		}
		return api.WorkspaceStatus(code)
	},
	Body: func(_ http.ResponseWriter, status int, e *wherry.Error) any {
		body := map[string]any{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:Error"}, "detail": e.Message, "status": strconv.Itoa(status)}
		switch e.Code {
		case wherry.CodeAlreadyExists:
			body["scimType"] = "uniqueness"
		case wherry.CodeInvalidParameter:
			body["scimType"] = "invalidValue"
		}
		return body
	},
}

// kind is one of the two resources that stand for principals.
type kind struct {
	of   string // wherry.Kind…
	path string
}

var kinds = [2]kind{{wherry.KindUser, "Users"}, {wherry.KindServicePrincipal, "ServicePrincipals"}}

// Schemas of SCIM documents.
const (
	schemaUser      = "urn:ietf:params:scim:schemas:core:2.0:User"
	schemaWorkspace = "urn:ietf:params:scim:schemas:extension:workspace:2.0:User"
	schemaService   = "urn:ietf:params:scim:schemas:core:2.0:ServicePrincipal"
	schemaGroup     = "urn:ietf:params:scim:schemas:core:2.0:Group"
	schemaList      = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
)

// Ids of the two groups that there are: everyone, and those who administer.
const (
	groupAdmins = "1"
	groupUsers  = "2"
)

// document is the wire form of a principal.
func document(p wherry.Principal, full bool) map[string]any {
	doc := map[string]any{
		"id": strconv.FormatInt(p.ID, 10), "displayName": p.DisplayName, "active": p.Active,
		"entitlements": values("workspace-access", "databricks-sql-access"),
		"groups":       []map[string]string{{"display": "users", "type": "direct", "value": groupUsers, "$ref": "Groups/" + groupUsers}},
	}
	if p.Admin {
		doc["entitlements"] = values("workspace-access", "databricks-sql-access", "allow-cluster-create")
		doc["groups"] = append(doc["groups"].([]map[string]string), map[string]string{"display": "admins", "type": "direct", "value": groupAdmins, "$ref": "Groups/" + groupAdmins})
	}
	if p.Kind == wherry.KindServicePrincipal {
		doc["schemas"], doc["applicationId"] = []string{schemaService}, p.ApplicationID
	}
	if p.Kind == wherry.KindUser || full {
		doc["schemas"], doc["userName"] = []string{schemaUser, schemaWorkspace}, p.UserName
		doc["emails"] = []map[string]any{{"type": "work", "value": p.UserName, "primary": true}}
		doc["name"] = map[string]string{"givenName": p.DisplayName}
	}
	return doc
}

func values(list ...string) (out []map[string]string) {
	for _, v := range list {
		out = append(out, map[string]string{"value": v})
	}
	return out
}
