package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/state"
)

// remote is the server's end of one agent.
type remote struct {
	m      *Manager
	id     string
	dir    string
	config protocol.Config
	gone   chan struct{} // closed when the agent is dead

	mu    sync.Mutex
	conn  *protocol.Conn           // nil before the first welcome
	known map[int64]protocol.State // what the agent had at the last welcome
	sinks map[int64]*run
	// awaited are tasks of before this server's start that are not attached yet.
	awaited map[int64]bool
	dead    bool
	used    time.Time         // when the last task ended
	plain   string            // why its box isolates nothing, "" if it does
	hosts   map[string]string // as they were last sent
	heard   map[string]string // as the agent has them
	news    chan struct{}     // closed when heard changes
	// listeners are the sockets of its box, which we serve.
	listeners []net.Listener
	lease     string // the cluster that has the agent, or serverless, or "" for none
}

func (m *Manager) agent(id string) *remote {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.agents[id]
}

// greetingTime is how long an agent may take to answer a hello.
const greetingTime = 20 * time.Second

// connect says hello with a new epoch and takes the welcome. The agent lets go
// of any older connection.
func (r *remote) connect() error {
	conn, err := protocol.Dial(r.dir)
	if err != nil {
		return err
	}
	_ = conn.Deadline(time.Now().Add(greetingTime))
	token, err := os.ReadFile(filepath.Join(r.dir, protocol.TokenFile))
	if err == nil {
		// Each connection needs an epoch above the last one's; a newer server's are above all of ours.
		epoch := r.m.cfg.Epoch<<20 | r.m.connection.Add(1)
		err = conn.Send(protocol.Message{Type: protocol.Hello, Epoch: epoch, Token: string(token), Version: protocol.Version})
	}
	var welcome protocol.Message
	if err == nil {
		welcome, _, err = conn.Receive()
	}
	switch {
	case err != nil:
	case welcome.Type == protocol.Fenced:
		err = errFenced
	case welcome.Type != protocol.Welcome:
		err = fmt.Errorf("agent %s answered %q to hello", r.id, welcome.Type)
	case welcome.Version != protocol.Version:
		r.retire(conn)
		err = fmt.Errorf("agent %s speaks protocol %d, this server %d: it ends after its tasks, and what they print comes when they end", r.id, welcome.Version, protocol.Version)
	default:
		err = conn.Send(protocol.Message{Type: protocol.Listeners})
	}
	if err != nil {
		_ = conn.Close()
		return err
	}
	_ = conn.Deadline(time.Time{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conn, r.known, r.plain = conn, map[int64]protocol.State{}, welcome.Plain
	for _, s := range welcome.Tasks {
		r.known[s.RunID] = s
	}
	return nil
}

// retire has an agent of another version end once nothing runs on it. What its
// tasks wrote is in its folder, and all there when they have ended.
func (r *remote) retire(conn *protocol.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, s := range r.sinks {
		if _, err := os.Stat(protocol.SpoolFile(filepath.Join(r.dir, protocol.SpoolDir), id, protocol.Outcome)); err == nil {
			close(s.in)
			delete(r.sinks, id)
			continue
		}
		if s.isCanceled() || s.ended.Load() != nil {
			_ = conn.Send(protocol.Message{Type: protocol.Cancel, RunID: id})
		}
	}
	_ = conn.Send(protocol.Message{Type: protocol.End})
}

// isUsable reports whether new tasks may go to the agent: it has answered this
// server, and is not dead.
func (r *remote) isUsable() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conn != nil && !r.dead
}

// isolation says why the agent's box isolates nothing, "" if it does.
func (r *remote) isolation() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.plain
}

// serve reads what the agent sends, and connects again while it lives.
func (r *remote) serve(ctx context.Context) error {
	for {
		err := r.read()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errFenced) {
			return err
		}
		if err := r.reconnect(ctx); err != nil {
			return err
		}
		if r.isDead() {
			return nil
		}
	}
}

// reconnect waits until the agent answers or is known to be dead: only who has
// its lock may say so.
func (r *remote) reconnect(ctx context.Context) error {
	said := r.isEnding() // then it is meant to be gone
	for wait := time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := r.connect()
		if err == nil {
			r.mu.Lock()
			r.hosts = nil // what was sent may be lost
			sinks := make([]*run, 0, len(r.sinks))
			for _, s := range r.sinks {
				sinks = append(sinks, s)
			}
			r.mu.Unlock()
			_ = r.tellHosts() // if this connection is lost too, the next one tells
			for _, s := range sinks {
				s.deliver(protocol.Message{Type: protocol.Attach})
			}
			if err := r.m.ackSettled(ctx, r); err != nil {
				slog.Warn("ack settled tasks", "agent", r.id, "error", err) // the next connection does
			}
			return nil
		}
		if errors.Is(err, errFenced) {
			return err
		}
		lock, lerr := protocol.Lock(r.dir)
		if lock != nil || errors.Is(lerr, os.ErrNotExist) {
			r.die(lock)
			return nil
		}
		if !said {
			said = true
			slog.Warn("agent does not answer", "agent", r.id, "error", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// die closes all sinks: what the agent wrote is in its folder. The lock is
// ours, so that no agent starts there any more.
func (r *remote) die(lock *os.File) {
	_ = os.WriteFile(filepath.Join(r.dir, protocol.EndedFile), nil, 0o600)
	if lock != nil {
		lock.Close()
	}
	r.m.forget(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dead = true
	for id, s := range r.sinks {
		close(s.in)
		delete(r.sinks, id)
	}
	for _, l := range r.listeners {
		_ = l.Close()
	}
	close(r.gone)
	slog.Info("agent is gone", "agent", r.id)
}

func (r *remote) isEnding() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lease == leaseEnding
}

func (r *remote) isDead() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dead
}

func (r *remote) read() error {
	r.mu.Lock()
	conn := r.conn
	r.mu.Unlock()
	if conn == nil {
		return errNotGreeted
	}
	defer func() { _ = conn.Close() }()
	for {
		m, files, err := conn.Receive()
		if err != nil {
			return err
		}
		switch m.Type {
		case protocol.Fenced:
			return errFenced
		case protocol.Listeners:
			if err := r.listen(m.Names, files); err != nil {
				return err
			}
		case protocol.Hosts:
			r.hear(m.Hosts)
		default:
			r.mu.Lock()
			s := r.sinks[m.RunID]
			r.mu.Unlock()
			if s != nil {
				s.deliver(m)
			}
		}
	}
}

var errNotGreeted = errors.New("the agent has not answered yet")

func (r *remote) send(m protocol.Message) error {
	r.mu.Lock()
	conn := r.conn
	r.mu.Unlock()
	if conn == nil {
		return errNotGreeted
	}
	return conn.Send(m)
}

// tellHosts sends the names that lead to us inside of the box, if they are not
// what they were.
func (r *remote) tellHosts() error {
	hosts := r.m.hosts()
	r.mu.Lock()
	same := maps.Equal(hosts, r.hosts)
	r.hosts = hosts
	r.mu.Unlock()
	if same {
		return nil
	}
	return r.send(protocol.Message{Type: protocol.Hosts, Hosts: hosts})
}

func (r *remote) hear(hosts map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = hosts
	close(r.news)
	r.news = make(chan struct{})
}

// TellHosts is called when there are more names that lead to us: it returns
// once running clusters know them, or after seconds without an answer.
func (m *Manager) TellHosts(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	m.mu.Lock()
	agents := slices.Collect(maps.Values(m.agents))
	m.mu.Unlock()
	for _, a := range agents {
		if err := a.tellHosts(); err == nil {
			a.awaitHosts(ctx)
		} // else the connection is lost: the next one tells
	}
}

func (r *remote) awaitHosts(ctx context.Context) {
	for {
		r.mu.Lock()
		known, news := maps.Equal(r.heard, r.hosts), r.news
		r.mu.Unlock()
		if known {
			return
		}
		select {
		case <-news:
		case <-r.gone:
			return
		case <-ctx.Done():
			slog.Warn("agent does not answer", "agent", r.id)
			return
		}
	}
}

// terminate ends the agent whatever runs on it; what runs fails and says why.
func (r *remote) terminate(why string) {
	r.mu.Lock()
	for _, s := range r.sinks {
		s.ended.Store(&failure{wherry.TermClusterError, why})
	}
	r.mu.Unlock()
	_ = r.end(true)
}

// ack lets the agent drop a task whose result is stored.
func (r *remote) ack(runID int64, at protocol.Offsets) {
	if err := r.send(protocol.Message{Type: protocol.Ack, RunID: runID, Offsets: at}); err != nil {
		slog.Warn("ack", "run", runID, "error", err) // it is acked when we connect again
	}
}

// lacks reports whether the agent had not got a run when it last answered.
func (r *remote) lacks(runID int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.known[runID]
	return r.conn != nil && !ok
}

// attach has the agent's messages of a run delivered to it.
func (r *remote) attach(s *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.in, s.left = make(chan protocol.Message, 64), make(chan struct{})
	delete(r.awaited, s.RunID)
	if r.dead {
		close(s.in)
		return
	}
	r.sinks[s.RunID] = s
}

func (r *remote) detach(runID int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sinks[runID]; s != nil {
		close(s.left)
		delete(r.sinks, runID)
	}
	r.used = time.Now()
}

// deliver waits while the run is busy storing, unless it has left.
func (r *run) deliver(m protocol.Message) {
	select {
	case r.in <- m:
	case <-r.left:
	}
}

func (r *remote) busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hasTasks()
}

// hasTasks is busy for those who hold the lock.
func (r *remote) hasTasks() bool { return len(r.sinks) > 0 || len(r.awaited) > 0 }

func (r *remote) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn != nil {
		_ = r.conn.Close()
	}
}

// findAgents connects to the agents that live and cleans up after the dead.
func (m *Manager) findAgents(ctx context.Context) error {
	entries, err := os.ReadDir(m.cfg.State.Path("agents"))
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	stored, err := m.cfg.Store.Active(ctx)
	if err != nil {
		return err
	}
	for _, s := range stored {
		wanted[s.AgentID] = true
	}
	for _, e := range entries {
		if err := m.findAgent(ctx, e.Name(), wanted[e.Name()]); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) findAgent(ctx context.Context, id string, wanted bool) error {
	dir := m.cfg.State.Agent(id)
	lock, err := protocol.Lock(dir)
	if err != nil {
		return err
	}
	if lock != nil {
		defer lock.Close()
		if wanted {
			return os.WriteFile(filepath.Join(dir, protocol.EndedFile), nil, 0o600)
		}
		if err := state.RemoveAll(dir); err != nil {
			slog.Warn("what a dead agent left stays", "agent", id, "error", err)
		}
		return nil
	}
	r, err := m.newRemote(id)
	if err == nil {
		err = r.connect()
	}
	if errors.Is(err, errFenced) {
		return err
	}
	m.add(r)
	if err != nil { // it lives, so its tasks do: it is asked again until it does not
		slog.Warn("agent does not answer", "agent", id, "error", err)
		return nil
	}
	_ = r.tellHosts() // a lost connection is noticed by its reader
	return m.ackSettled(ctx, r)
}

// ackSettled lets an agent drop the tasks whose results are stored.
func (m *Manager) ackSettled(ctx context.Context, r *remote) error {
	for id, s := range r.known {
		stored, err := m.cfg.Store.Attempt(ctx, id)
		if err != nil && wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			return err
		}
		if err != nil || stored.Done {
			if s.Done {
				r.ack(id, s.Offsets)
			} else {
				_ = r.send(protocol.Message{Type: protocol.Cancel, RunID: id})
			}
		}
	}
	return nil
}
