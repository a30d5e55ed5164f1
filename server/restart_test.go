package server_test

import (
	"context"
	"fmt"
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
const whoAmI = `
import json, os, time, urllib.request
def me():
    request = urllib.request.Request(os.environ["DATABRICKS_HOST"] + "/api/2.0/preview/scim/v2/Me")
    request.add_header("Authorization", "Bearer " + os.environ["DATABRICKS_TOKEN"])
    return json.load(urllib.request.urlopen(request))["userName"]
before = me()
open("/Workspace/asked", "w").close()
while not os.path.exists("/Workspace/go"): time.sleep(0.001)
print(before == me())
`

// TestRestartWithoutNamespaces: a task outside of a sandbox finds the server
// again, which was told to take any port.
func TestRestartWithoutNamespaces(t *testing.T) {
	environment.ForTest(t)
	dir := state.Dir(t.TempDir())
	first, stop := serve(t, dir, false)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir.Workspace(1), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(dir.Workspace(1), 0o700); err != nil {
		t.Fatal(err)
	}
	write("who.py", whoAmI)
	call := func(method, path string, in, out any) {
		t.Helper()
		c, _, err := client.Local(t.Context(), dir)
		if err == nil {
			err = c.Do(t.Context(), method, path, in, out)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var run struct {
		ID int64 `json:"run_id"`
	}
	call("POST", "/api/2.2/jobs/runs/submit", map[string]any{"tasks": []any{map[string]any{
		"task_key": "a", "spark_python_task": map[string]any{"python_file": "/Workspace/who.py"},
	}}}, &run)
	var got struct {
		Tasks []struct {
			ID int64 `json:"run_id"`
		} `json:"tasks"`
		State struct {
			Result  string `json:"result_state"`
			Message string `json:"state_message"`
		} `json:"state"`
	}
	until := func(ok func() bool) {
		t.Helper()
		for end := time.Now().Add(90 * time.Second); !ok(); {
			if call("GET", fmt.Sprintf("/api/2.2/jobs/runs/get?run_id=%d", run.ID), nil, &got); time.Now().After(end) {
				t.Fatalf("the run is at %+v", got)
			}
		}
	}
	until(func() bool {
		_, err := os.Stat(filepath.Join(dir.Workspace(1), "asked"))
		return err == nil || got.State.Result != ""
	})
	stop()
	second, _ := serve(t, dir, true)
	if second.URL != first.URL || second.StorageURL != first.StorageURL || second.ProxyURL != first.ProxyURL {
		t.Errorf("the server was at %+v, and is at %+v", first, second)
	}
	write("go", "")
	until(func() bool { return got.State.Result != "" })
	var output struct {
		Logs string `json:"logs"`
	}
	call("GET", fmt.Sprintf("/api/2.2/jobs/runs/get-output?run_id=%d", got.Tasks[0].ID), nil, &output)
	if got.State.Result != "SUCCESS" || output.Logs != "True\n" {
		t.Errorf("%+v, %q", got, output.Logs)
	}
}

// serve runs a server on free ports, with boxes without namespaces, until stop
// or the end of the test.
func serve(t *testing.T, dir state.Dir, stopAgents bool) (info server.Info, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan server.Info, 1), make(chan error, 1)
	go func() {
		done <- server.Run(ctx, server.Config{
			State: dir, Listen: "127.0.0.1:0", StorageListen: "127.0.0.1:0", Plain: true, StopAgents: stopAgents,
			Ready: func(i server.Info) { ready <- i },
		})
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
