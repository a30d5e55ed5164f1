package store_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
)

// TestForeignDatabase: what another program made is refused and left alone; what
// both have used, and what is ours, opens.
func TestForeignDatabase(t *testing.T) {
	for name, dsn := range map[string]func() string{
		store.SQLite:   func() string { return "sqlite://" + filepath.Join(t.TempDir(), "m.db") },
		store.Postgres: func() string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			url := dsn()
			if url == "" {
				url = storetest.Postgres(t)
			}
			db, err := store.Open(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			exec := func(text string) {
				t.Helper()
				if err := db.Write(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(text); return err }); err != nil {
					t.Fatal(err)
				}
			}
			exec(`CREATE TABLE alembic_version (version_num TEXT)`)
			again, err := store.Open(t.Context(), url)
			if err != nil {
				t.Fatalf("a database of both: %v", err)
			}
			if err := again.Close(); err != nil {
				t.Error(err)
			}
			exec(`ALTER TABLE goose_db_version RENAME TO another`)
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			for range 2 { // the first time made nothing
				if _, err := store.Open(t.Context(), url); err == nil || !strings.Contains(err.Error(), "made by MLflow itself") {
					t.Errorf("a foreign database: %v", err)
				}
			}
		})
	}
}
