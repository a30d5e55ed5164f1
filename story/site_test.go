//go:build linux

package story_test

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
	"github.com/wherry-ml/wherry/state"
)

// site is the built binary with one state directory, and what was started of
// it. Every process is gone when the test ends.
type site struct {
	t      *testing.T
	ctx    context.Context // ends before the test's own limit
	wherry string
	dir    state.Dir
	work   string      // where commands are started; "" is here
	info   client.Info // of the last server
}

func newSite(ctx context.Context, t *testing.T) *site {
	t.Helper()
	s := &site{t: t, ctx: ctx, wherry: filepath.Join(t.TempDir(), "wherry"), dir: state.Dir(t.TempDir())}
	build := exec.CommandContext(ctx, "go", "build", "-o", s.wherry, "github.com/wherry-ml/wherry/cmd/wherry")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	t.Cleanup(s.endAgents)
	return s
}

// up starts `wherry up` as a process group of its own and waits until it
// answers. Every server after the first has its addresses.
func (s *site) up() *exec.Cmd {
	s.t.Helper()
	listen, storage := "127.0.0.1:0", "127.0.0.1:0"
	if s.info.URL != "" {
		listen, storage = strings.TrimPrefix(s.info.URL, "http://"), strings.TrimPrefix(s.info.StorageURL, "http://")
	}
	log, err := os.OpenFile(s.dir.Path("server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	// Agents that a test leaves by a time-out end soon by themselves.
	c := exec.Command(s.wherry, "up", "--state", string(s.dir), "--listen", listen, "--storage-listen", storage, "--agent-idle", "2m")
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.down(c) })
	s.until("the server answers", func() bool {
		_, info, err := client.Local(s.ctx, s.dir)
		if err == nil && info.PID == c.Process.Pid {
			s.info = info
			return true
		}
		if unix.Kill(c.Process.Pid, 0) != nil {
			s.t.Fatalf("the server has ended:\n%s", s.log())
		}
		return false
	})
	return c
}

// down ends a server as a terminal does, and by force if it does not obey.
func (s *site) down(c *exec.Cmd) {
	if c.ProcessState != nil {
		return
	}
	_ = c.Process.Signal(unix.SIGTERM)
	force := time.AfterFunc(time.Minute, func() {
		s.t.Error("the server does not end on SIGTERM")
		_ = unix.Kill(-c.Process.Pid, unix.SIGKILL)
	})
	err := c.Wait()
	force.Stop()
	if err != nil {
		s.t.Errorf("the server: %v", err)
	}
	if s.t.Failed() {
		s.t.Logf("the server's log:\n%s", s.log())
	}
}

// kill ends a server and its process group with SIGKILL.
func (s *site) kill(c *exec.Cmd) {
	if err := unix.Kill(-c.Process.Pid, unix.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	_ = c.Wait() // "signal: killed"
}

// endAgents checks that every agent has ended with the last server, and kills
// those that have not.
func (s *site) endAgents() {
	agents, err := filepath.Glob(s.dir.Path("agents", "*"))
	if err != nil {
		s.t.Error(err)
	}
	for _, dir := range agents {
		log, _ := os.ReadFile(filepath.Join(dir, protocol.LogFile))
		if s.t.Failed() {
			s.t.Logf("agent %s:\n%s", filepath.Base(dir), log)
		}
		lock, err := protocol.Lock(dir)
		if err != nil {
			s.t.Error(err)
			continue
		}
		if lock != nil {
			lock.Close() // nobody had it: the agent has ended
			continue
		}
		s.t.Errorf("agent %s outlives the server", filepath.Base(dir))
		b, _ := os.ReadFile(filepath.Join(dir, protocol.LockFile))
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// process is a command that runs beside the test.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	ended          chan struct{}
	err            error // once ended
}

// start starts a command of wherry.
func (s *site) start(args ...string) *process {
	s.t.Helper()
	p := &process{cmd: exec.Command(s.wherry, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = &p.stdout, &p.stderr, s.work
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	s.t.Cleanup(func() {
		select {
		case <-p.ended:
		default:
			_ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
			<-p.ended
		}
	})
	return p
}

// json waits for a command and reads the one JSON document that it must have
// printed.
func (s *site) json(p *process, out any) {
	s.t.Helper()
	select {
	case <-p.ended:
	case <-s.ctx.Done():
		s.t.Fatalf("%v does not end", p.cmd.Args[1:])
	}
	if p.err != nil {
		s.t.Fatalf("%v: %v\n%s\n%s", p.cmd.Args[1:], p.err, p.stderr.String(), p.stdout.String())
	}
	if err := json.Unmarshal(p.stdout.Bytes(), out); err != nil {
		s.t.Fatalf("%v: %v\n%s", p.cmd.Args[1:], err, p.stdout.String())
	}
}

// until looks again and again until it is so.
func (s *site) until(what string, so func() bool) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.t.Fatalf("waited in vain until %s\n%s", what, s.log())
		}
	}
}

func (s *site) log() string {
	b, err := os.ReadFile(s.dir.Path("server.log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-10_000):])
}
