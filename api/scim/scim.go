// Package scim serves the people and service principals of the installation in
// the form of SCIM 2.0 (RFC 7644), and the secrets of service principals.
package scim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
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
	// The account's own API, and the workspace's way to it.
	const secrets = "/api/2.0/accounts/{account}/servicePrincipals/{id}/credentials/secrets"
	const proxied = "/api/2.0/accounts/servicePrincipals/{id}/credentials/secrets"
	routes := slices.Concat(a.policies(), a.assignments(), a.signIns())
	for _, base := range bases {
		routes = append(routes, a.directoryRoutes(base)...)
	}
	return append(routes, []api.Route{
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

// bases are where the directory is: the workspace's two spellings, and the
// account's. All show the same principals and groups.
var bases = []string{"/api/2.0/preview/scim/v2", "/api/2.0/scim/v2", "/api/2.0/accounts/{account}/scim/v2"}

func (a *API) directoryRoutes(base string) []api.Route {
	routes := []api.Route{
		{Method: "GET", Path: base + "/Me", Permission: api.SignedIn, Summary: "Who the caller is", Handler: api.As[api.Empty, resource](api.Raw(a.me))},
		{Method: "GET", Path: base + "/Groups", Permission: api.Read, Summary: "List groups", Handler: api.As[api.Empty, resource](api.Raw(a.groups))},
		{Method: "POST", Path: base + "/Groups", Permission: api.Admin, Summary: "Create a group", Handler: api.As[groupInput, resource](api.Raw(a.createGroup))},
		{Method: "GET", Path: base + "/Groups/{id}", Permission: api.Read, Summary: "Get a group", Handler: api.As[api.Empty, resource](api.Raw(a.group))},
		{Method: "PUT", Path: base + "/Groups/{id}", Permission: api.Admin, Summary: "Replace a group", Handler: api.As[groupInput, resource](api.Raw(a.replaceGroup))},
		{Method: "PATCH", Path: base + "/Groups/{id}", Permission: api.Admin, Summary: "Change a group: its members, its name", Handler: api.As[operations, resource](api.Raw(a.patchGroup))},
		{Method: "DELETE", Path: base + "/Groups/{id}", Permission: api.Admin, Summary: "Remove a group", Handler: api.Raw(a.removeGroup)},
		{Path: base + "/{rest...}", Permission: api.Admin, Summary: "Other SCIM calls (not supported)", Handler: api.Raw(notSupported)},
	}
	for i, what := range []string{"a user", "a service principal"} {
		k := kinds[i]
		all := base + "/" + k.path
		routes = append(
			routes,
			api.Route{Method: "GET", Path: all, Permission: api.Read, Summary: "List " + what[2:] + "s", Handler: api.As[api.Empty, resource](api.Raw(a.list(k)))},
			api.Route{Method: "POST", Path: all, Permission: api.Admin, Summary: "Create " + what, Handler: api.As[input, resource](api.Raw(a.create(k)))},
			api.Route{Method: "GET", Path: all + "/{id}", Permission: api.Read, Summary: "Get " + what, Handler: api.As[api.Empty, resource](api.Raw(a.get(k)))},
			api.Route{Method: "PUT", Path: all + "/{id}", Permission: api.Admin, Summary: "Replace " + what, Handler: api.As[input, resource](api.Raw(a.replace(k)))},
			api.Route{Method: "PATCH", Path: all + "/{id}", Permission: api.Admin, Summary: "Change attributes of " + what, Handler: api.As[operations, resource](api.Raw(a.patch(k)))},
			api.Route{Method: "DELETE", Path: all + "/{id}", Permission: api.Admin, Summary: "Remove " + what, Handler: api.Raw(a.remove(k))},
		)
	}
	for i := range routes {
		routes[i].Family = family
	}
	return routes
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

// principal is its wire form.
func (d *directory) principal(p wherry.Principal, full bool) (map[string]any, error) {
	in, err := auth.GroupsOf(d.tx, p)
	if err != nil {
		return nil, err
	}
	doc := document(p, full)
	doc["groups"] = inGroups(in)
	return doc, nil
}

// document is the wire form of a principal, without its groups.
func document(p wherry.Principal, full bool) map[string]any {
	doc := map[string]any{
		"id": strconv.FormatInt(p.ID, 10), "displayName": p.DisplayName, "active": p.Active,
	}
	if p.ExternalID != "" {
		doc["externalId"] = p.ExternalID
	}
	if p.Entitlements != "" {
		doc["entitlements"] = values(strings.Fields(p.Entitlements)...)
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
