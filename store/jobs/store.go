// Package jobs stores jobs and their runs. Each method is one transaction that
// makes one change together with its event, and carries out what Run.Advance
// then decides: a task that ends and the start of the next one are one commit.
package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Topic is what changes of jobs and runs are told under (store.DB.Watch).
const (
	TopicRun = "run"
	TopicJob = "job"
)

// Store gives access to jobs and runs.
type Store struct {
	db  *store.DB
	now func() time.Time
	// BaseURL is the server's own address, for {{workspace.url}} and dashboards
	// that know no request.
	BaseURL string

	mu     sync.Mutex
	parsed map[settingsKey]*wherry.JobSettings
}

// New returns the store.
func New(db *store.DB) *Store {
	return &Store{db: db, now: time.Now, parsed: map[settingsKey]*wherry.JobSettings{}}
}

// DB is the database below, for those who watch topics.
func (s *Store) DB() *store.DB { return s.db }

// write runs fn in a transaction, again after a lost race.
func (s *Store) write(ctx context.Context, fn func(*change) error) error {
	for try := 0; ; try++ {
		err := s.db.Write(ctx, func(tx *store.Tx) error {
			c := s.change(tx)
			if err := fn(c); err != nil {
				return err
			}
			return c.finish()
		})
		if wherry.CodeOf(err) != wherry.CodeAborted || try == 20 {
			return err
		}
	}
}

// change is one transaction and what remains to be done before it ends.
type change struct {
	*store.Tx
	s   *Store
	now int64
	// later is done once the run at hand is stored: results that go to a parent,
	// runs that leave the queue, runs that a cancelled task had started.
	later []func() error
	// attempts are the documents of attempts that began, not stored yet.
	attempts map[int64]string
}

func (s *Store) change(tx *store.Tx) *change {
	return &change{Tx: tx, s: s, now: s.now().UnixMilli(), attempts: map[int64]string{}}
}

func (c *change) finish() error {
	for len(c.later) > 0 {
		next := c.later[0]
		c.later = c.later[1:]
		if err := next(); err != nil {
			return err
		}
	}
	return nil
}

func (c *change) emit(r *wherry.Run, kind string, subject, taskRun int64, payload map[string]any) error {
	b, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	return c.Emit(wherry.Event{
		WorkspaceID: r.WorkspaceID, Kind: kind, Subject: fmt.Sprint(subject), Actor: r.RunAs.UserName,
		RunID: taskRun, At: time.UnixMilli(c.now), Payload: b,
	})
}

// settingsKey names a copy of settings that never changes.
type settingsKey struct {
	run    int64
	repair int
}

// settings parses the settings of a run once: a run of many tasks is read often.
func (s *Store) settings(key settingsKey, doc string) (wherry.JobSettings, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parsed[key]; p != nil {
		return *p, nil
	}
	p := &wherry.JobSettings{}
	if err := json.Unmarshal([]byte(doc), p); err != nil {
		return *p, fmt.Errorf("settings of run %d: %w", key.run, err)
	}
	if len(s.parsed) >= 256 {
		clear(s.parsed)
	}
	s.parsed[key] = p
	return *p, nil
}

func noRows(err error) bool { return errors.Is(err, store.ErrNoRows) }

// principalColumns are read by scanPrincipal from principal p.
const principalColumns = `p.id, p.kind, p.user_name, p.display_name, p.application_id, p.admin, p.active`

func principalFields(p *wherry.Principal) []any {
	return []any{&p.ID, &p.Kind, &p.UserName, &p.DisplayName, &p.ApplicationID, &p.Admin, &p.Active}
}

// Principal finds who a job runs as: a user by name, or a service principal by
// its application id or name.
func (s *Store) Principal(ctx context.Context, name string) (p wherry.Principal, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		err := tx.Row(`SELECT `+principalColumns+` FROM principal p WHERE user_name = $1 OR (application_id <> '' AND application_id = $1)`, name).
			Scan(principalFields(&p)...)
		if noRows(err) {
			return wherry.Errorf(wherry.CodeInvalidParameter, "run_as: there is no principal %q", name)
		}
		return err
	})
	return p, err
}
