package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent/protocol"
)

// Output is committed when so much of it waits, or the oldest of it has waited
// so long.
const (
	flushBytes = 256 << 10
	flushAfter = 50 * time.Millisecond
	// A task that ends within this time is never said to run: its end says all,
	// and costs one commit instead of two.
	sayRunningAfter = 20 * time.Millisecond
)

// follower stores what one running task sends.
type follower struct {
	m         *Manager
	run       *run
	agent     *remote
	clusterID string
	task      *protocol.Task // nil until it is needed, if an earlier server has sent it
	sent      bool           // by us
	out       *output
	running   <-chan time.Time // when to say that it runs; nil before it does, and afterwards
}

// send has the agent stream the run from where we are, after the task itself
// if the agent has not got it. A lost connection is no error: the next one has
// us send again.
func (f *follower) send(ctx context.Context) error {
	if f.agent.lacks(f.run.RunID) {
		if f.task == nil { // the last server was killed before it could send it
			var err error
			if f.task, err = f.m.taskAgain(ctx, f.run, f.agent.id, f.clusterID); err != nil {
				return err
			}
		}
		f.sent = true
		f.tell(f.agent.tellHosts())
		f.tell(f.agent.send(protocol.Message{Type: protocol.Run, Task: f.task}))
	}
	f.attach()
	if f.run.isCanceled() {
		f.cancel()
	}
	return nil
}

func (f *follower) attach() {
	f.tell(f.agent.send(protocol.Message{Type: protocol.Attach, RunID: f.run.RunID, Offsets: f.out.written}))
}

func (f *follower) cancel() {
	f.tell(f.agent.send(protocol.Message{Type: protocol.Cancel, RunID: f.run.RunID}))
}

func (f *follower) tell(err error) {
	if err != nil {
		slog.Warn("agent is not reached", "run", f.run.RunID, "agent", f.agent.id, "error", err)
	}
}

// abort cancels a task that can not be followed and waits until it has ended;
// what it still says is dropped.
func (f *follower) abort(ctx context.Context) {
	if !f.sent && f.agent.lacks(f.run.RunID) {
		return
	}
	f.cancel()
	f.attach()
	for {
		select {
		case <-ctx.Done():
			return
		case m, ok := <-f.run.in:
			switch {
			case !ok, m.Type == protocol.Attach && f.agent.lacks(f.run.RunID):
				return
			case m.Type == protocol.Attach:
				f.cancel()
				f.attach()
			case m.Type == protocol.Exit:
				f.agent.ack(f.run.RunID, m.Offsets)
				return
			}
		}
	}
}

// follow returns the result once all output before it is in the files; what
// the store does not know of it yet is committed with the result.
func (f *follower) follow(ctx context.Context) (*wherry.Result, error) {
	var flush <-chan time.Time
	canceled := f.run.canceled
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-canceled:
			canceled = nil
			f.cancel()
		case <-f.running:
			f.running = nil
			if err := f.m.cfg.Runs.AttemptRunning(ctx, f.run.RunID, f.clusterID); err != nil {
				return nil, err
			}
		case <-flush:
			flush = nil
			if err := f.commit(ctx); err != nil {
				return nil, err
			}
		case m, ok := <-f.run.in:
			if !ok {
				return f.m.deadResult(f.run, f.agent.id, f.out)
			}
			result, err := f.receive(ctx, m)
			if result != nil || err != nil {
				return result, err
			}
			if f.out.waiting() >= flushBytes {
				flush = nil
				if err := f.commit(ctx); err != nil {
					return nil, err
				}
			} else if f.out.waiting() > 0 && flush == nil {
				flush = time.After(flushAfter)
			}
		}
	}
}

func (f *follower) receive(ctx context.Context, m protocol.Message) (*wherry.Result, error) {
	switch m.Type {
	case protocol.Running:
		f.run.started = time.UnixMilli(m.At)
		f.running = time.After(sayRunningAfter)
		return nil, nil
	case protocol.Note:
		return nil, f.m.say(ctx, f.run, m.Text)
	case protocol.Data:
		return nil, f.out.write(m.Stream, m.Offset, m.Data)
	case protocol.Attach: // the connection was made anew
		return nil, f.send(ctx)
	case protocol.Exit:
		if m.Offsets != f.out.written {
			return nil, fmt.Errorf("run %d ended at %+v, its output is at %+v", f.run.RunID, m.Offsets, f.out.written)
		}
		if !f.run.started.IsZero() {
			m.Result.SetupMillis = max(0, f.run.started.Sub(f.run.asked).Milliseconds())
		}
		f.run.measure(m.Result)
		return m.Result, nil
	}
	return nil, nil
}

func (f *follower) commit(ctx context.Context) error {
	if f.out.stored == f.out.written {
		return nil
	}
	if err := f.m.cfg.Store.Advance(ctx, f.run.RunID, f.m.cfg.Epoch, f.out.stored, f.out.written); err != nil {
		return err
	}
	f.out.stored = f.out.written
	return nil
}

// output is the files of a run's streams. Bytes at one offset are always the
// same bytes, so that a server which was replaced can not spoil them.
type output struct {
	files   map[string]*os.File
	stored  protocol.Offsets // what the store knows
	written protocol.Offsets // what the files hold
}

// openOutput opens or makes the files in dir and cuts them at the stored
// offsets. A file that is shorter, after a crash of the machine, lowers them.
// With an error the output knows its offsets only.
func openOutput(dir string, stored protocol.Offsets) (*output, error) {
	o := &output{files: map[string]*os.File{}, stored: stored, written: stored}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return o, err
	}
	for _, stream := range []string{protocol.Out, protocol.Events} {
		f, err := os.OpenFile(filepath.Join(dir, stream), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return o, err
		}
		o.files[stream] = f
		info, err := f.Stat()
		at := o.at(stream)
		if err == nil {
			*at = min(*at, info.Size())
		}
		if err == nil && *at < info.Size() {
			err = f.Truncate(*at)
		}
		if err != nil {
			return o, err
		}
	}
	o.stored = o.written
	return o, nil
}

func (o *output) at(stream string) *int64 {
	if stream == protocol.Events {
		return &o.written.Events
	}
	return &o.written.Out
}

// write adds data that belongs at off; what is there already is left out.
func (o *output) write(stream string, off int64, data []byte) error {
	at, file := o.at(stream), o.files[stream]
	if file == nil || off > *at {
		return fmt.Errorf("%s at %d came while %d was expected", stream, off, *at)
	}
	if skip := *at - off; skip < int64(len(data)) {
		n, err := file.WriteAt(data[skip:], *at)
		*at += int64(n)
		return err
	}
	return nil
}

// appendFile adds what name holds beyond what we have.
func (o *output) appendFile(stream, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	at := o.at(stream)
	buf := make([]byte, 128<<10)
	for {
		n, err := f.ReadAt(buf, *at)
		if n > 0 {
			if werr := o.write(stream, *at, buf[:n]); werr != nil {
				return werr
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (o *output) waiting() int64 {
	return o.written.Out - o.stored.Out + o.written.Events - o.stored.Events
}

func (o *output) close() {
	for _, f := range o.files {
		_ = f.Close()
	}
}
