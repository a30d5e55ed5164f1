package workspace

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/drift"
)

// Key seals secrets: AES-256-GCM with a key that is outside of the database.
type Key struct{ aead cipher.AEAD }

// OpenKey reads the key in dir/secrets.key, making it the first time.
func OpenKey(dir string) (*Key, error) {
	name := dir + "/secrets.key"
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		b = make([]byte, 32)
		_, _ = rand.Read(b) // never fails (crypto/rand)
		err = state.WriteFile(name, b, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("open the key of secrets: %w", err)
	}
	if len(b) != 32 {
		return nil, fmt.Errorf("open the key of secrets: %s has %d bytes, not 32: restore it, or delete it and set all secrets again", name, len(b))
	}
	block, err := aes.NewCipher(b)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &Key{aead}, err
}

// The name of the secret is sealed in, so that a row copied to another name
// does not open.
func secretName(ws int64, scope, name string) []byte {
	return fmt.Appendf(nil, "%d/%s/%s", ws, scope, name)
}

func (k *Key) seal(ws int64, scope, name string, value []byte) []byte {
	nonce := make([]byte, k.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	return k.aead.Seal(nonce, nonce, value, secretName(ws, scope, name))
}

func (k *Key) open(ws int64, scope, name string, sealed []byte) ([]byte, error) {
	n := k.aead.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("secret %s/%s is cut off", scope, name)
	}
	value, err := k.aead.Open(nil, sealed[:n], sealed[n:], secretName(ws, scope, name))
	if err != nil {
		return nil, wherry.Errorf(wherry.CodeInvalidState, "secret %s/%s was sealed with another key than the one in the state directory's keys/secrets.key: set it again", scope, name)
	}
	return value, nil
}

// Scope is a set of secrets.
type Scope struct {
	Name        string `json:"name"`
	BackendType string `json:"backend_type"` // always DATABRICKS: kept here
	StandIn     bool   `json:"stand_in,omitempty"`
}

// Secret is what may be told of a secret.
type Secret struct {
	Key       string `json:"key"`
	UpdatedAt int64  `json:"last_updated_timestamp"` // ms
}

// ACL is what a principal may do with a scope.
type ACL struct {
	Principal  string `json:"principal"`
	Permission string `json:"permission"` // READ, WRITE or MANAGE
}

// CreateScope makes a scope that its creator manages.
func (s *Store) CreateScope(ctx context.Context, ws int64, name, manager string, standIn bool) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(`INSERT INTO secret_scope (workspace_id, name, stand_in, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			ws, name, standIn, time.Now().UnixMilli())
		if err == nil && n == 0 {
			return wherry.Errorf(wherry.CodeAlreadyExists, "Scope %s already exists!", name)
		}
		if err != nil {
			return err
		}
		return putACL(tx, ws, name, manager, "MANAGE")
	})
}

// DeleteScope deletes a scope and its secrets.
func (s *Store) DeleteScope(ctx context.Context, ws int64, name string) error {
	return s.inScope(ctx, ws, name, func(tx *store.Tx) error {
		for _, q := range []string{
			`DELETE FROM secret_acl WHERE workspace_id = $1 AND scope = $2`, `DELETE FROM secret WHERE workspace_id = $1 AND scope = $2`,
			`DELETE FROM secret_scope WHERE workspace_id = $1 AND name = $2`,
		} {
			if _, err := tx.Exec(q, ws, name); err != nil {
				return err
			}
		}
		return drift.Touch(ctx, tx, "secret_scopes", name)
	})
}

// Scopes lists the scopes by name.
func (s *Store) Scopes(ctx context.Context, ws int64) (list []Scope, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT name, stand_in FROM secret_scope WHERE workspace_id = $1 ORDER BY name`, []any{ws}, func(scan func(...any) error) error {
			sc := Scope{BackendType: "DATABRICKS"}
			err := scan(&sc.Name, &sc.StandIn)
			list = append(list, sc)
			return err
		})
	})
	return list, err
}

func checkScope(tx *store.Tx, ws int64, scope string) error {
	var name string
	err := tx.Row(`SELECT name FROM secret_scope WHERE workspace_id = $1 AND name = $2`, ws, scope).Scan(&name)
	if errors.Is(err, store.ErrNoRows) {
		return wherry.Errorf(wherry.CodeDoesNotExist, "Scope %s does not exist!", scope)
	}
	return err
}

func (s *Store) inScope(ctx context.Context, ws int64, scope string, fn func(*store.Tx) error) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		if err := checkScope(tx, ws, scope); err != nil {
			return err
		}
		return fn(tx)
	})
}

// PutSecret sets a secret.
func (s *Store) PutSecret(ctx context.Context, key *Key, ws int64, scope, name string, value []byte) error {
	sealed := key.seal(ws, scope, name, value)
	return s.inScope(ctx, ws, scope, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO secret (workspace_id, scope, name, sealed, updated_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (workspace_id, scope, name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at`,
			ws, scope, name, sealed, time.Now().UnixMilli())
		return err
	})
}

// GetSecret returns the value of a secret to one who may read the scope.
func (s *Store) GetSecret(ctx context.Context, key *Key, ws int64, scope, name string, reader wherry.Principal) (value []byte, err error) {
	var sealed []byte
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		if err := checkScope(tx, ws, scope); err != nil {
			return err
		}
		if err := mayRead(tx, ws, scope, reader); err != nil {
			return err
		}
		err := tx.Row(`SELECT sealed FROM secret WHERE workspace_id = $1 AND scope = $2 AND name = $3`, ws, scope, name).Scan(&sealed)
		if errors.Is(err, store.ErrNoRows) {
			return wherry.Errorf(wherry.CodeDoesNotExist, "Secret does not exist with scope: %s and key: %s", scope, name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return key.open(ws, scope, name, sealed)
}

// mayRead lets admins read, and those whom the scope's list names, by user
// name, by application id, or as everyone ("users").
func mayRead(tx *store.Tx, ws int64, scope string, who wherry.Principal) error {
	if who.Admin {
		return nil
	}
	var n int
	err := tx.Row(`SELECT count(*) FROM secret_acl WHERE workspace_id = $1 AND scope = $2 AND principal IN ($3, $4, 'users')`,
		ws, scope, who.UserName, who.ApplicationID).Scan(&n)
	if err == nil && n == 0 {
		return wherry.Errorf(wherry.CodePermissionDenied, "%s may not read secrets of scope %s: grant READ with secrets/acls/put", who.UserName, scope)
	}
	return err
}

// DeleteSecret deletes a secret.
func (s *Store) DeleteSecret(ctx context.Context, ws int64, scope, name string) error {
	return s.inScope(ctx, ws, scope, func(tx *store.Tx) error {
		n, err := tx.Exec(`DELETE FROM secret WHERE workspace_id = $1 AND scope = $2 AND name = $3`, ws, scope, name)
		if err == nil && n == 0 {
			return wherry.Errorf(wherry.CodeDoesNotExist, "Secret does not exist with scope: %s and key: %s", scope, name)
		}
		return err
	})
}

// Secrets lists the secrets of a scope, without values, to one who may read it.
func (s *Store) Secrets(ctx context.Context, ws int64, scope string, reader wherry.Principal) (list []Secret, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		if err := checkScope(tx, ws, scope); err != nil {
			return err
		}
		if err := mayRead(tx, ws, scope, reader); err != nil {
			return err
		}
		return tx.Each(`SELECT name, updated_at FROM secret WHERE workspace_id = $1 AND scope = $2 ORDER BY name`, []any{ws, scope}, func(scan func(...any) error) error {
			var one Secret
			err := scan(&one.Key, &one.UpdatedAt)
			list = append(list, one)
			return err
		})
	})
	return list, err
}

// PutACL sets what a principal may do with a scope.
func (s *Store) PutACL(ctx context.Context, ws int64, scope, principal, permission string) error {
	permission = strings.ToUpper(permission)
	if permission != "READ" && permission != "WRITE" && permission != "MANAGE" {
		return wherry.Errorf(wherry.CodeInvalidParameter, "permission must be READ, WRITE or MANAGE, not %q", permission)
	}
	if principal == "" {
		return wherry.Errorf(wherry.CodeInvalidParameter, "principal is required")
	}
	return s.inScope(ctx, ws, scope, func(tx *store.Tx) error {
		if err := putACL(tx, ws, scope, principal, permission); err != nil {
			return err
		}
		return drift.Touch(ctx, tx, "secret_scopes.permissions", scope)
	})
}

func putACL(tx *store.Tx, ws int64, scope, principal, permission string) error {
	_, err := tx.Exec(`INSERT INTO secret_acl (workspace_id, scope, principal, permission) VALUES ($1, $2, $3, $4)
		ON CONFLICT (workspace_id, scope, principal) DO UPDATE SET permission = excluded.permission`, ws, scope, principal, permission)
	return err
}

// DeleteACL takes away what a principal may do with a scope.
func (s *Store) DeleteACL(ctx context.Context, ws int64, scope, principal string) error {
	return s.inScope(ctx, ws, scope, func(tx *store.Tx) error {
		n, err := tx.Exec(`DELETE FROM secret_acl WHERE workspace_id = $1 AND scope = $2 AND principal = $3`, ws, scope, principal)
		if err == nil && n == 0 {
			return wherry.Errorf(wherry.CodeDoesNotExist, "Failed to get secret acl for %s for scope %s.", principal, scope)
		}
		if err != nil {
			return err
		}
		return drift.Touch(ctx, tx, "secret_scopes.permissions", scope)
	})
}

// ACLs lists what principals may do with a scope.
func (s *Store) ACLs(ctx context.Context, ws int64, scope string) (list []ACL, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		if err := checkScope(tx, ws, scope); err != nil {
			return err
		}
		return tx.Each(`SELECT principal, permission FROM secret_acl WHERE workspace_id = $1 AND scope = $2 ORDER BY principal`, []any{ws, scope}, func(scan func(...any) error) error {
			var a ACL
			err := scan(&a.Principal, &a.Permission)
			list = append(list, a)
			return err
		})
	})
	return list, err
}

// Seal seals a value that is no workspace's, under the name of what holds it and
// its own.
func (k *Key) Seal(holder, name string, value []byte) []byte { return k.seal(0, holder, name, value) }

// Open gives back what Seal sealed under the same names.
func (k *Key) Open(holder, name string, sealed []byte) ([]byte, error) {
	return k.open(0, holder, name, sealed)
}
