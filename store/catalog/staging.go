package catalog

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Stage reserves an id and a place for a managed table that is about to be
// written. The table exists once Create was given the location. Nothing is
// reserved of the name: of two writers the first to Create wins.
func (s *Store) Stage(ctx context.Context, schema, name, actor string) (id, location string, err error) {
	if name, err = wherry.CheckSecurableName(name); err != nil {
		return "", "", err
	}
	id = newID()
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		in, err := Lookup(tx, wherry.SecurableSchema, schema)
		if err != nil {
			return err
		}
		root, err := managedRoot(tx, in)
		if err != nil {
			return err
		}
		location = root + id
		_, err = tx.Exec(`INSERT INTO catalog_staging (id, full_name, created_at, created_by) VALUES ($1, $2, $3, $4)`,
			id, in.FullName()+"."+name, time.Now().UnixMilli(), actor)
		return err
	})
	return id, location, err
}

// claim gives a new managed table its place: the staged one that its location
// names, or a new one. Nobody can name the place of another table.
func (s *Store) claim(tx *store.Tx, schema, n *wherry.Securable, id string) error {
	root, err := managedRoot(tx, schema)
	if err != nil {
		return err
	}
	if id == "" {
		n.Location = root + n.ID
		return nil
	}
	var name string
	err = tx.Row(`SELECT full_name FROM catalog_staging WHERE id = $1`, id).Scan(&name)
	if errors.Is(err, store.ErrNoRows) {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s is not the place of a table being made: ask for one at /api/wherry/catalog/tables/create", n.Location)
	}
	if err != nil {
		return err
	}
	if n.Location != root+id {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s is not the place that was given out for table '%s': ask again, its storage_root has changed", n.Location, name)
	}
	if name != n.FullName() {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s was given out for table '%s', not for '%s'", n.Location, name, n.FullName())
	}
	_, err = tx.Exec(`DELETE FROM catalog_staging WHERE id = $1`, id)
	return err
}

// StagedID returns the table id in a managed location, "" if it is none.
func StagedID(location string) string {
	location = strings.TrimRight(location, "/")
	if id, ok := strings.CutPrefix(location, wherry.ManagedTableRoot); ok {
		if strings.Contains(id, "/") {
			return ""
		}
		return id
	}
	_, rest, _ := strings.Cut(location, managedFolder)
	if parts := strings.Split(rest, "/"); len(parts) == 4 && parts[2] == "tables" {
		return parts[3]
	}
	return ""
}

// ExpireStaged gives up the places reserved before a time and never used:
// their writers failed.
func (s *Store) ExpireStaged(ctx context.Context, before time.Time) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		names := map[string]string{}
		err := tx.Each(`SELECT id, full_name FROM catalog_staging WHERE created_at < $1`, []any{before.UnixMilli()}, func(scan func(...any) error) error {
			var id, name string
			err := scan(&id, &name)
			names[id] = name
			return err
		})
		if err != nil {
			return err
		}
		for id, name := range names {
			if err := giveUp(tx, id, name); err != nil {
				return err
			}
			if _, err := tx.Exec(`DELETE FROM catalog_staging WHERE id = $1`, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// giveUp notes that what was written at the place of a table that never came
// to be goes away. A schema that is gone took its own place with it.
func giveUp(tx *store.Tx, id, name string) error {
	root := wherry.ManagedTableRoot
	schema, err := Lookup(tx, wherry.SecurableSchema, name[:strings.LastIndex(name, ".")])
	switch wherry.CodeOf(err) {
	case "":
		root, err = managedRoot(tx, schema)
	case wherry.CodeSchemaNotFound, wherry.CodeCatalogNotFound:
		err = nil
	}
	if err != nil {
		return err
	}
	return noteMove(tx, folder(&wherry.Securable{Kind: wherry.SecurableTable, TableType: wherry.Managed, ID: id, Location: root + id}), "")
}
