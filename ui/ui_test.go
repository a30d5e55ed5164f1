package ui_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/cli"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/scheduler"
	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store/jobs"
)

// TestMain makes this binary wherry when an agent starts a workflow's job by it,
// or a job a step.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "ci-") {
		sandbox.Main()
		os.Exit(cli.Main(os.Args))
	}
	os.Exit(servertest.Main(m))
}

type m = map[string]any

// stage is a compute whose tasks do as their keys say: bad fails in a cell of a
// notebook, wait runs until it is cancelled, all others succeed and print.
type stage struct {
	runs *jobs.Store
	dir  state.Dir

	mu    sync.Mutex
	stops map[int64]func()
	wg    sync.WaitGroup
}

func (s *stage) Start(_ context.Context, a wherry.Attempt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stops[a.RunID] == nil {
		stop := make(chan struct{})
		s.stops[a.RunID] = sync.OnceFunc(func() { close(stop) })
		s.wg.Go(func() { s.play(a, stop) })
	}
	return nil
}

const (
	cells  = `[{"index":0,"kind":"markdown","language":"md","source":"# All about otters"},{"index":1,"kind":"code","language":"python","source":"table()"},{"index":2,"kind":"code","language":"python","source":"1 / 0"}]`
	events = `{"type":"cell","index":1,"state":"running"}
{"type":"output","index":1,"output":{"output_type":"display_data","data":{"text/html":"<table><tr><td>otter</td></tr></table>"}}}
{"type":"output","index":1,"output":{"output_type":"display_data","data":{"text/html":"<div id='x'></div><script>document.title='plotted'</script>"}}}
{"type":"output","index":1,"output":{"output_type":"display_data","data":{"text/html":"<b>kept</b><a href='javascript:alert(1)'>x</a>"}}}
{"type":"cell","index":1,"state":"done","ms":12}
{"type":"output","index":2,"output":{"output_type":"error","ename":"ZeroDivisionError","evalue":"division by zero","traceback":["\u001b[31mZeroDivisionError\u001b[0m: division by zero <script>alert(2)</script>"]}}
{"type":"cell","index":2,"state":"failed","ms":3}
`
)

func (s *stage) play(a wherry.Attempt, stop chan struct{}) {
	ctx, dir := context.Background(), s.dir.Run(a.RunID)
	_ = os.MkdirAll(dir, 0o700)
	write := func(name, text string) { _ = os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600) }
	_ = s.runs.AttemptRunning(ctx, a.RunID, "")
	result := wherry.Result{State: wherry.ResultSuccess, Code: wherry.TermSuccess, SetupMillis: 7, ExecutionMillis: 20}
	switch a.TaskKey {
	case "bad":
		write("source.json", cells)
		write("events", events)
		result = wherry.Result{State: wherry.ResultFailed, Code: wherry.TermExecutionError, Error: "ZeroDivisionError: division by zero", Trace: "…"}
	case "wait":
		<-stop
		result = wherry.Result{State: wherry.ResultCanceled, Code: wherry.TermCanceled}
	default:
		write("out", "\x1b[32mgreen\x1b[0m <&> from "+a.TaskKey+"\n")
	}
	_ = s.runs.AttemptDone(ctx, a.RunID, "", result)
}

func (s *stage) Cancel(_ context.Context, id int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stop := s.stops[id]; stop != nil {
		stop()
	}
	return nil
}

func (s *stage) ReleaseJob(context.Context, int64) error { return nil }

// site is a server with a browser's session on it.
type site struct {
	*testing.T
	*servertest.Server
	http *http.Client
}

func open(t *testing.T) *site {
	s := &stage{stops: map[int64]func(){}}
	t.Cleanup(func() {
		s.mu.Lock()
		for _, stop := range s.stops {
			stop()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	srv := servertest.Start(t, func(c *server.Config) {
		s.dir = c.State
		c.Compute = func(runs *jobs.Store) scheduler.Compute { s.runs = runs; return s }
	})
	return enter(t, srv)
}

// enter signs the admin in at a server.
func enter(t *testing.T, srv *servertest.Server) *site {
	t.Helper()
	w := &site{T: t, Server: srv, http: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	res := w.login(url.Values{"token": {srv.Token}, "next": {"/jobs"}})
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/jobs" {
		t.Fatalf("sign in: %s to %q", res.Status, res.Header.Get("Location"))
	}
	jar := res.Cookies()
	w.http.Transport = cookies{jar}
	return w
}

// login opens the sign-in page and sends its form, without a session.
func (w *site) login(fields url.Values) *http.Response {
	w.Helper()
	w.http.Transport = nil
	form := w.send("GET", "/login", nil).Cookies()
	w.http.Transport = cookies{form}
	fields.Set("form", form[0].Value)
	return w.send("POST", "/login", fields)
}

type cookies struct{ list []*http.Cookie }

func (c cookies) RoundTrip(r *http.Request) (*http.Response, error) {
	for _, k := range c.list {
		r.AddCookie(k)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// send asks as a browser does; the body is read later, or closed at the end.
func (w *site) send(method, path string, fields url.Values) *http.Response {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.URL+path, strings.NewReader(fields.Encode()))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", w.URL)
	}
	res, err := w.http.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { res.Body.Close() })
	return res
}

// page reads a page and checks that it holds the texts.
func (w *site) page(path string, texts ...string) string {
	w.Helper()
	res := w.send("GET", path, nil)
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		w.Fatalf("%s: %s %v\n%s", path, res.Status, err, b)
	}
	for _, text := range texts {
		if !strings.Contains(string(b), text) {
			w.Errorf("%s lacks %q:\n%s", path, text, b)
		}
	}
	return string(b)
}

func (w *site) call(method, path string, in, out any) {
	w.Helper()
	if err := client.New(w.URL, w.Token).Do(w.Context(), method, path, in, out); err != nil {
		w.Fatalf("%s %s: %v", method, path, err)
	}
}

func (w *site) create(settings m) (id int64) {
	w.Helper()
	var out struct {
		ID int64 `json:"job_id"`
	}
	w.call("POST", "/api/2.2/jobs/create", settings, &out)
	return out.ID
}

// start presses "Run now" and returns the path of the run's page.
func (w *site) start(job int64, fields url.Values) string {
	w.Helper()
	res := w.send("POST", fmt.Sprintf("/jobs/%d/run-now", job), fields)
	if res.StatusCode != http.StatusSeeOther {
		b, _ := io.ReadAll(res.Body)
		w.Fatalf("run now: %s\n%s", res.Status, b)
	}
	return res.Header.Get("Location")
}

// follow reads a page's live stream to its end and returns what it sent.
func (w *site) follow(path string) string {
	w.Helper()
	b, err := io.ReadAll(w.send("GET", path+"/live", nil).Body)
	if err != nil || !bytes.Contains(b, []byte("event: end")) {
		w.Fatalf("%s/live: %v\n%s", path, err, b)
	}
	return string(b)
}

func notebookTask(key string, after ...string) m {
	deps := []m{}
	for _, a := range after {
		deps = append(deps, m{"task_key": a})
	}
	return m{"task_key": key, "notebook_task": m{"notebook_path": "/Shared/" + key}, "depends_on": deps}
}

func TestPagesOfJobAndRun(t *testing.T) {
	w := open(t)
	w.page("/", "Nothing has run yet")
	w.page("/jobs", "No jobs yet")
	w.page("/models", "No registered models")
	w.page("/trace", "what it came of")
	job := w.create(m{
		"name": "nightly <b>otters</b>", "tags": m{"team": "river"}, "parameters": []m{{"name": "day", "default": "monday"}},
		"schedule":              m{"quartz_cron_expression": "0 0 1 * * ?", "timezone_id": "Europe/London", "pause_status": "PAUSED"},
		"webhook_notifications": m{"on_failure": []m{{"id": "x"}}},
		"tasks": []m{
			notebookTask("load"), notebookTask("bad", "load"), notebookTask("after", "bad"),
			{"task_key": "check", "depends_on": []m{{"task_key": "load"}}, "condition_task": m{"op": "EQUAL_TO", "left": "1", "right": "1"}},
		},
	})
	w.page("/jobs", "nightly &lt;b&gt;otters", "team: river", "paused", "Run now")
	w.page(fmt.Sprintf("/jobs/%d", job), "It has not run yet", "quartz_cron_expression: 0 0 1", `name="parameter.day"`)

	path := w.start(job, url.Values{"parameter.day": {"friday & co"}})
	if !strings.Contains(w.follow(path), "division by zero") {
		t.Error("the live stream does not show the failing cell")
	}
	body := w.page(path, "Failed", "ZeroDivisionError: division by zero", `<span class="ansi-1">ZeroDivisionError`, "friday &amp; co", "Upstream failed", "Succeeded: true",
		"Repair", "only admin or not is enforced", `aria-label="Graph of tasks"`, "Where the time went", "kind=job_run",
		"Who was told", "Job nightly &lt;b&gt;otters&lt;/b&gt; failed", "undeliverable", "there is no notification destination x")
	if strings.Contains(body, "<script>alert") || strings.Contains(body, "data-live") {
		t.Error("a script of the output is in the page, or a finished run is followed")
	}
	if strings.Index(body, "run-failures") > strings.Index(body, "run-dag") {
		t.Error("the failure does not come first")
	}
	w.page(fmt.Sprintf("/jobs/%d", job), "Tasks and runs", "Run "+path[strings.LastIndex(path, "/")+1:])
	w.page("/", "Last failures", "nightly")
	w.page("/runs", path)

	tasks := w.tasks(path)
	res := w.send("GET", fmt.Sprintf("/jobs/%d/runs/%d", job, tasks["bad"]), nil) // run_page_url
	page := res.Header.Get("Location")
	if page != fmt.Sprintf("%s/tasks/%d", path, tasks["bad"]) {
		t.Errorf("the page of a task run is at %q", page)
	}
	w.notebook(page)
	w.page(fmt.Sprintf("%s/tasks/%d", path, tasks["load"]), `<span class="ansi-2">green</span> &lt;&amp;&gt; from load`, "friday &amp; co", "Log")
	w.page(fmt.Sprintf("/trace?kind=task_run&id=%d", tasks["load"]), "job run", "nightly")
	w.send("POST", path+"/repair", nil)
	w.follow(path)
	w.page(path, "attempt 0")
}

// tasks returns the ids of a run's task runs by key.
func (w *site) tasks(path string) map[string]int64 {
	w.Helper()
	var run struct {
		Tasks []struct {
			Key string `json:"task_key"`
			ID  int64  `json:"run_id"`
		}
	}
	w.call("GET", "/api/2.2/jobs/runs/get?run_id="+path[strings.LastIndex(path, "/")+1:], nil, &run)
	ids := map[string]int64{}
	for _, t := range run.Tasks {
		ids[t.Key] = t.ID
	}
	return ids
}

// notebook looks at the page of the notebook that failed.
func (w *site) notebook(page string) {
	w.Helper()
	body := w.page(page, "All about otters</h1>", "<td>otter</td>", "<b>kept</b>", `id="cell-2" data-state="failed"`, "12 ms")
	if strings.Contains(body, "javascript:") || strings.Contains(body, "srcdoc") || strings.Contains(body, "<script>") {
		w.Errorf("output can act in the page:\n%s", body)
	}
	_, rest, ok := strings.Cut(body, `sandbox="allow-scripts" title="output" src="`)
	src, _, _ := strings.Cut(rest, `"`)
	if !ok {
		w.Fatalf("no frame:\n%s", body)
	}
	res := w.send("GET", src, nil)
	b, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(b), "document.title='plotted'") {
		w.Errorf("frame: %v %s", err, b)
	}
	if p := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(p, "sandbox allow-scripts;") {
		w.Errorf("the frame's policy is %q", p)
	}
}

func TestCancelAndSubmittedRuns(t *testing.T) {
	w := open(t)
	path := w.start(w.create(m{"name": "slow", "tasks": []m{notebookTask("wait")}}), nil)
	w.page(path, "data-live", "Cancel")
	w.page("/", "Running now", "slow")
	w.send("POST", path+"/cancel", nil)
	w.follow(fmt.Sprintf("%s/tasks/%d", path, w.tasks(path)["wait"]))
	w.follow(path)
	w.page(path, "Cancelled")

	var out struct {
		ID int64 `json:"run_id"`
	}
	w.call("POST", "/api/2.2/jobs/runs/submit", m{"run_name": "one-off", "tasks": []m{notebookTask("load")}}, &out)
	path = fmt.Sprintf("/jobs/0/runs/%d", out.ID)
	w.follow(path)
	w.page(path, "one-off", "Succeeded")
	if to := w.send("GET", fmt.Sprintf("/jobs/77/runs/%d", out.ID), nil).Header.Get("Location"); to != path {
		t.Errorf("with another job's id it goes to %q", to)
	}
}

func TestModels(t *testing.T) {
	w := open(t)
	const api = "/api/2.0/mlflow/"
	var e struct {
		ID string `json:"experiment_id"`
	}
	w.call("POST", api+"experiments/create", m{"name": "/Shared/e"}, &e)
	for i := range 2 {
		var run struct {
			Run struct {
				Info struct {
					ID string `json:"run_id"`
				}
			}
		}
		w.call("POST", api+"runs/create", m{"experiment_id": e.ID}, &run)
		w.call("POST", api+"runs/log-metric", m{"run_id": run.Run.Info.ID, "key": "auc", "value": 0.875 + float64(i)/1000, "timestamp": 1}, nil)
		if i == 0 {
			w.call("POST", api+"registered-models/create", m{"name": "otter's model"}, nil)
		}
		w.call("POST", api+"model-versions/create", m{"name": "otter's model", "source": "mlflow-artifacts:/x", "run_id": run.Run.Info.ID}, nil)
	}
	w.call("POST", api+"registered-models/alias", m{"name": "otter's model", "alias": "champion", "version": "2"}, nil)
	w.page("/models", "otter&#39;s model", "@champion")
	w.page("/models/otter%27s%20model", "@champion", "0.875", "0.876", "auc", "MLflow run", "model_version")
	w.page("/trace?kind=model_version&id=otter%27s+model%2F2", "MLflow run", "registered")
}

func TestWhoMaySee(t *testing.T) {
	w := open(t)
	job := w.create(m{"name": "j", "tasks": []m{notebookTask("load")}})
	res := w.send("GET", "/jobs", nil)
	if p := res.Header.Get("Content-Security-Policy"); !strings.Contains(p, "script-src 'self';") || !strings.Contains(p, "style-src 'self';") {
		t.Errorf("policy %q", p)
	}
	if res := w.send("GET", "/jobs/99", nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("a job that is not there: %s", res.Status)
	}
	foreign, err := http.NewRequestWithContext(t.Context(), "POST", fmt.Sprintf("%s/jobs/%d/run-now", w.URL, job), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, origin := range []string{"", "http://evil.example", "null"} {
		if foreign.Header.Del("Origin"); origin != "" {
			foreign.Header.Set("Origin", origin)
		}
		res, err := w.http.Do(foreign)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("a form from %q: %s", origin, res.Status)
		}
	}
	w.http.Transport = nil // signed out
	for _, path := range []string{"/", "/jobs", fmt.Sprintf("/jobs/%d", job), "/runs", "/workflows", "/repos", "/repos/a", "/repos/a/commits/b", "/environments", "/environments/prod", "/drift", "/drift/1", "/models", "/trace?kind=a&id=b", "/mlflow/", "/catalog", "/catalog/workspace/default", "/workspace/Shared/", "/search?q=a"} {
		res := w.send("GET", path, nil)
		if to := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || to != "/login?next="+url.QueryEscape(path) {
			t.Errorf("%s signed out: %s to %q", path, res.Status, to)
		}
	}
	w.page("/login?next=/jobs", `name="next" value="/jobs"`)
	w.page("/ui/wherry.css", ".nb-cell", ".hl-")
	w.page("/ui/wherry.js", "EventSource", "notebookFrameHeight")
	err = client.New(w.URL, "").Do(t.Context(), "GET", "/api/2.2/jobs/list", nil, new(json.RawMessage))
	if e, ok := errors.AsType[*wherry.Error](err); !ok || e.Code != wherry.CodeUnauthenticated {
		t.Errorf("programs get %v", err)
	}
}

// People sign in with a password or a link, and are told on the same page what
// is wrong.
func TestSignIn(t *testing.T) {
	w := open(t)
	w.call("POST", "/api/2.0/preview/scim/v2/Users", m{"userName": "ann@example.com"}, nil)
	w.call("POST", "/api/wherry/users/password", m{"user_name": "ann@example.com", "password": "correct horse"}, nil)
	read := func(res *http.Response) string {
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	res := w.login(url.Values{"user": {"ann@example.com"}, "password": {"wrong"}, "next": {"/runs"}})
	if body := read(res); res.StatusCode != http.StatusUnauthorized || !strings.Contains(body, `role="alert">the name or the password is wrong`) || !strings.Contains(body, `value="ann@example.com"`) || !strings.Contains(body, `name="next" value="/runs"`) {
		t.Errorf("a wrong password: %s %s", res.Status, body)
	}
	res = w.login(url.Values{"user": {"ann@example.com"}, "password": {"correct horse"}, "next": {"/runs"}})
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/runs" {
		t.Errorf("the right one: %s", res.Status)
	}
	w.http.Transport = cookies{res.Cookies()}
	if res := w.send("GET", "/runs", nil); res.StatusCode != http.StatusOK || !strings.Contains(read(res), "Signed in as ann@example.com") {
		t.Errorf("with the session: %s", res.Status)
	}
	var link struct {
		URL string `json:"url"`
	}
	w.call("POST", "/api/wherry/users/link", m{"user_name": "ann@example.com"}, &link)
	w.http.Transport = nil
	path := strings.TrimPrefix(link.URL, w.URL)
	for range 2 { // to open it is not to use it
		w.page(path, "Sign in as ann@example.com")
	}
	_, secret, _ := strings.Cut(path, "link=")
	if res := w.login(url.Values{"link": {secret}}); res.StatusCode != http.StatusSeeOther {
		t.Errorf("by the link: %s", res.Status)
	}
	w.http.Transport = nil
	if res := w.send("GET", path, nil); res.StatusCode != http.StatusUnauthorized || !strings.Contains(read(res), "used already") {
		t.Errorf("the link again: %s", res.Status)
	}
}
