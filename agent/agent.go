// Package agent is the process that does a cluster's work and outlives the
// server: it holds the box, the zygote, the tasks with their spools, and the
// Spark driver, and serves one server at a time.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/task"
)

// Agent is one running agent.
type Agent struct {
	dir    string
	config protocol.Config
	token  string
	build  string
	paths  string
	box    *sandbox.Box
	python *python
	driver *driver
	end    context.CancelFunc
	work   sync.WaitGroup // tasks and connections

	mu      sync.Mutex
	epoch   int64
	conn    *protocol.Conn // of the newest server, nil without one
	tasks   map[int64]*task.Task
	running int
	quiet   *time.Timer
}

// Run is the agent of dir until it is told to end, or has had no server and no
// work for the configured time. Ready, if it is given, is written to once
// servers can connect.
func Run(ctx context.Context, dir, build string, ready *os.File) error {
	lock, err := protocol.Lock(dir)
	if err != nil {
		return err
	}
	if lock == nil {
		return fmt.Errorf("another agent has %s", dir)
	}
	defer lock.Close()
	if _, err := os.Stat(filepath.Join(dir, protocol.EndedFile)); err == nil {
		return errors.New("the server has given this agent up")
	}
	if err := lock.Truncate(0); err == nil {
		_, _ = fmt.Fprintln(lock, os.Getpid()) // for people
	}
	a, err := open(dir, build)
	if err != nil {
		return err
	}
	ctx, a.end = context.WithCancel(ctx)
	defer a.end()
	if err := a.startBox(ctx); err != nil {
		return err
	}
	defer func() { _ = a.box.Close() }()
	a.driver = &driver{a: a, turn: make(chan struct{}, 1)}
	defer a.driver.stop()
	if err := a.startPython(); err != nil {
		return err
	}
	return a.listen(ctx, ready)
}

func open(dir, build string) (*Agent, error) {
	a := &Agent{dir: dir, build: build, tasks: map[int64]*task.Task{}}
	b, err := os.ReadFile(filepath.Join(dir, protocol.ConfigFile))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &a.config); err != nil {
		return nil, fmt.Errorf("read %s: %w", protocol.ConfigFile, err)
	}
	if b, err = os.ReadFile(filepath.Join(dir, protocol.TokenFile)); err != nil {
		return nil, err
	}
	a.token = strings.TrimSpace(string(b))
	if a.epoch, err = readEpoch(dir); err != nil {
		return nil, err
	}
	for _, d := range []string{protocol.SpoolDir, protocol.RunDir} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *Agent) listen(ctx context.Context, ready *os.File) error {
	l, err := protocol.Listen(a.dir)
	if err != nil {
		return err
	}
	if ready != nil {
		_, err = ready.WriteString("ok\n")
		if err = errors.Join(err, ready.Close()); err != nil {
			return fmt.Errorf("tell the server: %w", err)
		}
	}
	a.mu.Lock()
	a.quiet = time.AfterFunc(time.Hour, func() { a.endIfQuiet() })
	a.settle()
	a.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		_ = l.Close()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.quiet.Stop()
		if a.conn != nil {
			_ = a.conn.Close()
		}
	})
	defer stop()
	for {
		c, err := l.AcceptUnix()
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		conn := protocol.NewConn(c)
		a.work.Go(func() {
			defer func() { _ = conn.Close() }()
			if err := a.serve(ctx, conn); err != nil {
				slog.Warn("connection ended", "error", err)
			}
		})
	}
	a.mu.Lock()
	for _, t := range a.tasks {
		t.Kill()
	}
	a.mu.Unlock()
	a.work.Wait()
	a.python.stop()
	return nil
}

// settle is called with mu held whenever a server came or went or a task began
// or ended: it winds the clock that ends an agent nobody needs.
func (a *Agent) settle() {
	if a.conn != nil || a.running > 0 {
		a.quiet.Stop()
		return
	}
	a.quiet.Reset(time.Duration(a.config.IdleMillis) * time.Millisecond)
}

func (a *Agent) endIfQuiet() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn == nil && a.running == 0 {
		slog.Info("no server and nothing to do: ending")
		a.end()
	}
}

func readEpoch(dir string) (int64, error) {
	b, err := os.ReadFile(filepath.Join(dir, protocol.EpochFile))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// writeEpoch is durable when it returns.
func writeEpoch(dir string, epoch int64) (err error) {
	name := filepath.Join(dir, protocol.EpochFile)
	f, err := os.OpenFile(name+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, epoch)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}
