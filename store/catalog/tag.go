package catalog

import (
	"context"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Tag is a key and value that a person put on a securable.
type Tag struct{ Key, Value string }

// SetTag sets a tag, replacing one of the same key.
func (s *Store) SetTag(ctx context.Context, kind, fullName, key, value string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		on, _, err := target(tx, kind, fullName)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO catalog_tag (securable, tag_key, tag_value) VALUES ($1, $2, $3)
			ON CONFLICT (securable, tag_key) DO UPDATE SET tag_value = excluded.tag_value`, on, key, value)
		return err
	})
}

// DeleteTag removes a tag; RESOURCE_DOES_NOT_EXIST if it is not set.
func (s *Store) DeleteTag(ctx context.Context, kind, fullName, key string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		on, _, err := target(tx, kind, fullName)
		if err != nil {
			return err
		}
		n, err := tx.Exec(`DELETE FROM catalog_tag WHERE securable = $1 AND tag_key = $2`, on, key)
		if err == nil && n == 0 {
			return wherry.Errorf(wherry.CodeDoesNotExist, "%s '%s' has no tag '%s'", noun(kind), fullName, key)
		}
		return err
	})
}

// Tags lists the tags of a securable by key.
func (s *Store) Tags(ctx context.Context, kind, fullName string) (list []Tag, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		on, _, err := target(tx, kind, fullName)
		if err != nil {
			return err
		}
		return tx.Each(`SELECT tag_key, tag_value FROM catalog_tag WHERE securable = $1 ORDER BY tag_key`, []any{on}, func(scan func(...any) error) error {
			var t Tag
			err := scan(&t.Key, &t.Value)
			list = append(list, t)
			return err
		})
	})
	return list, err
}
