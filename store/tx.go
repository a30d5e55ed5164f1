package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wherry-ml/wherry"
)

// Tx is a transaction. SQL is written once for both databases, with $1, $2 …
// as placeholders; times are stored as milliseconds since 1970 (BIGINT),
// booleans as BOOLEAN, documents as TEXT.
type Tx struct {
	Dialect string
	tx      *sql.Tx
	ctx     context.Context
	topics  []string
	kept    *statements
}

// ErrNoRows is returned by Row.Scan when the query found nothing.
var ErrNoRows = sql.ErrNoRows

// Exec runs a statement and returns how many rows it changed.
func (tx *Tx) Exec(query string, args ...any) (int64, error) {
	var r sql.Result
	var err error
	if st := tx.kept.in(tx, query); st != nil {
		r, err = st.ExecContext(tx.ctx, args...)
	} else {
		r, err = tx.tx.ExecContext(tx.ctx, query, args...)
	}
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// ExecVersioned runs an UPDATE that names the version it saw, and fails with
// ABORTED if another writer was first.
func (tx *Tx) ExecVersioned(query string, args ...any) error {
	n, err := tx.Exec(query, args...)
	if err == nil && n == 0 {
		return wherry.Errorf(wherry.CodeAborted, "changed by someone else in the meantime: read it again")
	}
	return err
}

// Row runs a query that gives at most one row.
func (tx *Tx) Row(query string, args ...any) *sql.Row {
	if st := tx.kept.in(tx, query); st != nil {
		return st.QueryRowContext(tx.ctx, args...)
	}
	return tx.tx.QueryRowContext(tx.ctx, query, args...)
}

// Each runs a query and calls fn with the scan function of each row.
func (tx *Tx) Each(query string, args []any, fn func(scan func(...any) error) error) error {
	var rows *sql.Rows
	var err error
	if st := tx.kept.in(tx, query); st != nil {
		rows, err = st.QueryContext(tx.ctx, args...)
	} else {
		rows, err = tx.tx.QueryContext(tx.ctx, query, args...)
	}
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// NextID returns the next number of the named sequence, from 1.
func (tx *Tx) NextID(name string) (id int64, err error) {
	err = tx.Row(`INSERT INTO sequence (name, value) VALUES ($1, 1)
		ON CONFLICT (name) DO UPDATE SET value = sequence.value + 1 RETURNING value`, name).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("next %s id: %w", name, err)
	}
	return id, nil
}

// Now returns the database's clock, in milliseconds.
func (tx *Tx) Now() (ms int64, err error) {
	q := `SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)`
	if tx.Dialect == Postgres {
		q = `SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)`
	}
	err = tx.Row(q).Scan(&ms)
	return ms, err
}

// Emit writes an event beside the change it tells of, and wakes those who
// wait for events once the transaction is committed. A zero At is now.
func (tx *Tx) Emit(e wherry.Event) error {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	if e.Payload == nil {
		e.Payload = json.RawMessage("{}")
	}
	_, err := tx.Exec(`INSERT INTO event (workspace_id, kind, subject, actor, run_id, at, payload)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		e.WorkspaceID, e.Kind, e.Subject, e.Actor, e.RunID, e.At.UnixMilli(), string(e.Payload))
	if err != nil {
		return fmt.Errorf("emit %s: %w", e.Kind, err)
	}
	tx.Changed("event")
	return nil
}

// Changed tells, once the transaction is committed, everyone who watches topic
// (see DB.Watch) in this process.
func (tx *Tx) Changed(topic string) { tx.topics = append(tx.topics, topic) }

// IsDuplicate reports whether err is a violated UNIQUE or PRIMARY KEY.
func IsDuplicate(err error) bool {
	var pg interface{ SQLState() string }
	if errors.As(err, &pg) {
		return pg.SQLState() == "23505"
	}
	var lite interface{ Code() int }
	// 1555 SQLITE_CONSTRAINT_PRIMARYKEY, 2067 SQLITE_CONSTRAINT_UNIQUE
	return errors.As(err, &lite) && (lite.Code() == 1555 || lite.Code() == 2067)
}

// changes wakes the watchers of topics.
type changes struct {
	mu      sync.Mutex
	watched map[string]map[chan struct{}]bool
}

// Watch returns a channel that receives after each commit that called Changed
// with one of the topics, several commits at once as one. Call stop when done.
func (db *DB) Watch(topics ...string) (woken <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	db.changed.mu.Lock()
	defer db.changed.mu.Unlock()
	if db.changed.watched == nil {
		db.changed.watched = map[string]map[chan struct{}]bool{}
	}
	for _, topic := range topics {
		if db.changed.watched[topic] == nil {
			db.changed.watched[topic] = map[chan struct{}]bool{}
		}
		db.changed.watched[topic][c] = true
	}
	return c, func() {
		db.changed.mu.Lock()
		defer db.changed.mu.Unlock()
		for _, topic := range topics {
			delete(db.changed.watched[topic], c)
		}
	}
}

func (ch *changes) tell(topics []string) {
	if len(topics) == 0 {
		return
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	for _, topic := range topics {
		for c := range ch.watched[topic] {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
}
