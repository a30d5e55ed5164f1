package catalog

import (
	"context"
	"io/fs"
	"path"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// managedFolder is in the URI of each managed table that lies in the
// storage_root of its schema or catalog, where the platform too puts it:
// ROOT/__unitystorage/catalogs/ID/tables/ID.
const managedFolder = "/__unitystorage/"

// LakePath is account/container/path of abfss://container@account.dfs.core.windows.net/path;
// "" for a URI of another store, and for one that is not clean.
func LakePath(uri string) string {
	rest, ok := strings.CutPrefix(uri, "abfss://")
	if !ok {
		if rest, ok = strings.CutPrefix(uri, "abfs://"); !ok {
			return ""
		}
	}
	authority, p, _ := strings.Cut(rest, "/")
	container, host, _ := strings.Cut(authority, "@")
	account, ok := strings.CutSuffix(strings.ToLower(host), ".dfs.core.windows.net")
	clean := path.Join(account, container, p)
	if !ok || account == "" || container == "" || strings.Contains(account+container, "..") || !fs.ValidPath(account+"/"+container) ||
		strings.ContainsRune(p, 0) || strings.Contains("/"+p+"/", "/../") || strings.Contains("/"+p+"/", "/./") {
		return ""
	}
	return clean
}

// Covering finds the external location that a URI lies in; nil if it lies in
// none. Should an older version have let two overlap, it is the narrowest.
func (s *Store) Covering(ctx context.Context, uri string) (found *wherry.Securable, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		found, err = covering(tx, uri)
		return err
	})
	return found, err
}

func covering(tx *store.Tx, uri string) (found *wherry.Securable, err error) {
	at := LakePath(uri)
	if at == "" {
		return nil, nil
	}
	longest := 0
	err = tx.Each(`SELECT `+columns+` FROM securable WHERE kind = $1`, []any{wherry.SecurableExternalLocation}, func(fn func(...any) error) error {
		one, err := scan(fn)
		if err != nil {
			return err
		}
		top := LakePath(one.Location)
		if top != "" && len(top) > longest && (at == top || strings.HasPrefix(at, top+"/")) {
			found, longest = one, len(top)
		}
		return nil
	})
	return found, err
}

// managedRoot is the URI, with a slash at the end, below which a schema's new
// managed tables lie by id: its storage_root or its catalog's if that lies in
// an external location of our lake, else the installation's own place.
func managedRoot(tx *store.Tx, schema *wherry.Securable) (string, error) {
	catalog, err := Lookup(tx, wherry.SecurableCatalog, schema.Catalog)
	if err != nil {
		return "", err
	}
	for _, in := range []struct {
		*wherry.Securable
		folder string
	}{{schema, "schemas/"}, {catalog, "catalogs/"}} {
		root, err := storageRoot(in.Securable)
		if err != nil {
			return "", err
		}
		if root == "" {
			continue
		}
		location, err := covering(tx, root)
		if err != nil {
			return "", err
		}
		if location == nil {
			return wherry.ManagedTableRoot, nil
		}
		return strings.TrimRight(root, "/") + managedFolder + in.folder + in.ID + "/tables/", nil
	}
	return wherry.ManagedTableRoot, nil
}
