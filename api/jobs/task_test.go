package jobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/databricks/databricks-sdk-go/service/jobs"

	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/store"
	runs "github.com/wherry-ml/wherry/store/jobs"
)

// world is a server, its database, and a task that runs until the test ends.
type world struct {
	*testing.T
	s  *servertest.Server
	db *store.DB
}

func newWorld(t *testing.T) *world {
	e := newExecutor(t)
	w := &world{T: t}
	w.s = servertest.Start(t, func(c *server.Config) { e.configure(c, "") })
	w.db = e.runs.DB()
	return w
}

// token issues a token of a principal, for a task run or none.
func (w *world) token(principal, runID int64) (token string) {
	w.Helper()
	err := w.db.Write(context.Background(), func(tx *store.Tx) (err error) {
		_, token, err = auth.IssueToken(tx, 1, principal, runID, "test", time.Hour)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return token
}

// call answers the status and the body of a call.
func (w *world) call(token, method, path string, body any) (int, map[string]any) {
	w.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		w.Fatal(err)
	}
	q, err := http.NewRequest(method, w.s.URL+path, bytes.NewReader(b))
	if err != nil {
		w.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+token)
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		w.Fatal(err)
	}
	defer r.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(r.Body).Decode(&out); err != nil {
		w.Fatal(err)
	}
	return r.StatusCode, out
}

// running submits a task that waits and returns its task run once it runs.
func (w *world) running(runAs string) (jobRun, taskRun int64) {
	w.Helper()
	ctx, c := context.Background(), client(w.T, w.s)
	q := jobs.SubmitRun{Tasks: []jobs.SubmitTask{{TaskKey: "a", SparkPythonTask: &jobs.SparkPythonTask{PythonFile: "/Users/x/wait.py"}}}}
	if runAs != "" {
		q.RunAs = &jobs.JobRunAs{ServicePrincipalName: runAs}
	}
	wait, err := c.Jobs.Submit(ctx, q)
	if err != nil {
		w.Fatal(err)
	}
	changed, stop := w.db.Watch(runs.TopicRun)
	defer stop()
	deadline := time.After(2 * time.Minute)
	for {
		run, err := c.Jobs.GetRun(ctx, jobs.GetRunRequest{RunId: wait.RunId})
		if err != nil {
			w.Fatal(err)
		}
		if run.State.LifeCycleState == jobs.RunLifeCycleStateRunning {
			return run.RunId, run.Tasks[0].RunId
		}
		select {
		case <-changed:
		case <-deadline:
			w.Fatalf("the run does not start: %+v", run.State)
		}
	}
}

// TestTaskCalls are the calls behind dbutils.jobs.taskValues and
// dbutils.notebook.run.
func TestTaskCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, task := w.running("")
	token := w.token(1, task)
	if code, out := w.call(token, "POST", "/api/wherry/task-values", map[string]any{"key": "k", "value": map[string]any{"a": []int{1}}}); code != 200 {
		t.Errorf("set: %d %v", code, out)
	}
	if code, out := w.call(token, "GET", "/api/wherry/task-values?task_key=a&key=k", nil); code != 200 || fmt.Sprint(out["value"]) != "map[a:[1]]" {
		t.Errorf("get: %d %v", code, out)
	}
	if code, out := w.call(token, "GET", "/api/wherry/task-values?task_key=a&key=none", nil); code != 404 || out["error_code"] != "RESOURCE_DOES_NOT_EXIST" {
		t.Errorf("a value that was not set: %d %v", code, out)
	}
	if code, out := w.call(token, "POST", "/api/wherry/task-values", map[string]any{"key": "k", "value": strings.Repeat("x", 49<<10)}); code != 400 {
		t.Errorf("a large value: %d %v", code, out)
	}
	start := map[string]any{"path": "./child", "timeout_seconds": 60, "arguments": map[string]string{"x": "1"}, "idempotency_token": strings.Repeat("a", 32)}
	code, out := w.call(token, "POST", "/api/wherry/notebook-run", start)
	if code != 200 {
		t.Fatalf("notebook-run: %d %v", code, out)
	}
	if code, again := w.call(token, "POST", "/api/wherry/notebook-run", start); code != 200 || again["run_id"] != out["run_id"] {
		t.Errorf("the same call again: %d %v, want %v", code, again, out)
	}
	_, other := w.running("")
	if code, more := w.call(w.token(1, other), "POST", "/api/wherry/notebook-run", start); code != 200 || more["run_id"] == out["run_id"] {
		t.Errorf("another task's call: %d %v", code, more)
	}
	run := int64(out["run_id"].(float64))
	if _, err := client(t, w.s).Jobs.WaitGetRunJobTerminatedOrSkipped(context.Background(), run, 2*time.Minute, nil); err != nil {
		t.Fatal(err)
	}
	if code, out = w.call(token, "GET", fmt.Sprintf("/api/2.2/jobs/runs/get-output?run_id=%d", run), nil); code != 200 {
		t.Fatalf("output: %d %v", code, out)
	}
	meta := out["metadata"].(map[string]any)
	nb := meta["tasks"].([]any)[0].(map[string]any)
	if path := nb["notebook_task"].(map[string]any)["notebook_path"]; path != "/Users/x/child" || nb["existing_cluster_id"] != "0101-000000-test" ||
		meta["run_type"] != "WORKFLOW_RUN" {
		t.Errorf("the notebook %v ran on %v as %v", path, nb["existing_cluster_id"], meta["run_type"])
	}
	if result := out["notebook_output"].(map[string]any)["result"]; result != `{"x":"1"}` {
		t.Errorf("result %v", result)
	}
}

// TestOwnRuns: who is no admin reads the own runs, and changes nothing.
func TestOwnRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	err := w.db.Write(context.Background(), func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO principal (id, kind, user_name, display_name, application_id, admin, active, created_at)
			VALUES (77, 'service_principal', 'robot', 'Robot', 'robot-app', false, true, 0)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	mine, task := w.running("robot-app")
	other, _ := w.running("")
	token := w.token(77, 0)
	for path, want := range map[string]int{
		fmt.Sprintf("/api/2.2/jobs/runs/get?run_id=%d", mine): 200, fmt.Sprintf("/api/2.2/jobs/runs/get?run_id=%d", other): 400,
		fmt.Sprintf("/api/2.2/jobs/runs/get-output?run_id=%d", task): 200, "/api/2.2/jobs/list": 403,
	} {
		if code, out := w.call(token, "GET", path, nil); code != want {
			t.Errorf("%s: %d %v, want %d", path, code, out, want)
		}
	}
	if _, out := w.call(token, "GET", "/api/2.2/jobs/runs/list", nil); len(out["runs"].([]any)) != 1 {
		t.Errorf("list: %v", out)
	}
	if code, out := w.call(token, "POST", "/api/2.2/jobs/runs/cancel", map[string]any{"run_id": mine}); code != 403 {
		t.Errorf("cancel: %d %v", code, out)
	}
}

// TestRunStartedByAdmin: a run as a principal without rights may do what who
// started it may, but for what is the admins' own, as long as they are an admin.
func TestRunStartedByAdmin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	exec := func(query string) {
		t.Helper()
		err := w.db.Write(context.Background(), func(tx *store.Tx) error {
			_, err := tx.Exec(query)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO principal (id, kind, user_name, display_name, application_id, admin, active, created_at)
		VALUES (77, 'service_principal', 'robot', 'Robot', 'robot-app', false, true, 0)`)
	_, task := w.running("robot-app")
	token := w.token(77, task)
	if code, out := w.call(token, "GET", "/api/2.2/jobs/list", nil); code != 200 {
		t.Errorf("list jobs: %d %v", code, out)
	}
	code, out := w.call(token, "POST", "/api/wherry/notebook-run", map[string]any{"path": "/x"})
	if code != 200 {
		t.Fatalf("run a notebook: %d %v", code, out)
	}
	child, _, err := runs.New(w.db).Run(context.Background(), 1, int64(out["run_id"].(float64)))
	if err != nil || child.Creator != "admin@localhost" || child.RunAs.UserName != "robot" {
		t.Errorf("the notebook's run: %+v %v", child, err)
	}
	exec(`UPDATE principal SET admin = false WHERE user_name = 'admin@localhost'`)
	if code, out := w.call(token, "GET", "/api/2.2/jobs/list", nil); code != 403 {
		t.Errorf("list jobs for one who is no admin any more: %d %v", code, out)
	}
}
