package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
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
	stored, err := m.cfg.Store.Attempt(ctx, r.RunID)
	if err == nil && stored.Done {
		return nil
	}
	fresh := wherry.CodeOf(err) == wherry.CodeDoesNotExist
	for range 3 {
		switch {
		case fresh:
			err = m.begin(ctx, r)
		case err == nil:
			err = m.resume(ctx, r, stored)
		}
		fresh = true
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
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			result.Message = "the disk of the state directory is full: what the task wrote could not be stored, so it was ended"
			result.Error = result.Message
		}
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
	if why := agent.isolation(); why != "" {
		r.notes = append(slices.Clone(r.notes), "tasks are not isolated here, and can read what you can: "+why)
		if err := m.say(ctx, r, ""); err != nil {
			return err
		}
	}
	task.ClusterID = clusterID
	task.Token, err = m.cfg.Store.Assign(ctx, compute.Attempt{
		RunID: r.RunID, WorkspaceID: r.WorkspaceID, ClusterID: clusterID, AgentID: agent.id, Epoch: m.cfg.Epoch, AskedAt: r.asked,
	}, r.RunAs.ID)
	if err != nil {
		return err
	}
	if err := m.arm(ctx, r, task); err != nil {
		return err
	}
	return m.follow(ctx, &follower{m: m, run: r, agent: agent, clusterID: clusterID, task: task}, protocol.Offsets{})
}

// resume goes on with an attempt that was sent to an agent.
func (m *Manager) resume(ctx context.Context, r *run, stored compute.Attempt) error {
	r.asked = stored.AskedAt
	agent := m.agent(stored.AgentID)
	if agent == nil { // dead: its folder holds all there is
		return m.autopsy(ctx, r, stored)
	}
	agent.attach(r)
	defer agent.detach(r.RunID)
	return m.follow(ctx, &follower{m: m, run: r, agent: agent, clusterID: stored.ClusterID}, stored.Offsets)
}

// taskAgain makes the task of an attempt whose agent never got it.
func (m *Manager) taskAgain(ctx context.Context, r *run, agentID, clusterID string) (*protocol.Task, error) {
	task, err := m.task(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := m.keepSource(task); err != nil {
		return nil, err
	}
	task.ClusterID = clusterID
	task.Token, err = m.cfg.Store.Assign(ctx, compute.Attempt{
		RunID: r.RunID, WorkspaceID: r.WorkspaceID, ClusterID: clusterID, AgentID: agentID, Epoch: m.cfg.Epoch, AskedAt: r.asked,
	}, r.RunAs.ID)
	if err == nil {
		err = m.arm(ctx, r, task)
	}
	return task, err
}

// follow has the task sent and stores what comes until the end. A task that we
// fail to follow does not run on.
func (m *Manager) follow(ctx context.Context, f *follower, stored protocol.Offsets) error {
	var exit *wherry.Result
	out, err := openOutput(m.cfg.State.Run(f.run.RunID), stored)
	f.out = out
	defer out.close()
	if err == nil && f.task == nil { // else Assign has made it ours
		err = m.cfg.Store.TakeOver(ctx, f.run.RunID, m.cfg.Epoch, out.stored)
	}
	if err == nil {
		err = f.send(ctx)
	}
	if err == nil {
		exit, err = f.follow(ctx)
	}
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, errNeverBegan) && wherry.CodeOf(err) != wherry.CodeAborted {
			f.abort(ctx)
		}
		return err
	}
	if err := m.settle(ctx, f.run, f.clusterID, *exit, f.out.stored, f.out.written); err != nil {
		return err
	}
	f.agent.ack(f.run.RunID, f.out.written)
	if f.agent.config.Single {
		_ = f.agent.end(false) // one that is gone has ended
	}
	return nil
}

// autopsy takes from a dead agent's spool what it still wrote.
func (m *Manager) autopsy(ctx context.Context, r *run, stored compute.Attempt) error {
	out, err := openOutput(m.cfg.State.Run(r.RunID), stored.Offsets)
	defer out.close()
	if err != nil {
		return err
	}
	if err := m.cfg.Store.TakeOver(ctx, r.RunID, m.cfg.Epoch, out.stored); err != nil {
		return err
	}
	result, err := m.deadResult(r, stored.AgentID, out)
	if err != nil {
		return err
	}
	return m.settle(ctx, r, stored.ClusterID, *result, out.stored, out.written)
}

// deadResult reads the rest of the spool of a task that has ended or whose agent
// is gone: nothing of it is ever written again.
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
