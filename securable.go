package wherry

import (
	"encoding/json"
	"maps"
	"strings"
)

// Kinds of securable: the platform's securable_type strings.
const (
	SecurableMetastore         = "METASTORE"
	SecurableCatalog           = "CATALOG"
	SecurableSchema            = "SCHEMA"
	SecurableTable             = "TABLE" // views too
	SecurableVolume            = "VOLUME"
	SecurableFunction          = "FUNCTION"
	SecurableModel             = "MODEL" // kept by the model registry, not as a Securable row
	SecurableExternalLocation  = "EXTERNAL_LOCATION"
	SecurableStorageCredential = "STORAGE_CREDENTIAL"
)

// Types of table and of volume.
const (
	Managed  = "MANAGED"
	External = "EXTERNAL"
	View     = "VIEW"
)

// LocationURL is the URL of an external location as the catalog keeps it: without
// a slash at the end or, if it is a whole container, with one. So has it the
// platform, whatever was asked for (seen in terraform-provider-databricks' issue
// 4136).
func LocationURL(uri string) string {
	uri = strings.TrimRight(uri, "/")
	if _, rest, ok := strings.Cut(uri, "://"); ok && rest != "" && !strings.Contains(rest, "/") {
		uri += "/"
	}
	return uri
}

// ManagedTableRoot is the URI below which managed tables lie, by table id.
const ManagedTableRoot = "dbfs:/__unitystorage/tables/"

// Securable is one thing the catalog names: a catalog, schema, table, volume,
// function, external location or storage credential. Fields that no rule needs
// are in Doc as the client sent them, so that none is lost.
type Securable struct {
	Kind        string
	ID          string // a UUID; never changes, a rename included
	ParentID    string
	MetastoreID string
	Catalog     string // name of its catalog, "" above catalogs
	Schema      string // name of its schema, "" above schemas
	Name        string // lower case
	Owner       string
	TableType   string // of tables and volumes
	Location    string // of tables and volumes: a URI; of external locations: the url
	Doc         map[string]json.RawMessage
	CreatedAt   int64 // ms
	CreatedBy   string
	UpdatedAt   int64 // ms
	UpdatedBy   string
	Version     int64
}

// FullName is the name with its parents: catalog.schema.name.
func (s *Securable) FullName() string {
	name := s.Name
	if s.Schema != "" {
		name = s.Schema + "." + name
	}
	if s.Catalog != "" {
		name = s.Catalog + "." + name
	}
	return name
}

// ParentName is the full name of the catalog or schema it is in, "" at the top.
func (s *Securable) ParentName() string {
	if s.Schema != "" {
		return s.Catalog + "." + s.Schema
	}
	return s.Catalog
}

// idField is the JSON name of each kind's id.
var idField = map[string]string{
	SecurableMetastore: "metastore_id", SecurableCatalog: "id", SecurableSchema: "schema_id", SecurableTable: "table_id",
	SecurableVolume: "volume_id", SecurableFunction: "function_id", SecurableExternalLocation: "id", SecurableStorageCredential: "id",
}

// MarshalJSON writes what databricks-sdk and the Spark catalogs read.
// properties of every kind and columns of tables are never null: Spark's
// connector fails on null.
func (s *Securable) MarshalJSON() ([]byte, error) {
	doc := map[string]any{"properties": map[string]string{}}
	for k, v := range s.Doc {
		doc[k] = v
	}
	maps.Copy(doc, map[string]any{
		"name": s.Name, "full_name": s.FullName(), "owner": s.Owner, "metastore_id": s.MetastoreID, "securable_type": s.Kind,
		"created_at": s.CreatedAt, "created_by": s.CreatedBy, "updated_at": s.UpdatedAt, "updated_by": s.UpdatedBy,
		idField[s.Kind]: s.ID,
	})
	if s.Catalog != "" {
		doc["catalog_name"] = s.Catalog
	}
	if s.Schema != "" {
		doc["schema_name"] = s.Schema
	}
	switch s.Kind {
	case SecurableCatalog:
		doc["catalog_type"] = "MANAGED_CATALOG"
		doc["securable_kind"] = "CATALOG_STANDARD"
		if _, ok := doc["isolation_mode"]; !ok {
			doc["isolation_mode"] = "OPEN"
		}
	case SecurableSchema:
		doc["catalog_type"] = "MANAGED_CATALOG"
	case SecurableTable:
		doc["table_type"] = s.TableType
		if _, ok := doc["columns"]; !ok {
			doc["columns"] = []any{}
		}
		if s.TableType != View {
			doc["storage_location"] = s.Location
		}
	case SecurableVolume:
		doc["volume_type"] = s.TableType
		doc["storage_location"] = s.Location
		if s.TableType == Managed {
			doc["storage_location"] = "dbfs:/Volumes/" + strings.ReplaceAll(s.FullName(), ".", "/")
		}
	case SecurableExternalLocation:
		doc["url"] = s.Location
	}
	return json.Marshal(doc)
}

// CheckSecurableName returns the lower-case name under which a securable is
// kept, or what is wrong with it (the platform's rules: 1 to 255 characters,
// no dot, space, slash or control character).
func CheckSecurableName(name string) (string, error) {
	if name == "" {
		return "", Errorf(CodeInvalidParameter, "a name is missing or empty")
	}
	if len(name) > 255 {
		return "", Errorf(CodeInvalidParameter, "the name %q… is longer than 255 characters", name[:40])
	}
	for _, r := range name {
		if r <= ' ' || r == '.' || r == '/' || r == '\\' || r == 0x7f || r == 0xfffd {
			return "", Errorf(CodeInvalidParameter, "%q is not a valid name: it may not contain dots, spaces, slashes and control characters", name)
		}
	}
	return strings.ToLower(name), nil
}
