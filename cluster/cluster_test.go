//go:build linux

package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/cluster"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/compute"
)

// TestMain lets this binary be the box's first process, an agent, and the
// server that a test kills.
func TestMain(m *testing.M) {
	sandbox.Main()
	switch {
	case len(os.Args) > 1 && os.Args[1] == "agent":
		os.Exit(agentMain(os.Args[2:]))
	case len(os.Args) > 1 && os.Args[1] == "server":
		os.Exit(serverMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// agentMain is `wherry agent --dir DIR --build DIGEST --ready-fd N`.
func agentMain(args []string) int {
	run := agent.Run
	if os.Getenv(relayEnv) != "" {
		run = runBehindRelay
	}
	if err := run(context.Background(), args[1], args[3], os.NewFile(3, "ready")); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		return 1
	}
	return 0
}

// patience is how long a test waits for what must happen on a busy machine.
const patience = 90 * time.Second

// ledger keeps attempts and results in the store's setting table: all that
// compute needs of the jobs' side.
type ledger struct{ db *store.DB }

const ledgerTopic = "ledger"

func (l ledger) put(ctx context.Context, runID int64, name, value string) error {
	return l.db.Write(ctx, func(tx *store.Tx) error { return l.putTx(tx, runID, name, value) })
}

func (l ledger) putTx(tx *store.Tx, runID int64, name, value string) error {
	_, err := tx.Exec(`INSERT INTO setting (workspace_id, name, value) VALUES ($1, $2, $3)
		ON CONFLICT (workspace_id, name) DO UPDATE SET value = excluded.value`, runID, name, value)
	tx.Changed(ledgerTopic)
	return err
}

func (l ledger) get(ctx context.Context, runID int64, name string) (value string, err error) {
	err = l.db.Read(ctx, func(tx *store.Tx) error {
		err := tx.Row(`SELECT value FROM setting WHERE workspace_id = $1 AND name = $2`, runID, name).Scan(&value)
		if errors.Is(err, store.ErrNoRows) {
			return nil
		}
		return err
	})
	return value, err
}

func (l ledger) AttemptRunning(ctx context.Context, runID int64, clusterID string) error {
	return l.put(ctx, runID, "running", clusterID)
}

func (l ledger) AttemptDone(context.Context, int64, string, wherry.Result) error {
	return errors.New("the transaction's method is there")
}

func (l ledger) AttemptDoneTx(tx *store.Tx, runID int64, _ string, r wherry.Result) error {
	var old string
	err := tx.Row(`SELECT value FROM setting WHERE workspace_id = $1 AND name = 'done'`, runID).Scan(&old)
	if err == nil {
		return fmt.Errorf("run %d ended twice: %s, then %+v", runID, old, r)
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return l.putTx(tx, runID, "done", string(b))
}

func (l ledger) Message(ctx context.Context, runID int64, message string) error {
	return l.put(ctx, runID, "message", message)
}

func (l ledger) ActiveAttempts(ctx context.Context) (all []wherry.Attempt, err error) {
	err = l.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT value FROM setting s WHERE name = 'attempt'
			AND NOT EXISTS (SELECT 1 FROM setting d WHERE d.workspace_id = s.workspace_id AND d.name = 'done')`, nil,
			func(scan func(...any) error) error {
				var value string
				var a wherry.Attempt
				if err := scan(&value); err != nil {
					return err
				}
				err := json.Unmarshal([]byte(value), &a)
				all = append(all, a)
				return err
			})
	})
	return all, err
}

// site is a state directory with its store and a manager on it.
type site struct {
	t       testing.TB
	dir     state.Dir
	db      *store.DB
	compute *compute.Store
	*cluster.Manager
	runs ledger
	next int64
	stop func() error
}

// open opens the state of dir and makes a manager with a higher epoch.
func open(ctx context.Context, dir state.Dir, edit func(*cluster.Config)) (*store.DB, *cluster.Manager, error) {
	if err := dir.Create(); err != nil {
		return nil, nil, err
	}
	db, err := store.Open(ctx, "sqlite://"+dir.Path("wherry.db"))
	if err != nil {
		return nil, nil, err
	}
	if err := auth.New(db).Bootstrap(ctx, "secret"); err != nil {
		return nil, nil, err
	}
	epoch, err := db.TakeLease(ctx, "server", fmt.Sprint(os.Getpid()), time.Minute, true)
	if err != nil {
		return nil, nil, err
	}
	cfg := cluster.Config{
		State: dir, Store: compute.New(db), Runs: ledger{db}, Epoch: epoch, URL: "http://127.0.0.1:8787", AgentIdle: 30 * time.Second,
		Env: map[string]string{"WHERRY_PRELOAD": "light"},
		Runtime: func(context.Context) (cluster.Runtime, error) {
			e, err := environment.Open()
			if err != nil {
				return cluster.Runtime{}, err
			}
			return cluster.Runtime{Python: e.Python, PythonPath: e.PythonPath, Keep: e.Paths(), Name: "Python " + e.Version}, nil
		},
	}
	if edit != nil {
		edit(&cfg)
	}
	return db, cluster.New(cfg), nil
}

func newSite(t testing.TB, edit func(*cluster.Config)) *site {
	t.Helper()
	s := &site{t: t, dir: state.Dir(t.TempDir())}
	environment.ForTest(t)
	db, m, err := open(context.Background(), s.dir, func(c *cluster.Config) {
		c.StopAgents = true
		if edit != nil {
			edit(c)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	s.use(db, m)
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("manager: %v", err)
		}
	})
	return s
}

func (s *site) use(db *store.DB, m *cluster.Manager) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s.db, s.Manager, s.runs, s.compute = db, m, ledger{db}, compute.New(db)
	go func() { done <- m.Run(ctx) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return errors.Join(<-done, db.Close())
	})
}

// script writes a Python file into the workspace and returns an attempt that
// runs it.
func (s *site) script(name, source string, args ...string) wherry.Attempt {
	s.t.Helper()
	s.next++
	return scriptAttempt(s.t, s.dir, s.next, name, source, args...)
}

func scriptAttempt(t testing.TB, dir state.Dir, runID int64, name, source string, args ...string) wherry.Attempt {
	t.Helper()
	file := filepath.Join(dir.Workspace(1), name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(source), 0o600)); err != nil {
		t.Fatal(err)
	}
	task, err := json.Marshal(map[string]any{"task_key": "t", "spark_python_task": map[string]any{"python_file": "/Workspace/" + name, "parameters": args}})
	if err != nil {
		t.Fatal(err)
	}
	return wherry.Attempt{
		WorkspaceID: 1, RunID: runID, JobRunID: runID + 1000, TaskKey: "t", Task: task,
		RunAs: wherry.Principal{ID: 1, Kind: wherry.KindUser, UserName: "admin@localhost", Admin: true, Active: true},
	}
}

func (s *site) start(a wherry.Attempt) {
	s.t.Helper()
	b, err := json.Marshal(a)
	if err == nil {
		err = s.runs.put(context.Background(), a.RunID, "attempt", string(b))
	}
	if err == nil {
		err = s.Start(context.Background(), a)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// await waits until a value of the run is in the ledger.
func (s *site) await(runID int64, name string) string {
	s.t.Helper()
	return await(s.t, s.db, runID, name)
}

func await(t testing.TB, db *store.DB, runID int64, name string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	woken, stop := db.Watch(ledgerTopic)
	defer stop()
	for {
		v, err := ledger{db}.get(ctx, runID, name)
		if err != nil {
			t.Fatal(err)
		}
		if v != "" {
			return v
		}
		select {
		case <-woken:
		case <-time.After(100 * time.Millisecond): // another process may write it
		case <-ctx.Done():
			t.Fatalf("run %d: no %q after %v", runID, name, patience)
		}
	}
}

func (s *site) result(runID int64) wherry.Result {
	s.t.Helper()
	var r wherry.Result
	if err := json.Unmarshal([]byte(s.await(runID, "done")), &r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *site) run(a wherry.Attempt) wherry.Result {
	s.t.Helper()
	s.start(a)
	return s.result(a.RunID)
}

func (s *site) output(runID int64) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir.Run(runID), "out"))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}
