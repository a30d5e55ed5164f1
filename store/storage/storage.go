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
	// KeyGeneration goes up when the keys are renewed; the keys are derived
	// from it and never stored.
	KeyGeneration int64     `json:"-"`
	CreatedBy     string    `json:"created_by"`
	CreatedAt     time.Time `json:"created_at"`
}

// CreateAccount makes an account; one that exists is left as it is.
func (s *Store) CreateAccount(ctx context.Context, name, by string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO storage_account (name, key_generation, created_by, created_at)
			VALUES ($1, 1, $2, $3) ON CONFLICT (name) DO NOTHING`, name, by, time.Now().UnixMilli())
		return err
	})
}

// Account returns the named account, or RESOURCE_DOES_NOT_EXIST.
func (s *Store) Account(ctx context.Context, name string) (a Account, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		var created int64
		err := tx.Row(`SELECT name, key_generation, created_by, created_at FROM storage_account WHERE name = $1`, name).
			Scan(&a.Name, &a.KeyGeneration, &a.CreatedBy, &created)
		a.CreatedAt = time.UnixMilli(created)
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
		return tx.Each(`SELECT name, key_generation, created_by, created_at FROM storage_account ORDER BY name`, nil,
			func(scan func(...any) error) error {
				var a Account
				var created int64
				if err := scan(&a.Name, &a.KeyGeneration, &a.CreatedBy, &created); err != nil {
					return err
				}
				a.CreatedAt = time.UnixMilli(created)
				all = append(all, a)
				return nil
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
