//go:build linux

// Package site starts the built binary, its servers and commands in a state
// directory of a test's own.
package site

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/state"
)

// farewell is what a test keeps of its time for ending what it started.
const farewell = 30 * time.Second

// Site is the built binary with one state directory, and what was started of
// it. Every process is gone when the test ends.
type Site struct {
	T    *testing.T
	Ctx  context.Context // ends before the test's own limit
	Dir  state.Dir
	Work string      // where commands are started; "" is here
	Info client.Info // of the last server

	wherry string
}

// New makes the set-up and builds the binary. It waits until as many Spark
// drivers as the test starts, at most two, may run on this machine.
func New(t *testing.T, drivers int) *Site {
	t.Helper()
	environment.ForTest(t)
	if drivers > 0 {
		environment.LockJVM(t, drivers)
	}
	ctx := t.Context()
	if end, ok := t.Deadline(); ok { // a loaded machine is no failure: there is no limit but the test's own
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-farewell))
		t.Cleanup(cancel)
	}
	s := &Site{T: t, Ctx: ctx, wherry: filepath.Join(t.TempDir(), "wherry"), Dir: state.Dir(t.TempDir())}
	build := exec.CommandContext(ctx, "go", "build", "-o", s.wherry, "github.com/wherry-ml/wherry/cmd/wherry")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	t.Cleanup(s.endAgents)
	return s
}

// Up starts `wherry up` as a process group of its own and waits until it
// answers. Every server after the first has its addresses.
func (s *Site) Up() *exec.Cmd {
	s.T.Helper()
	listen, storage := "127.0.0.1:0", "127.0.0.1:0"
	if s.Info.URL != "" {
		listen, storage = strings.TrimPrefix(s.Info.URL, "http://"), strings.TrimPrefix(s.Info.StorageURL, "http://")
	}
	log, err := os.OpenFile(s.Dir.Path("server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.T.Fatal(err)
	}
	defer log.Close()
	// Agents that a test leaves by a time-out end soon by themselves.
	c := exec.Command(s.wherry, "up", "--state", string(s.Dir), "--listen", listen, "--storage-listen", storage, "--agent-idle", "2m")
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() { s.down(c) })
	s.Until("the server answers", func() bool {
		_, info, err := client.Local(s.Ctx, s.Dir)
		if err == nil && info.PID == c.Process.Pid {
			s.Info = info
			return true
		}
		if unix.Kill(c.Process.Pid, 0) != nil {
			s.T.Fatalf("the server has ended:\n%s", s.log())
		}
		return false
	})
	return c
}

// down ends a server as a terminal does, and by force if it does not obey.
func (s *Site) down(c *exec.Cmd) {
	if c.ProcessState != nil {
		return
	}
	_ = c.Process.Signal(unix.SIGTERM)
	force := time.AfterFunc(time.Minute, func() {
		s.T.Error("the server does not end on SIGTERM")
		_ = unix.Kill(-c.Process.Pid, unix.SIGKILL)
	})
	err := c.Wait()
	force.Stop()
	if err != nil {
		s.T.Errorf("the server: %v", err)
	}
	if s.T.Failed() {
		s.T.Logf("the server's log:\n%s", s.log())
	}
}

// Kill ends a server and its process group with SIGKILL.
func (s *Site) Kill(c *exec.Cmd) {
	if err := unix.Kill(-c.Process.Pid, unix.SIGKILL); err != nil {
		s.T.Fatal(err)
	}
	_ = c.Wait() // "signal: killed"
}

// Agents are the folders of the agents that live in a state directory.
func (s *Site) Agents(dir state.Dir) (alive []string) {
	s.T.Helper()
	all, err := filepath.Glob(dir.Path("agents", "*"))
	if err != nil {
		s.T.Fatal(err)
	}
	for _, agent := range all {
		lock, err := protocol.Lock(agent)
		switch {
		case os.IsNotExist(err): // gone meanwhile
		case err != nil:
			s.T.Error(err)
		case lock != nil:
			lock.Close() // nobody had it: the agent has ended
		default:
			alive = append(alive, agent)
		}
	}
	return alive
}

// endAgents checks that every agent has ended with the last server, and kills
// those that have not.
func (s *Site) endAgents() {
	if s.T.Failed() {
		agents, err := filepath.Glob(s.Dir.Path("agents", "*"))
		if err != nil {
			s.T.Error(err)
		}
		for _, dir := range agents {
			log, _ := os.ReadFile(filepath.Join(dir, protocol.LogFile))
			s.T.Logf("agent %s:\n%s", filepath.Base(dir), log)
		}
	}
	for _, dir := range s.Agents(s.Dir) {
		s.T.Errorf("agent %s outlives the server", filepath.Base(dir))
		b, _ := os.ReadFile(filepath.Join(dir, protocol.LockFile))
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// Process is a command that runs beside the test.
type Process struct {
	Cmd            *exec.Cmd
	Stdout, Stderr bytes.Buffer
	Ended          chan struct{}
	Err            error // once ended
}

// Start starts a command of wherry.
func (s *Site) Start(args ...string) *Process {
	s.T.Helper()
	p := &Process{Cmd: exec.Command(s.wherry, args...), Ended: make(chan struct{})}
	p.Cmd.Stdout, p.Cmd.Stderr, p.Cmd.Dir = &p.Stdout, &p.Stderr, s.Work
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.Cmd.Start(); err != nil {
		s.T.Fatal(err)
	}
	go func() {
		p.Err = p.Cmd.Wait()
		close(p.Ended)
	}()
	s.T.Cleanup(func() {
		select {
		case <-p.Ended:
		default:
			_ = unix.Kill(-p.Cmd.Process.Pid, unix.SIGKILL)
			<-p.Ended
		}
	})
	return p
}

// JSON waits for a command and reads the one JSON document that it must have
// printed.
func (s *Site) JSON(p *Process, out any) {
	s.T.Helper()
	select {
	case <-p.Ended:
	case <-s.Ctx.Done():
		s.T.Fatalf("%v does not end", p.Cmd.Args[1:])
	}
	if p.Err != nil {
		s.T.Fatalf("%v: %v\n%s\n%s", p.Cmd.Args[1:], p.Err, p.Stderr.String(), p.Stdout.String())
	}
	if err := json.Unmarshal(p.Stdout.Bytes(), out); err != nil {
		s.T.Fatalf("%v: %v\n%s", p.Cmd.Args[1:], err, p.Stdout.String())
	}
}

// Until looks again and again until it is so.
func (s *Site) Until(what string, so func() bool) {
	s.T.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-s.Ctx.Done():
			s.T.Fatalf("waited in vain until %s\n%s", what, s.log())
		}
	}
}

func (s *Site) log() string {
	b, err := os.ReadFile(s.Dir.Path("server.log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-10_000):])
}
