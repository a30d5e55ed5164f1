package trace

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Project gives the next events that it has not yet given, at most limit, to fn
// in one transaction; it returns how many there were. On PostgreSQL an event
// may come after later ones, when its transaction took longer. An event that fn
// can not take alone either, and the database can do without, is logged and left
// out: it would keep all after it from being told.
func (s *Store) Project(ctx context.Context, limit int, fn func(*store.Tx, wherry.Event) error) (fresh int, err error) {
	var events []wherry.Event
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		events, err = untraced(tx, limit)
		return err
	})
	if err != nil || len(events) == 0 {
		return 0, err
	}
	if s.give(ctx, fn, events...) == nil {
		return len(events), nil
	}
	for _, e := range events {
		why := s.give(ctx, fn, e)
		if why == nil {
			continue
		}
		if err := s.give(ctx, func(*store.Tx, wherry.Event) error { return nil }, e); err != nil {
			return 0, errors.Join(why, err)
		}
		slog.Error("trace: an event can not be told, and is left out", "id", e.ID, "kind", e.Kind, "err", why)
	}
	return len(events), nil
}

// give has fn take events, all or none.
func (s *Store) give(ctx context.Context, fn func(*store.Tx, wherry.Event) error, events ...wherry.Event) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		for _, e := range events {
			if err := fn(tx, e); err != nil {
				return err
			}
			if _, err := tx.Exec(`UPDATE event SET traced = true WHERE id = $1`, e.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

func untraced(tx *store.Tx, limit int) (events []wherry.Event, err error) {
	err = tx.Each(`SELECT id, workspace_id, kind, subject, actor, run_id, at, payload FROM event WHERE NOT traced ORDER BY id LIMIT $1`,
		[]any{limit}, func(scan func(...any) error) error {
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
