package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/task"
)

// serve speaks with one server until its connection ends or a newer server
// takes over.
func (a *Agent) serve(ctx context.Context, conn *protocol.Conn) error {
	hello, err := a.greet(conn)
	if err != nil || hello == nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var streams sync.WaitGroup
	defer func() {
		cancel()
		_ = conn.Close()
		streams.Wait()
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.conn == conn {
			a.conn = nil
			a.settle()
		}
	}()
	for {
		m, _, err := conn.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if a.isFenced(hello.Epoch) {
			return conn.Send(protocol.Message{Type: protocol.Fenced, Epoch: hello.Epoch})
		}
		switch m.Type {
		case protocol.Run:
			err = a.run(ctx, conn, m.Task)
		case protocol.Attach:
			if t := a.task(m.RunID); t != nil {
				streams.Go(func() { stream(ctx, conn, m.RunID, t.Spool(), m.Offsets) })
			}
		case protocol.Ack:
			a.forget(m.RunID, m.Offsets)
		case protocol.Cancel:
			if t := a.task(m.RunID); t != nil {
				t.Cancel()
			}
		case protocol.Listeners:
			err = a.sendListeners(conn)
		case protocol.Hosts:
			if herr := a.box.SetHosts(m.Hosts); herr != nil {
				slog.Warn("hosts", "error", herr) // the server sees that no answer comes
			} else {
				err = conn.Send(protocol.Message{Type: protocol.Hosts, Hosts: m.Hosts})
			}
		case protocol.End:
			a.endIfIdle(m.Force)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.Type, err)
		}
	}
}

// greet answers the first message; it returns nil if the connection is refused.
func (a *Agent) greet(conn *protocol.Conn) (*protocol.Message, error) {
	hello, _, err := conn.Receive()
	if err != nil {
		return nil, err
	}
	uid, err := conn.PeerUID()
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if hello.Type != protocol.Hello || hello.Token != a.token || hello.Epoch <= a.epoch || int(uid) != os.Getuid() {
		return nil, conn.Send(protocol.Message{Type: protocol.Fenced, Epoch: a.epoch})
	}
	// Durable before it is effective: a restarted machine must not let an older server in.
	if err := writeEpoch(a.dir, hello.Epoch); err != nil {
		return nil, err
	}
	a.epoch = hello.Epoch
	if a.conn != nil {
		_ = a.conn.Close()
	}
	a.conn = conn
	a.settle()
	welcome := protocol.Message{Type: protocol.Welcome, PID: os.Getpid(), Epoch: a.epoch, Version: protocol.Version, Build: a.build}
	if !a.box.Isolated() {
		welcome.Plain = a.box.Layers()[0].Detail
	}
	for id, t := range a.tasks {
		p, _ := t.Spool().Progress()
		welcome.Tasks = append(welcome.Tasks, protocol.State{RunID: id, Offsets: p.Offsets, Done: p.Result != nil})
	}
	return &hello, conn.Send(welcome)
}

func (a *Agent) isFenced(epoch int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.epoch != epoch
}

func (a *Agent) task(runID int64) *task.Task {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tasks[runID]
}

// forget drops a finished task once the server has all of it.
func (a *Agent) forget(runID int64, at protocol.Offsets) {
	a.mu.Lock()
	t := a.tasks[runID]
	if t == nil {
		a.mu.Unlock()
		return
	}
	p, _ := t.Spool().Progress()
	if p.Result == nil || p.Offsets != at {
		a.mu.Unlock()
		slog.Warn("ack before the end of a task", "run", runID, "acked", at, "have", p.Offsets)
		return
	}
	delete(a.tasks, runID)
	a.mu.Unlock()
	// What can not be deleted lies there until the agent's folder goes.
	if err := errors.Join(t.Spool().Remove(), state.RemoveAll(a.taskFolder(runID))); err != nil {
		slog.Warn("forget a task", "run", runID, "error", err)
	}
}

func (a *Agent) endIfIdle(force bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if force || a.running == 0 {
		a.end()
	}
}

// chunk is how much of a stream one message carries at most.
const chunk = 128 << 10

// stream sends what the spool holds and gets, from the offsets on, and at last
// the result.
func stream(ctx context.Context, conn *protocol.Conn, runID int64, spool *task.Spool, at protocol.Offsets) {
	buf := make([]byte, chunk)
	saidRunning, saidNote := false, ""
	for {
		p, changed := spool.Progress()
		err := sendNews(conn, runID, p, &saidRunning, &saidNote)
		if err == nil {
			err = sendStream(conn, runID, spool, protocol.Out, buf, &at.Out, p.Offsets.Out)
		}
		if err == nil {
			err = sendStream(conn, runID, spool, protocol.Events, buf, &at.Events, p.Offsets.Events)
		}
		if err == nil && p.Result != nil {
			err = conn.Send(protocol.Message{Type: protocol.Exit, RunID: runID, Result: p.Result, Offsets: at})
		}
		if err != nil || p.Result != nil {
			return // a broken connection is noticed by its reader
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func sendNews(conn *protocol.Conn, runID int64, p task.Progress, saidRunning *bool, saidNote *string) error {
	if p.Note != *saidNote {
		*saidNote = p.Note
		if err := conn.Send(protocol.Message{Type: protocol.Note, RunID: runID, Text: p.Note}); err != nil {
			return err
		}
	}
	if p.Running > 0 && !*saidRunning {
		*saidRunning = true
		return conn.Send(protocol.Message{Type: protocol.Running, RunID: runID, At: p.Running})
	}
	return nil
}

func sendStream(conn *protocol.Conn, runID int64, spool *task.Spool, name string, buf []byte, at *int64, end int64) error {
	for *at < end {
		n, err := spool.ReadAt(name, buf[:min(int64(len(buf)), end-*at)], *at)
		if n == 0 {
			return fmt.Errorf("read spool: %w", err)
		}
		if err := conn.Send(protocol.Message{Type: protocol.Data, RunID: runID, Stream: name, Offset: *at, Data: buf[:n]}); err != nil {
			return err
		}
		*at += int64(n)
	}
	return nil
}
