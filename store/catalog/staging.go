package catalog

import (
	"context"
	"errors"
	"path"
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
		_, err = tx.Exec(`INSERT INTO catalog_staging (id, full_name, created_at, created_by) VALUES ($1, $2, $3, $4)`,
			id, in.FullName()+"."+name, time.Now().UnixMilli(), actor)
		return err
	})
	return id, wherry.ManagedTableRoot + id, err
}

// claim gives a new managed table its place: the staged one that its location
// names, or a new one. Nobody can name the place of another table.
func (s *Store) claim(tx *store.Tx, n *wherry.Securable, id string) error {
	if id == "" {
		n.Location = wherry.ManagedTableRoot + n.ID
		return nil
	}
	var name string
	err := tx.Row(`SELECT full_name FROM catalog_staging WHERE id = $1`, id).Scan(&name)
	if errors.Is(err, store.ErrNoRows) {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s is not the place of a table being made: ask for one at /api/wherry/catalog/tables/create", n.Location)
	}
	if err != nil {
		return err
	}
	if name != n.FullName() {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s was given out for table '%s', not for '%s'", n.Location, name, n.FullName())
	}
	_, err = tx.Exec(`DELETE FROM catalog_staging WHERE id = $1`, id)
	return err
}

// StagedID returns the table id in a managed location, "" if it is none.
func StagedID(location string) string {
	id, ok := strings.CutPrefix(strings.TrimRight(location, "/"), wherry.ManagedTableRoot)
	if !ok || id == "" || strings.Contains(id, "/") {
		return ""
	}
	return id
}

// ExpireStaged gives up the places reserved before a time and never used:
// their writers failed.
func (s *Store) ExpireStaged(ctx context.Context, before time.Time) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		var ids []string
		err := tx.Each(`SELECT id FROM catalog_staging WHERE created_at < $1`, []any{before.UnixMilli()}, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			ids = append(ids, id)
			return err
		})
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := noteMove(tx, path.Join("managed", "tables", id), ""); err != nil {
				return err
			}
			if _, err := tx.Exec(`DELETE FROM catalog_staging WHERE id = $1`, id); err != nil {
				return err
			}
		}
		return nil
	})
}
