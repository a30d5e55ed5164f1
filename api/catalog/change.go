package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	store "github.com/wherry-ml/wherry/store/catalog"
)

func (s *Service) create(ctx context.Context, kind string, in *request) (*wherry.Securable, error) {
	n, parent, err := securable(kind, in)
	if err != nil {
		return nil, err
	}
	if kind == wherry.SecurableVolume || kind == wherry.SecurableSchema || kind == wherry.SecurableCatalog {
		s.moving.Lock()
		defer s.moving.Unlock()
		if err := s.move(ctx); err != nil {
			return nil, err
		}
	}
	out, err := s.store.Create(ctx, parent, n, wherry.IdentityFrom(ctx).UserName)
	if err != nil {
		return nil, err
	}
	if kind == wherry.SecurableVolume && out.TableType == wherry.Managed {
		err = s.makeVolume(out)
	}
	return out, err
}

// securable checks a request to create and returns what it asks for.
func securable(kind string, in *request) (n wherry.Securable, parent string, err error) {
	n = wherry.Securable{Kind: kind, Name: in.Name, Owner: in.Owner}
	if n.Doc, err = in.settings(); err != nil {
		return n, "", err
	}
	switch kind {
	case wherry.SecurableSchema:
		if strings.EqualFold(in.Name, "information_schema") {
			return n, "", wherry.Errorf(wherry.CodeInvalidParameter, "information_schema is reserved")
		}
		return n, in.CatalogName, nil
	case wherry.SecurableTable:
		err = table(&n, in)
	case wherry.SecurableVolume:
		err = volume(&n, in)
	case wherry.SecurableFunction:
	case wherry.SecurableExternalLocation:
		n.Location, err = externalURL(in.URL)
		return n, "", err
	default:
		return n, "", nil
	}
	if in.CatalogName == "" || in.SchemaName == "" {
		return n, "", wherry.Errorf(wherry.CodeInvalidParameter, "catalog_name and schema_name are required")
	}
	return n, in.CatalogName + "." + in.SchemaName, err
}

func table(n *wherry.Securable, in *request) (err error) {
	n.TableType = in.TableType
	format, _ := stringIn(n.Doc, "data_source_format")
	switch in.TableType {
	case wherry.View:
		if def, _ := stringIn(n.Doc, "view_definition"); def == "" {
			return wherry.Errorf(wherry.CodeInvalidParameter, "a view needs a view_definition")
		}
		return nil
	case wherry.Managed:
		if format != "" && format != "DELTA" {
			return wherry.Errorf(wherry.CodeInvalidParameter, "managed tables are kept in Delta format, not in %s: give a LOCATION for an external table", format)
		}
		n.Doc["data_source_format"] = json.RawMessage(`"DELTA"`)
		if in.StorageLocation == "" {
			return nil
		}
		n.Location = strings.TrimRight(in.StorageLocation, "/")
		if n.ID = store.StagedID(n.Location); n.ID == "" {
			return wherry.Errorf(wherry.CodeInvalidParameter, "%s is not a place of managed tables: ask for one at /api/wherry/catalog/tables/create, or make the table EXTERNAL", n.Location)
		}
		return nil
	case wherry.External:
		if format == "" {
			n.Doc["data_source_format"] = json.RawMessage(`"DELTA"`)
		}
		n.Location, err = location(in.StorageLocation)
		return err
	case "":
		return wherry.Errorf(wherry.CodeInvalidParameter, "table_type is required: MANAGED, EXTERNAL or VIEW")
	default:
		return wherry.NotImplemented("a table of type " + in.TableType)
	}
}

func volume(n *wherry.Securable, in *request) (err error) {
	n.TableType = in.VolumeType
	switch in.VolumeType {
	case wherry.Managed:
		return nil
	case wherry.External:
		n.Location, err = location(in.StorageLocation)
		return err
	default:
		return wherry.Errorf(wherry.CodeInvalidParameter, "volume_type must be MANAGED or EXTERNAL, not %q", in.VolumeType)
	}
}

// externalURL checks the URL of an external location.
func externalURL(uri string) (string, error) {
	uri, err := location(uri)
	return wherry.LocationURL(uri), err
}

// location checks the URI of something external. A place on the server's own
// disk is none, nor is one that reaches into managed tables.
func location(uri string) (string, error) {
	if uri == "" {
		return "", wherry.Errorf(wherry.CodeInvalidParameter, "a storage location is required")
	}
	u, err := url.Parse(uri)
	if err != nil || slices.Contains(strings.Split(u.Path, "/"), "..") || strings.ContainsRune(u.Path, 0) {
		return "", wherry.Errorf(wherry.CodeInvalidParameter, "%q is not a valid location", uri)
	}
	switch u.Scheme {
	case "":
		if !strings.HasPrefix(uri, "/") {
			return "", wherry.Errorf(wherry.CodeInvalidParameter, "%q is not a valid location: it needs a scheme, as in abfss:// or dbfs:/", uri)
		}
		uri = "dbfs:" + uri // as Spark reads a bare path here
	case "file", "local":
		return "", wherry.Errorf(wherry.CodeInvalidParameter, "%q is on a machine's own disk, where other clusters cannot read it: use dbfs:/, /Volumes or abfss://", uri)
	}
	if strings.HasPrefix(strings.ReplaceAll(uri, "//", "/"), "dbfs:/__unitystorage") {
		return "", wherry.Errorf(wherry.CodeInvalidParameter, "%q is a place of managed tables", uri)
	}
	return strings.TrimRight(uri, "/"), nil
}

func stringIn(doc map[string]json.RawMessage, key string) (v string, err error) {
	if raw, ok := doc[key]; ok {
		err = json.Unmarshal(raw, &v)
	}
	return v, err
}

// checkColumns refuses columns without or with doubled names, and fills in
// position and nullable.
func checkColumns(raw json.RawMessage) (json.RawMessage, error) {
	var columns []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &columns); err != nil {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "columns: a list of objects is expected")
	}
	seen := map[string]bool{}
	for i, c := range columns {
		name, err := stringIn(c, "name")
		if err != nil || name == "" {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "columns[%d]: a name is required", i)
		}
		if seen[strings.ToLower(name)] {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "columns[%d]: there are two columns named %q", i, name)
		}
		seen[strings.ToLower(name)] = true
		c["position"] = json.RawMessage(fmt.Sprint(i))
		if v, ok := c["nullable"]; !ok || string(v) == "null" {
			c["nullable"] = json.RawMessage("true")
		}
	}
	if columns == nil {
		columns = []map[string]json.RawMessage{}
	}
	return json.Marshal(columns)
}

// update changes what the request names: a field that it has is replaced as a
// whole (properties and columns too), others stay.
func (s *Service) update(ctx context.Context, kind string, in *request) (*wherry.Securable, error) {
	doc, err := in.settings()
	if err != nil {
		return nil, err
	}
	url := in.URL
	if kind == wherry.SecurableExternalLocation && url != "" {
		if url, err = externalURL(url); err != nil {
			return nil, err
		}
	}
	s.moving.Lock()
	defer s.moving.Unlock()
	if err := s.move(ctx); err != nil {
		return nil, err
	}
	out, err := s.store.Update(ctx, kind, in.FullName, wherry.IdentityFrom(ctx).UserName, func(n *wherry.Securable) error {
		maps.Copy(n.Doc, doc)
		if in.Owner != "" {
			n.Owner = in.Owner
		}
		if url != "" && kind == wherry.SecurableExternalLocation {
			n.Location = url
		}
		if in.NewName != "" {
			name, err := newName(n, in.NewName)
			if err != nil {
				return err
			}
			n.Name = name
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, s.move(ctx)
}

// newName takes a bare new name, or a full one within the same parent.
func newName(n *wherry.Securable, name string) (string, error) {
	if parent := n.ParentName(); parent != "" {
		if len(name) > len(parent) && strings.EqualFold(name[:len(parent)+1], parent+".") {
			name = name[len(parent)+1:]
		}
		if strings.Contains(name, ".") {
			return "", wherry.Errorf(wherry.CodeInvalidParameter, "'%s' cannot be renamed to '%s': it stays in '%s'", n.FullName(), name, parent)
		}
	}
	return wherry.CheckSecurableName(name)
}

func (s *Service) delete(ctx context.Context, kind string, in *request) (*api.Empty, error) {
	s.moving.Lock()
	defer s.moving.Unlock()
	force := in.Force || (kind != wherry.SecurableCatalog && kind != wherry.SecurableSchema)
	if err := s.store.Delete(ctx, kind, in.FullName, force); err != nil {
		return nil, err
	}
	return &api.Empty{}, s.move(ctx)
}
