package wherry

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// settings parses settings, whose tasks may leave their type out.
func settings(t *testing.T, doc string) JobSettings {
	t.Helper()
	var s JobSettings
	if err := json.Unmarshal([]byte(doc), &s); err != nil {
		t.Fatalf("%v in %s", err, doc)
	}
	return s
}

// newRun is a run at its start, one blocked attempt for each task.
func newRun(t *testing.T, doc string) *Run {
	r := &Run{ID: 1, JobID: 7, Name: "job", Settings: settings(t, doc), Standing: Standing{State: Pending}, StartTime: 1}
	for _, task := range r.Settings.Tasks {
		r.Attempts = append(r.Attempts, &TaskRun{ID: r.nextID(), Key: task.Key, Standing: Standing{State: Blocked}})
	}
	return r
}

func (r *Run) nextID() int64 { return int64(100 + len(r.Attempts)) }

// simulate carries out plans until nothing is left to do now; what is started
// stays running, but for tasks that results knows.
func simulate(r *Run, now int64, results map[string]Standing) Plan {
	for {
		p := r.Advance(now)
		for _, s := range p.Settle {
			s.Attempt.Standing, s.Attempt.EndTime = s.Standing, now
		}
		for _, c := range p.Cancel {
			c.Attempt.State, c.Attempt.Cause = Terminating, c.Cause
		}
		for _, o := range p.Retry {
			r.Attempts = append(r.Attempts, &TaskRun{
				ID: r.nextID(), Key: o.Of.Key, ParentID: o.Of.ParentID, Iteration: o.Of.Iteration,
				Number: o.Of.Number + 1, Repair: o.Of.Repair, NotBefore: o.NotBefore, Standing: Standing{State: Waiting},
			})
		}
		for _, s := range p.Start {
			s.State, s.StartTime = Running, now
			if end, ok := results[s.Key]; ok {
				s.Standing, s.EndTime = end, now
			}
		}
		for _, s := range p.Slow {
			s.Warned = true
		}
		r.Warned = r.Warned || p.SlowRun
		if p.Stop != "" {
			r.Cause, r.State = p.Stop, Terminating
		}
		if p.Finish != nil {
			r.Standing, r.EndTime = *p.Finish, now
		}
		if p.Empty() {
			return p
		}
	}
}

func ends(result string) Standing { return Standing{State: Terminated, Result: result} }

func states(r *Run) map[string]string {
	m := map[string]string{}
	for key, a := range r.latest().tasks {
		m[key] = string(a.State)
		if a.Terminal() {
			m[key] = a.Result
		}
	}
	return m
}

// TestRunIf is the whole truth table: each value of run_if over all pairs of
// results of two dependencies.
func TestRunIf(t *testing.T) {
	const (
		s, f, x, c, u = ResultSuccess, ResultFailed, ResultExcluded, ResultCanceled, ResultUpstreamFailed
		run           = "run"
		upF, upC      = ResultUpstreamFailed, ResultUpstreamCanceled
	)
	results := []string{s, f, x, c, u}
	// Rows: the first dependency in the order of results; columns: the second.
	table := map[string][5][5]string{
		AllSuccess: {
			{run, upF, run, upC, upF},
			{upF, upF, upF, upF, upF},
			{run, upF, x, upC, upF},
			{upC, upF, upC, upC, upF},
			{upF, upF, upF, upF, upF},
		},
		AtLeastOneSuccess: {
			{run, run, run, run, run},
			{run, upF, run, upF, upF},
			{run, run, x, run, run},
			{run, upF, run, upC, upF},
			{run, upF, run, upF, upF},
		},
		NoneFailed: {
			{run, upF, run, run, upF},
			{upF, upF, upF, upF, upF},
			{run, upF, x, upC, upF},
			{run, upF, upC, upC, upF},
			{upF, upF, upF, upF, upF},
		},
		AllDone: {
			{run, run, run, run, run},
			{run, run, run, run, run},
			{run, run, x, run, run},
			{run, run, run, run, run},
			{run, run, run, run, run},
		},
		AtLeastOneFailed: {
			{x, run, x, run, run},
			{run, run, run, run, run},
			{x, run, x, run, run},
			{run, run, run, run, run},
			{run, run, run, run, run},
		},
		AllFailed: {
			{x, x, x, x, x},
			{x, run, x, run, run},
			{x, x, x, x, x},
			{x, run, x, run, run},
			{x, run, x, run, run},
		},
	}
	for runIf, rows := range table {
		for i, row := range rows {
			for j, want := range row {
				r := newRun(t, fmt.Sprintf(`{"tasks":[{"task_key":"a"},{"task_key":"b"},
					{"task_key":"c","run_if":%q,"depends_on":[{"task_key":"a"},{"task_key":"b"}]}]}`, runIf))
				r.Attempts[0].Standing, r.Attempts[1].Standing = ends(results[i]), ends(results[j])
				simulate(r, 2, nil)
				got := states(r)["c"]
				if got == string(Running) {
					got = run
				}
				if got != want {
					t.Errorf("%s with %s and %s: %s, want %s", runIf, results[i], results[j], got, want)
				}
			}
		}
	}
}

func TestUpstreamMessageNamesTheTask(t *testing.T) {
	r := newRun(t, `{"tasks":[{"task_key":"load"},{"task_key":"fit","depends_on":[{"task_key":"load"}]}]}`)
	simulate(r, 2, map[string]Standing{"load": ends(ResultFailed)})
	fit := r.Latest("fit")
	if fit.Message != `Upstream task "load" failed.` || fit.StartTime != 0 {
		t.Errorf("message %q, start %d", fit.Message, fit.StartTime)
	}
	if r.Result != ResultFailed || !strings.HasPrefix(r.Message, "Task load failed") {
		t.Errorf("run %+v", r.Standing)
	}
}

func TestLeafRule(t *testing.T) {
	dag := `{"tasks":[{"task_key":"a"},{"task_key":"b","run_if":"ALL_DONE","depends_on":[{"task_key":"a"}]},{"task_key":"c"}]}`
	for _, tc := range []struct{ a, b, c, want string }{
		{ResultSuccess, ResultSuccess, ResultSuccess, ResultSuccess},
		{ResultFailed, ResultSuccess, ResultSuccess, ResultSuccessWithFailures},
		{ResultSuccess, ResultFailed, ResultSuccess, ResultFailed},
		{ResultSuccess, ResultSuccess, ResultFailed, ResultFailed},
		{ResultTimedOut, ResultSuccess, ResultSuccess, ResultSuccessWithFailures},
		{ResultSuccess, ResultSuccess, ResultTimedOut, ResultFailed},
		{ResultSuccess, ResultExcluded, ResultDisabled, ResultSuccess},
		{ResultSuccess, ResultSuccess, ResultCanceled, ResultCanceled},
		{ResultCanceled, ResultSuccess, ResultSuccess, ResultSuccessWithFailures},
	} {
		r := newRun(t, dag)
		simulate(r, 2, map[string]Standing{"a": ends(tc.a), "b": ends(tc.b), "c": ends(tc.c)})
		if r.Result != tc.want {
			t.Errorf("a %s, b %s, c %s: %s, want %s", tc.a, tc.b, tc.c, r.Result, tc.want)
		}
	}
}

func TestConditionBranches(t *testing.T) {
	dag := `{"tasks":[{"task_key":"c","condition_task":{"op":"EQUAL_TO","left":"1","right":"1"}},
		{"task_key":"yes","depends_on":[{"task_key":"c","outcome":"true"}]},
		{"task_key":"no","depends_on":[{"task_key":"c","outcome":"false"}]},
		{"task_key":"afterNo","depends_on":[{"task_key":"no"}]},
		{"task_key":"join","depends_on":[{"task_key":"yes"},{"task_key":"no"}]},
		{"task_key":"both","depends_on":[{"task_key":"yes"},{"task_key":"c","outcome":"false"}]}]}`
	r := newRun(t, dag)
	r.Attempts[0].Standing, r.Attempts[0].Outcome = ends(ResultSuccess), "true"
	simulate(r, 2, map[string]Standing{"yes": ends(ResultSuccess), "join": ends(ResultSuccess)})
	want := map[string]string{
		"c": ResultSuccess, "yes": ResultSuccess, "no": ResultExcluded, "afterNo": ResultExcluded,
		"join": ResultSuccess, "both": ResultExcluded,
	}
	if got := states(r); !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if r.Result != ResultSuccess {
		t.Errorf("the branch not taken turned the run %s", r.Result)
	}
}

func TestDisabledAndPartial(t *testing.T) {
	r := newRun(t, `{"tasks":[{"task_key":"a","disabled":true},{"task_key":"b"},{"task_key":"c","depends_on":[{"task_key":"a"},{"task_key":"b"}]}]}`)
	simulate(r, 2, map[string]Standing{"b": ends(ResultSuccess), "c": ends(ResultSuccess)})
	if got := states(r); got["a"] != ResultDisabled || got["c"] != ResultSuccess || r.Result != ResultSuccess {
		t.Errorf("%v, run %s", got, r.Result)
	}
	s := settings(t, `{"tasks":[{"task_key":"a"},{"task_key":"b","depends_on":[{"task_key":"a"}]},{"task_key":"c","depends_on":[{"task_key":"b"}]},{"task_key":"d"}]}`)
	for only, want := range map[string]string{"b": "b", "+b": "a b", "b+": "b c", "+b+": "a b c", "d": "d"} {
		keys, err := s.SelectTasks([]string{only})
		if got := strings.Join(keys, " "); err != nil || got != want {
			t.Errorf("only %s: %q, %v", only, got, err)
		}
	}
	if _, err := s.SelectTasks([]string{"x"}); err == nil {
		t.Error("only took an unknown task")
	}
}

func TestRetries(t *testing.T) {
	r := newRun(t, `{"tasks":[{"task_key":"a","max_retries":2,"min_retry_interval_millis":1000},{"task_key":"b","depends_on":[{"task_key":"a"}]}]}`)
	simulate(r, 10, nil)
	fail := func(at int64) {
		a := r.Latest("a")
		a.Standing, a.EndTime = ends(ResultFailed), at
	}
	fail(400)
	p := simulate(r, 400, nil)
	if a := r.Latest("a"); a.State != Waiting || a.NotBefore != 1010 || p.WakeAt != 1010 {
		t.Fatalf("%+v, wake at %d: the interval counts from the start of the failed attempt", a, p.WakeAt)
	}
	if r.Latest("b").State != Blocked {
		t.Fatal("b was decided before the last attempt of a")
	}
	simulate(r, 1010, nil)
	fail(3000)
	simulate(r, 3000, nil)
	if a := r.Latest("a"); a.State != Running || a.Number != 2 {
		t.Fatalf("an interval that has passed starts at once: %+v", a)
	}
	fail(3001)
	simulate(r, 3001, nil)
	if len(r.Attempts) != 4 || r.Result != ResultFailed || r.Latest("b").Result != ResultUpstreamFailed {
		t.Errorf("%d attempts, %v", len(r.Attempts), states(r))
	}
}

func TestTimeouts(t *testing.T) {
	r := newRun(t, `{"timeout_seconds":60,"tasks":[{"task_key":"a","timeout_seconds":10,"max_retries":1,"retry_on_timeout":true},
		{"task_key":"b","depends_on":[{"task_key":"a"}]}]}`)
	if p := simulate(r, 1000, nil); p.WakeAt != 11_000 {
		t.Errorf("wakes at %d", p.WakeAt)
	}
	p := r.Advance(11_000)
	if len(p.Cancel) != 1 || p.Cancel[0].Cause != CauseTimeout {
		t.Fatalf("%+v", p)
	}
	r.Latest("a").Standing = Cancelled(CauseTimeout)
	simulate(r, 11_000, nil)
	if a := r.Latest("a"); a.Number != 1 || a.State != Running {
		t.Fatalf("%+v", a)
	}
	simulate(r, 60_001, nil)
	if a := r.Latest("a"); a.State != Terminating || a.Cause != CauseTimeout || r.Latest("b").Result != ResultCanceled {
		t.Fatalf("%+v %v", a, states(r))
	}
	r.Latest("a").Standing = Cancelled(CauseTimeout)
	simulate(r, 60_002, nil)
	if r.Result != ResultTimedOut {
		t.Errorf("run %+v", r.Standing)
	}
}

func TestCancellation(t *testing.T) {
	dag := `{"tasks":[{"task_key":"a"},{"task_key":"b","depends_on":[{"task_key":"a"}]},
		{"task_key":"cleanup","run_if":"AT_LEAST_ONE_FAILED","depends_on":[{"task_key":"a"}]}]}`
	r := newRun(t, dag)
	simulate(r, 2, nil)
	r.Latest("a").Standing = Cancelled(CauseUser)
	simulate(r, 3, map[string]Standing{"cleanup": ends(ResultSuccess)})
	if got := states(r); got["b"] != ResultUpstreamCanceled || got["cleanup"] != ResultSuccess {
		t.Errorf("one task cancelled: %v", got)
	}
	r = newRun(t, dag)
	simulate(r, 2, nil)
	r.Cause, r.State = CauseUser, Terminating
	simulate(r, 3, nil)
	if got := states(r); got["a"] != string(Terminating) || got["cleanup"] != ResultCanceled || r.Terminal() {
		t.Errorf("run cancelled: %v", got)
	}
	r.Latest("a").Standing = Cancelled(CauseUser)
	simulate(r, 4, nil)
	if r.Result != ResultCanceled {
		t.Errorf("run %+v", r.Standing)
	}
}

func TestForEach(t *testing.T) {
	r := newRun(t, `{"tasks":[{"task_key":"each","for_each_task":{"inputs":"[1,2,3,4,5]","concurrency":2,"task":{"task_key":"one","max_retries":1}}}]}`)
	parent := r.Latest("each")
	for i := range 5 {
		r.Attempts = append(r.Attempts, &TaskRun{ID: r.nextID(), Key: "one", ParentID: parent.ID, Iteration: i, Standing: Standing{State: Blocked}})
	}
	running := func() (list []int) {
		for _, it := range r.Iterations(parent.ID) {
			if it.live() {
				list = append(list, it.Iteration)
			}
		}
		return list
	}
	end := func(i int, result string) {
		r.Iterations(parent.ID)[i].Standing = ends(result)
		simulate(r, 2, nil)
	}
	simulate(r, 2, nil)
	if got := running(); !slices.Equal(got, []int{0, 1}) {
		t.Fatalf("concurrency 2 runs %v", got)
	}
	end(0, ResultSuccess)
	end(1, ResultFailed)
	for {
		list := running()
		if len(list) == 0 {
			break
		}
		if len(list) > 2 {
			t.Fatalf("concurrency 2 runs %v", list)
		}
		result := ResultSuccess
		if list[0] == 1 {
			result = ResultFailed
		}
		end(list[0], result)
	}
	if n := r.Iterations(parent.ID)[1].Number; n != 1 {
		t.Errorf("the iteration that failed was tried %d times", n+1)
	}
	if parent.Result != ResultFailed || parent.Message != "1 of 5 iterations failed." || r.Result != ResultFailed {
		t.Errorf("parent %+v, run %s", parent.Standing, r.Result)
	}
	empty := newRun(t, `{"tasks":[{"task_key":"each","for_each_task":{"inputs":"[]","task":{"task_key":"one"}}}]}`)
	simulate(empty, 1, nil)
	if empty.Result != ResultSuccess {
		t.Errorf("no iterations: %+v", empty.Standing)
	}
}

func TestRepair(t *testing.T) {
	dag := `{"tasks":[{"task_key":"a"},{"task_key":"b","depends_on":[{"task_key":"a"}]},{"task_key":"c","depends_on":[{"task_key":"b"}]},{"task_key":"d"}]}`
	r := newRun(t, dag)
	simulate(r, 2, map[string]Standing{"a": ends(ResultSuccess), "b": ends(ResultFailed), "d": ends(ResultSuccess)})
	for _, tc := range []struct {
		name string
		q    RepairRequest
		want string
	}{
		{"failed", RepairRequest{RerunAllFailed: true}, "b c"},
		{"one", RepairRequest{RerunTasks: []string{"b"}}, "b"},
		{"dependents", RepairRequest{RerunTasks: []string{"a"}, RerunDependent: true}, "a b c"},
		{"neither", RepairRequest{}, "error"},
		{"both", RepairRequest{RerunTasks: []string{"a"}, RerunAllFailed: true}, "error"},
		{"unknown", RepairRequest{RerunTasks: []string{"x"}}, "error"},
		{"lock", RepairRequest{RerunAllFailed: true, LatestRepairID: 5}, "error"},
	} {
		keys, err := r.RepairTasks(&tc.q)
		got := strings.Join(keys, " ")
		if err != nil {
			got = "error"
		}
		if got != tc.want {
			t.Errorf("%s: %s (%v), want %s", tc.name, got, err, tc.want)
		}
	}
	r.Repairs = []Repair{{ID: 5}}
	if _, err := r.RepairTasks(&RepairRequest{RerunAllFailed: true}); err == nil {
		t.Error("a second repair went without latest_repair_id")
	}
	if _, err := r.RepairTasks(&RepairRequest{RerunAllFailed: true, LatestRepairID: 5}); err != nil {
		t.Error(err)
	}
	r.Standing = Standing{State: Pending}
	for _, key := range []string{"b", "c"} {
		r.Attempts = append(r.Attempts, &TaskRun{ID: r.nextID(), Key: key, Number: 1, Repair: 1, Standing: Standing{State: Blocked}})
	}
	simulate(r, 9, map[string]Standing{"b": ends(ResultSuccess), "c": ends(ResultSuccess)})
	if r.Result != ResultSuccess {
		t.Errorf("repaired run %+v %v", r.Standing, states(r))
	}
}
