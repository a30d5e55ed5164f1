package catalog

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// claims is the URI of the place that a securable takes for itself: its
// location, or below its storage_root; "" if it takes none that someone chose.
func claims(n *wherry.Securable) (string, error) {
	switch n.Kind {
	case wherry.SecurableExternalLocation:
		return n.Location, nil
	case wherry.SecurableTable, wherry.SecurableVolume:
		if n.TableType == wherry.External {
			return n.Location, nil
		}
	case wherry.SecurableCatalog, wherry.SecurableSchema:
		root, err := storageRoot(n)
		if root == "" || err != nil {
			return "", err
		}
		return strings.TrimRight(root, "/") + strings.TrimRight(managedFolder, "/"), nil
	}
	return "", nil
}

// checkOverlap refuses what would lie in, around or on the place of something
// else, as the platform does: else what may not be done in one place could be
// done through another. The rules are the platform's ("Path overlap restrictions
// in Unity Catalog"): external locations among themselves; external tables and
// volumes among themselves, and with managed storage. Before is what n claimed
// until now.
func checkOverlap(tx *store.Tx, n *wherry.Securable, before, verb string) error {
	at, err := claims(n)
	if err != nil || at == "" || at == before {
		return err
	}
	// Of two at a time the second waits for the first: what it reads is committed.
	if _, err := tx.Exec(`UPDATE securable SET version = version WHERE kind = 'METASTORE'`); err != nil {
		return err
	}
	call := callOf(verb, n.Kind)
	switch n.Kind {
	case wherry.SecurableExternalLocation:
		return clash(tx, n, at, call, "other external locations", "location", `kind = 'EXTERNAL_LOCATION'`)
	case wherry.SecurableCatalog, wherry.SecurableSchema:
		if strings.Count(placeOf(at)+"/", managedFolder) > 1 {
			return overlapping(at, "managed storage", call, "")
		}
	default:
		if err := clashManaged(tx, at, call); err != nil {
			return err
		}
	}
	return clash(tx, n, at, call, "other external tables or volumes", "tables/volumes", `kind IN ('TABLE', 'VOLUME') AND table_type = 'EXTERNAL'`)
}

// clash fails if a URI overlaps with one of the securables that a condition
// finds, but for n itself.
func clash(tx *store.Tx, n *wherry.Securable, uri, call, with, noun, where string) error {
	at := placeOf(uri)
	var ids []string
	err := tx.Each(`SELECT id, location FROM securable WHERE `+where+` AND id <> $1`, []any{n.ID}, func(scan func(...any) error) error {
		var id, other string
		err := scan(&id, &other)
		if other := placeOf(other); err == nil && (within(at, other) || within(other, at)) {
			ids = append(ids, id)
		}
		return err
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	var names []string
	for _, id := range ids[:min(len(ids), 5)] {
		other, err := find(tx, `WHERE id = $1`, id)
		if err != nil {
			return err
		}
		names = append(names, other.FullName()+" ("+other.Location+")")
	}
	slices.Sort(names)
	return overlapping(uri, with, call, "Conflicting "+noun+": "+strings.Join(names, ", ")+".")
}

// clashManaged fails if a URI overlaps with a place of managed tables: the
// installation's own, and one in the storage_root of each catalog or schema.
// Beside the latter, below the root, something external may lie.
func clashManaged(tx *store.Tx, uri, call string) error {
	at := placeOf(uri)
	if own := placeOf(wherry.ManagedTableRoot); within(at, own) || within(own, at) || strings.Contains(at+"/", managedFolder) {
		return overlapping(uri, "managed storage", call, "")
	}
	var roots []*wherry.Securable
	err := tx.Each(`SELECT `+columns+` FROM securable WHERE kind IN ('CATALOG', 'SCHEMA') AND doc LIKE '%"storage_root"%'`, nil, func(fn func(...any) error) error {
		one, err := scan(fn)
		roots = append(roots, one)
		return err
	})
	if err != nil {
		return err
	}
	for _, one := range roots {
		root, err := storageRoot(one)
		if err != nil {
			return err
		}
		if root != "" && within(placeOf(root)+strings.TrimRight(managedFolder, "/"), at) {
			return overlapping(uri, "managed storage", call, "It is the storage_root of "+noun(one.Kind)+" '"+one.Name+"' or lies above it: a folder below the root is free.")
		}
	}
	return nil
}

func overlapping(uri, with, call, more string) error {
	return wherry.Errorf(wherry.CodeInvalidParameter, "[INVALID_PARAMETER_VALUE.LOCATION_OVERLAP] %s",
		strings.TrimSpace("Input path url '"+uri+"' overlaps with "+with+" within '"+call+"' call. "+more))
}

// storageRoot is where a catalog or schema wants its managed tables, "" if it
// says nothing.
func storageRoot(n *wherry.Securable) (root string, err error) {
	raw, ok := n.Doc["storage_root"]
	if !ok {
		return "", nil
	}
	if err := json.Unmarshal(raw, &root); err != nil {
		return "", wherry.Errorf(wherry.CodeInvalidParameter, "storage_root of '%s': a string is expected", n.FullName())
	}
	return root, nil
}

// placeOf is where a URI leads, in one form for all the ways to write it.
func placeOf(uri string) string {
	if at := LakePath(uri); at != "" {
		return "abfss:/" + at
	}
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok {
		scheme, rest = "dbfs", uri
	}
	return strings.ToLower(scheme) + ":" + path.Clean("/"+rest)
}

// within tells whether a place is another or lies below it.
func within(at, top string) bool {
	return at == top || strings.HasPrefix(at, strings.TrimRight(top, "/")+"/")
}

// callOf names a change as the platform's messages do.
func callOf(verb, kind string) string {
	name := ""
	for _, word := range strings.Split(kind, "_") {
		name += word[:1] + strings.ToLower(word[1:])
	}
	return verb + name
}
