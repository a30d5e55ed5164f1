// Package catalog serves the Unity Catalog API as databricks-sdk, the Terraform
// provider and our own Spark catalog call it, and keeps the folders of managed
// tables and volumes in step with the store.
package catalog

import (
	"context"
	"encoding/json"
	"maps"
	"sync"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/state"
	store "github.com/wherry-ml/wherry/store/catalog"
)

const prefix = "/api/2.1/unity-catalog/"

// Service serves the catalog.
type Service struct {
	store *store.Store
	dir   state.Dir
	// moving serialises changes that move folders, so that a new volume never
	// meets the folder of an old one of its name.
	moving sync.Mutex
	trash  chan struct{}
	// Vend, if set, signs what lets its holder reach a folder of the lake (see
	// Vendor). Set it before serving.
	Vend Vendor
}

// New returns the service. Call Start once before serving and Run beside it.
func New(s *store.Store, dir state.Dir) *Service {
	return &Service{store: s, dir: dir, trash: make(chan struct{}, 1)}
}

// Routes lists the calls.
func (s *Service) Routes() []api.Route {
	routes := []api.Route{
		{Method: "GET", Path: prefix + "tables/{full_name}/exists", Permission: api.Read, Summary: "Does a table exist", Handler: api.JSON(s.tableExists)},
		{Method: "GET", Path: prefix + "table-summaries", Permission: api.Read, Summary: "List names and types of a catalog's tables", Handler: api.JSON(s.summaries)},
		{Method: "POST", Path: prefix + "constraints", Permission: api.Write, Summary: "Add a constraint to a table (stored, not enforced)", Handler: api.JSON(s.addConstraint)},
		{Method: "DELETE", Path: prefix + "constraints/{full_name}", Permission: api.Write, Summary: "Drop a constraint of a table", Handler: api.JSON(s.dropConstraint)},
		{Method: "POST", Path: "/api/wherry/catalog/tables/create", Permission: api.Write, Summary: "Reserve the place of a managed table", Handler: api.JSON(s.stage)},

		{Method: "GET", Path: prefix + "permissions/{securable_type}/{full_name}", Permission: api.Read, Summary: "Get grants", Handler: api.JSON(s.grants)},
		{Method: "PATCH", Path: prefix + "permissions/{securable_type}/{full_name}", Permission: api.Write, Summary: "Change grants (stored, not enforced)", Handler: api.JSON(s.changeGrants)},
		{Method: "GET", Path: prefix + "effective-permissions/{securable_type}/{full_name}", Permission: api.Read, Summary: "Get grants with the inherited ones", Handler: api.JSON(s.effectiveGrants)},
		{Method: "GET", Path: prefix + "privilege-assignments/{securable_type}/{full_name}", Permission: api.Read, Summary: "Get grants", Handler: api.JSON(s.grants)},
		{Method: "GET", Path: prefix + "effective-privilege-assignments/{securable_type}/{full_name}", Permission: api.Read, Summary: "Get grants with the inherited ones", Handler: api.JSON(s.effectiveGrants)},

		{Method: "POST", Path: prefix + "entity-tag-assignments", Permission: api.Write, Summary: "Set a tag", Handler: api.JSON(s.createTag)},
		{Method: "GET", Path: prefix + "entity-tag-assignments/{entity_type}/{entity_name}/tags", Permission: api.Read, Summary: "List tags", Handler: api.JSON(s.tags)},
		{Method: "GET", Path: prefix + "entity-tag-assignments/{entity_type}/{entity_name}/tags/{tag_key}", Permission: api.Read, Summary: "Get a tag", Handler: api.JSON(s.tag)},
		{Method: "PATCH", Path: prefix + "entity-tag-assignments/{entity_type}/{entity_name}/tags/{tag_key}", Permission: api.Write, Summary: "Change a tag", Handler: api.JSON(s.updateTag)},
		{Method: "DELETE", Path: prefix + "entity-tag-assignments/{entity_type}/{entity_name}/tags/{tag_key}", Permission: api.Write, Summary: "Remove a tag", Handler: api.JSON(s.deleteTag)},

		{Method: "GET", Path: prefix + "metastore_summary", Permission: api.Read, Summary: "Describe the metastore", Handler: api.JSON(s.metastore)},
		{Method: "GET", Path: prefix + "metastores", Permission: api.Read, Summary: "List metastores", Handler: api.JSON(s.metastores)},
		{Method: "GET", Path: prefix + "metastores/{id}", Permission: api.Read, Summary: "Describe the metastore", Handler: api.JSON(s.metastore)},
		{Method: "GET", Path: prefix + "metastores/{id}/systemschemas", Permission: api.Read, Summary: "List system schemas (none)", Handler: api.JSON(s.systemSchemas)},
		{Method: "PUT", Path: prefix + "workspaces/{workspace_id}/metastore", Permission: api.Admin, Summary: "Assign the metastore, which each workspace has", Handler: api.JSON(s.assign)},
		{Method: "PATCH", Path: prefix + "workspaces/{workspace_id}/metastore", Permission: api.Admin, Summary: "Change what a workspace has of the metastore", Handler: api.JSON(s.reassign)},
		{Method: "DELETE", Path: prefix + "workspaces/{workspace_id}/metastore", Permission: api.Admin, Summary: "Unassign the metastore: refused, each workspace has it", Handler: api.JSON(s.unassign)},
		{Method: "GET", Path: prefix + "current-metastore-assignment", Permission: api.Read, Summary: "The workspace's metastore and default catalog", Handler: api.JSON(s.assignment)},
	}
	for _, k := range []struct{ kind, path, key string }{
		{wherry.SecurableCatalog, "catalogs", "catalogs"},
		{wherry.SecurableSchema, "schemas", "schemas"},
		{wherry.SecurableTable, "tables", "tables"},
		{wherry.SecurableVolume, "volumes", "volumes"},
		{wherry.SecurableFunction, "functions", "functions"},
		{wherry.SecurableExternalLocation, "external-locations", "external_locations"},
		{wherry.SecurableStorageCredential, "storage-credentials", "storage_credentials"},
	} {
		routes = append(routes, s.crud(k.kind, k.path, k.key)...)
	}
	for _, version := range []string{"2.0", "2.1"} {
		routes = append(routes, api.Route{
			Method: "POST", Path: "/api/" + version + "/unity-catalog/temporary-path-credentials", Permission: usesLocations,
			Summary: "Give out a signature for a path under an external location", Handler: api.JSON(s.pathCredentials),
		})
	}
	return append(routes, unsupported()...)
}

// crud gives the five calls that every kind of securable has.
func (s *Service) crud(kind, path, key string) []api.Route {
	one := prefix + path + "/{full_name}"
	return []api.Route{
		{Method: "POST", Path: prefix + path, Permission: api.Write, Summary: "Create " + key, Handler: api.JSON(
			func(ctx context.Context, in *request) (*wherry.Securable, error) { return s.create(ctx, kind, in) })},
		{Method: "GET", Path: prefix + path, Permission: api.Read, Summary: "List " + key, Handler: api.JSON(
			func(ctx context.Context, in *request) (*list, error) { return s.list(ctx, kind, key, in) })},
		{Method: "GET", Path: one, Permission: api.Read, Summary: "Get one of " + key, Handler: api.JSON(
			func(ctx context.Context, in *request) (*wherry.Securable, error) {
				return s.store.Get(ctx, kind, in.FullName)
			})},
		{Method: "PATCH", Path: one, Permission: api.Write, Summary: "Change one of " + key, Handler: api.JSON(
			func(ctx context.Context, in *request) (*wherry.Securable, error) { return s.update(ctx, kind, in) })},
		{Method: "DELETE", Path: one, Permission: api.Write, Summary: "Delete one of " + key, Handler: api.JSON(
			func(ctx context.Context, in *request) (*api.Empty, error) { return s.delete(ctx, kind, in) })},
	}
}

// unsupported answers 501 for the parts of the API that wherry does not have.
// Both spellings of the version are in use for temporary credentials.
func unsupported() (routes []api.Route) {
	refuse := func(path, feature string) {
		routes = append(routes, api.Route{
			Path: path, Permission: api.SignedIn, Summary: "Not supported: " + feature,
			Handler: api.JSON(func(context.Context, *api.Empty) (*api.Empty, error) { return nil, wherry.NotImplemented(feature) }),
		})
	}
	for _, version := range []string{"2.0", "2.1"} {
		for _, kind := range []string{"table", "volume", "model-version"} {
			refuse("/api/"+version+"/unity-catalog/temporary-"+kind+"-credentials", "credential vending (temporary "+kind+" credentials)")
		}
	}
	for path, feature := range map[string]string{
		"connections": "connections", "credentials": "service credentials", "artifact-allowlists": "artifact allow-lists", "policies": "attribute-based policies",
		"workspace-bindings": "workspace bindings", "bindings": "workspace bindings", "resource-quotas": "resource quotas", "secrets": "Unity Catalog secrets",
	} {
		refuse(prefix+path, feature)
		refuse(prefix+path+"/{rest...}", feature)
	}
	refuse(prefix+"validate-storage-credentials", "validation of storage credentials")
	refuse(prefix+"tables/{full_name}/monitor", "quality monitors")
	refuse(prefix+"tables/{full_name}/monitor/{rest...}", "quality monitors")
	return routes
}

// request is the input of the calls of every kind: the fields that rules need,
// and the whole document.
type request struct {
	FullName        string          `json:"full_name"`
	Name            string          `json:"name"`
	NewName         string          `json:"new_name"`
	CatalogName     string          `json:"catalog_name"`
	SchemaName      string          `json:"schema_name"`
	Owner           string          `json:"owner"`
	TableType       string          `json:"table_type"`
	VolumeType      string          `json:"volume_type"`
	StorageLocation string          `json:"storage_location"`
	URL             string          `json:"url"`
	FunctionInfo    json.RawMessage `json:"function_info"` // functions are wrapped in it
	Force           bool            `json:"force"`
	MaxResults      int             `json:"max_results"`
	PageToken       string          `json:"page_token"`
	OmitColumns     bool            `json:"omit_columns"`
	OmitProperties  bool            `json:"omit_properties"`

	doc map[string]json.RawMessage
}

// UnmarshalJSON also keeps the document; it is called once for the body and
// once for path and query.
func (r *request) UnmarshalJSON(b []byte) error {
	type plain request
	if err := json.Unmarshal(b, (*plain)(r)); err != nil {
		return err
	}
	if len(r.FunctionInfo) > 0 {
		b, r.FunctionInfo = r.FunctionInfo, nil
		if err := json.Unmarshal(b, (*plain)(r)); err != nil {
			return err
		}
	}
	doc := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &doc); err != nil {
		return err
	}
	if r.doc == nil {
		r.doc = map[string]json.RawMessage{}
	}
	maps.Copy(r.doc, doc)
	return nil
}

// computed are the fields that the server sets or keeps elsewhere; a client
// that sends back what it got does not change them.
var computed = []string{
	"full_name", "name", "new_name", "catalog_name", "schema_name", "owner", "table_type", "volume_type", "storage_location", "url", "force",
	"max_results", "page_token", "omit_columns", "omit_properties", "metastore_id", "securable_type", "securable_kind", "catalog_type",
	"created_at", "created_by", "updated_at", "updated_by", "id", "schema_id", "table_id", "volume_id", "function_id", "table_constraints",
	"skip_validation", "read_only_credential",
}

// settings returns the document without computed fields and nulls, checked
// and completed.
func (r *request) settings() (map[string]json.RawMessage, error) {
	doc := maps.Clone(r.doc)
	if doc == nil {
		doc = map[string]json.RawMessage{}
	}
	for _, k := range computed {
		delete(doc, k)
	}
	maps.DeleteFunc(doc, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	if p, ok := doc["properties"]; ok {
		var m map[string]string
		if err := json.Unmarshal(p, &m); err != nil {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "properties: an object of strings is expected")
		}
	}
	if raw, ok := doc["columns"]; ok {
		columns, err := checkColumns(raw)
		if err != nil {
			return nil, err
		}
		doc["columns"] = columns
	}
	return withoutSecret(doc)
}

// withoutSecret drops a client secret: nothing here uses it, and what is not
// kept cannot leak.
func withoutSecret(doc map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	raw, ok := doc["azure_service_principal"]
	if !ok {
		return doc, nil
	}
	var sp map[string]json.RawMessage
	if err := json.Unmarshal(raw, &sp); err != nil {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "azure_service_principal: an object is expected")
	}
	delete(sp, "client_secret")
	b, err := json.Marshal(sp)
	doc["azure_service_principal"] = b
	return doc, err
}

type list struct {
	key  string
	all  []*wherry.Securable
	next string
}

// MarshalJSON names the list by its kind.
func (l *list) MarshalJSON() ([]byte, error) {
	out := map[string]any{l.key: l.all}
	if l.next != "" {
		out["next_page_token"] = l.next
	}
	return json.Marshal(out)
}

func (s *Service) list(ctx context.Context, kind, key string, in *request) (*list, error) {
	parent := in.CatalogName
	if in.SchemaName != "" {
		parent += "." + in.SchemaName
	}
	switch kind {
	case wherry.SecurableTable, wherry.SecurableVolume, wherry.SecurableFunction:
		if in.CatalogName == "" || in.SchemaName == "" {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "catalog_name and schema_name are required")
		}
	case wherry.SecurableSchema:
		if in.CatalogName == "" {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "catalog_name is required")
		}
		parent = in.CatalogName
	default:
		parent = ""
	}
	all, next, err := s.store.List(ctx, kind, parent, store.Page{Max: in.MaxResults, Token: in.PageToken})
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		if in.OmitColumns {
			delete(one.Doc, "columns")
		}
		if in.OmitProperties {
			delete(one.Doc, "properties")
		}
	}
	return &list{key: key, all: all, next: next}, nil
}
