package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"slices"
)

// refuseForeign fails if the database is one that MLflow itself made (its
// migrations leave the table alembic_version), and changes nothing in it: our
// tables would stand beside its own, and its runs would not be seen.
func (db *DB) refuseForeign(ctx context.Context, file string) error {
	look := db.read
	query := `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_name IN ('alembic_version', 'goose_db_version')`
	if db.Dialect == SQLite { // by a connection of its own: ours would change the file's journal
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		reader, err := sql.Open("sqlite", sqliteFile(file)+"?mode=ro")
		if err != nil {
			return err
		}
		defer func() { _ = reader.Close() }()
		look, query = reader, `SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('alembic_version', 'goose_db_version')`
	}
	tables, err := names(ctx, look, query)
	if err != nil {
		return nil //nolint:nilerr // what opens the database next says it, with advice
	}
	if slices.Contains(tables, "alembic_version") && !slices.Contains(tables, "goose_db_version") {
		return errors.New("this database was made by MLflow itself (or another program with the table alembic_version), and wherry keeps runs in tables of its own: " +
			"name a new database; the old one stays as it is, for `mlflow server --backend-store-uri …`")
	}
	return nil
}

func names(ctx context.Context, db *sql.DB, query string) (list []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		list = append(list, name)
	}
	return list, rows.Err()
}

// sqliteFile is a file as SQLite reads it: a URI, whose escapes it undoes.
func sqliteFile(path string) string { return "file:" + (&url.URL{Path: path}).EscapedPath() }
