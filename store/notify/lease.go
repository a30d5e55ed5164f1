package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Lease takes at most limit notifications that are due, for so long that nobody
// else sends them meanwhile, by the database's clock. What a server of an older
// epoch took is due again: that server is gone. wait is how long nothing else
// is due, -1 if nothing waits.
func (s *Store) Lease(ctx context.Context, epoch int64, limit int, ttl time.Duration) (list []Notification, wait time.Duration, err error) {
	wait, err = s.due(ctx, epoch)
	if err != nil || wait != 0 {
		return nil, wait, err
	}
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		list = nil
		now, err := tx.Now()
		if err != nil {
			return err
		}
		err = tx.Each(`SELECT `+columns+from+`WHERE n.state = 'pending' AND n.next_at <= $1 AND (n.leased_until <= $1 OR n.holder < $2)
			ORDER BY n.next_at, n.id LIMIT $3`, []any{now, epoch, limit}, func(row func(...any) error) error {
			n, err := scan(row)
			list = append(list, n)
			return err
		})
		if err != nil {
			return err
		}
		for i := range list {
			list[i].Attempts++
			if err := tx.ExecVersioned(`UPDATE notification SET attempts = attempts + 1, leased_until = $1, holder = $2
				WHERE id = $3 AND attempts = $4 AND state = 'pending'`, now+ttl.Milliseconds(), epoch, list[i].ID, list[i].Attempts-1); err != nil {
				return err
			}
		}
		return nil
	})
	if wherry.CodeOf(err) == wherry.CodeAborted { // another was first: the next pass sees what is left
		return nil, 0, nil
	}
	return list, 0, err
}

// due is how long it takes until something is due, without writing: 0 if
// something is, -1 if nothing waits.
func (s *Store) due(ctx context.Context, epoch int64) (wait time.Duration, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		var first int64
		if err := tx.Row(`SELECT COALESCE(MIN(CASE WHEN holder < $1 OR leased_until < next_at THEN next_at ELSE leased_until END), -1)
			FROM notification WHERE state = 'pending'`, epoch).Scan(&first); err != nil {
			return err
		}
		wait = -1
		if first >= 0 {
			wait = max(0, time.Duration(first-now)*time.Millisecond)
		}
		return nil
	})
	return wait, err
}

// sent is the payload of EventNotificationSent.
type sent struct {
	ID          int64  `json:"notification_id"`
	Kind        string `json:"kind"`
	DedupKey    string `json:"dedup_key"`
	Channel     string `json:"channel"`
	Destination string `json:"destination"`
	RunID       int64  `json:"run_id"`
	Attempts    int    `json:"attempts"`
}

// Sent notes that a notification's receiver has it.
func (s *Store) Sent(ctx context.Context, n Notification) error {
	return s.settle(ctx, n, Sent, "", func(tx *store.Tx) error {
		payload, err := json.Marshal(sent{n.ID, n.Kind, n.DedupKey, n.Channel, first(n.Destination, n.Address), n.RunID, n.Attempts})
		if err != nil {
			return err
		}
		return tx.Emit(wherry.Event{WorkspaceID: n.WorkspaceID, Kind: wherry.EventNotificationSent, Subject: fmt.Sprint(n.ID), Payload: payload})
	})
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// GiveUp notes that a notification is not sent: state is Failed or
// Undeliverable, and why is for people.
func (s *Store) GiveUp(ctx context.Context, n Notification, state, why string) error {
	return s.settle(ctx, n, state, why, nil)
}

func (s *Store) settle(ctx context.Context, n Notification, state, why string, emit func(*store.Tx) error) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		changed, err := tx.Exec(`UPDATE notification SET state = $1, last_error = $2, done_at = $3, leased_until = 0 WHERE id = $4 AND attempts = $5 AND state = 'pending'`,
			state, why, now, n.ID, n.Attempts)
		tx.Changed(Topic)
		if err != nil || changed == 0 || emit == nil { // 0: another has it by now
			return err
		}
		return emit(tx)
	})
}

// Later has a notification tried again after a while. One whose time to be sent
// in is over by then is given up.
func (s *Store) Later(ctx context.Context, n Notification, after, within time.Duration, why string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		next, state, done := now+after.Milliseconds(), Pending, int64(0)
		if next > n.Since+within.Milliseconds() {
			state, done = Failed, now
		}
		_, err = tx.Exec(`UPDATE notification SET state = $1, last_error = $2, next_at = $3, done_at = $4, leased_until = 0 WHERE id = $5 AND attempts = $6 AND state = 'pending'`,
			state, why, next, done, n.ID, n.Attempts)
		tx.Changed(Topic)
		return err
	})
}
