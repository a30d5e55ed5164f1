package trace_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/scheduler"
	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/jobs"
)

type m = map[string]any

// still is a compute whose attempts run for ever.
type still struct{ runs *jobs.Store }

func (s *still) Start(ctx context.Context, a wherry.Attempt) error {
	return s.runs.AttemptRunning(ctx, a.RunID, "")
}
func (*still) Cancel(context.Context, int64) error     { return nil }
func (*still) ReleaseJob(context.Context, int64) error { return nil }

// world is a server whose tasks only start.
type world struct {
	*testing.T
	*servertest.Server
	db *store.DB
}

func newWorld(t *testing.T) *world {
	var runs *jobs.Store
	s := servertest.Start(t, func(c *server.Config) {
		c.Compute = func(r *jobs.Store) scheduler.Compute {
			runs = r
			return &still{r}
		}
	})
	return &world{t, s, runs.DB()}
}

func (w *world) call(token, method, path string, body any) (int, m) {
	w.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		w.Fatal(err)
	}
	q, err := http.NewRequestWithContext(w.Context(), method, w.URL+path, bytes.NewReader(b))
	if err != nil {
		w.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+token)
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		w.Fatal(err)
	}
	defer r.Body.Close()
	var out m
	if err := json.NewDecoder(r.Body).Decode(&out); err != nil {
		w.Fatal(err)
	}
	return r.StatusCode, out
}

func (w *world) must(token, method, path string, body any) m {
	w.Helper()
	code, out := w.call(token, method, path, body)
	if code != 200 {
		w.Fatalf("%s %s: %d %v", method, path, code, out)
	}
	return out
}

// task submits a run of one task and returns both ids, and the task's token,
// once it runs.
func (w *world) task() (jobRun, taskRun int64, token string) {
	w.Helper()
	changed, stop := w.db.Watch(jobs.TopicRun)
	defer stop()
	out := w.must(w.Token, "POST", "/api/2.2/jobs/runs/submit", m{"tasks": []m{{"task_key": "a", "spark_python_task": m{"python_file": "/a.py"}}}})
	jobRun = int64(out["run_id"].(float64))
	deadline := time.After(2 * time.Minute)
	for {
		run := w.must(w.Token, "GET", fmt.Sprintf("/api/2.2/jobs/runs/get?run_id=%d", jobRun), nil)
		if run["state"].(m)["life_cycle_state"] == "RUNNING" {
			taskRun = int64(run["tasks"].([]any)[0].(m)["run_id"].(float64))
			break
		}
		select {
		case <-changed:
		case <-deadline:
			w.Fatalf("the run does not start: %v", run["state"])
		}
	}
	err := w.db.Write(w.Context(), func(tx *store.Tx) (err error) {
		_, token, err = auth.IssueToken(tx, wherry.DefaultWorkspace, 1, taskRun, "a task's", time.Hour)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return jobRun, taskRun, token
}

// table makes a managed Delta table whose first version a task wrote, and whose
// second somebody outside.
func (w *world) table(writer int64) (id string) {
	w.Helper()
	place := w.must(w.Token, "POST", "/api/wherry/catalog/tables/create", m{"catalog": "workspace", "schema": "default", "name": "facts"})
	id = place["table_id"].(string)
	log := w.State.Path("managed", "tables", id, "_delta_log")
	if err := os.MkdirAll(log, 0o777); err != nil {
		w.Fatal(err)
	}
	metadata, err := json.Marshal(fmt.Sprintf(`{"wherry":{"run_id":%d}}`, writer))
	if err != nil {
		w.Fatal(err)
	}
	for version, info := range []string{`"userMetadata":` + string(metadata) + `,`, ""} {
		text := fmt.Sprintf(`{"commitInfo":{"timestamp":5,%s"operation":"WRITE"}}`+"\n"+`{"add":{"path":"f%d.parquet","dataChange":true}}`+"\n", info, version)
		if err := os.WriteFile(filepath.Join(log, fmt.Sprintf("%020d.json", version)), []byte(text), 0o600); err != nil {
			w.Fatal(err)
		}
	}
	w.must(w.Token, "POST", "/api/2.1/unity-catalog/tables", m{
		"catalog_name": "workspace", "schema_name": "default", "name": "facts", "table_type": "MANAGED", "data_source_format": "DELTA",
		"storage_location": place["storage_location"], "columns": []m{{"name": "x", "type_text": "bigint", "type_name": "LONG", "position": 0}},
	})
	return id
}

// edges asks for the graph of a node and draws its edges.
func (w *world) edges(kind, id, direction string) (lines []string) {
	w.Helper()
	out := w.must(w.Token, "GET", "/api/wherry/trace?"+url.Values{"kind": {kind}, "id": {id}, "direction": {direction}}.Encode(), nil)
	for _, e := range out["edges"].([]any) {
		src, dst := e.(m)["src"].(m), e.(m)["dst"].(m)
		lines = append(lines, fmt.Sprintf("%s %s %s %s %s", src["kind"], src["id"], e.(m)["rel"], dst["kind"], dst["id"]))
	}
	slices.Sort(lines)
	return lines
}

// TestTrace: a task writes a table's version, another reads it and starts an
// MLflow run; the graph leads from one to the other, and nowhere else.
func TestTrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	writerRun, writer, _ := w.task()
	readerRun, reader, token := w.task()
	table := w.table(writer)
	w.must(token, "POST", "/api/wherry/lineage", m{"reads": []m{
		{"table": "workspace.default.FACTS", "version": 0}, {"table": "workspace.default.facts"}, {"table": "workspace.default.nothing", "version": 3}, {"path": "/tmp/x", "version": 1},
	}})
	w.must(w.Token, "POST", "/api/wherry/lineage", m{"reads": []m{{"table_id": table, "version": 1}}}) // by a person: nothing to trace
	mlflow := w.must(token, "POST", "/api/2.0/mlflow/runs/create", m{"experiment_id": "0"})["run"].(m)["info"].(m)["run_id"].(string)

	chain := []string{
		fmt.Sprintf("job_run %d ran_as task_run %d", writerRun, writer),
		fmt.Sprintf("job_run %d ran_as task_run %d", readerRun, reader),
		fmt.Sprintf("table_version %s@0 read task_run %d", table, reader),
		fmt.Sprintf("task_run %d trained mlflow_run %s", reader, mlflow),
		fmt.Sprintf("task_run %d wrote table_version %s@0", writer, table),
	}
	slices.Sort(chain)
	back := w.edges("mlflow_run", mlflow, "")
	if !slices.Equal(back, chain) {
		t.Errorf("back from the MLflow run:\n%s\nwant\n%s", strings.Join(back, "\n"), strings.Join(chain, "\n"))
	}
	forward := w.edges("job_run", fmt.Sprint(writerRun), "forward")
	chain = slices.DeleteFunc(chain, func(e string) bool { return strings.HasPrefix(e, fmt.Sprintf("job_run %d ", readerRun)) })
	if !slices.Equal(forward, chain) {
		t.Errorf("forward from the writer's run:\n%s\nwant\n%s", strings.Join(forward, "\n"), strings.Join(chain, "\n"))
	}
	if got := w.edges("table_version", table+"@1", "back"); len(got) != 1 || !strings.HasPrefix(got[0], "unknown_writer ") {
		t.Errorf("back from what an outsider wrote: %v", got)
	}
	if got := w.edges("table_version", table+"@1", "forward"); len(got) != 0 {
		t.Errorf("a person's read was traced: %v", got)
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, writer, _ := w.task()
	table := w.table(writer)
	for file, want := range map[string]float64{"f0.parquet": float64(writer), "dbfs:/__unitystorage/tables/" + table + "/f1.parquet": 0} {
		out := w.must(w.Token, "GET", "/api/wherry/trace/origins?"+url.Values{"table": {"workspace.default.facts"}, "file": {file}}.Encode(), nil)
		origins, _ := out["origins"].([]any)
		if out["exact"] != true || len(origins) != 1 || origins[0].(m)["run_id"] != want || origins[0].(m)["kind"] != "table_version" {
			t.Errorf("%s: %v", file, out)
		}
	}
	out := w.must(w.Token, "GET", "/api/wherry/trace/origins?table=workspace.default.facts&file=gone.parquet", nil)
	if origins, _ := out["origins"].([]any); out["exact"] != false || len(origins) != 0 {
		t.Errorf("a file that no commit added: %v", out)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, _, token := w.task()
	for _, c := range []struct {
		method, path string
		body         any
		code         int
		word         string
	}{
		{"GET", "/api/wherry/trace?kind=job_run&id=1&direction=sideways", nil, 400, "back or forward"},
		{"GET", "/api/wherry/trace?kind=mlflow_run&id=none", nil, 404, "nothing is known of mlflow_run none"},
		{"GET", "/api/wherry/trace?kind=commit&id=abc123", nil, 404, "nothing is known of commit abc123"},
		{"GET", "/api/wherry/trace/origins?table=workspace.default.none&file=f", nil, 404, "there is no table workspace.default.none"},
		{"POST", "/api/wherry/lineage", m{"reads": "everything"}, 400, "reads"},
		{"POST", "/api/wherry/lineage", m{"reads": []m{{"table": "a.b.c", "version": "latest"}}}, 400, "latest"},
	} {
		if code, out := w.call(token, c.method, c.path, c.body); code != c.code || !strings.Contains(fmt.Sprint(out["message"]), c.word) {
			t.Errorf("%s %s: %d %v, want %d and %q", c.method, c.path, code, out, c.code, c.word)
		}
	}
}
