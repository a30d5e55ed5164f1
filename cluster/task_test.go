//go:build linux

package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/cluster"
)

func TestScript(t *testing.T) {
	s := newSite(t, nil)
	r := s.run(s.script("hello.py", "import os, sys\nprint('hello', sys.argv[1:], os.getcwd())\n", "a", "b c"))
	if r.State != wherry.ResultSuccess || r.Code != "SUCCESS" || r.SourceDigest == "" {
		t.Errorf("result: %+v", r)
	}
	if got, want := s.output(1), "hello ['a', 'b c'] /Workspace\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
	a, err := s.compute.Attempt(context.Background(), 1)
	if err != nil || !a.Done || a.Offsets.Out != int64(len(s.output(1))) {
		t.Errorf("stored %+v, %v", a, err)
	}
}

// TestEndings: how a process ends, and what is said of it.
func TestEndings(t *testing.T) {
	s := newSite(t, nil)
	for _, c := range []struct {
		name, source, state, code, message string
	}{
		{"zero", "import sys; sys.exit(0)", "SUCCESS", "SUCCESS", ""},
		{"three", "import sys; sys.exit(3)", "FAILED", "RUN_EXECUTION_ERROR", "SystemExit: 3"},
		{"text", "import sys; sys.exit('no data')", "FAILED", "RUN_EXECUTION_ERROR", "SystemExit: no data"},
		{"raise", "def f(): raise ValueError('bad')\nf()", "FAILED", "RUN_EXECUTION_ERROR", "ValueError: bad"},
		{"hard exit", "import os; os._exit(4)", "FAILED", "RUN_EXECUTION_ERROR", "the task's process ended with exit code 4"},
		{"killed", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "FAILED", "RUN_EXECUTION_ERROR", "the task's process was killed by the kernel (out of memory?)"},
		{"crash", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "FAILED", "RUN_EXECUTION_ERROR", "the task's process was killed by signal 11 (segmentation fault)"},
		{"syntax", "def", "FAILED", "RUN_EXECUTION_ERROR", "SyntaxError"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.run(s.script(strings.ReplaceAll(c.name, " ", "_")+".py", c.source))
			if r.State != c.state || r.Code != c.code || !strings.HasPrefix(r.Message, c.message) {
				t.Errorf("%+v", r)
			}
			if c.name == "raise" && !strings.Contains(r.Trace, "in f") {
				t.Errorf("trace %q", r.Trace)
			}
		})
	}
}

func TestNoFile(t *testing.T) {
	s := newSite(t, nil)
	a := s.script("there.py", "")
	a.Task = []byte(`{"spark_python_task":{"python_file":"/Workspace/absent.py"}}`)
	if r := s.run(a); r.Code != wherry.TermNotFound || !strings.Contains(r.Message, "/Workspace/absent.py") {
		t.Errorf("%+v", r)
	}
}

// TestNoPython: an installation that was not set up says what to do.
func TestNoPython(t *testing.T) {
	s := newSite(t, func(c *cluster.Config) {
		c.Runtime = func(context.Context) (cluster.Runtime, error) {
			return cluster.Runtime{}, wherry.Errorf(wherry.CodeInvalidState, "there is no Python environment: run `wherry setup`")
		}
	})
	if r := s.run(s.script("a.py", "")); r.State != wherry.ResultFailed || !strings.Contains(r.Message, "wherry setup") {
		t.Errorf("%+v", r)
	}
}

func TestLargeOutput(t *testing.T) {
	s := newSite(t, nil)
	r := s.run(s.script("large.py", "import sys\nfor i in range(50): sys.stdout.write(('%07d' % i) * (1 << 17) + '\\n'); sys.stdout.write('x' * 131071 + '\\n')\n"))
	if r.State != wherry.ResultSuccess {
		t.Fatalf("%+v", r)
	}
	out := s.output(1)
	if want := 50 * (7<<17 + 1 + 131072); len(out) != want {
		t.Errorf("%d bytes came, want %d", len(out), want)
	}
}

// TestCancel: nothing of a canceled task lives on, not even what left its
// session.
func TestCancel(t *testing.T) {
	s := newSite(t, nil)
	a := s.script("tree.py", `
import os, subprocess, sys, time
subprocess.Popen(["setsid", "flock", "/Workspace/held", "sh", "-c", "exec >/dev/null 2>&1; touch /Workspace/mark; sleep 600"])
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
while not os.path.exists("/Workspace/mark"): time.sleep(0.01)
print("ready", flush=True)
time.sleep(600)
`)
	woken, stop := s.db.Watch(fmt.Sprintf("output:%d", a.RunID))
	defer stop()
	s.start(a)
	select {
	case <-woken: // "ready" is stored
	case <-time.After(patience):
		t.Fatal("the task said nothing")
	}
	if err := s.Cancel(context.Background(), a.RunID); err != nil {
		t.Fatal(err)
	}
	if r := s.result(a.RunID); r.State != wherry.ResultCanceled || r.Code != wherry.TermUserCanceled {
		t.Errorf("%+v", r)
	}
	// The lock is free once its holder, and all to whom that gave it, are gone.
	if r := s.run(s.script("wait.py", "import fcntl\nfcntl.flock(open('/Workspace/held'), fcntl.LOCK_EX)\n")); r.State != wherry.ResultSuccess {
		t.Errorf("a process of the canceled task lives: %+v", r)
	}
	if err := s.Cancel(context.Background(), a.RunID); err != nil {
		t.Errorf("cancel again: %v", err)
	}
}

// TestAgentKilled: the attempt ends, says why, and the next one gets a new agent.
func TestAgentKilled(t *testing.T) {
	s := newSite(t, nil)
	a := s.script("long.py", "import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
	woken, stop := s.db.Watch(fmt.Sprintf("output:%d", a.RunID))
	defer stop()
	s.start(a)
	select {
	case <-woken:
	case <-time.After(patience):
		t.Fatal("the task said nothing")
	}
	s.killAgent(a.RunID)
	if r := s.result(a.RunID); r.State != wherry.ResultFailed || r.Code != "DRIVER_ERROR" || !strings.Contains(r.Message, "agent of the cluster ended unexpectedly") {
		t.Errorf("%+v", r)
	}
	if got := s.output(a.RunID); got != "begun\n" {
		t.Errorf("output %q", got)
	}
	if r := s.run(s.script("next.py", "print('next')")); r.State != wherry.ResultSuccess {
		t.Errorf("next run: %+v", r)
	}
}

func BenchmarkWarmTask(b *testing.B) {
	s := newSite(b, nil)
	s.run(s.script("one.py", "print(1)"))
	for b.Loop() {
		s.run(s.script("one.py", "print(1)"))
	}
}

// TestPythonEnds: a Python that does not come up fails the task with its words.
func TestPythonEnds(t *testing.T) {
	s := newSite(t, func(c *cluster.Config) {
		find := c.Runtime
		c.Runtime = func(ctx context.Context) (cluster.Runtime, error) {
			rt, err := find(ctx)
			rt.Python = "/bin/false"
			return rt, err
		}
	})
	if r := s.run(s.script("a.py", "")); r.State != wherry.ResultFailed || r.Code != "DRIVER_ERROR" || !strings.HasPrefix(r.Message, "Python ends at its start") {
		t.Errorf("%+v", r)
	}
}

// TestPlain: without namespaces tasks still find their files, and end whole.
func TestPlain(t *testing.T) {
	s := newSite(t, func(c *cluster.Config) { c.Plain = true })
	a := s.script("p/plain.py", `
import os, sys, subprocess
print(open("/Workspace/p/plain.py").read().count("count"), sys.argv[1:])
subprocess.Popen(["setsid", "sleep", "600"])
`, "x")
	if r := s.run(a); r.State != wherry.ResultSuccess {
		t.Fatalf("%+v", r)
	}
	if got, want := s.output(a.RunID), "2 ['x']\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
	if got := s.await(a.RunID, "message"); !strings.Contains(got, "tasks are not isolated here, and can read what you can: not asked for") {
		t.Errorf("message %q", got)
	}
}

type oneTree struct{ digest, root string }

func (o oneTree) TreeOf(_ context.Context, _ int64, path string) (digest, root string, ok bool) {
	return o.digest, o.root, strings.HasPrefix(path, o.root+"/")
}

// deployTree makes a deployed tree, and what is live at its place.
func deployTree(t *testing.T, s *site, digest string, tree, live map[string]string) {
	t.Helper()
	for dir, files := range map[string]map[string]string{
		filepath.Join(s.dir.Trees(), digest): tree, filepath.Join(s.dir.Workspace(1), "b", "files"): live,
	} {
		for name, text := range files {
			name = filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestDeployedTree: a task sees the deployed files as they were when it
// started, whatever is live, and what earlier tasks wrote beside them; what it
// writes is live, and there for the next task.
func TestDeployedTree(t *testing.T) {
	s := newSite(t, func(c *cluster.Config) { c.Trees = oneTree{"abc", "/Workspace/b/files"} })
	deployTree(t, s, "abc", map[string]string{"src/lib.py": "VALUE = 'deployed'\n", "main.py": `
import os
from src import lib
print(lib.VALUE, sorted(f for f in os.listdir("/Workspace/b/files") if f != "__pycache__"))
open("/Workspace/b/files/new", "w").write("x")
open("/Workspace/b/beside", "w").write("x")
`}, map[string]string{"src/lib.py": "VALUE = 'live'\n"})
	for _, want := range []string{"deployed ['main.py', 'src']\n", "deployed ['main.py', 'new', 'src']\n"} {
		a := s.script("b/files/main.py", "raise SystemExit('the live file ran')")
		if r := s.run(a); r.State != wherry.ResultSuccess {
			t.Fatalf("%+v\n%s", r, s.output(a.RunID))
		}
		if got := s.output(a.RunID); got != want {
			t.Errorf("output %q, want %q", got, want)
		}
	}
	for _, name := range []string{"beside", "files/new"} {
		if _, err := os.Stat(filepath.Join(s.dir.Workspace(1), "b", name)); err != nil {
			t.Errorf("what a task wrote is not live: %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(s.dir.Trees(), "abc", "new")); err == nil {
		t.Error("a task changed the tree")
	}
}

// TestDeployedNotebook: a notebook and the requirements are of the same deploy
// as the modules beside it, whatever is live; one that a task wrote runs too.
func TestDeployedNotebook(t *testing.T) {
	var asked []string
	s := newSite(t, func(c *cluster.Config) {
		c.Trees = oneTree{"abc", "/Workspace/b/files"}
		c.Overlay = func(_ context.Context, requirements, _ []string) (string, error) {
			asked = append(asked, requirements...)
			return "", nil
		}
	})
	const head = "# Databricks notebook source\n"
	deployTree(t, s, "abc",
		map[string]string{"nb.py": head + "from src import lib\ndbutils.notebook.exit('nb ' + lib.VALUE)\n", "src/lib.py": "VALUE = 'deployed'\n", "needs.txt": "deployed\n"},
		map[string]string{
			"nb.py": head + "dbutils.notebook.exit('live')\n", "src/lib.py": "VALUE = 'live'\n", "needs.txt": "live\n",
			"made.py": head + "from src import lib\ndbutils.notebook.exit('made ' + lib.VALUE)\n",
		})
	for name, want := range map[string]string{"nb": "nb deployed", "made": "made deployed"} {
		a := s.script("unused.py", "")
		a.Task = json.RawMessage(fmt.Sprintf(`{"task_key": "t", "notebook_task": {"notebook_path": "/Workspace/b/files/%s"}}`, name))
		a.Libraries = json.RawMessage(`[{"requirements": "/Workspace/b/files/needs.txt"}]`)
		if r := s.run(a); r.State != wherry.ResultSuccess || r.ExitValue != want {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if got := strings.Join(asked, " "); got != "deployed deployed" {
		t.Errorf("libraries asked for: %q", got)
	}
}
