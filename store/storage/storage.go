// Package storage stores what the storage endpoint must know beside the files
// themselves: its accounts, and who may use them.
package storage

import (
	"context"
	"errors"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Store gives access to accounts and grants.
type Store struct{ db *store.DB }

// New returns the store.
func New(db *store.DB) *Store { return &Store{db: db} }

// Account is a storage account.
type Account struct {
	Name string `json:"name"`
	// KeyGeneration and Key2Generation go up when a key is renewed; the keys are
	// derived from them and never stored.
	KeyGeneration  int64 `json:"-"`
	Key2Generation int64 `json:"-"`
	// SharedKey says that the keys may be used.
	SharedKey bool      `json:"-"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
}

const accountColumns = `name, key_generation, key2_generation, shared_key, created_by, created_at`

func scanAccount(scan func(...any) error) (a Account, err error) {
	var created int64
	err = scan(&a.Name, &a.KeyGeneration, &a.Key2Generation, &a.SharedKey, &a.CreatedBy, &created)
	a.CreatedAt = time.UnixMilli(created)
	return a, err
}

// CreateAccount makes an account; one that exists is left as it is.
func (s *Store) CreateAccount(ctx context.Context, name, by string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := Create(tx, name, by)
		return err
	})
}

// Create makes an account inside a transaction and reports whether it is new.
// One whose files are being removed is RESOURCE_CONFLICT.
func Create(tx *store.Tx, name, by string) (bool, error) {
	n, err := tx.Exec(`INSERT INTO storage_account (name, key_generation, created_by, created_at)
		VALUES ($1, 1, $2, $3) ON CONFLICT (name) DO NOTHING`, name, by, time.Now().UnixMilli())
	if err != nil || n == 1 {
		return n == 1, err
	}
	var removed bool
	err = tx.Row(`SELECT removed FROM storage_account WHERE name = $1`, name).Scan(&removed)
	if err == nil && removed {
		err = wherry.Errorf(wherry.CodeConflict, "the storage account %s is being deleted: try again in a moment", name)
	}
	return false, err
}

// Remove ends an account and what was granted on it. Its files are the
// endpoint's, which calls Forget when they are gone.
func Remove(tx *store.Tx, name string) error {
	if _, err := tx.Exec(`DELETE FROM storage_grant WHERE account = $1`, name); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE storage_account SET removed = true, version = version + 1 WHERE name = $1`, name)
	return err
}

// Forget takes away what is left of a removed account.
func (s *Store) Forget(ctx context.Context, name string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM storage_account WHERE name = $1 AND removed`, name)
		return err
	})
}

// Removed lists the removed accounts that were not forgotten.
func (s *Store) Removed(ctx context.Context) (names []string, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT name FROM storage_account WHERE removed`, nil, func(scan func(...any) error) error {
			var name string
			err := scan(&name)
			names = append(names, name)
			return err
		})
	})
	return names, err
}

// AllowSharedKey says whether an account's keys may be used.
func AllowSharedKey(tx *store.Tx, name string, allowed bool) error {
	_, err := tx.Exec(`UPDATE storage_account SET shared_key = $1, version = version + 1 WHERE name = $2 AND shared_key <> $1`, allowed, name)
	return err
}

// RenewKey makes an account's first or second key another one.
func (s *Store) RenewKey(ctx context.Context, name string, second bool) error {
	query := `UPDATE storage_account SET key_generation = key_generation + 1, version = version + 1 WHERE name = $1 AND NOT removed`
	if second {
		query = `UPDATE storage_account SET key2_generation = key2_generation + 1, version = version + 1 WHERE name = $1 AND NOT removed`
	}
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(query, name)
		return err
	})
}

// Account returns the named account, or RESOURCE_DOES_NOT_EXIST.
func (s *Store) Account(ctx context.Context, name string) (a Account, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		a, err = scanAccount(tx.Row(`SELECT `+accountColumns+` FROM storage_account WHERE name = $1 AND NOT removed`, name).Scan)
		if errors.Is(err, store.ErrNoRows) {
			return wherry.Errorf(wherry.CodeDoesNotExist, "there is no storage account %q here", name)
		}
		return err
	})
	return a, err
}

// Accounts lists all accounts by name.
func (s *Store) Accounts(ctx context.Context) (all []Account, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+accountColumns+` FROM storage_account WHERE NOT removed ORDER BY name`, nil,
			func(scan func(...any) error) error {
				a, err := scanAccount(scan)
				all = append(all, a)
				return err
			})
	})
	return all, err
}

// Grant lets a principal read, or read and write, a container ("" is all of
// the account's).
func (s *Store) Grant(ctx context.Context, account, container string, principalID int64, write bool) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO storage_grant (account, container, principal_id, can_write) VALUES ($1, $2, $3, $4)
			ON CONFLICT (account, container, principal_id) DO UPDATE SET can_write = excluded.can_write`,
			account, container, principalID, write)
		return err
	})
}

// Allowed tells whether a principal who is not an admin may read or write.
func (s *Store) Allowed(ctx context.Context, account, container string, principalID int64) (read, write bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT can_write FROM storage_grant WHERE account = $1 AND (container = '' OR container = $2) AND principal_id = $3`,
			[]any{account, container, principalID}, func(scan func(...any) error) error {
				var w bool
				if err := scan(&w); err != nil {
					return err
				}
				read, write = true, write || w
				return nil
			})
	})
	return read, write, err
}
