package task

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent/protocol"
)

// Spec is what a task is run with.
type Spec struct {
	Task  protocol.Task
	Spool *Spool
	// Folder is the task's own folder, and Inside the same as the task sees it.
	Folder, Inside string
	Env            map[string]string
	// Cwd is the working directory as the task sees it.
	Cwd     string
	Tree    *TreeMount
	Isolate bool
	UID     int
	// OutputLimit bounds stdout and stderr, and each kind of event that
	// carries output, in bytes.
	OutputLimit int64
	// Spark starts the cluster's driver if it does not run and attaches the
	// task; what it returns goes to the task as it is.
	Spark func(context.Context, protocol.Task) (json.RawMessage, error)
	// End is called when the process has ended, before the result is said.
	End func(context.Context) error
}

// Task is a task that was given to an agent.
type Task struct {
	spec Spec

	mu       sync.Mutex
	control  *net.UnixConn
	canceled bool
	grace    *time.Timer // kills a task that was told to end; nil before
}

// New returns a task that does not run yet.
func New(s Spec) *Task { return &Task{spec: s} }

// Spool returns where its output goes.
func (t *Task) Spool() *Spool { return t.spec.Spool }

// Cancel ends the task: one that has a grace is interrupted, and killed if it
// goes on after that. Its result is then CANCELED, if it had not said another
// before.
func (t *Task) Cancel() {
	t.mu.Lock()
	defer t.mu.Unlock()
	grace := time.Duration(t.spec.Task.GraceMillis) * time.Millisecond
	switch {
	case t.grace != nil: // it knows
	case grace > 0 && t.control != nil && !t.canceled:
		_, _ = t.control.Write([]byte(`{"op":"interrupt"}`))
		t.grace = time.AfterFunc(grace, t.Kill)
	default:
		t.kill()
	}
	t.canceled = true
}

// Kill is Cancel without a grace: the task ends at once, with all its
// descendants.
func (t *Task) Kill() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.canceled = true
	t.kill()
}

func (t *Task) kill() {
	if t.control != nil {
		_, _ = t.control.Write([]byte(`{"op":"kill"}`))
	}
}

func (t *Task) isCanceled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.canceled
}

// ended tells whether the task was canceled before it ended.
func (t *Task) ended() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.grace != nil {
		t.grace.Stop()
	}
	return t.canceled
}

// Fail ends a task that could not be started.
func (t *Task) Fail(code, message string) error {
	r := wherry.Result{State: wherry.ResultFailed, Code: code, Message: message, Error: message}
	if t.isCanceled() {
		r = decide(summary{}, ending{canceled: true})
	}
	return t.spec.Spool.End(r)
}

// Run forks the task from z and returns when it has ended and all its output
// is in the spool. The result is in the spool too; not so with ErrGone, when the
// task has not begun.
func (t *Task) Run(ctx context.Context, z *Zygote) error {
	p, err := t.fork(ctx, z)
	if errors.Is(err, ErrGone) {
		return err
	}
	if err != nil {
		return t.Fail("DRIVER_ERROR", "the task could not be started: "+err.Error())
	}
	defer func() { _ = p.control.Close() }()
	var streams sync.WaitGroup
	var sum summary
	streams.Go(func() { t.copyOut(p.out) })
	streams.Go(func() { t.copyEvents(p.events, &sum) })
	end := t.watch(ctx, p.control)
	// A process that the task left behind, where nothing could stop that, may
	// hold the pipes open for ever.
	grace := time.AfterFunc(3*time.Second, func() { p.out.Close(); p.events.Close() })
	streams.Wait()
	grace.Stop()
	p.out.Close()
	p.events.Close()
	if t.spec.End != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
		if err := t.spec.End(ctx); err != nil {
			slog.Warn("end of a task", "run", t.spec.Task.RunID, "error", err)
		}
		cancel()
	}
	end.canceled = t.ended()
	return t.spec.Spool.End(decide(sum, end))
}

type process struct {
	out, events *os.File
	control     *net.UnixConn
}

// fork hands the write ends to the zygote. They are not in Go's poller: the
// task must find them blocking.
func (t *Task) fork(ctx context.Context, z *Zygote) (p *process, err error) {
	out, outW, err := pipe()
	if err != nil {
		return nil, err
	}
	defer outW.Close()
	events, eventsW, err := pipe()
	if err != nil {
		out.Close()
		return nil, err
	}
	defer eventsW.Close()
	ours, theirs, err := SocketPair()
	if err != nil {
		out.Close()
		events.Close()
		return nil, err
	}
	defer theirs.Close()
	p = &process{out: out, events: events, control: ours}
	req, err := t.request()
	if err == nil {
		_, err = z.Fork(ctx, req, outW, eventsW, theirs)
	}
	if err != nil {
		out.Close()
		events.Close()
		_ = ours.Close()
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.control = ours
	if t.canceled { // while it was being forked
		_, _ = ours.Write([]byte(`{"op":"kill"}`))
	}
	return p, nil
}

func (t *Task) request() (Request, error) {
	s := t.spec
	r := Request{ID: strconv.FormatInt(s.Task.RunID, 10), Kind: s.Task.Kind, Task: &s.Task, Env: s.Env, Cwd: s.Cwd, Tree: s.Tree, UID: s.UID, Isolate: s.Isolate}
	b, err := json.Marshal(r)
	if err != nil || len(b) < packetLimit {
		return r, err
	}
	if b, err = json.Marshal(r.Task); err != nil {
		return r, err
	}
	r.Task, r.TaskFile = nil, filepath.Join(s.Inside, "task.json")
	return r, os.WriteFile(filepath.Join(s.Folder, "task.json"), b, 0o644)
}

// copyOut spools stdout and stderr up to the limit, then reads on and drops.
func (t *Task) copyOut(r io.Reader) {
	b := make([]byte, 64<<10)
	left := t.spec.OutputLimit
	for {
		n, err := r.Read(b)
		keep := min(int64(n), left)
		if keep > 0 {
			_ = t.spec.Spool.Append(protocol.Out, b[:keep]) // a full disk must not stop the task
		}
		if keep < int64(n) && left >= 0 {
			_ = t.spec.Spool.Append(protocol.Out, fmt.Appendf(nil, "\n[wherry: the output is cut here, at %d MB]\n", t.spec.OutputLimit>>20))
			left = -1
		} else if left > 0 {
			left -= keep
		}
		if err != nil {
			return
		}
	}
}

// copyEvents spools whole lines and reads from them what decides the result.
func (t *Task) copyEvents(r io.Reader, sum *summary) {
	br := bufio.NewReaderSize(r, 64<<10)
	left := t.spec.OutputLimit
	for {
		line, err := br.ReadBytes('\n')
		if err != nil {
			return // an unfinished line is nobody's
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			continue
		}
		if e.Type == "output" {
			if left -= int64(len(line)); left < 0 {
				continue
			}
		}
		_ = t.spec.Spool.Append(protocol.Events, line)
		sum.add(e)
		switch e.Type {
		case "started":
			t.spec.Spool.SetRunning(e.T)
		case "note":
			t.spec.Spool.SetNote(e.Text)
		}
	}
}

// watch serves the control socket until the task has ended.
func (t *Task) watch(ctx context.Context, control *net.UnixConn) ending {
	b := make([]byte, 64<<10)
	var asked sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer asked.Wait()
	defer cancel()
	for {
		n, err := control.Read(b)
		if err != nil || n == 0 {
			return ending{lost: true, At: time.Now().UnixMilli()}
		}
		var m struct {
			Op string `json:"op"`
			ending
		}
		if json.Unmarshal(b[:n], &m) != nil {
			continue
		}
		switch {
		case m.Op == "spark":
			asked.Go(func() { t.attachSpark(ctx, control) })
		case bytes.Contains(b[:n], []byte(`"exit"`)):
			m.ending.At = time.Now().UnixMilli()
			return m.ending
		}
	}
}

func (t *Task) attachSpark(ctx context.Context, control *net.UnixConn) {
	answer := map[string]any{}
	if t.spec.Spark == nil {
		answer["error"] = "this cluster has no Spark"
	} else if session, err := t.spec.Spark(ctx, t.spec.Task); err != nil {
		answer["error"] = err.Error()
	} else {
		answer["spark"] = session
	}
	if b, err := json.Marshal(answer); err == nil {
		_, _ = control.Write(b)
	}
}
