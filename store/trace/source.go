package trace

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

const consumer = "trace"

// lookBack is how many events before its position a pass reads again: on
// PostgreSQL an id may commit after a higher one. Projecting twice changes
// nothing.
const lookBack = 500

// Project gives the next events, at most limit, to fn in one transaction with
// the position they move; it returns how many were new.
func (s *Store) Project(ctx context.Context, limit int, fn func(*store.Tx, wherry.Event) error) (fresh int, err error) {
	var position int64
	var events []wherry.Event
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		err := tx.Row(`SELECT position FROM consumer WHERE name = $1`, consumer).Scan(&position)
		if err != nil && !errors.Is(err, store.ErrNoRows) {
			return err
		}
		from := position
		if tx.Dialect == store.Postgres {
			from -= lookBack
			limit += lookBack
		}
		events, err = readEvents(tx, from, limit)
		return err
	})
	if err != nil || len(events) == 0 || events[len(events)-1].ID <= position {
		return 0, err
	}
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		fresh = 0
		for _, e := range events {
			if e.ID > position {
				fresh++
			}
			if err := fn(tx, e); err != nil {
				return err
			}
		}
		_, err := tx.Exec(`INSERT INTO consumer (name, position) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET position = excluded.position`, consumer, events[len(events)-1].ID)
		return err
	})
	return fresh, err
}

func readEvents(tx *store.Tx, after int64, limit int) (events []wherry.Event, err error) {
	err = tx.Each(`SELECT id, workspace_id, kind, subject, actor, run_id, at, payload FROM event WHERE id > $1 ORDER BY id LIMIT $2`,
		[]any{after, limit}, func(scan func(...any) error) error {
			var e wherry.Event
			var at int64
			var payload string
			err := scan(&e.ID, &e.WorkspaceID, &e.Kind, &e.Subject, &e.Actor, &e.RunID, &at, &payload)
			e.At, e.Payload = time.UnixMilli(at), json.RawMessage(payload)
			events = append(events, e)
			return err
		})
	return events, err
}

// TableVersion is the newest version of a table that was read from its log, -1
// for none.
func (s *Store) TableVersion(ctx context.Context, tableID string) (version int64, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		err := tx.Row(`SELECT version FROM trace_table WHERE table_id = $1`, tableID).Scan(&version)
		if errors.Is(err, store.ErrNoRows) {
			version, err = -1, nil
		}
		return err
	})
	return version, err
}

// Commits records commits found in a table's log as events, and how far the
// log was read; what another reader recorded already is left out.
func (s *Store) Commits(ctx context.Context, tableID string, from, to int64, events []wherry.Event) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`INSERT INTO trace_table (table_id, version) VALUES ($1, -1) ON CONFLICT DO NOTHING`, tableID); err != nil {
			return err
		}
		n, err := tx.Exec(`UPDATE trace_table SET version = $1 WHERE table_id = $2 AND version = $3`, to, tableID, from)
		if err != nil || n == 0 {
			return err
		}
		for _, e := range events {
			if err := tx.Emit(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// Read records that a task run read a version of a table, once.
func (s *Store) Read(ctx context.Context, e wherry.Event) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		var n int
		err := tx.Row(`SELECT count(*) FROM event WHERE kind = $1 AND subject = $2 AND run_id = $3`, e.Kind, e.Subject, e.RunID).Scan(&n)
		if err != nil || n > 0 {
			return err
		}
		return tx.Emit(e)
	})
}
