package jobs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry/store/jobs"
)

type m = map[string]any

// must calls as the admin, wants the status 200 and returns what is at a dotted
// path of the answer.
func (w *world) must(method, path string, body any, at ...string) any {
	w.Helper()
	code, out := w.call(w.s.Token, method, path, body)
	if code != 200 {
		w.Fatalf("%s %s %v: %d %v", method, path, body, code, out)
	}
	var v any = out
	for _, key := range at {
		switch x := v.(type) {
		case m:
			v = x[key]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i >= len(x) {
				w.Fatalf("%s %s: no %s in %v", method, path, key, x)
			}
			v = x[i]
		default:
			w.Fatalf("%s %s: no %s in %v", method, path, key, v)
		}
	}
	return v
}

// refused calls as the admin and wants a status and a word of the message.
func (w *world) refused(code int, word, method, path string, body any) {
	w.Helper()
	if got, out := w.call(w.s.Token, method, path, body); got != code || !strings.Contains(fmt.Sprint(out["message"]), word) {
		w.Errorf("%s %s %v: %d %v, want %d and %q", method, path, body, got, out, code, word)
	}
}

// until waits for the states of runs, each "life cycle/result".
func (w *world) until(version string, want map[any]string) {
	w.Helper()
	changed, stop := w.db.Watch(jobs.TopicRun)
	defer stop()
	deadline := time.After(2 * time.Minute)
	for {
		got, all := map[any]string{}, true
		for run, state := range want {
			s := w.must("GET", fmt.Sprintf("/api/%s/jobs/runs/get?run_id=%.0f", version, run), nil, "state").(m)
			got[run] = strings.Trim(fmt.Sprint(s["life_cycle_state"], "/", s["result_state"]), "/")
			got[run] = strings.TrimSuffix(got[run], "/<nil>")
			all = all && got[run] == state
		}
		if all {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			w.Fatalf("runs are %v, want %v", got, want)
		}
	}
}

func script(name string) []m {
	return []m{{"task_key": "a", "spark_python_task": m{"python_file": "/Users/x/" + name, "parameters": []string{"hello"}}}}
}

// TestVersion20 makes every call in the oldest version, the one with queues off
// by default.
func TestVersion20(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const api = "/api/2.0/jobs/"
	job := w.must("POST", api+"create", m{"name": "old", "tasks": script("a.py")}, "job_id")
	get := fmt.Sprintf("%sget?job_id=%.0f", api, job)
	if settings := w.must("GET", get, nil, "settings").(m); settings["queue"] != nil || settings["name"] != "old" {
		t.Errorf("settings %v", settings)
	}
	w.must("POST", api+"update", m{"job_id": job, "new_settings": m{"name": "newer", "tags": m{"team": "x"}}})
	if got := w.must("GET", api+"list?name=newer&expand_tasks=true", nil, "jobs", "0", "settings", "tasks", "0", "task_key"); got != "a" {
		t.Errorf("listed with the task %v", got)
	}
	w.must("POST", api+"reset", m{"job_id": job, "new_settings": m{"name": "newest", "tasks": script("a.py")}})
	if settings := w.must("GET", get, nil, "settings").(m); settings["tags"] != nil || settings["queue"] != nil {
		t.Errorf("settings after a reset %v", settings)
	}

	run := w.must("POST", api+"run-now", m{"job_id": job}, "run_id")
	w.until("2.0", map[any]string{run: "TERMINATED/SUCCESS"})
	if got := w.must("GET", fmt.Sprintf("%sruns/get-output?run_id=%.0f", api, run), nil, "logs"); got != "hello\n" {
		t.Errorf("logs %v", got)
	}
	if got := w.must("GET", fmt.Sprintf("%sruns/list?job_id=%.0f&completed_only=true", api, job), nil, "runs", "0", "run_id"); got != run {
		t.Errorf("listed the run %v, want %v", got, run)
	}
	w.refused(501, "dashboards", "GET", fmt.Sprintf("%sruns/export?run_id=%.0f&views_to_export=DASHBOARDS", api, run), nil)

	failed := w.must("POST", api+"runs/submit", m{"run_name": "once", "tasks": script("fail.py")}, "run_id")
	w.until("2.0", map[any]string{failed: "TERMINATED/FAILED"})
	w.must("POST", api+"runs/repair", m{"run_id": failed, "rerun_all_failed_tasks": true}, "repair_id")
	w.until("2.0", map[any]string{failed: "TERMINATED/FAILED"})
	w.must("POST", api+"runs/delete", m{"run_id": failed})
	w.refused(400, "does not exist", "GET", fmt.Sprintf("%sruns/get?run_id=%.0f", api, failed), nil)

	waits := w.must("POST", api+"runs/submit", m{"tasks": script("wait.py")}, "run_id")
	w.must("POST", api+"runs/cancel", m{"run_id": waits})
	w.until("2.0", map[any]string{waits: "TERMINATED/CANCELED"})
	w.must("POST", api+"delete", m{"job_id": job})
	w.refused(400, "does not exist", "GET", get, nil)
}

// TestCancelAll: the queued runs of a job, of all jobs, and all runs of a job.
// New runs are not held up.
func TestCancelAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const api, all = "/api/2.2/jobs/", "/api/2.2/jobs/runs/cancel-all"
	job := func() any {
		return w.must("POST", api+"create", m{"name": "waits", "tasks": script("wait.py")}, "job_id")
	}
	run := func(job any) any { return w.must("POST", api+"run-now", m{"job_id": job}, "run_id") }
	one, other := job(), job()
	first, second, third := run(one), run(one), run(one)
	theirs, theirSecond := run(other), run(other)
	w.until("2.2", map[any]string{first: "RUNNING", second: "QUEUED", third: "QUEUED", theirs: "RUNNING", theirSecond: "QUEUED"})

	w.refused(400, "job_id or all_queued_runs", "POST", all, m{})
	w.refused(400, "does not exist", "POST", all, m{"job_id": 999})
	w.must("POST", all, m{"job_id": one, "all_queued_runs": true})
	w.until("2.2", map[any]string{first: "RUNNING", second: "TERMINATED/CANCELED", third: "TERMINATED/CANCELED", theirs: "RUNNING", theirSecond: "QUEUED"})
	fourth := run(one)
	w.must("POST", all, m{"all_queued_runs": true})
	w.until("2.2", map[any]string{first: "RUNNING", fourth: "TERMINATED/CANCELED", theirs: "RUNNING", theirSecond: "TERMINATED/CANCELED"})
	fifth := run(one)
	w.must("POST", all, m{"job_id": one})
	w.until("2.2", map[any]string{first: "TERMINATED/CANCELED", fifth: "TERMINATED/CANCELED", theirs: "RUNNING"})
	w.until("2.2", map[any]string{run(one): "RUNNING"})
}

// TestAccessOfANewJob: the access_control_list of create is the job's, and a
// wrong one makes no job.
func TestAccessOfANewJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for version, list := range map[string][]m{
		"2.0": {{"group_name": "users", "permission_level": "CAN_VIEW"}},
		"2.2": {{"user_name": "ann@example.com", "permission_level": "CAN_MANAGE_RUN"}, {"user_name": "bob@example.com", "permission_level": "IS_OWNER"}},
	} {
		job := w.must("POST", "/api/"+version+"/jobs/create", m{"name": "permitted", "tasks": script("a.py"), "access_control_list": list}, "job_id")
		if settings := w.must("GET", fmt.Sprintf("/api/%s/jobs/get?job_id=%.0f", version, job), nil, "settings").(m); settings["access_control_list"] != nil {
			t.Errorf("%s: settings %v", version, settings)
		}
		got := fmt.Sprint(w.must("GET", fmt.Sprintf("/api/2.0/permissions/jobs/%.0f", job), nil, "access_control_list"))
		for _, a := range list {
			if !strings.Contains(got, fmt.Sprint(a["permission_level"])) {
				t.Errorf("%s: %s lacks %v", version, got, a)
			}
		}
		if owned := strings.Contains(got, "user_name:admin@localhost"); owned != (version == "2.0") {
			t.Errorf("%s: its maker owns it: %v, in %s", version, owned, got)
		}
	}
	for word, list := range map[string]any{
		"CAN_FLY":             []m{{"user_name": "ann@example.com", "permission_level": "CAN_FLY"}},
		"needs user_name":     []m{{"permission_level": "CAN_VIEW"}},
		"one principal each":  []m{{"user_name": "a", "group_name": "b", "permission_level": "CAN_VIEW"}},
		"exactly one owner":   []m{{"user_name": "a", "permission_level": "IS_OWNER"}, {"user_name": "b", "permission_level": "IS_OWNER"}},
		"access_control_list": "everyone",
	} {
		w.refused(400, word, "POST", "/api/2.2/jobs/create", m{"name": "wrong", "tasks": script("a.py"), "access_control_list": list})
		w.refused(400, word, "POST", "/api/2.2/jobs/runs/submit", m{"tasks": script("a.py"), "access_control_list": list})
	}
	if out := w.must("GET", "/api/2.2/jobs/list?name=wrong", nil).(m); out["jobs"] != nil {
		t.Errorf("refused jobs are there: %v", out)
	}
}

// TestExport: a notebook as it was executed, as one page.
func TestExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const api = "/api/2.2/jobs/runs/"
	run := w.must("POST", api+"submit", m{"tasks": []m{{"task_key": "n", "notebook_task": m{"notebook_path": "/Users/x/report"}}}}, "run_id")
	w.until("2.2", map[any]string{run: "TERMINATED/SUCCESS"})
	task := w.must("GET", fmt.Sprintf("%sget?run_id=%.0f", api, run), nil, "tasks", "0", "run_id").(float64)
	export := fmt.Sprintf("%sexport?run_id=%.0f", api, task)
	w.refused(400, "has executed no notebook", "GET", export, nil)

	dir := w.s.State.Run(int64(task)) // what an agent sends of a notebook
	for name, text := range map[string]string{
		"source.json": `[{"index":0,"kind":"markdown","language":"md","source":"# Report"},{"index":1,"kind":"code","language":"python","source":"print(6 * 7)"}]`,
		"events": `{"type":"output","index":1,"output":{"output_type":"stream","name":"stdout","text":"42 <&>\n"}}` + "\n" +
			`{"type":"cell","index":1,"state":"done","ms":12}` + "\n",
	} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, query := range []string{export, export + "&views_to_export=ALL", fmt.Sprintf("%sexport?views_to_export=CODE&run_id=%.0f", api, run)} {
		view := w.must("GET", query, nil, "views", "0").(m)
		page := view["content"].(string)
		if view["name"] != "report" || view["type"] != "NOTEBOOK" || !strings.HasPrefix(page, "<!doctype html>") {
			t.Errorf("%s: %v", query, view)
		}
		for _, want := range []string{"<title>report</title>", "<h1>Report</h1>", "print", "42 &lt;&amp;&gt;", ".hl-nb", "</html>"} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: no %s in %s", query, want, page)
			}
		}
	}
	w.refused(501, "dashboards", "GET", export+"&views_to_export=DASHBOARDS", nil)
	w.refused(400, "views_to_export is", "GET", export+"&views_to_export=PDF", nil)
	other := w.must("POST", api+"submit", m{"tasks": script("a.py")}, "run_id")
	w.until("2.2", map[any]string{other: "TERMINATED/SUCCESS"})
	w.refused(400, "only notebooks", "GET", fmt.Sprintf("%sexport?run_id=%.0f", api, other), nil)
	w.refused(400, "does not exist", "GET", api+"export?run_id=999", nil)
}
