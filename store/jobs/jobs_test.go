package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
	"github.com/wherry-ml/wherry/store/workspace"
)

const ws = wherry.DefaultWorkspace

var ctx = context.Background()

type suite struct {
	*testing.T
	s     *Store
	admin wherry.Principal
}

func each(t *testing.T, fn func(s *suite)) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		if err := auth.New(db).Bootstrap(ctx, "token"); err != nil {
			t.Fatal(err)
		}
		s := &suite{T: t, s: New(db)}
		var err error
		s.admin, err = s.s.Principal(ctx, "admin@localhost")
		s.ok(err)
		fn(s)
	})
}

func (s *suite) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) job(doc string) int64 {
	s.Helper()
	j := &wherry.Job{WorkspaceID: ws, Creator: s.admin.UserName, RunAs: s.admin}
	s.ok(json.Unmarshal([]byte(doc), &j.Settings))
	s.ok(j.Settings.Validate())
	s.ok(s.s.Create(ctx, j))
	return j.ID
}

func (s *suite) launch(jobID int64) int64 {
	s.Helper()
	id, err := s.s.Launch(ctx, Launch{WorkspaceID: ws, JobID: jobID, Type: wherry.RunTypeJob, Trigger: wherry.TriggerOneTime, Creator: "admin@localhost"})
	s.ok(err)
	return id
}

func (s *suite) run(id int64) *wherry.Run {
	s.Helper()
	r, _, err := s.s.Run(ctx, ws, id)
	s.ok(err)
	return r
}

// end settles the latest attempt of a task.
func (s *suite) end(runID int64, key, result string) {
	s.Helper()
	code := wherry.TermExecutionError
	if result == wherry.ResultSuccess {
		code = wherry.TermSuccess
	}
	t := s.run(runID).Latest(key)
	s.ok(s.s.AttemptRunning(ctx, t.ID, "c1"))
	s.ok(s.s.AttemptDone(ctx, t.ID, "c1", wherry.Result{State: result, Code: code, SetupMillis: 1, ExecutionMillis: 2}))
}

func (s *suite) want(runID int64, want string) {
	s.Helper()
	r := s.run(runID)
	got := []string{string(r.State) + "/" + r.Result}
	for _, task := range r.Settings.Tasks {
		if t := r.Latest(task.Key); t != nil {
			state := string(t.State)
			if t.Terminal() {
				state = t.Result
			}
			got = append(got, task.Key+":"+state)
		}
	}
	if text := strings.Join(got, " "); text != want {
		s.Fatalf("run %d is\n%s, want\n%s", runID, text, want)
	}
}

const py = `"spark_python_task":{"python_file":"/a.py"}`

func TestChain(t *testing.T) {
	each(t, func(s *suite) {
		id := s.job(`{"name":"Chain","zero":0,"tasks":[{"task_key":"a",` + py + `},{"task_key":"b","depends_on":[{"task_key":"a"}],` + py + `}]}`)
		run := s.launch(id)
		s.want(run, "PENDING/ a:PENDING b:BLOCKED")
		w, err := s.s.Waiting(ctx)
		s.ok(err)
		if len(w.Start) != 1 {
			t.Fatalf("waiting %+v", w)
		}
		a, ok, err := s.s.Attempt(ctx, w.Start[0])
		if err != nil || !ok || a.TaskKey != "a" || a.RunAs.UserName != "admin@localhost" || a.JobName != "Chain" {
			t.Fatalf("attempt %+v %v", a, err)
		}
		s.ok(s.s.AttemptRunning(ctx, a.RunID, "c1"))
		s.ok(s.s.Message(ctx, a.RunID, "working"))
		s.want(run, "RUNNING/ a:RUNNING b:BLOCKED")
		active, err := s.s.ActiveAttempts(ctx)
		if err != nil || len(active) != 1 || active[0].RunID != a.RunID {
			t.Fatalf("active %+v %v", active, err)
		}
		s.end(run, "a", wherry.ResultSuccess)
		s.want(run, "RUNNING/ a:SUCCESS b:PENDING")
		s.ok(s.s.AttemptDone(ctx, a.RunID, "c1", wherry.Result{State: wherry.ResultFailed}))
		s.end(run, "b", wherry.ResultSuccess)
		s.want(run, "TERMINATED/SUCCESS a:SUCCESS b:SUCCESS")
		if w, err = s.s.Waiting(ctx); err != nil || len(w.Start) != 0 || len(w.Release) != 1 || w.WakeAt != 0 {
			t.Errorf("waiting %+v %v", w, err)
		}
		s.ok(s.s.Released(ctx, run))
		var kinds []string
		s.ok(s.s.db.Read(ctx, func(tx *store.Tx) error {
			return tx.Each(`SELECT kind FROM event ORDER BY id`, nil, func(scan func(...any) error) error {
				var k string
				err := scan(&k)
				kinds = append(kinds, k)
				return err
			})
		}))
		if got := strings.Join(kinds, " "); got != "run.started task.started task.finished task.started task.finished run.finished" {
			t.Errorf("events %s", got)
		}
		j, err := s.s.Job(ctx, ws, id)
		if err != nil || !strings.Contains(string(j.Settings.Raw), `"zero":0`) {
			t.Errorf("%s %v", j.Settings.Raw, err)
		}
		list, err := s.s.Jobs(ctx, ws, "cHAIN", 10, 0)
		if err != nil || len(list) != 1 {
			t.Errorf("by name: %v %v", list, err)
		}
		runs, err := s.s.Runs(ctx, Filter{WorkspaceID: ws, JobID: id, Completed: true, Limit: 10, Attempts: true})
		if err != nil || len(runs) != 1 || len(runs[0].Attempts) != 2 {
			t.Errorf("runs %v %v", runs, err)
		}
		s.ok(s.s.DeleteRun(ctx, ws, run))
		if _, _, err := s.s.Run(ctx, ws, run); wherry.CodeOf(err) != wherry.CodeInvalidParameter {
			t.Errorf("deleted run: %v", err)
		}
	})
}

func TestControlTasks(t *testing.T) {
	each(t, func(s *suite) {
		id := s.job(`{"tasks":[{"task_key":"a",` + py + `},
			{"task_key":"c","depends_on":[{"task_key":"a"}],"condition_task":{"op":"GREATER_THAN","left":"{{tasks.a.values.n}}","right":"1"}},
			{"task_key":"yes","depends_on":[{"task_key":"c","outcome":"true"}],` + py + `},
			{"task_key":"no","depends_on":[{"task_key":"c","outcome":"false"}],` + py + `}]}`)
		run := s.launch(id)
		a := s.run(run).Latest("a")
		s.ok(s.s.SetValue(ctx, a.ID, "n", json.RawMessage(`2`)))
		if v, ok, err := s.s.Value(ctx, a.ID, "a", "n"); err != nil || !ok || string(v) != "2" {
			t.Errorf("value %s %v %v", v, ok, err)
		}
		s.end(run, "a", wherry.ResultSuccess)
		s.want(run, "RUNNING/ a:SUCCESS c:SUCCESS yes:PENDING no:EXCLUDED")
		s.end(run, "yes", wherry.ResultSuccess)
		s.want(run, "TERMINATED/SUCCESS a:SUCCESS c:SUCCESS yes:SUCCESS no:EXCLUDED")

		run = s.launch(id)
		s.end(run, "a", wherry.ResultSuccess)
		s.want(run, "TERMINATED/FAILED a:SUCCESS c:FAILED yes:UPSTREAM_FAILED no:UPSTREAM_FAILED")
		if m := s.run(run).Latest("c").Message; !strings.Contains(m, "no value of that name") {
			t.Error(m)
		}
		if err := s.s.SetValue(ctx, a.ID, "big", json.RawMessage(`"`+strings.Repeat("x", maxValueBytes)+`"`)); wherry.CodeOf(err) != wherry.CodeInvalidParameter {
			t.Errorf("a value that is too large: %v", err)
		}
	})
}

func TestForEachAndRepair(t *testing.T) {
	each(t, func(s *suite) {
		id := s.job(`{"tasks":[{"task_key":"each","for_each_task":{"inputs":"[\"x\",\"y\",\"z\"]","concurrency":2,"task":{"task_key":"one",
			"spark_python_task":{"python_file":"/a.py","parameters":["{{input}}"]}}}},{"task_key":"after","depends_on":[{"task_key":"each"}],` + py + `}]}`)
		run := s.launch(id)
		var seen []string
		work := func(fail string) {
			for {
				w, err := s.s.Waiting(ctx)
				s.ok(err)
				progress := false
				for _, attempt := range w.Start {
					a, ok, err := s.s.Attempt(ctx, attempt)
					s.ok(err)
					if !ok {
						continue
					}
					progress = true
					result := wherry.Result{State: wherry.ResultSuccess, Code: wherry.TermSuccess}
					if a.TaskKey == "one" {
						var task wherry.Task
						s.ok(json.Unmarshal(a.Task, &task))
						seen = append(seen, task.Python.Parameters[0])
						if task.Python.Parameters[0] == fail {
							result = wherry.Result{State: wherry.ResultFailed, Code: wherry.TermExecutionError}
						}
					}
					s.ok(s.s.AttemptDone(ctx, attempt, "", result))
				}
				if !progress {
					return
				}
			}
		}
		work("y")
		s.want(run, "TERMINATED/FAILED each:FAILED after:UPSTREAM_FAILED")
		if got := strings.Join(seen, ""); got != "xyz" {
			t.Errorf("elements %s", got)
		}
		seen = nil
		repair, err := s.s.Repair(ctx, ws, &wherry.RepairRequest{RunID: wherry.Int64(run), RerunAllFailed: true})
		s.ok(err)
		s.want(run, "RUNNING/ each:RUNNING after:BLOCKED")
		work("")
		s.want(run, "TERMINATED/SUCCESS each:SUCCESS after:SUCCESS")
		if got := strings.Join(seen, ""); got != "y" {
			t.Errorf("the repair ran %s", got)
		}
		r := s.run(run)
		if n := len(r.Iterations(r.Latest("each").ID)); n != 3 {
			t.Errorf("%d iterations after the repair", n)
		}
		if _, err := s.s.Repair(ctx, ws, &wherry.RepairRequest{RunID: wherry.Int64(run), RerunTasks: []string{"after"}}); err == nil {
			t.Error("a repair went without the id of the last one")
		}
		_, err = s.s.Repair(ctx, ws, &wherry.RepairRequest{RunID: wherry.Int64(run), RerunTasks: []string{"after"}, LatestRepairID: wherry.Int64(repair)})
		s.ok(err)
		s.want(run, "PENDING/ each:SUCCESS after:PENDING")
	})
}

// A repair that waited in the queue begins when it starts: its time-out counts
// from there, and the run keeps its own start.
func TestQueuedRepair(t *testing.T) {
	each(t, func(s *suite) {
		id := s.job(`{"max_concurrent_runs":1,"queue":{"enabled":true},"timeout_seconds":60,"tasks":[{"task_key":"a",` + py + `}]}`)
		first := s.launch(id)
		s.end(first, "a", wherry.ResultFailed)
		second := s.launch(id)
		_, err := s.s.Repair(ctx, ws, &wherry.RepairRequest{RunID: wherry.Int64(first), RerunAllFailed: true})
		s.ok(err)
		s.want(first, "QUEUED/ a:BLOCKED")
		const begun, asked = 1000, 2000 // ms since 1970: it has waited for years
		s.ok(s.s.db.Write(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE job_run SET start_time = $1, repairs = replace(repairs, $2, $3) WHERE id = $4`,
				begun, fmt.Sprint(s.run(first).Repairs[0].StartTime), fmt.Sprint(asked), first)
			return err
		}))
		s.end(second, "a", wherry.ResultSuccess)
		s.want(first, "PENDING/ a:PENDING")
		if r := s.run(first); r.StartTime != begun || r.Repairs[0].StartTime <= asked {
			t.Errorf("the run began at %d and its repair at %d", r.StartTime, r.Repairs[0].StartTime)
		}
		told := 0
		s.ok(s.s.db.Read(ctx, func(tx *store.Tx) error {
			return tx.Row(`SELECT count(*) FROM event WHERE kind = $1 AND subject = $2`, wherry.EventRunStarted, fmt.Sprint(first)).Scan(&told)
		}))
		if told != 2 {
			t.Errorf("the run and its repair were said to start %d times", told)
		}
	})
}

func TestRunJob(t *testing.T) {
	each(t, func(s *suite) {
		child := s.job(`{"name":"child","parameters":[{"name":"p","default":"d"}],"tasks":[{"task_key":"c",` + py + `}]}`)
		doc := fmt.Sprintf(`{"name":"parent","tasks":[{"task_key":"j","run_job_task":{"job_id":%d,"job_parameters":{"p":"v"}}}]}`, child)
		run := s.launch(s.job(doc))
		s.want(run, "RUNNING/ j:RUNNING")
		childRun := s.run(run).Latest("j").ChildRun
		if r := s.run(childRun); r.Trigger != wherry.TriggerRunJob || *r.Parameters[0].Value != "v" {
			t.Errorf("child %+v", r)
		}
		s.end(childRun, "c", wherry.ResultSuccess)
		s.want(run, "TERMINATED/SUCCESS j:SUCCESS")

		run = s.launch(s.job(doc))
		childRun = s.run(run).Latest("j").ChildRun
		s.ok(s.s.Cancel(ctx, ws, run))
		s.want(childRun, "TERMINATING/ c:TERMINATING")
		s.end(childRun, "c", wherry.ResultCanceled)
		s.want(run, "TERMINATED/CANCELED j:CANCELED")

		err := s.s.Update(ctx, ws, child, func(j *wherry.Job) error {
			return json.Unmarshal(fmt.Appendf(nil, `{"tasks":[{"task_key":"j","run_job_task":{"job_id":%d}}]}`, child), &j.Settings)
		})
		if err == nil || !strings.Contains(err.Error(), "cycle") {
			t.Errorf("a job that runs itself: %v", err)
		}
	})
}

// TestConcurrency is the table of skip and queue against max_concurrent_runs.
func TestConcurrency(t *testing.T) {
	each(t, func(s *suite) {
		for _, tc := range []struct {
			limit int
			queue bool
			want  string
		}{
			{0, false, "SKIPPED SKIPPED SKIPPED SKIPPED"},
			{0, true, "SKIPPED SKIPPED SKIPPED SKIPPED"},
			{1, false, "PENDING SKIPPED SKIPPED SKIPPED"},
			{1, true, "PENDING QUEUED QUEUED QUEUED"},
			{3, false, "PENDING PENDING PENDING SKIPPED"},
			{3, true, "PENDING PENDING PENDING QUEUED"},
		} {
			id := s.job(fmt.Sprintf(`{"max_concurrent_runs":%d,"queue":{"enabled":%v},"tasks":[{"task_key":"a",%s}]}`, tc.limit, tc.queue, py))
			got, runs := []string{}, []int64{}
			for range 4 {
				run := s.launch(id)
				runs = append(runs, run)
				got = append(got, s.run(run).Legacy().LifeCycle)
			}
			if text := strings.Join(got, " "); text != tc.want {
				t.Errorf("limit %d, queue %v: %s, want %s", tc.limit, tc.queue, text, tc.want)
			}
			if tc.limit == 1 && tc.queue {
				s.ok(s.s.Cancel(ctx, ws, runs[2]))
				s.want(runs[2], "TERMINATED/CANCELED a:CANCELED")
				s.end(runs[0], "a", wherry.ResultSuccess)
				s.want(runs[1], "PENDING/ a:PENDING")
				s.want(runs[3], "QUEUED/ a:BLOCKED")
				s.ok(s.s.CancelAll(ctx, ws, id, false))
				s.end(runs[1], "a", wherry.ResultCanceled)
				s.want(runs[1], "TERMINATED/CANCELED a:CANCELED")
			}
		}
	})
}

func TestIdempotency(t *testing.T) {
	each(t, func(s *suite) {
		id := s.job(`{"max_concurrent_runs":100,"tasks":[{"task_key":"a",` + py + `}]}`)
		l := Launch{WorkspaceID: ws, JobID: id, Type: wherry.RunTypeJob, Trigger: wherry.TriggerOneTime, Token: "once"}
		ids := make([]int64, 50)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				var err error
				if ids[i], err = s.s.Launch(ctx, l); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, got := range ids {
			if got != ids[0] || got == 0 {
				t.Fatalf("50 calls with one token made the runs %v", ids)
			}
		}
		s.end(ids[0], "a", wherry.ResultSuccess)
		s.ok(s.s.DeleteRun(ctx, ws, ids[0]))
		if _, err := s.s.Launch(ctx, l); err == nil || !strings.Contains(err.Error(), "deleted") {
			t.Errorf("the token of a deleted run: %v", err)
		}
	})
}

// TestParallelResults ends many tasks at once: the join must start exactly once.
func TestParallelResults(t *testing.T) {
	each(t, func(s *suite) {
		var tasks, deps []string
		for i := range 12 {
			tasks = append(tasks, fmt.Sprintf(`{"task_key":"t%d",%s}`, i, py))
			deps = append(deps, fmt.Sprintf(`{"task_key":"t%d"}`, i))
		}
		tasks = append(tasks, `{"task_key":"join","depends_on":[`+strings.Join(deps, ",")+`],`+py+`}`)
		run := s.launch(s.job(`{"tasks":[` + strings.Join(tasks, ",") + `]}`))
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() { s.end(run, fmt.Sprintf("t%d", i), wherry.ResultSuccess) })
		}
		wg.Wait()
		if r := s.run(run); r.Latest("join").State != wherry.Pending || len(r.Attempts) != 13 {
			t.Errorf("join %+v", r.Latest("join"))
		}
	})
}

func TestCancelAndRetry(t *testing.T) {
	each(t, func(s *suite) {
		id := s.job(`{"tasks":[{"task_key":"a","max_retries":1,` + py + `},{"task_key":"b","depends_on":[{"task_key":"a"}],` + py + `}]}`)
		run := s.launch(id)
		s.end(run, "a", wherry.ResultFailed)
		s.want(run, "RUNNING/ a:PENDING b:BLOCKED")
		if a := s.run(run).Latest("a"); a.Number != 1 || a.Original == a.ID {
			t.Errorf("second attempt %+v", a)
		}
		s.ok(s.s.Cancel(ctx, ws, s.run(run).Latest("a").ID))
		s.want(run, "RUNNING/ a:TERMINATING b:BLOCKED")
		s.end(run, "a", wherry.ResultFailed)
		s.want(run, "TERMINATED/CANCELED a:CANCELED b:UPSTREAM_CANCELED")
		s.ok(s.s.Cancel(ctx, ws, run))
		run = s.launch(id)
		s.ok(s.s.Delete(ctx, ws, id))
		s.want(run, "TERMINATING/ a:TERMINATING b:CANCELED")
		if _, err := s.s.Job(ctx, ws, id); err == nil || err.Error() != fmt.Sprintf("Job %d does not exist.", id) {
			t.Error(err)
		}
	})
}

// TestSearch: a part of the name in any case, the newest first.
func TestSearch(t *testing.T) {
	each(t, func(s *suite) {
		for _, name := range []string{"Nightly 100%", "nightly_two", "weekly"} {
			s.job(`{"name": "` + name + `", "tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "/a"}}]}`)
		}
		for text, want := range map[string]string{"NIGHT": "[nightly_two Nightly 100%]", "%": "[Nightly 100%]", "_": "[nightly_two]", "monthly": "[]"} {
			list, err := s.s.Search(ctx, ws, text, 10)
			s.ok(err)
			names := []string{}
			for _, j := range list {
				names = append(names, j.Settings.Name)
			}
			if got := fmt.Sprint(names); got != want {
				s.Errorf("%q finds %s, want %s", text, got, want)
			}
		}
		list, err := s.s.Search(ctx, ws, "ly", 2)
		s.ok(err)
		if len(list) != 2 || list[0].Settings.Name != "weekly" {
			s.Errorf("two of three: %v", list)
		}
		if list, err = s.s.Search(ctx, ws+1, "ly", 2); err != nil || len(list) != 0 {
			s.Errorf("in another workspace: %v, %v", list, err)
		}
	})
}

// A job and its permissions are there at once or not at all.
func TestPermissionsComeWithTheJob(t *testing.T) {
	each(t, func(s *suite) {
		list := []workspace.Access{{GroupName: "users", Level: "CAN_VIEW"}}
		for _, fails := range []bool{false, true} {
			j := &wherry.Job{WorkspaceID: ws, Creator: s.admin.UserName, RunAs: s.admin}
			s.ok(json.Unmarshal([]byte(`{"name":"p","tasks":[{"task_key":"a",`+py+`}]}`), &j.Settings))
			err := s.s.Create(ctx, j, func(tx *store.Tx, jobID int64) error {
				if err := workspace.PutPermissions(ctx, tx, ws, "jobs", fmt.Sprint(jobID), list); err != nil || !fails {
					return err
				}
				return wherry.Errorf(wherry.CodeInvalidState, "the server died here")
			})
			if fails != (err != nil) {
				t.Fatal(err)
			}
			got, err := workspace.New(s.s.DB()).Permissions(ctx, ws, "jobs", fmt.Sprint(j.ID))
			s.ok(err)
			if _, err := s.s.Job(ctx, ws, j.ID); fails != (err != nil) || fails != (len(got) == 0) {
				t.Errorf("fails %v: the job: %v, its permissions: %v", fails, err, got)
			}
		}
	})
}
