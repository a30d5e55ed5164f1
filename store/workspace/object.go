package workspace

import (
	"context"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Store keeps object ids, secrets and permissions in db.
type Store struct {
	db *store.DB
}

// New returns the store.
func New(db *store.DB) *Store { return &Store{db: db} }

// Identify gives each object its id and time of creation, making them for
// those seen for the first time. The root directory has the id 0.
func (s *Store) Identify(ctx context.Context, ws int64, objects ...*wherry.Object) error {
	missing := false
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		for _, o := range objects {
			err := identity(tx, ws, o)
			if errors.Is(err, store.ErrNoRows) {
				missing = true
				continue
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || !missing {
		return err
	}
	return s.db.Write(ctx, func(tx *store.Tx) error {
		for _, o := range objects {
			if o.ID != 0 || o.File == "." {
				continue
			}
			err := identity(tx, ws, o)
			if errors.Is(err, store.ErrNoRows) {
				err = register(tx, ws, o)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func identity(tx *store.Tx, ws int64, o *wherry.Object) error {
	if o.File == "." {
		return nil
	}
	var id, created int64
	err := tx.Row(`SELECT object_id, created_at FROM workspace_object WHERE workspace_id = $1 AND path = $2`, ws, o.File).Scan(&id, &created)
	if err == nil {
		o.ID, o.CreatedAt, o.ResourceID = id, created, strconv.FormatInt(id, 10)
	}
	return err
}

func register(tx *store.Tx, ws int64, o *wherry.Object) error {
	id, err := tx.NextID("object")
	if err != nil {
		return err
	}
	// A file that was written by a task is not newer than its own last change.
	created := min(time.Now().UnixMilli(), o.ModifiedAt)
	if _, err := tx.Exec(`INSERT INTO workspace_object (workspace_id, path, object_id, created_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (workspace_id, path) DO NOTHING`, ws, o.File, id, created); err != nil {
		return err
	}
	return identity(tx, ws, o)
}

// ByID returns the path on disk of an object; RESOURCE_DOES_NOT_EXIST if no
// object has the id.
func (s *Store) ByID(ctx context.Context, ws, id int64) (file string, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		err := tx.Row(`SELECT path FROM workspace_object WHERE workspace_id = $1 AND object_id = $2`, ws, id).Scan(&file)
		if errors.Is(err, store.ErrNoRows) {
			return wherry.Errorf(wherry.CodeDoesNotExist, "Object %d doesn't exist.", id)
		}
		return err
	})
	return file, err
}

// Forget drops the ids of a deleted file or of a directory and all it held.
func (s *Store) Forget(ctx context.Context, ws int64, file string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM workspace_object WHERE workspace_id = $1 AND (path = $2 OR substr(path, 1, $3) = $4)`,
			ws, file, utf8.RuneCountInString(file)+1, file+"/")
		return err
	})
}

// Renamed gives the id of a file to the file that took its place.
func (s *Store) Renamed(ctx context.Context, ws int64, from, to string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`DELETE FROM workspace_object WHERE workspace_id = $1 AND path = $2`, ws, to); err != nil {
			return err
		}
		_, err := tx.Exec(`UPDATE workspace_object SET path = $1 WHERE workspace_id = $2 AND path = $3`, to, ws, from)
		return err
	})
}
