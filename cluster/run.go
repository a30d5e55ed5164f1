package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/compute"
)

// run is one attempt in the hands of this server.
type run struct {
	wherry.Attempt
	asked    time.Time
	started  time.Time // when user code began; zero before
	cancel   func()
	canceled chan struct{}
	in       chan protocol.Message   // from the agent; closed when the agent is gone
	ended    atomic.Pointer[failure] // why its cluster was ended
	notes    []string                // what is different from what was asked for
	said     string                  // the last message
	left     chan struct{}           // closed when nobody reads in any more
}

func newRun(a wherry.Attempt) *run {
	r := &run{Attempt: a, asked: time.Now(), canceled: make(chan struct{})}
	r.cancel = sync.OnceFunc(func() { close(r.canceled) })
	return r
}

func (r *run) isCanceled() bool {
	select {
	case <-r.canceled:
		return true
	default:
		return false
	}
}

// failure ends an attempt before or beside its task.
type failure struct {
	code, message string
}

func (f *failure) Error() string { return f.message }

// errNeverBegan is returned for an agent that died before it had the task.
var errNeverBegan = errors.New("the agent never began the task")

// attempt takes one attempt to its result. An error ends the server: it can
// not store results.
func (m *Manager) attempt(ctx context.Context, r *run) error {
	for range 3 {
		stored, err := m.cfg.Store.Attempt(ctx, r.RunID)
		switch {
		case err == nil && stored.Done:
			return nil
		case err == nil:
			err = m.resume(ctx, r, stored)
		case wherry.CodeOf(err) == wherry.CodeDoesNotExist:
			err = m.begin(ctx, r)
		}
		if errors.Is(err, errNeverBegan) {
			slog.Warn("starting again on another agent", "run", r.RunID)
			continue
		}
		return m.settleFailure(ctx, r, err)
	}
	return m.settleFailure(ctx, r, &failure{"DRIVER_ERROR", "three agents ended before they could begin the task: see agents/*/agent.log in the state directory"})
}

// settleFailure stores the end of an attempt that brought no result of its own.
func (m *Manager) settleFailure(ctx context.Context, r *run, err error) error {
	if err == nil || ctx.Err() != nil || errors.Is(err, errFenced) {
		return err
	}
	result := wherry.Result{State: wherry.ResultFailed, Code: "INTERNAL_ERROR", Message: "internal error, see the server's log"}
	f, ok := errors.AsType[*failure](err)
	switch e, isWire := errors.AsType[*wherry.Error](err); {
	case r.isCanceled():
		result = wherry.Result{State: wherry.ResultCanceled, Code: wherry.TermUserCanceled, Message: "Canceled"}
	case ok:
		result.Code, result.Message, result.Error = f.code, f.message, f.message
	case isWire && e.Code == wherry.CodeAborted:
		return errors.Join(errFenced, err)
	case isWire:
		result.Code, result.Message, result.Error = wherry.TermInvalidRun, e.Message, e.Message
	default:
		slog.Error("attempt", "run", r.RunID, "error", err)
	}
	at := protocol.Offsets{}
	if stored, serr := m.cfg.Store.Attempt(ctx, r.RunID); serr == nil {
		at = stored.Offsets
	}
	return m.settle(ctx, r, "", result, at, at)
}

// settle stores the result with the last of the output, in one transaction.
func (m *Manager) settle(ctx context.Context, r *run, clusterID string, result wherry.Result, from, to protocol.Offsets) error {
	if why := r.ended.Load(); why != nil && result.State != wherry.ResultSuccess && !r.isCanceled() {
		result = wherry.Result{
			State: wherry.ResultFailed, Code: why.code, Message: why.message, Error: why.message,
			SetupMillis: result.SetupMillis, ExecutionMillis: result.ExecutionMillis,
		}
	}
	if txRuns, ok := m.cfg.Runs.(interface {
		AttemptDoneTx(*store.Tx, int64, string, wherry.Result) error
	}); ok {
		return m.cfg.Store.Finish(ctx, r.RunID, m.cfg.Epoch, from, to, func(tx *store.Tx) error {
			return txRuns.AttemptDoneTx(tx, r.RunID, clusterID, result)
		})
	}
	if from != to {
		if err := m.cfg.Store.Advance(ctx, r.RunID, m.cfg.Epoch, from, to); err != nil {
			return err
		}
	}
	if err := m.cfg.Runs.AttemptDone(ctx, r.RunID, clusterID, result); err != nil {
		return err
	}
	return m.cfg.Store.Finish(ctx, r.RunID, m.cfg.Epoch, to, to, func(*store.Tx) error { return nil })
}

// begin acquires an agent and sends it the task.
func (m *Manager) begin(ctx context.Context, r *run) error {
	if r.isCanceled() {
		return &failure{wherry.TermUserCanceled, "Canceled"}
	}
	task, err := m.task(ctx, r)
	if err != nil {
		return err
	}
	if err := m.keepSource(task); err != nil {
		return err
	}
	agent, clusterID, err := m.acquire(ctx, r)
	if err != nil {
		return err
	}
	defer agent.detach(r.RunID)
	task.ClusterID = clusterID
	task.Token, err = m.cfg.Store.Assign(ctx, compute.Attempt{
		RunID: r.RunID, WorkspaceID: r.WorkspaceID, ClusterID: clusterID, AgentID: agent.id, Epoch: m.cfg.Epoch, AskedAt: r.asked,
	}, r.RunAs.ID)
	if err != nil {
		return err
	}
	return m.follow(ctx, r, agent, clusterID, task, protocol.Offsets{})
}

// resume goes on with an attempt that was sent to an agent.
func (m *Manager) resume(ctx context.Context, r *run, stored compute.Attempt) error {
	r.asked = stored.AskedAt
	agent := m.agent(stored.AgentID)
	if agent == nil { // dead: its folder holds all there is
		return m.autopsy(ctx, r, stored)
	}
	var task *protocol.Task
	if !agent.knows(r.RunID) { // the last server was killed before it could send it
		var err error
		if task, err = m.task(ctx, r); err != nil {
			return err
		}
		if err := m.keepSource(task); err != nil {
			return err
		}
		task.ClusterID = stored.ClusterID
		stored.Epoch = m.cfg.Epoch
		if task.Token, err = m.cfg.Store.Assign(ctx, stored, r.RunAs.ID); err != nil {
			return err
		}
	}
	agent.attach(r)
	defer agent.detach(r.RunID)
	return m.follow(ctx, r, agent, stored.ClusterID, task, stored.Offsets)
}

// follow sends the task, if it is given, and stores what comes until the end.
func (m *Manager) follow(ctx context.Context, r *run, agent *remote, clusterID string, task *protocol.Task, stored protocol.Offsets) error {
	out, err := openOutput(m.cfg.State.Run(r.RunID), stored)
	if err != nil {
		return err
	}
	defer out.close()
	if task == nil { // else Assign has made it ours
		if err := m.cfg.Store.TakeOver(ctx, r.RunID, m.cfg.Epoch, out.stored); err != nil {
			return err
		}
	}
	f := &follower{m: m, run: r, agent: agent, clusterID: clusterID, out: out}
	if err := f.send(task); err != nil {
		slog.Warn("send task", "run", r.RunID, "error", err) // the connection is lost: the agent says more
	}
	exit, err := f.follow(ctx)
	if err != nil {
		return err
	}
	if err := m.settle(ctx, r, clusterID, *exit, out.stored, out.written); err != nil {
		return err
	}
	agent.ack(r.RunID, out.written)
	return nil
}

// autopsy takes from a dead agent's spool what it still wrote.
func (m *Manager) autopsy(ctx context.Context, r *run, stored compute.Attempt) error {
	out, err := openOutput(m.cfg.State.Run(r.RunID), stored.Offsets)
	if err != nil {
		return err
	}
	defer out.close()
	if err := m.cfg.Store.TakeOver(ctx, r.RunID, m.cfg.Epoch, out.stored); err != nil {
		return err
	}
	result, err := m.deadResult(r, stored.AgentID, out)
	if err != nil {
		return err
	}
	return m.settle(ctx, r, stored.ClusterID, *result, out.stored, out.written)
}

// deadResult reads the rest of the spool of an agent that is gone: nothing of
// it is ever written again.
func (m *Manager) deadResult(r *run, agentID string, out *output) (*wherry.Result, error) {
	spool := filepath.Join(m.cfg.State.Agent(agentID), protocol.SpoolDir)
	for _, stream := range []string{protocol.Out, protocol.Events} {
		err := out.appendFile(stream, protocol.SpoolFile(spool, r.RunID, stream))
		if errors.Is(err, os.ErrNotExist) && *out.at(stream) == 0 {
			return nil, errNeverBegan
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	var result wherry.Result
	b, err := os.ReadFile(protocol.SpoolFile(spool, r.RunID, protocol.Outcome))
	if err == nil && json.Unmarshal(b, &result) == nil {
		r.measure(&result)
		return &result, nil
	}
	message := fmt.Sprintf("the agent of the cluster ended unexpectedly while the task ran: see %s", filepath.Join(m.cfg.State.Agent(agentID), protocol.LogFile))
	result = wherry.Result{State: wherry.ResultFailed, Code: "DRIVER_ERROR", Message: message, Error: message}
	if r.isCanceled() {
		result = wherry.Result{State: wherry.ResultCanceled, Code: wherry.TermUserCanceled, Message: "Canceled"}
	}
	r.measure(&result)
	return &result, nil
}

// measure fills in the set-up time, which the agent does not know.
func (r *run) measure(result *wherry.Result) {
	if result.SetupMillis == 0 {
		result.SetupMillis = max(0, time.Since(r.asked).Milliseconds()-result.ExecutionMillis)
	}
}
