//go:build linux

package cluster_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent"
	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/cluster"
)

// relayEnv puts a relay between the servers and agents of a test.
const relayEnv = "WHERRY_TEST_RELAY"

// What the relay does, by files in the agent's folder.
const (
	loseRun      = "lose-run"      // the next task is lost, and the connection with it
	otherVersion = "other-version" // the agent speaks a newer protocol; the relay adds a byte each time it says so
)

// runBehindRelay is agent.Run with its socket behind a relay.
func runBehindRelay(ctx context.Context, dir, build string, ready *os.File) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	go func() { _ = relay(dir, r, ready) }()
	return agent.Run(ctx, dir, build, w)
}

func relay(dir string, started, ready *os.File) error {
	if _, err := bufio.NewReader(started).ReadString('\n'); err != nil {
		return err
	}
	behind := filepath.Join(dir, "behind")
	if err := errors.Join(os.Mkdir(behind, 0o700), os.Rename(filepath.Join(dir, "agent.sock"), filepath.Join(behind, "agent.sock"))); err != nil {
		return err
	}
	l, err := protocol.Listen(dir)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(ready, "ok")
	if err = errors.Join(err, ready.Close()); err != nil {
		return err
	}
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return err
		}
		server := protocol.NewConn(c)
		agent, err := protocol.Dial(behind)
		if err != nil {
			return err
		}
		go pass(dir, server, agent)
		go pass(dir, agent, server)
	}
}

func pass(dir string, from, to *protocol.Conn) {
	defer from.Close()
	defer to.Close()
	for {
		m, files, err := from.Receive()
		if err != nil || m.Type == protocol.Run && os.Remove(filepath.Join(dir, loseRun)) == nil {
			return
		}
		if f, err := os.OpenFile(filepath.Join(dir, otherVersion), os.O_WRONLY|os.O_APPEND, 0); err == nil {
			if m.Type == protocol.Welcome {
				m.Version++
				_, _ = f.WriteString("x")
			}
			f.Close()
		}
		err = to.Send(m, files...)
		for _, f := range files {
			f.Close()
		}
		if err != nil {
			return
		}
	}
}

// agentFolder is the folder of the agent that a run was sent to.
func (s *site) agentFolder(runID int64) string {
	s.t.Helper()
	a, err := s.compute.Attempt(context.Background(), runID)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.dir.Agent(a.AgentID)
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// restart puts a new manager in the place of the one that runs; agents live on.
func (s *site) restart() {
	s.t.Helper()
	if err := s.stop(); err != nil {
		s.t.Fatal(err)
	}
	db, m, err := open(context.Background(), s.dir, func(c *cluster.Config) { c.StopAgents = true })
	if err != nil {
		s.t.Fatal(err)
	}
	s.use(db, m)
}

// untilGo prints, and again once the file go is there.
const untilGo = `
import os, time
print("begun", flush=True)
while not os.path.exists("/Workspace/go"): time.sleep(0.001)
print("done")
`

// TestLostTask: a task that was lost on its way with the connection is sent
// again.
func TestLostTask(t *testing.T) {
	t.Setenv(relayEnv, "1")
	s := newSite(t, nil)
	s.run(s.script("one.py", ""))
	s.write(filepath.Join(s.agentFolder(1), loseRun), "")
	if r := s.run(s.script("two.py", "print(2)")); r.State != wherry.ResultSuccess || s.output(2) != "2\n" {
		t.Errorf("%+v", r)
	}
	if s.agentFolder(2) != s.agentFolder(1) {
		t.Error("the task went to another agent")
	}
}

// TestNoSpool: an agent that can not keep a task's output says so at once, and
// goes on.
func TestNoSpool(t *testing.T) {
	s := newSite(t, nil)
	s.run(s.script("one.py", ""))
	spool := filepath.Join(s.agentFolder(1), protocol.SpoolDir)
	if err := os.Rename(spool, spool+"-away"); err != nil {
		t.Fatal(err)
	}
	if r := s.run(s.script("two.py", "print(2)")); r.State != wherry.ResultFailed || r.Code != "DRIVER_ERROR" || !strings.Contains(r.Message, "could not be started") {
		t.Errorf("%+v", r)
	}
	if err := os.Rename(spool+"-away", spool); err != nil {
		t.Fatal(err)
	}
	if r := s.run(s.script("three.py", "print(3)")); r.State != wherry.ResultSuccess {
		t.Errorf("%+v", r)
	}
}

// TestOtherVersion: tasks run on in an agent that the next server can not speak
// with, can be canceled, and have their results.
func TestOtherVersion(t *testing.T) {
	t.Setenv(relayEnv, "1")
	s := newSite(t, func(c *cluster.Config) { c.StopAgents = false })
	a, canceled := s.script("long.py", untilGo), s.script("canceled.py", "import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
	for _, a := range []wherry.Attempt{a, canceled} {
		s.start(a)
		s.waitOutput(a.RunID, 0)
	}
	greetings := filepath.Join(s.agentFolder(a.RunID), otherVersion)
	s.write(greetings, "")
	s.restart()
	for end := time.Now().Add(patience); ; {
		info, err := os.Stat(greetings)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() >= 3 { // it was asked again and again
			break
		}
		if done, err := s.runs.get(context.Background(), a.RunID, "done"); err != nil || done != "" || time.Now().After(end) {
			t.Fatalf("while the task runs: %q, %v", done, err)
		}
	}
	other := s.script("other.py", "")
	if r := s.run(other); r.State != wherry.ResultSuccess || s.agentFolder(other.RunID) == s.agentFolder(a.RunID) {
		t.Errorf("another task: %+v", r)
	}
	if err := s.Cancel(context.Background(), canceled.RunID); err != nil {
		t.Fatal(err)
	}
	if r := s.result(canceled.RunID); r.State != wherry.ResultCanceled || s.output(canceled.RunID) != "begun\n" {
		t.Errorf("%+v", r)
	}
	s.write(filepath.Join(s.dir.Workspace(1), "go"), "")
	if r := s.result(a.RunID); r.State != wherry.ResultSuccess || s.output(a.RunID) != "begun\ndone\n" {
		t.Errorf("%+v, output %q", r, s.output(a.RunID))
	}
}

// TestDiskFull: a task whose output can not be stored has ended when its run
// says so.
func TestDiskFull(t *testing.T) {
	s := newSite(t, nil)
	s.run(s.script("one.py", ""))
	a := s.script("two.py", `
import fcntl, time
f = open("/Workspace/held", "w")
fcntl.flock(f, fcntl.LOCK_EX)
print("x", flush=True)
time.sleep(600)
`)
	dir := s.dir.Run(a.RunID)
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.Symlink("/dev/full", filepath.Join(dir, "out"))); err != nil {
		t.Fatal(err)
	}
	if r := s.run(a); r.State != wherry.ResultFailed || !strings.Contains(r.Message, "disk of the state directory is full") {
		t.Errorf("%+v", r)
	}
	held, err := os.Open(filepath.Join(s.dir.Workspace(1), "held"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("the task runs on: %v", err)
	}
	if r := s.run(s.script("three.py", "")); r.State != wherry.ResultSuccess {
		t.Errorf("%+v", r)
	}
	spool := filepath.Join(s.agentFolder(3), protocol.SpoolDir)
	if _, err := os.Stat(protocol.SpoolFile(spool, a.RunID, protocol.Out)); s.agentFolder(3) != s.agentFolder(a.RunID) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the agent was not told that it may forget the task: %v", err)
	}
}

// TestServerlessKept: after a restart an agent with serverless tasks is not
// lent to a cluster.
func TestServerlessKept(t *testing.T) {
	s := newSite(t, func(c *cluster.Config) { c.StopAgents = false })
	a := s.script("long.py", untilGo)
	s.start(a)
	s.waitOutput(a.RunID, 0)
	s.restart()
	b := s.script("job.py", "")
	b.NewCluster, b.ClusterKey = []byte(`{"num_workers": 0}`), "main"
	if r := s.run(b); r.State != wherry.ResultSuccess {
		t.Errorf("%+v", r)
	}
	if s.agentFolder(a.RunID) == s.agentFolder(b.RunID) {
		t.Error("the job's cluster has the agent of the serverless task")
	}
	s.write(filepath.Join(s.dir.Workspace(1), "go"), "")
	if r := s.result(a.RunID); r.State != wherry.ResultSuccess {
		t.Errorf("%+v", r)
	}
}

// TestTerminatedBeforeStart: a cluster that was terminated while its start
// waited stays so.
func TestTerminatedBeforeStart(t *testing.T) {
	s := newSite(t, nil)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	db, m, err := open(ctx, s.dir, func(c *cluster.Config) { c.StopAgents = true })
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.Create(ctx, 1, wherry.Principal{ID: 1, UserName: "admin@localhost", Admin: true}, []byte(`{"num_workers": 0}`))
	if err == nil {
		err = m.TerminateCluster(ctx, 1, c.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.use(db, m)
	if r := s.run(s.script("one.py", "")); r.State != wherry.ResultSuccess { // meanwhile it would have been started
		t.Errorf("%+v", r)
	}
	if c, err = s.compute.Cluster(ctx, 1, c.ID); err != nil || c.State != wherry.ClusterTerminated {
		t.Errorf("cluster is %s, %v", c.State, err)
	}
}
