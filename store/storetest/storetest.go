// Package storetest opens real databases for tests: SQLite always, PostgreSQL
// where Debian's binaries are installed.
package storetest

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/wherry-ml/wherry/store"
)

// Each runs fn once with an empty SQLite database and once with an empty
// PostgreSQL database, as the subtests "sqlite" and "postgres". Without
// PostgreSQL's binaries the second is skipped by name, or fails where CI is set.
func Each(t *testing.T, fn func(t *testing.T, db *store.DB)) {
	t.Helper()
	t.Run(store.SQLite, func(t *testing.T) { fn(t, SQLite(t)) })
	t.Run(store.Postgres, func(t *testing.T) { fn(t, open(t, Postgres(t))) })
}

// SQLite opens an empty SQLite database that is closed when the test ends.
func SQLite(t testing.TB) *store.DB {
	t.Helper()
	return open(t, "sqlite://"+filepath.Join(t.TempDir(), "test.db"))
}

func open(t testing.TB, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return db
}
