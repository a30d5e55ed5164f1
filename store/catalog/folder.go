package catalog

import (
	"context"
	"path"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Move is a folder that a committed change of the catalog moved or, with an
// empty Target, removed; relative to the state directory. Doing it is left to
// the files' owner, after the commit and again at every start, so that a crash
// between the two loses nothing.
type Move struct {
	ID             int64
	Source, Target string
}

// folder is where a securable keeps its files, relative to the state
// directory; "" if it has none here.
func folder(n *wherry.Securable) string {
	switch {
	case n.Kind == wherry.SecurableTable && n.TableType == wherry.Managed && strings.Contains(n.Location, managedFolder) && LakePath(n.Location) != "":
		return path.Join("lake", LakePath(n.Location))
	case n.Kind == wherry.SecurableTable && n.TableType == wherry.Managed:
		return path.Join("managed", "tables", n.ID)
	case n.Kind == wherry.SecurableVolume && n.TableType == wherry.Managed:
		return path.Join("volumes", n.Catalog, n.Schema, n.Name)
	case n.Kind == wherry.SecurableSchema:
		return path.Join("volumes", n.Catalog, n.Name)
	case n.Kind == wherry.SecurableCatalog:
		return path.Join("volumes", n.Name)
	}
	return ""
}

func noteMove(tx *store.Tx, source, target string) error {
	id, err := tx.NextID("folder_move")
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO folder_move (id, source, target) VALUES ($1, $2, $3)`, id, source, target)
	return err
}

// Moves lists the moves still to be done, oldest first.
func (s *Store) Moves(ctx context.Context) (list []Move, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT id, source, target FROM folder_move ORDER BY id`, nil, func(scan func(...any) error) error {
			var m Move
			err := scan(&m.ID, &m.Source, &m.Target)
			list = append(list, m)
			return err
		})
	})
	return list, err
}

// Moved notes that moves are done.
func (s *Store) Moved(ctx context.Context, done []Move) error {
	if len(done) == 0 {
		return nil
	}
	return s.db.Write(ctx, func(tx *store.Tx) error {
		for _, m := range done {
			if _, err := tx.Exec(`DELETE FROM folder_move WHERE id = $1`, m.ID); err != nil {
				return err
			}
		}
		return nil
	})
}
