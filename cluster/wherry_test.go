//go:build linux

package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/state"
)

// installation is a wherry binary on a state directory, started and killed as
// people do.
type installation struct {
	t      *testing.T
	binary string
	dir    state.Dir
	server *exec.Cmd
}

func (i *installation) up() {
	i.t.Helper()
	if err := os.Remove(i.dir.Path("server.json")); err != nil && !os.IsNotExist(err) {
		i.t.Fatal(err)
	}
	var log bytes.Buffer
	c := exec.Command(i.binary, "up", "--state", string(i.dir), "--listen", "127.0.0.1:0", "--storage-listen", "127.0.0.1:0", "--agent-idle", "30s")
	stdout, err := c.StdoutPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	c.Stderr = &log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		i.t.Fatal(err)
	}
	i.server = c
	i.t.Cleanup(func() { kill(c) })
	if n, err := stdout.Read(make([]byte, 256)); n == 0 { // it says where it serves
		_ = c.Wait()
		i.t.Fatalf("wherry up: %v\n%s", err, log.String())
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
}

// call asks the server that runs; what it answers goes to out.
func (i *installation) call(method, path string, in, out any) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := client.Local(ctx, i.dir)
	if err == nil {
		err = c.Do(ctx, method, path, in, out)
	}
	if err != nil {
		i.t.Fatal(err)
	}
}

// TestWherryKilled is the whole of it, with the real binary: the server is
// killed while a job's task prints; the run goes on and ends well, and each
// line is there once and in its order.
func TestWherryKilled(t *testing.T) {
	environment.ForTest(t)
	i := &installation{t: t, binary: filepath.Join(t.TempDir(), "wherry"), dir: state.Dir(t.TempDir())}
	if out, err := exec.Command("go", "build", "-o", i.binary, "../cmd/wherry").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	t.Cleanup(func() { killAllAgents(t, i.dir) })
	i.up()
	const lines, kills = 4000, 4
	scriptAttempt(t, i.dir, 0, "lines.py", linesSource(lines))
	var job struct {
		ID int64 `json:"job_id"`
	}
	i.call("POST", "/api/2.1/jobs/create", map[string]any{"name": "lines", "tasks": []any{
		map[string]any{"task_key": "print", "spark_python_task": map[string]string{"python_file": "/Workspace/lines.py"}},
	}}, &job)
	var started struct {
		ID int64 `json:"run_id"`
	}
	i.call("POST", "/api/2.1/jobs/run-now", map[string]any{"job_id": job.ID}, &started)
	out := i.dir.Path("runs")
	size := int64(0)
	for k := range kills {
		size = i.waitMore(out, size)
		kill(i.server)
		if err := os.WriteFile(filepath.Join(i.dir.Workspace(1), fmt.Sprintf("go%d", k)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		i.up()
	}
	for k := kills; k <= lines/linesPart; k++ {
		if err := os.WriteFile(filepath.Join(i.dir.Workspace(1), fmt.Sprintf("go%d", k)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := i.finished(started.ID)
	if run.State.Result != "SUCCESS" {
		t.Errorf("the run ended as %+v", run.State)
	}
	if len(run.Tasks) != 1 {
		t.Fatalf("%d attempts were made", len(run.Tasks))
	}
	got, err := os.ReadFile(filepath.Join(i.dir.Run(run.Tasks[0].ID), "out"))
	if err != nil {
		t.Fatal(err)
	}
	if want := linesOutput(lines); string(got) != want {
		t.Errorf("the output has %d bytes, want %d", len(got), len(want))
	}
}

type runView struct {
	State struct {
		LifeCycle string `json:"life_cycle_state"`
		Result    string `json:"result_state"`
		Message   string `json:"state_message"`
	} `json:"state"`
	Tasks []struct {
		ID int64 `json:"run_id"`
	} `json:"tasks"`
}

// finished waits until a run has ended.
func (i *installation) finished(runID int64) (run runView) {
	i.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		run = runView{}
		i.call("GET", fmt.Sprintf("/api/2.1/jobs/runs/get?run_id=%d", runID), nil, &run)
		if s := run.State.LifeCycle; s == "TERMINATED" || s == "INTERNAL_ERROR" || s == "SKIPPED" {
			return run
		}
	}
	i.t.Fatalf("run %d is %+v after %v", runID, run.State, patience)
	return run
}

// waitMore waits until the only task run has more output than n bytes, and
// returns how much that is.
func (i *installation) waitMore(runs string, n int64) int64 {
	i.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		files, err := filepath.Glob(filepath.Join(runs, "*", "out"))
		if err != nil {
			i.t.Fatal(err)
		}
		for _, f := range files {
			if info, err := os.Stat(f); err == nil && info.Size() > n {
				return info.Size()
			}
		}
	}
	i.t.Fatalf("not more than %d bytes of output after %v", n, patience)
	return 0
}
