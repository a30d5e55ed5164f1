package server_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/state"
)

// whoAmI asks the server twice, the second time once the file go is there.
const whoAmI = whoIs + `
before = me()
open("/Workspace/asked", "w").close()
while not os.path.exists("/Workspace/go"): time.sleep(0.001)
print(before == me())
`

const whoIs = `
import json, os, time, urllib.request
def me():
    request = urllib.request.Request(os.environ["DATABRICKS_HOST"] + "/api/2.0/preview/scim/v2/Me")
    request.add_header("Authorization", "Bearer " + os.environ["DATABRICKS_TOKEN"])
    return json.load(urllib.request.urlopen(request))["userName"]
`

// folder is the state of servers that come one after the other, with the
// scripts of their tasks.
type folder struct {
	testing.TB
	state.Dir
}

func newFolder(t testing.TB) folder {
	environment.ForTest(t)
	f := folder{t, state.Dir(t.TempDir())}
	if err := os.MkdirAll(f.Workspace(1), 0o700); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f folder) write(name, text string) {
	f.Helper()
	if err := os.WriteFile(filepath.Join(f.Workspace(1), name), []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
}

func (f folder) call(method, path string, in, out any) {
	f.Helper()
	c, _, err := client.Local(f.Context(), f.Dir)
	if err == nil {
		err = c.Do(f.Context(), method, path, in, out)
	}
	if err != nil {
		f.Fatal(err)
	}
}

// submit starts a script.
func (f folder) submit(script string) (id int64) {
	f.Helper()
	var run struct {
		ID int64 `json:"run_id"`
	}
	f.call("POST", "/api/2.2/jobs/runs/submit", map[string]any{"tasks": []any{map[string]any{
		"task_key": "a", "spark_python_task": map[string]any{"python_file": "/Workspace/" + script},
	}}}, &run)
	return run.ID
}

// until asks for a run until it has ended or ok is true, and returns its
// result and output.
func (f folder) until(id int64, ok func() bool) (result, logs string) {
	f.Helper()
	var got struct {
		Tasks []struct {
			ID int64 `json:"run_id"`
		} `json:"tasks"`
		State struct {
			Result  string `json:"result_state"`
			Message string `json:"state_message"`
		} `json:"state"`
	}
	for end := time.Now().Add(90 * time.Second); got.State.Result == "" && !ok(); {
		if f.call("GET", fmt.Sprintf("/api/2.2/jobs/runs/get?run_id=%d", id), nil, &got); time.Now().After(end) {
			f.Fatalf("the run is at %+v", got)
		}
	}
	if got.State.Result == "" {
		return "", ""
	}
	var output struct {
		Logs string `json:"logs"`
	}
	f.call("GET", fmt.Sprintf("/api/2.2/jobs/runs/get-output?run_id=%d", got.Tasks[0].ID), nil, &output)
	return got.State.Result + " " + got.State.Message, output.Logs
}

func never() bool { return false }

// asked tells whether whoAmI has asked for the first time.
func (f folder) asked() bool {
	_, err := os.Stat(filepath.Join(f.Workspace(1), "asked"))
	return err == nil
}

// TestRestartWithoutNamespaces: a task outside of a sandbox finds the server
// again, which was told to take any port.
func TestRestartWithoutNamespaces(t *testing.T) {
	f := newFolder(t)
	first, stop := serve(t, server.Config{State: f.Dir, Plain: true})
	f.write("who.py", whoAmI)
	run := f.submit("who.py")
	f.until(run, f.asked)
	stop()
	second, _ := serve(t, server.Config{State: f.Dir, Plain: true, StopAgents: true})
	if second.URL != first.URL || second.StorageURL != first.StorageURL || second.ProxyURL != first.ProxyURL {
		t.Errorf("the server was at %+v, and is at %+v", first, second)
	}
	f.write("go", "")
	if result, logs := f.until(run, never); result != "SUCCESS " || logs != "True\n" {
		t.Errorf("%s, %q", result, logs)
	}
}

// TestRestartOnAnotherPort: tasks in an agent's box, running or new, reach the
// server where the box was told to, whatever address a later server has.
func TestRestartOnAnotherPort(t *testing.T) {
	f := newFolder(t)
	_, stop := serve(t, server.Config{State: f.Dir})
	f.write("who.py", whoAmI)
	run := f.submit("who.py")
	f.until(run, f.asked)
	stop()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	serve(t, server.Config{State: f.Dir, Listen: other, StopAgents: true})
	f.write("is.py", whoIs+"print(me())")
	if result, logs := f.until(f.submit("is.py"), never); result != "SUCCESS " || logs != "admin@localhost\n" {
		t.Errorf("a new task: %s, %q", result, logs)
	}
	f.write("go", "")
	if result, logs := f.until(run, never); result != "SUCCESS " || logs != "True\n" {
		t.Errorf("the running one: %s, %q", result, logs)
	}
	if agents, err := os.ReadDir(f.Path("agents")); err != nil || len(agents) != 1 {
		t.Errorf("agents: %v, %v", agents, err)
	}
}

// serve runs a server, on free ports if the settings name none, until stop or
// the end of the test.
func serve(t *testing.T, cfg server.Config) (info server.Info, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan server.Info, 1), make(chan error, 1)
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	cfg.StorageListen, cfg.Ready = "127.0.0.1:0", func(i server.Info) { ready <- i }
	go func() {
		done <- server.Run(ctx, cfg)
		close(done)
	}()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	}
	t.Cleanup(stop)
	select {
	case info = <-ready:
		return info, stop
	case err := <-done:
		t.Fatalf("server did not start: %v", err)
	}
	return info, stop
}
