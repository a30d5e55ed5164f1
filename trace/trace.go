// Package trace keeps the graph from commit to prediction up to date, by
// projecting events and by reading the logs of Delta tables, and answers what
// a row came of and what a commit touched. Nothing in it is guessed by time or
// by name: a table's commit names the task run that made it, or its writer is
// unknown.
package trace

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/delta"
	"github.com/wherry-ml/wherry/store"
	graph "github.com/wherry-ml/wherry/store/trace"
)

// Table is a Delta table of the catalog and where its files are.
type Table struct {
	ID       string
	Name     string // catalog.schema.table
	Location string // the URI by which it is known
	Files    fs.FS  // nil if its files are not on this machine
}

// Catalog lists the tables that there are now.
type Catalog func(ctx context.Context) ([]Table, error)

// Service projects and answers.
type Service struct {
	db      *store.DB
	store   *graph.Store
	catalog Catalog
	passing sync.Mutex // one pass at a time
}

// New returns the service.
func New(db *store.DB, catalog Catalog) *Service {
	return &Service{db: db, store: graph.New(db), catalog: catalog}
}

// Run follows events until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	changed, stop := s.db.Watch("event")
	defer stop()
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := s.Pass(ctx); err != nil && ctx.Err() == nil {
			slog.Error("trace: pass failed", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
}

// Pass brings the graph up to date: events first, then, if a task ended, the
// commits that it left in the tables' logs.
func (s *Service) Pass(ctx context.Context) error {
	s.passing.Lock()
	defer s.passing.Unlock()
	ended, err := s.project(ctx)
	if err != nil || !ended {
		return err
	}
	if err := s.reconcile(ctx); err != nil {
		return err
	}
	_, err = s.project(ctx)
	return err
}

// Refresh is Pass with the tables' logs read in any case, before a question
// is answered.
func (s *Service) Refresh(ctx context.Context) error {
	s.passing.Lock()
	defer s.passing.Unlock()
	if err := s.reconcile(ctx); err != nil {
		return err
	}
	_, err := s.project(ctx)
	return err
}

func (s *Service) project(ctx context.Context) (taskEnded bool, err error) {
	for {
		fresh, err := s.store.Project(ctx, 200, func(tx *store.Tx, e wherry.Event) error {
			taskEnded = taskEnded || e.Kind == wherry.EventTaskFinished
			return project(tx, e)
		})
		if err != nil || fresh == 0 {
			return taskEnded, err
		}
	}
}

// reconcile reads the new commits of every table. A commit is not in our
// database: it is signed by the task run that made it, so that one whose server
// or agent died is found all the same.
func (s *Service) reconcile(ctx context.Context) error {
	tables, err := s.catalog(ctx)
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	for _, t := range tables {
		if t.Files == nil {
			continue
		}
		if err := s.readLog(ctx, t); err != nil {
			slog.Warn("trace: the log of a table could not be read", "table", t.Name, "err", err)
		}
	}
	return nil
}

func (s *Service) readLog(ctx context.Context, t Table) error {
	from, err := s.store.TableVersion(ctx, t.ID)
	if err != nil {
		return err
	}
	versions, err := delta.Versions(t.Files, from+1)
	if err != nil || len(versions) == 0 {
		return err
	}
	events := make([]wherry.Event, 0, len(versions))
	for _, v := range versions {
		c, err := delta.Read(t.Files, v)
		if err != nil {
			return err
		}
		payload, err := json.Marshal(tableCommit{t.Name, t.ID, t.Location, c.Version, c.Operation, len(c.Added)})
		if err != nil {
			return err
		}
		events = append(events, wherry.Event{
			WorkspaceID: wherry.DefaultWorkspace, Kind: wherry.EventTableCommitted,
			Subject: versionKey(t.ID, v), RunID: c.RunID, At: time.UnixMilli(c.Timestamp), Payload: payload,
		})
	}
	return s.store.Commits(ctx, t.ID, from, versions[len(versions)-1], events)
}

type tableCommit struct {
	Table      string `json:"table"`
	TableID    string `json:"table_id"`
	Location   string `json:"location"`
	Version    int64  `json:"version"`
	Operation  string `json:"operation"`
	FilesAdded int    `json:"files_added"`
}

func versionKey(tableID string, version int64) string { return fmt.Sprintf("%s@%d", tableID, version) }
