package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	out       *output
	running   <-chan time.Time // when to say that it runs; nil before it does, and afterwards
}

func (f *follower) send(task *protocol.Task) error {
	if task != nil {
		if err := f.agent.tellHosts(); err != nil {
			return err
		}
		if err := f.agent.send(protocol.Message{Type: protocol.Run, Task: task}); err != nil {
			return err
		}
	}
	return f.agent.send(protocol.Message{Type: protocol.Attach, RunID: f.run.RunID, Offsets: f.out.written})
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
			_ = f.agent.send(protocol.Message{Type: protocol.Cancel, RunID: f.run.RunID})
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
		if f.run.isCanceled() {
			_ = f.agent.send(protocol.Message{Type: protocol.Cancel, RunID: f.run.RunID})
		}
		return nil, f.send(nil)
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
func openOutput(dir string, stored protocol.Offsets) (*output, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	o := &output{files: map[string]*os.File{}, written: stored}
	for _, stream := range []string{protocol.Out, protocol.Events} {
		f, err := os.OpenFile(filepath.Join(dir, stream), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			o.close()
			return nil, err
		}
		o.files[stream] = f
		info, err := f.Stat()
		if err == nil {
			at := o.at(stream)
			*at = min(*at, info.Size())
			err = f.Truncate(*at)
		}
		if err != nil {
			o.close()
			return nil, err
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
