//go:build linux

package lines_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	api "github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/story/site"
)

// caller calls the server all the time, and runs a notebook that waits.
const caller = `# Databricks notebook source
import os
values = dbutils.jobs.taskValues
for part in range(%d):
    n = 0
    while n < 20 or not os.path.exists(f"/Workspace/go{part}"):
        values.set("n", n)
        assert values.get("caller", "n") == n
        n += 1
        if n == 20: open(f"/Workspace/calls{part}", "w").close()

# COMMAND ----------
assert [dbutils.notebook.run("/child", 600, {"n": n}) for n in "ab"] == ["a", "b"]
`

const child = `# Databricks notebook source
import os, time
n = dbutils.widgets.get("n")
open(f"/Workspace/child-{n}", "w").close()
while not os.path.exists(f"/Workspace/go-{n}"): time.sleep(0.001)
dbutils.notebook.exit(n)
`

// TestCalls: the server is killed while a notebook calls it and while it waits
// for another notebook. Nothing fails, and nothing runs twice.
func TestCalls(t *testing.T) {
	const parts = 3
	s := site.New(t, 0)
	server := s.Up()
	if err := os.MkdirAll(s.Dir.Workspace(1), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(s.Dir.Workspace(1), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("caller.py", fmt.Sprintf(caller, parts))
	write("child.py", child)
	call := func(method, path string, in, out any) {
		c, _, err := api.Local(s.Ctx, s.Dir)
		if err == nil {
			err = c.Do(s.Ctx, method, path, in, out)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var run struct {
		ID int64 `json:"run_id"`
	}
	call("POST", "/api/2.2/jobs/runs/submit", map[string]any{"tasks": []any{map[string]any{
		"task_key": "caller", "notebook_task": map[string]any{"notebook_path": "/caller"},
	}}}, &run)
	var got struct {
		State struct {
			Result  string `json:"result_state"`
			Message string `json:"state_message"`
		} `json:"state"`
	}
	ended := func() bool {
		call("GET", fmt.Sprintf("/api/2.2/jobs/runs/get?run_id=%d", run.ID), nil, &got)
		return got.State.Result != ""
	}
	for _, at := range [][2]string{{"calls0", "go0"}, {"calls1", "go1"}, {"calls2", "go2"}, {"child-a", "go-a"}, {"child-b", "go-b"}} {
		s.Until("the notebook has come to "+at[0], func() bool {
			if ended() {
				t.Fatalf("before %s: %+v", at[0], got.State)
			}
			_, err := os.Stat(filepath.Join(s.Dir.Workspace(1), at[0]))
			return err == nil
		})
		s.Kill(server)
		server = s.Up()
		write(at[1], "")
	}
	s.Until("the run has ended", ended)
	if got.State.Result != "SUCCESS" {
		t.Errorf("%+v", got.State)
	}
	var list struct {
		Runs []struct {
			ID int64 `json:"run_id"`
		} `json:"runs"`
	}
	call("GET", "/api/2.2/jobs/runs/list?run_type=WORKFLOW_RUN", nil, &list)
	if len(list.Runs) != 2 {
		t.Errorf("the child ran %d times, want 2", len(list.Runs))
	}
}
