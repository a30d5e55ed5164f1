// Package notify stores what is to be told to whom: notices that wait to be
// sent, each until its receiver has it or it is given up, and the destinations
// that they go to. A notice is stored in the transaction of what it tells of,
// so neither is there without the other.
package notify

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Topic is what new notices, and what became of them, are told under
// (store.DB.Watch).
const Topic = "notification"

// States of a notification.
const (
	Pending       = "pending"       // to be sent, or to be tried again at NextAt
	Sent          = "sent"          // its receiver has it
	Failed        = "failed"        // given up
	Undeliverable = "undeliverable" // nothing here can send it: LastError says what to do
)

// Channels of a notification.
const (
	Email       = "email"
	Destination = "destination"
)

// Notice is something worth telling.
type Notice struct {
	WorkspaceID int64 `json:"-"`
	// DedupKey names what is told of. A second notice with the same key is told
	// to those only who have not been told: run.finished/12/0.
	DedupKey string `json:"-"`
	// Kind is what happened, as the receivers of webhooks know it:
	// jobs.on_failure, ci.run.finished.
	Kind    string `json:"-"`
	Subject string `json:"subject"` // one line, the subject of the e-mail
	Text    string `json:"text"`    // a few lines of plain text
	// Link is where to read on: a path of this server, or a whole URL.
	Link string `json:"link"`
	// Bad says that it tells of a failure: it is shown in red.
	Bad bool `json:"bad,omitempty"`
	// RunID is the job run that it tells of, 0 for none: its page shows it.
	RunID int64 `json:"-"`
	// Body is what a generic webhook gets, an object. It is given an event_type
	// and a workspace_id; nil is subject, text and link.
	Body json.RawMessage `json:"body,omitempty"`
	// Emails are addresses, Destinations the ids of destinations.
	Emails       []string `json:"-"`
	Destinations []string `json:"-"`
}

// Notification is a notice to one receiver.
type Notification struct {
	ID          int64  `json:"id"`
	WorkspaceID int64  `json:"-"`
	DedupKey    string `json:"dedup_key"`
	Kind        string `json:"kind"`
	Channel     string `json:"channel"` // Email or Destination
	// Address is an e-mail address, or the id of a destination.
	Address string `json:"address"`
	// Destination is the name of the destination, also of one that an e-mail
	// address came of; "" if there is none.
	Destination string `json:"destination,omitempty"`
	RunID       int64  `json:"run_id,omitempty"`
	State       string `json:"state"`
	Attempts    int    `json:"attempts"`
	LastError   string `json:"last_error,omitempty"`
	CreatedAt   int64  `json:"created_at"`        // milliseconds since 1970, as all times
	NextAt      int64  `json:"next_at,omitempty"` // of a pending one
	DoneAt      int64  `json:"done_at,omitempty"` // when it was sent or given up
	Notice      Notice `json:"notice"`
	// Token is the same in each attempt.
	Token string `json:"-"`
	// Since is when the first attempt was due.
	Since int64 `json:"-"`
}

// Store keeps notifications and destinations.
type Store struct{ db *store.DB }

// New returns the store.
func New(db *store.DB) *Store { return &Store{db: db} }

// DB is the database below, for those who watch Topic.
func (s *Store) DB() *store.DB { return s.db }

// Enqueue has a notice sent once the transaction is committed, at least once to
// each of its receivers. It may be repeated: who was told already, or is about
// to be, is not told twice.
func Enqueue(tx *store.Tx, n Notice) error {
	if n.DedupKey == "" || n.Kind == "" || n.Subject == "" {
		return errors.New("a notice needs a key, a kind and a subject")
	}
	doc, err := json.Marshal(n)
	if err != nil {
		return err
	}
	now, err := tx.Now()
	if err != nil {
		return err
	}
	add := func(channel, address, destination string) error {
		if address == "" {
			return nil
		}
		id, err := tx.NextID("notification")
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO notification (id, workspace_id, dedup_key, channel, address, destination, kind, run_id, notice, token, state,
			attempts, last_error, created_at, since, next_at, leased_until, holder, done_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'pending', 0, '', $11, $11, $11, 0, 0, 0) ON CONFLICT DO NOTHING`,
			id, n.WorkspaceID, n.DedupKey, channel, address, destination, n.Kind, n.RunID, string(doc), strings.ToLower(rand.Text()), now)
		return err
	}
	for _, address := range n.Emails {
		err = errors.Join(err, add(Email, strings.TrimSpace(address), ""))
	}
	for _, id := range n.Destinations {
		if err == nil {
			err = enqueueTo(tx, n.WorkspaceID, id, add)
		}
	}
	if err != nil {
		return fmt.Errorf("enqueue the notice %s: %w", n.DedupKey, err)
	}
	tx.Changed(Topic)
	return nil
}

// enqueueTo adds a destination, or its addresses if it is one of e-mail. One
// that there is not is added as well: sending will say so.
func enqueueTo(tx *store.Tx, ws int64, id string, add func(channel, address, destination string) error) error {
	d, err := destination(tx, ws, id)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return add(Destination, id, id)
	}
	if err != nil {
		return err
	}
	if len(d.Addresses) == 0 {
		return add(Destination, id, id)
	}
	for _, address := range d.Addresses {
		if err := add(Email, address, id); err != nil {
			return err
		}
	}
	return nil
}

const columns = `n.id, n.workspace_id, n.dedup_key, n.channel, n.address, COALESCE(d.display_name, ''), n.kind, n.run_id, n.notice, n.token, n.state,
	n.attempts, n.last_error, n.created_at, n.since, n.next_at, n.done_at`

const from = ` FROM notification n LEFT JOIN notification_destination d ON d.id = n.destination AND d.workspace_id = n.workspace_id `

func scan(scan func(...any) error) (n Notification, err error) {
	var doc string
	err = scan(&n.ID, &n.WorkspaceID, &n.DedupKey, &n.Channel, &n.Address, &n.Destination, &n.Kind, &n.RunID, &doc, &n.Token, &n.State,
		&n.Attempts, &n.LastError, &n.CreatedAt, &n.Since, &n.NextAt, &n.DoneAt)
	if err != nil {
		return n, err
	}
	if n.State != Pending {
		n.NextAt = 0
	}
	err = json.Unmarshal([]byte(doc), &n.Notice)
	n.Notice.WorkspaceID, n.Notice.DedupKey, n.Notice.Kind, n.Notice.RunID = n.WorkspaceID, n.DedupKey, n.Kind, n.RunID
	return n, err
}

// Filter narrows List; what is zero does not.
type Filter struct {
	State  string
	RunID  int64
	Before int64 // ids below this one, for the next page
	Limit  int   // 100 if 0
}

// List returns notifications, the newest first.
func (s *Store) List(ctx context.Context, ws int64, f Filter) (list []Notification, err error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+columns+from+`WHERE n.workspace_id = $1 AND ($2 = '' OR n.state = $2) AND ($3 = 0 OR n.run_id = $3)
			AND ($4 = 0 OR n.id < $4) ORDER BY n.id DESC LIMIT $5`, []any{ws, f.State, f.RunID, f.Before, limit}, func(row func(...any) error) error {
			n, err := scan(row)
			list = append(list, n)
			return err
		})
	})
	return list, err
}

// Get returns a notification, or RESOURCE_DOES_NOT_EXIST.
func (s *Store) Get(ctx context.Context, ws, id int64) (n Notification, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		n, err = get(tx, ws, id)
		return err
	})
	return n, err
}

func get(tx *store.Tx, ws, id int64) (Notification, error) {
	n, err := scan(tx.Row(`SELECT `+columns+from+`WHERE n.workspace_id = $1 AND n.id = $2`, ws, id).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return n, wherry.Errorf(wherry.CodeDoesNotExist, "there is no notification %d: `wherry notifications` lists those there are", id)
	}
	return n, err
}

// Send enqueues a notice by itself, and returns what was made of it.
func (s *Store) Send(ctx context.Context, n Notice) (list []Notification, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		list = nil
		if err := Enqueue(tx, n); err != nil {
			return err
		}
		return tx.Each(`SELECT `+columns+from+`WHERE n.workspace_id = $1 AND n.dedup_key = $2 ORDER BY n.id`, []any{n.WorkspaceID, n.DedupKey}, func(row func(...any) error) error {
			one, err := scan(row)
			list = append(list, one)
			return err
		})
	})
	return list, err
}

// Retry has a notification sent that was given up or is undeliverable, as if it
// were new. One that was sent is not sent twice.
func (s *Store) Retry(ctx context.Context, ws, id int64) (n Notification, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		if n, err = get(tx, ws, id); err != nil {
			return err
		}
		if n.State == Sent {
			return wherry.Errorf(wherry.CodeInvalidState, "notification %d was sent at %s", id, time.UnixMilli(n.DoneAt).UTC().Format(time.RFC3339))
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE notification SET state = 'pending', since = $1, next_at = $1, done_at = 0 WHERE id = $2 AND state <> 'sent'`, now, id); err != nil {
			return err
		}
		tx.Changed(Topic)
		n, err = get(tx, ws, id)
		return err
	})
	return n, err
}
