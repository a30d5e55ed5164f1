//go:build linux

package cluster_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store/compute"
)

// serverMain is a server without its edges: it takes up what is stored until
// it is killed. args: the state directory.
func serverMain(args []string) int {
	db, m, err := open(context.Background(), state.Dir(args[0]), nil)
	if err == nil {
		err = m.Run(context.Background())
		_ = db.Close()
	}
	fmt.Fprintln(os.Stderr, "server:", err)
	return 1
}

// killAgent sends SIGKILL to the agent of a run.
func (s *site) killAgent(runID int64) {
	s.t.Helper()
	a, err := s.compute.Attempt(context.Background(), runID)
	if err != nil {
		s.t.Fatal(err)
	}
	killAgents(s.t, s.dir, a.AgentID)
}

func killAgents(t testing.TB, dir state.Dir, id string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir.Agent(id), protocol.LockFile))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func startServer(t *testing.T, dir state.Dir) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, "server", string(dir))
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(c) })
	return c
}

// kill ends a server and its whole process group with SIGKILL.
func kill(c *exec.Cmd) {
	_ = unix.Kill(-c.Process.Pid, unix.SIGKILL)
	_ = c.Wait()
}

// TestServerKilled: the server is killed again and again while a task prints;
// every line arrives once and in order, and the run ends well.
func TestServerKilled(t *testing.T) {
	s := newSite(t, nil)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	db, m, err := open(context.Background(), s.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.db, s.runs, s.compute, s.Manager = db, ledger{db}, compute.New(db), m // stores only: the servers are processes of their own
	t.Cleanup(func() { _ = db.Close() })
	t.Cleanup(func() { killAllAgents(t, s.dir) })
	const lines, kills = 4000, 6
	a := s.script("lines.py", linesSource(lines))
	s.start(a) // stored; this process's manager does not run
	for k := range kills {
		at := int64(0)
		if stored, err := s.compute.Attempt(context.Background(), a.RunID); err == nil {
			at = stored.Offsets.Out
		}
		server := startServer(t, s.dir)
		s.waitOutput(a.RunID, at) // in the middle of a part, or at its end
		if err := os.WriteFile(filepath.Join(s.dir.Workspace(1), fmt.Sprintf("go%d", k)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		kill(server)
	}
	server := startServer(t, s.dir)
	defer kill(server)
	if r := s.result(a.RunID); r.State != wherry.ResultSuccess {
		t.Errorf("%+v", r)
	}
	want := linesOutput(lines)
	if got := s.output(a.RunID); got != want {
		t.Errorf("the output differs: %d bytes, want %d", len(got), len(want))
	}
	stored, err := s.compute.Attempt(context.Background(), a.RunID)
	if err != nil || !stored.Done || stored.Offsets.Out != int64(len(want)) {
		t.Errorf("stored %+v, %v", stored, err)
	}
}

// killAllAgents ends what a killed server leaves.
func killAllAgents(t testing.TB, dir state.Dir) {
	entries, err := os.ReadDir(dir.Path("agents"))
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		if log, err := os.ReadFile(filepath.Join(dir.Agent(e.Name()), protocol.LogFile)); err == nil && t.Failed() {
			t.Logf("agent %s:\n%s", e.Name(), log)
		}
		lock, err := protocol.Lock(dir.Agent(e.Name()))
		if err != nil {
			t.Error(err)
			continue
		}
		if lock != nil {
			lock.Close() // it has ended
			continue
		}
		killAgents(t, dir, e.Name())
	}
}

// linesPart is after how many lines linesSource waits for the file goN.
const linesPart = 600

// linesSource prints numbered lines, in parts: a test that kills something in
// the middle must find it there.
func linesSource(lines int) string {
	return fmt.Sprintf(`
import os, time
for i in range(%d):
    print("line", i)
    if i %% 5 == 0: time.sleep(0.001)
    while i %% %d == %d and not os.path.exists("/Workspace/go%%d" %% (i // %[2]d)): time.sleep(0.001)
`, lines, linesPart, linesPart-1)
}

func linesOutput(lines int) string {
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	return want.String()
}

// waitOutput waits until more than n bytes of the run's output are stored, or
// the run is done.
func (s *site) waitOutput(runID, n int64) {
	s.t.Helper()
	woken, stop := s.db.Watch(fmt.Sprintf("output:%d", runID))
	defer stop()
	other := time.NewTicker(20 * time.Millisecond) // of what a server in another process stores, nobody tells
	defer other.Stop()
	end := time.After(patience)
	for {
		if a, err := s.compute.Attempt(context.Background(), runID); err == nil && (a.Offsets.Out > n || a.Done) {
			return
		}
		if done, err := s.runs.get(context.Background(), runID, "done"); err != nil || done != "" {
			s.t.Fatalf("run %d is done: %s %v", runID, done, err)
		}
		select {
		case <-woken:
		case <-other.C:
		case <-end:
			s.t.Fatalf("run %d: not more than %d bytes after %v", runID, n, patience)
		}
	}
}

// TestStaleServer: a server with an older epoch gets nothing from the agent.
func TestStaleServer(t *testing.T) {
	s := newSite(t, nil)
	if r := s.run(s.script("one.py", "print(1)")); r.State != wherry.ResultSuccess {
		t.Fatalf("%+v", r)
	}
	a, err := s.compute.Attempt(context.Background(), 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := s.dir.Agent(a.AgentID)
	token, err := os.ReadFile(filepath.Join(dir, protocol.TokenFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, hello := range map[string]protocol.Message{
		"stale":      {Type: protocol.Hello, Epoch: 1, Token: string(token)},
		"wrong word": {Type: protocol.Hello, Epoch: 1 << 60, Token: "guess"},
	} {
		conn, err := protocol.Dial(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Send(hello); err != nil {
			t.Fatal(err)
		}
		if m, _, err := conn.Receive(); err != nil || m.Type != protocol.Fenced {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		conn.Close()
	}
	if r := s.run(s.script("two.py", "print(2)")); r.State != wherry.ResultSuccess {
		t.Errorf("after: %+v", r)
	}
}
