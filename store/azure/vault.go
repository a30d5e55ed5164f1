package azure

import (
	"context"
	"encoding/json"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// VaultSecret is one version of a secret of a vault. Its value is sealed by the
// caller.
type VaultSecret struct {
	Vault, Name, Version string
	Sealed               []byte
	Document             Document // contentType, tags, attributes
	CreatedAt            int64    // ms
	DeletedAt            int64    // ms, 0 if it is there
}

// AddSecret stores a new version; a deleted secret of that name is
// RESOURCE_CONFLICT.
func (s *Store) AddSecret(ctx context.Context, v VaultSecret) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		var deleted int
		if err := tx.Row(`SELECT count(*) FROM vault_secret WHERE vault = $1 AND lower(name) = lower($2) AND deleted_at > 0`, v.Vault, v.Name).Scan(&deleted); err != nil {
			return err
		}
		if deleted > 0 {
			return wherry.Errorf(wherry.CodeConflict, "Secret %s is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the secret can only be recovered or purged.", v.Name)
		}
		doc, err := json.Marshal(v.Document)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO vault_secret (vault, name, version, sealed, document, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			v.Vault, v.Name, v.Version, v.Sealed, string(doc), v.CreatedAt)
		return err
	})
}

// Secrets returns the versions of a vault's secrets, by name, the newest first.
// name is whose, "" for all.
func (s *Store) Secrets(ctx context.Context, vault, name string, deleted bool) (list []VaultSecret, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT vault, name, version, sealed, document, created_at, deleted_at FROM vault_secret
			WHERE vault = $1 AND ($2 = '' OR lower(name) = lower($2)) AND (deleted_at > 0) = $3 ORDER BY lower(name), created_at DESC, version`,
			[]any{vault, name, deleted}, func(scan func(...any) error) error {
				var v VaultSecret
				var doc string
				if err := scan(&v.Vault, &v.Name, &v.Version, &v.Sealed, &doc, &v.CreatedAt, &v.DeletedAt); err != nil {
					return err
				}
				list = append(list, v)
				return json.Unmarshal([]byte(doc), &list[len(list)-1].Document)
			})
	})
	return list, err
}

// ChangeSecret replaces what is told of a version.
func (s *Store) ChangeSecret(ctx context.Context, v VaultSecret) error {
	doc, err := json.Marshal(v.Document)
	if err != nil {
		return err
	}
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE vault_secret SET document = $1 WHERE vault = $2 AND name = $3 AND version = $4`, string(doc), v.Vault, v.Name, v.Version)
		return err
	})
}

// DeleteSecret hides a secret, with all versions, or shows it again.
func (s *Store) DeleteSecret(ctx context.Context, vault, name string, recover bool) error {
	var at int64
	if !recover {
		at = time.Now().UnixMilli()
	}
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE vault_secret SET deleted_at = $1 WHERE vault = $2 AND lower(name) = lower($3)`, at, vault, name)
		return err
	})
}

// PurgeSecrets removes deleted secrets for good; name "" is all of the vault's,
// deleted or not.
func PurgeSecrets(tx *store.Tx, vault, name string) error {
	_, err := tx.Exec(`DELETE FROM vault_secret WHERE vault = $1 AND ($2 = '' OR lower(name) = lower($2) AND deleted_at > 0)`, vault, name)
	return err
}
