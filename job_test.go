package wherry

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestConditionMatrix(t *testing.T) {
	for _, tc := range []struct{ left, op, right, want string }{
		{"12.0", OpEqual, "12", "false"},
		{"12", OpEqual, "12", "true"},
		{"true", OpEqual, "true", "true"},
		{"12.0", OpNotEqual, "12", "true"},
		{"12.0", OpGreaterOrEqual, "12", "true"},
		{"12.0", OpGreater, "12", "false"},
		{" 13 ", OpGreater, "12", "true"},
		{"1e2", OpLess, "101", "true"},
		{"-1", OpLessOrEqual, "-1", "true"},
		{"abc", OpGreater, "1", "error"},
		{"1", OpLess, "", "error"},
		{"true", OpLess, "2", "error"},
		{"nan", OpGreater, "0.8", "error"},
		{"1", OpLess, "Infinity", "error"},
		{"0x1p4", OpGreater, "1", "error"},
		{"1_0", OpGreater, "1", "error"},
		{"1", "LIKE", "1", "error"},
	} {
		ok, err := ConditionTask{Op: tc.op, Left: tc.left, Right: tc.right}.Evaluate()
		got := "false"
		if ok {
			got = "true"
		}
		if err != nil {
			got = "error"
		}
		if got != tc.want {
			t.Errorf("%q %s %q: %s, want %s", tc.left, tc.op, tc.right, got, tc.want)
		}
	}
}

func TestRenderings(t *testing.T) {
	for _, tc := range []struct {
		in                                    Standing
		life, result, state, code, kind, flag string
	}{
		{Standing{State: Queued}, "QUEUED", "", "QUEUED", "", "", "false"},
		{Standing{State: Blocked}, "BLOCKED", "", "BLOCKED", "", "", "false"},
		{Standing{State: Pending}, "PENDING", "", "PENDING", "", "", "false"},
		{Standing{State: Running}, "RUNNING", "", "RUNNING", "", "", "false"},
		{Standing{State: Waiting}, "WAITING_FOR_RETRY", "", "WAITING", "", "", "false"},
		{Standing{State: Terminating, Cause: CauseUser}, "TERMINATING", "", "TERMINATING", "USER_CANCELED", "CLIENT_ERROR", "false"},
		{Standing{State: Terminated, Result: ResultSuccess}, "TERMINATED", "SUCCESS", "TERMINATED", "SUCCESS", "SUCCESS", "false"},
		{Standing{State: Terminated, Result: ResultSuccessWithFailures}, "TERMINATED", "SUCCESS_WITH_FAILURES", "TERMINATED", "SUCCESS_WITH_FAILURES", "SUCCESS", "false"},
		{Standing{State: Terminated, Result: ResultFailed, Code: TermExecutionError}, "TERMINATED", "FAILED", "TERMINATED", "RUN_EXECUTION_ERROR", "CLIENT_ERROR", "false"},
		{Standing{State: Terminated, Result: ResultFailed, Code: TermClusterError}, "INTERNAL_ERROR", "FAILED", "TERMINATED", "CLUSTER_ERROR", "CLIENT_ERROR", "false"},
		{Standing{State: Terminated, Result: ResultFailed, Code: TermInternalError}, "INTERNAL_ERROR", "FAILED", "TERMINATED", "INTERNAL_ERROR", "INTERNAL_ERROR", "false"},
		{Cancelled(CauseTimeout), "TERMINATED", "TIMEDOUT", "TERMINATED", "CANCELED", "CLIENT_ERROR", "true"},
		{Cancelled(CauseUser), "TERMINATED", "CANCELED", "TERMINATED", "USER_CANCELED", "CLIENT_ERROR", "true"},
		{ends(ResultMaxConcurrent), "SKIPPED", ResultMaxConcurrent, "TERMINATED", "MAX_CONCURRENT_RUNS_EXCEEDED", "CLIENT_ERROR", "false"},
		{ends(ResultExcluded), "SKIPPED", "EXCLUDED", "TERMINATED", "SKIPPED", "SUCCESS", "false"},
		{ends(ResultUpstreamFailed), "SKIPPED", "UPSTREAM_FAILED", "TERMINATED", "SKIPPED", "CLIENT_ERROR", "false"},
		{ends(ResultUpstreamCanceled), "SKIPPED", "UPSTREAM_CANCELED", "TERMINATED", "SKIPPED", "CLIENT_ERROR", "false"},
		{ends(ResultDisabled), "SKIPPED", "DISABLED", "TERMINATED", "DISABLED", "SUCCESS", "false"},
	} {
		l, s := tc.in.Legacy(), tc.in.Status()
		var code, kind string
		if s.Termination != nil {
			code, kind = s.Termination.Code, s.Termination.Type
		}
		got := []any{l.LifeCycle, l.Result, s.State, code, kind, l.Cancelled}
		want := []any{tc.life, tc.result, tc.state, tc.code, tc.kind, tc.flag == "true"}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%+v: got %v, want %v", tc.in, got, want)
				break
			}
		}
	}
}

func TestValidate(t *testing.T) {
	nb := `"notebook_task":{"notebook_path":"/a"}`
	for _, tc := range []struct{ doc, want string }{
		{`{"tasks":[{"task_key":"a",` + nb + `}]}`, ""},
		{`{"tasks":[{"task_key":"a",` + nb + `},{"task_key":"a",` + nb + `}]}`, "twice"},
		{`{"tasks":[{"task_key":"a","depends_on":[{"task_key":"b"}],` + nb + `}]}`, `"b", which does not exist`},
		{`{"tasks":[{"task_key":"a","depends_on":[{"task_key":"b"}],` + nb + `},{"task_key":"b","depends_on":[{"task_key":"a"}],` + nb + `}]}`, "a → b → a"},
		{`{"tasks":[{"task_key":"a"}]}`, "one task type is needed"},
		{`{"tasks":[{"task_key":"a",` + nb + `,"spark_python_task":{"python_file":"/b"}}]}`, "exactly one task type"},
		{`{"tasks":[{"task_key":"a","sql_task":{}}]}`, "sql_task"},
		{`{"tasks":[{"task_key":"a",` + nb + `},{"task_key":"b","depends_on":[{"task_key":"a","outcome":"true"}],` + nb + `}]}`, "condition_task only"},
		{`{"tasks":[{"task_key":"a",` + nb + `,"job_cluster_key":"x"}]}`, "not among job_clusters"},
		{`{"tasks":[{"task_key":"a",` + nb + `,"existing_cluster_id":"x","new_cluster":{"num_workers":1}}]}`, "only one of"},
		{`{"tasks":[{"task_key":"a","run_if":"SOMETIMES",` + nb + `}]}`, "run_if"},
		{`{"schedule":{"quartz_cron_expression":"0 0 1 * * ?","timezone_id":"UTC"},"continuous":{"pause_status":"PAUSED"}}`, "exclude each other"},
		{`{"max_concurrent_runs":1001}`, "max_concurrent_runs"},
		{`{"name":"old",` + nb + `}`, "single-task format"},
		{`{"parameters":[{"name":"a b","default":""}]}`, "letters"},
		{`{"parameters":[{"name":"a"}]}`, "no default"},
		{`{"tasks":[{"task_key":"a","notebook_task":{"notebook_path":"/a","base_parameters":{"x":"{{job.naem}}"}}}]}`, "{{job.naem}}"},
		{`{"tasks":[{"task_key":"a","notebook_task":{"notebook_path":"/a","base_parameters":{"x":"{{tasks.b.values.k}}"}}},{"task_key":"b",` + nb + `}]}`, "not upstream"},
		{`{"tasks":[{"task_key":"a","notebook_task":{"notebook_path":"/a","base_parameters":{"x":"{{nobody.knows}} {{ 1+1 }}"}}}]}`, ""},
		{`{"tasks":[{"task_key":"a","for_each_task":{"inputs":"[1,2]","task":{"task_key":"b",` + nb + `}}}]}`, ""},
		{`{"tasks":[{"task_key":"a","for_each_task":{"inputs":"{}","task":{"task_key":"b",` + nb + `}}}]}`, "JSON array"},
	} {
		s := settings(t, tc.doc)
		err := s.Validate()
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.doc, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v, want …%s…", tc.doc, err, tc.want)
		}
		if strings.Contains(tc.doc, "sql_task") && CodeOf(err) != CodeNotImplemented {
			t.Errorf("an unknown task type gives %s", CodeOf(err))
		}
	}
}

func TestReferences(t *testing.T) {
	r := newRun(t, `{"tasks":[{"task_key":"load"},{"task_key":"fit one","notebook_task":{"notebook_path":"/n"}}]}`)
	r.StartTime = 1_767_225_909_123 // Thursday 2026-01-01 00:05:09 UTC
	value := "v"
	r.Parameters = []RunParameter{{Name: "day", Value: &value}, {Name: "run", Value: ptr("{{job.run_id}}")}}
	r.Attempts[0].Standing = ends(ResultSuccess)
	x := &References{Run: r, TaskRun: r.Attempts[1], BaseURL: "http://h", Value: func(task, name string) (json.RawMessage, bool) {
		v := map[string]string{"load.n": "12", "load.s": `"a\"b"`, "load.o": `{"a":1}`}[task+"."+name]
		return json.RawMessage(v), v != ""
	}}
	x.TaskRun.Input = json.RawMessage(`{"a":"x","b c":{"d":2}}`)
	if err := x.resolveJobParameters(); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"plain": "plain", "{{job.id}}": "7", "a{{ job.run_id }}b": "a1b", "{{job.name}}": "job", "{{task.name}}": "fit one",
		"{{task.run_id}} {{run_id}} {{parent_run_id}} {{job_id}}": "101 101 1 7", "{{task_retry_count}}": "0", "{{task.execution_count}}": "1",
		"{{job.start_time.iso_date}}": "2026-01-01", "{{start_date}}": "2026-01-01", "{{job.start_time.minute}}": "5",
		"{{job.start_time.iso_weekday}}{{job.start_time.is_weekday}}": "4true", "{{start_time}}": "1767225909123",
		"{{job.parameters.day}}": "v", "{{job.parameters.run}}": "1", "{{job.parameters.`day`}}": "v",
		"{{tasks.load.values.n}}": "12", "{{tasks.load.values.s}}": `a"b`, "{{tasks.load.values.o}}": `{"a":1}`,
		"{{tasks.load.result_state}}": "success", "{{tasks.`fit one`.run_id}}": "101", "{{task.notebook_path}}": "/n",
		"{{input}}": `{"a":"x","b c":{"d":2}}`, "{{input.a}}": "x", "{{input.`b c`.d}}": "2",
		"{{workspace.id}}": "0", "{{workspace.url}}": "http://h", "{{job.repair_count}}": "0",
		"{{nobody.knows}}": "{{nobody.knows}}", "{{ 1 + 1 }}": "{{ 1 + 1 }}", "{{job.id": "{{job.id", "{{}}": "{{}}",
		"{{{{job.id}}}}": "{{7}}", "{{job.trigger.time.year}}": "{{job.trigger.time.year}}", "{{job.naem}}": "{{job.naem}}",
	} {
		if got, err := x.Expand(in); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"{{tasks.load.values.missing}}", "{{job.parameters.missing}}", "{{input.missing}}"} {
		if got, err := x.Expand(in); err == nil {
			t.Errorf("%s: %q and no error", in, got)
		}
	}
	x.Scalars = true
	if _, err := x.Expand("{{tasks.load.values.o}}"); err == nil {
		t.Error("an object was taken for an operand")
	}
}

func ptr(s string) *string { return &s }

func TestParameterPrecedence(t *testing.T) {
	r := newRun(t, `{"parameters":[{"name":"p","default":"job"}],"tasks":[
		{"task_key":"n","notebook_task":{"notebook_path":"/n","base_parameters":{"p":"task","q":"task","r":"{{job.run_id}}"}}},
		{"task_key":"s","spark_python_task":{"python_file":"/f","parameters":["--p","{{job.parameters.p}}"]},"unknown":{"kept":0}},
		{"task_key":"w","python_wheel_task":{"package_name":"p","entry_point":"main","named_parameters":{"a":"1"}}}]}`)
	r.Overriding.Notebook = map[string]string{"q": "run"}
	r.Parameters = RunParameters(r.Settings.Parameters, map[string]string{"p": "given", "extra": "1"})
	a, err := (&References{Run: r, TaskRun: r.Attempts[0]}).Resolve()
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(a.Parameters)
	if string(got) != `{"extra":"1","p":"given","q":"run","r":"1"}` {
		t.Errorf("notebook: %s", got)
	}
	a, err = (&References{Run: r, TaskRun: r.Attempts[1]}).Resolve()
	if err != nil || a.Parameters != nil || !strings.Contains(string(a.Task), `["--p","given"]`) || !strings.Contains(string(a.Task), `{"kept":0}`) {
		t.Errorf("script: %v %s", err, a.Task)
	}
	r.Overriding.Python = []string{"x"}
	if a, err = (&References{Run: r, TaskRun: r.Attempts[1]}).Resolve(); err != nil || !strings.Contains(string(a.Task), `["x"]`) {
		t.Errorf("python_params: %v %s", err, a.Task)
	}
	if a, err = (&References{Run: r, TaskRun: r.Attempts[2]}).Resolve(); err != nil || !strings.Contains(string(a.Task), `["x"]`) || strings.Contains(string(a.Task), "named") {
		t.Errorf("python_params of a wheel replace the named ones: %v %s", err, a.Task)
	}
}

func TestQueueMillis(t *testing.T) {
	repaired := []Repair{{StartTime: 50}, {StartTime: 90}}
	for _, tc := range []struct {
		run  Run
		want int64
	}{
		{Run{StartTime: 10}, 0},
		{Run{StartTime: 10, QueuedAt: 4}, 6},
		{Run{StartTime: 10, QueuedAt: 4, Repairs: repaired}, 6},
		{Run{StartTime: 10, QueuedAt: 30, Repairs: repaired}, 20},
		{Run{StartTime: 10, QueuedAt: 80, Repairs: repaired}, 10},
		{Run{StartTime: 10, QueuedAt: 80, Repairs: repaired, Standing: Standing{State: Queued}}, 0},
	} {
		if got := tc.run.QueueMillis(); got != tc.want {
			t.Errorf("queued at %d: %d ms, want %d", tc.run.QueuedAt, got, tc.want)
		}
	}
}

// A repair counts retries anew; executions go on.
func TestRetryCount(t *testing.T) {
	r := newRun(t, `{"tasks":[{"task_key":"a","spark_python_task":{"python_file":"/f"},"max_retries":2}]}`)
	first := r.Attempts[0]
	add := func(number, repair int) *TaskRun {
		a := &TaskRun{ID: first.ID + int64(number), Key: first.Key, ParentID: first.ParentID, Number: number, Repair: repair}
		r.Attempts = append(r.Attempts, a)
		return a
	}
	for attempt, want := range map[*TaskRun]string{first: "0 1", add(1, 0): "1 2", add(2, 1): "0 3", add(3, 1): "1 4"} {
		got, err := (&References{Run: r, TaskRun: attempt}).Expand("{{task_retry_count}} {{task.execution_count}}")
		if err != nil || got != want {
			t.Errorf("attempt %d of repair %d: %q, %v, want %q", attempt.Number, attempt.Repair, got, err, want)
		}
	}
}

func TestMerge(t *testing.T) {
	s := settings(t, `{"name":"j","timeout_seconds":0,"zzz":{"a":[]},"tasks":[{"task_key":"a","x":1},{"task_key":"b","x":1}],"job_clusters":[{"job_cluster_key":"c"}]}`)
	for _, tc := range []struct {
		change, want string
		remove       []string
	}{
		{`{}`, `{"name":"j","timeout_seconds":0,"zzz":{"a":[]},"tasks":[{"task_key":"a","x":1},{"task_key":"b","x":1}],"job_clusters":[{"job_cluster_key":"c"}]}`, nil},
		{
			`{"tasks":[{"task_key":"b","y":2},{"task_key":"d"}],"name":"k"}`,
			`{"name":"k","timeout_seconds":0,"zzz":{"a":[]},"tasks":[{"task_key":"a","x":1},{"task_key":"b","y":2},{"task_key":"d"}],"job_clusters":[{"job_cluster_key":"c"}]}`, nil,
		},
		{``, `{"name":"j","timeout_seconds":0,"tasks":[{"task_key":"b","x":1}],"job_clusters":[]}`, []string{"zzz", "tasks/a", "job_clusters/c"}},
	} {
		got, err := s.Merge(json.RawMessage(tc.change), tc.remove)
		if err != nil || string(got.Raw) != tc.want {
			t.Errorf("%s -%v:\n%s %v\nwant\n%s", tc.change, tc.remove, got.Raw, err, tc.want)
		}
	}
}
