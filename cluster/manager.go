// Package cluster acquires compute for attempts and gives it back: it starts
// agents, keeps warm ones, sends them their tasks, stores what comes out of
// them, and finds them again after a restart of the server.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/compute"
)

// Runs is where attempts belong; what compute does to them is told there.
type Runs interface {
	// AttemptRunning says that the first line of user code is about to run.
	AttemptRunning(ctx context.Context, runID int64, clusterID string) error
	// AttemptDone settles an attempt; a second result changes nothing.
	AttemptDone(ctx context.Context, runID int64, clusterID string, r wherry.Result) error
	// Message says what compute is doing for an attempt.
	Message(ctx context.Context, runID int64, message string) error
	// ActiveAttempts are those handed to compute and not settled.
	ActiveAttempts(ctx context.Context) ([]wherry.Attempt, error)
}

// Trees knows the deployments: which file tree a path of the workspace is part
// of, and where it is deployed.
type Trees interface {
	TreeOf(ctx context.Context, workspaceID int64, path string) (digest, root string, ok bool)
}

// Runtime is the Python environment that clusters run on.
type Runtime struct {
	Python     string // the interpreter
	PythonPath string // where package wherry_runtime is
	// Keep is what tasks must see of it below hidden folders: prefixes, jars, Java.
	Keep []string
	Name string // for people: "Python 3.11, Spark 4.2.0, …"
}

// Config is what a Manager needs.
type Config struct {
	State state.Dir
	Store *compute.Store
	Runs  Runs
	Trees Trees // nil where nothing is deployed
	// Epoch is the server's lease's: higher than that of every server before.
	Epoch int64
	// URL is scheme://host:port of the server.
	URL string
	// Runtime returns the environment, or an error that says how to get it.
	Runtime func(context.Context) (Runtime, error)
	// Overlay returns a folder with libraries for one task.
	Overlay func(ctx context.Context, requirements, wheels []string) (string, error)
	// CI returns the input of the process that runs a workflow's job, which holds
	// the token that the job calls us with; nil where there are no workflows.
	CI func(ctx context.Context, jobID int64, token string) (json.RawMessage, error)
	// CIGrace is how long such a process may take to end once it is cancelled.
	CIGrace time.Duration
	// Keep is what such jobs see of this machine below hidden folders, beside the
	// runtime: interpreters and other tools.
	Keep func() []string
	// Secret returns a secret's value to one who may read it.
	Secret func(ctx context.Context, workspaceID int64, scope, key string, reader wherry.Principal) (string, error)
	// Serve is given the sockets on which agents' boxes listen for us, by name.
	Serve func(name string, l net.Listener)
	// Executable is what agents run, "" for this process's own.
	Executable string
	// Listen names loopback addresses, beside URL's, that boxes open inside for
	// us; Hosts are names that lead there; Binds is what is shown beside the
	// usual.
	Listen []string
	Hosts  func() map[string]string
	Binds  []sandbox.Bind
	// Volumes are the external volumes that a new agent shows: folders of this
	// machine by the path inside. An agent that shows others is not taken.
	Volumes func() (map[string]string, error)
	// TrustStore (PKCS12, as boxes see it) is for drivers; Proxy, host:port, too,
	// where there is no network namespace.
	TrustStore, TrustStorePassword string
	Proxy                          string
	// Plain asks for boxes without namespaces: for tests.
	Plain bool
	// Env is set in every process of every cluster.
	Env map[string]string
	// AgentIdle is how long an agent stays without a server and without work.
	AgentIdle time.Duration
	// StopAgents ends all agents with the server: for tests.
	StopAgents bool
}

// Manager is the server's side of all agents.
type Manager struct {
	cfg        Config
	executable func() (binary, error)
	connection atomic.Int64

	mu     sync.Mutex
	runs   map[int64]*run
	early  map[int64]bool // canceled before it was known; nil after recovery
	agents map[string]*remote
	keys   map[string]*keyLock
	queue  []func(context.Context) error
	wake   chan struct{}
}

// New returns a manager; Run does its work.
func New(cfg Config) *Manager {
	if cfg.AgentIdle == 0 {
		cfg.AgentIdle = 10 * time.Minute
	}
	m := &Manager{
		cfg: cfg, runs: map[int64]*run{}, early: map[int64]bool{}, agents: map[string]*remote{},
		keys: map[string]*keyLock{}, wake: make(chan struct{}, 1),
	}
	m.executable = sync.OnceValues(m.copyExecutable)
	return m
}

// Run finds the agents and attempts that an earlier server left, then does what
// Start, Cancel and the clusters API ask for, until ctx ends. Tasks that run
// then go on in their agents.
func (m *Manager) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if err := m.recover(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("recover compute: %w", err)
	}
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		for _, f := range m.take() {
			g.Go(func() error { return quiet(ctx, f(ctx)) })
		}
		select {
		case <-m.wake:
		case <-tick.C:
			g.Go(func() error {
				if err := quiet(ctx, m.expire(ctx)); err != nil {
					slog.Error("idle clusters were not ended; it is tried again in half a minute", "error", err)
				}
				return nil
			})
		case <-ctx.Done():
			m.endAgents()
			err := g.Wait()
			m.endAgents() // those that were being started
			return err
		}
	}
}

// quiet drops the errors that the end of the server itself makes.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// do has Run call f in a goroutine of its own. An error of f ends the server.
func (m *Manager) do(f func(context.Context) error) {
	m.mu.Lock()
	m.queue = append(m.queue, f)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *Manager) take() []func(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queue
	m.queue = nil
	return q
}

// Start begins an attempt, or goes on with one that an earlier server began.
// It returns at once; the outcome goes to Runs. A second call for the same run
// does nothing.
func (m *Manager) Start(_ context.Context, a wherry.Attempt) error {
	m.mu.Lock()
	if m.runs[a.RunID] != nil {
		m.mu.Unlock()
		return nil
	}
	r := newRun(a)
	m.runs[a.RunID] = r
	if m.early[a.RunID] {
		r.cancel()
	}
	m.mu.Unlock()
	m.do(func(ctx context.Context) error {
		err := m.attempt(ctx, r)
		m.mu.Lock()
		delete(m.runs, a.RunID)
		m.mu.Unlock()
		return err
	})
	return nil
}

// Cancel kills an attempt's task, wherever it is. It returns at once.
func (m *Manager) Cancel(_ context.Context, runID int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.runs[runID]; r != nil {
		r.cancel()
	} else if m.early != nil {
		m.early[runID] = true
	}
	return nil
}

// ReleaseJob terminates the clusters of a run of a job; their agents stay warm
// for the next cluster of the same shape.
func (m *Manager) ReleaseJob(_ context.Context, jobRunID int64) error {
	m.do(func(ctx context.Context) error {
		clusters, err := m.cfg.Store.JobClusters(ctx, jobRunID)
		if err != nil {
			return err
		}
		for _, c := range clusters {
			if err := m.release(ctx, c, "JOB_FINISHED"); err != nil {
				slog.Error("release job cluster", "cluster", c.ID, "error", err)
			}
		}
		return nil
	})
	return nil
}

// recover connects to the agents that live, and takes up all attempts that are
// not settled.
func (m *Manager) recover(ctx context.Context) error {
	if err := m.findAgents(ctx); err != nil {
		return err
	}
	active, err := m.cfg.Runs.ActiveAttempts(ctx)
	if err != nil {
		return err
	}
	known := map[int64]bool{}
	for _, a := range active {
		known[a.RunID] = true
	}
	stored, err := m.cfg.Store.Active(ctx)
	if err != nil {
		return err
	}
	for _, s := range stored {
		if !known[s.RunID] { // settled without us
			if err := m.abandon(ctx, s); err != nil {
				return err
			}
		} else if s.ClusterID == "" {
			m.await(s)
		}
	}
	// Agents have their leases before anyone asks for one.
	if err := m.recoverClusters(ctx); err != nil {
		return err
	}
	for _, a := range active {
		if err := m.Start(ctx, a); err != nil {
			return err
		}
	}
	m.mu.Lock()
	m.early = nil
	m.mu.Unlock()
	return nil
}

// await keeps an agent for the serverless task that it has: until the task is
// attached the agent seems to have nothing to do.
func (m *Manager) await(s compute.Attempt) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.agents[s.AgentID]
	if r == nil || m.runs[s.RunID] != nil {
		return
	}
	r.setLease(serverless)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.awaited[s.RunID] = true
}

// abandon ends what compute still holds of an attempt that is settled.
func (m *Manager) abandon(ctx context.Context, s compute.Attempt) error {
	if r := m.agent(s.AgentID); r != nil {
		_ = r.send(protocol.Message{Type: protocol.Cancel, RunID: s.RunID})
	}
	return m.cfg.Store.Finish(ctx, s.RunID, m.cfg.Epoch, s.Offsets, s.Offsets, func(*store.Tx) error { return nil })
}

type keyLock struct {
	sync.Mutex
	users int
}

// lock serialises what is done about one key.
func (m *Manager) lock(key string) (unlock func()) {
	m.mu.Lock()
	l := m.keys[key]
	if l == nil {
		l = &keyLock{}
		m.keys[key] = l
	}
	l.users++
	m.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		m.mu.Lock()
		defer m.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(m.keys, key)
		}
	}
}

// errFenced ends a server that a newer one has replaced.
var errFenced = errors.New("another server has taken over this installation's agents")
