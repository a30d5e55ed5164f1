package server

import (
	"context"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store/catalog"
	"github.com/wherry-ml/wherry/trace"
)

// tables lists the catalog's Delta tables with the folders of those that lie
// below the state directory.
func tables(catalogs *catalog.Store, dir state.Dir) trace.Catalog {
	return func(ctx context.Context) (all []trace.Table, err error) {
		names, err := catalogNames(ctx, catalogs)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			list, err := catalogs.TablesOf(ctx, name)
			if err != nil {
				return nil, err
			}
			for _, t := range list {
				if t.TableType != wherry.View {
					all = append(all, trace.Table{ID: t.ID, Name: t.FullName(), Location: t.Location, Files: folderOf(dir, t.Location)})
				}
			}
		}
		return all, nil
	}
}

func catalogNames(ctx context.Context, catalogs *catalog.Store) (names []string, err error) {
	for page := (catalog.Page{}); ; {
		list, next, err := catalogs.List(ctx, wherry.SecurableCatalog, "", page)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			names = append(names, c.Name)
		}
		if next == "" {
			return names, nil
		}
		page.Token = next
	}
}

// folderOf is the folder of a table's URI on this machine, nil if it has none.
func folderOf(dir state.Dir, uri string) fs.FS {
	if id, ok := strings.CutPrefix(uri, wherry.ManagedTableRoot); ok && path.Base(id) == id {
		return os.DirFS(path.Join(dir.Managed(), "tables", id))
	}
	if rest, ok := strings.CutPrefix(uri, "abfss://"); ok {
		container, rest, _ := strings.Cut(rest, "@")
		host, p, _ := strings.Cut(rest, "/")
		account, _, _ := strings.Cut(host, ".")
		if p = path.Join(account, container, p); fs.ValidPath(p) {
			return os.DirFS(path.Join(dir.Lake(), p))
		}
	}
	return nil
}
