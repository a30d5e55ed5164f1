package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/databricks/databricks-sdk-go"
	"github.com/databricks/databricks-sdk-go/apierr"
	"github.com/databricks/databricks-sdk-go/service/jobs"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
)

func client(t *testing.T, s *servertest.Server) *databricks.WorkspaceClient {
	t.Helper()
	w, err := databricks.NewWorkspaceClient(&databricks.Config{Host: s.URL, Token: s.Token, AuthType: "pat", ConfigFile: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func python(key, file string, args ...string) jobs.Task {
	return jobs.Task{TaskKey: key, SparkPythonTask: &jobs.SparkPythonTask{PythonFile: file, Parameters: args}}
}

func TestGoSDK(t *testing.T) {
	t.Parallel()
	s := start(t)
	w, ctx := client(t, s), context.Background()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	second := python("b", "/b.py", "{{tasks.a.run_id}}")
	second.DependsOn = []jobs.TaskDependency{{TaskKey: "a"}}
	job, err := w.Jobs.Create(ctx, jobs.CreateJob{
		Name: "Two tasks", Tags: map[string]string{"team": "x"}, Tasks: []jobs.Task{python("a", "/a.py", "{{job.parameters.day}}", "{{job.id}}"), second},
		Parameters: []jobs.JobParameterDefinition{{Name: "day", Default: "monday"}},
	})
	ok(err)
	wait, err := w.Jobs.RunNow(ctx, jobs.RunNow{JobId: job.JobId, JobParameters: map[string]string{"day": "friday"}})
	ok(err)
	run, err := wait.GetWithTimeout(2 * time.Minute)
	ok(err)
	if run.State.ResultState != jobs.RunResultStateSuccess || run.Status.TerminationDetails.Code != jobs.TerminationCodeCodeSuccess || len(run.Tasks) != 2 {
		t.Fatalf("%+v", run)
	}
	if want := fmt.Sprintf("%s/jobs/%d/runs/%d", s.URL, job.JobId, run.RunId); run.RunPageUrl != want {
		t.Errorf("page %s, want %s", run.RunPageUrl, want)
	}
	out, err := w.Jobs.GetRunOutput(ctx, jobs.GetRunOutputRequest{RunId: run.Tasks[0].RunId})
	ok(err)
	if want := fmt.Sprintf("friday %d\n", job.JobId); out.Logs != want {
		t.Errorf("logs %q, want %q", out.Logs, want)
	}
	if v := run.Tasks[1].ResolvedValues; v == nil || v.SparkPythonTask.Parameters[0] != fmt.Sprint(run.Tasks[0].RunId) {
		t.Errorf("resolved values %+v", v)
	}
	if _, err := w.Jobs.GetRunOutput(ctx, jobs.GetRunOutputRequest{RunId: run.RunId}); err == nil || !strings.Contains(err.Error(), "multiple tasks") {
		t.Errorf("the output of a run of two tasks: %v", err)
	}
	changes(t, w, job.JobId)
}

// changes updates, lists and deletes the job of two tasks that ran once.
func changes(t *testing.T, w *databricks.WorkspaceClient, jobID int64) {
	ctx := context.Background()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(w.Jobs.Update(ctx, jobs.UpdateJob{
		JobId: jobID, NewSettings: &jobs.JobSettings{MaxConcurrentRuns: 5, Tasks: []jobs.Task{python("a", "/other.py")}},
		FieldsToRemove: []string{"tags"},
	}))
	got, err := w.Jobs.Get(ctx, jobs.GetJobRequest{JobId: jobID})
	ok(err)
	if set := got.Settings; len(set.Tasks) != 2 || set.Tasks[0].SparkPythonTask.PythonFile != "/other.py" || set.MaxConcurrentRuns != 5 || set.Tags != nil ||
		!set.Queue.Enabled || set.Format != jobs.FormatMultiTask {
		t.Errorf("%+v", set)
	}
	list, err := w.Jobs.ListAll(ctx, jobs.ListJobsRequest{Name: "two TASKS"})
	ok(err)
	if len(list) != 1 || list[0].JobId != jobID {
		t.Errorf("list by name: %+v", list)
	}
	runs, err := w.Jobs.ListRunsAll(ctx, jobs.ListRunsRequest{JobId: jobID, CompletedOnly: true, ExpandTasks: true})
	ok(err)
	if len(runs) != 1 || len(runs[0].Tasks) != 2 {
		t.Errorf("runs: %+v", runs)
	}
	ok(w.Jobs.Delete(ctx, jobs.DeleteJob{JobId: jobID}))
	if _, err := w.Jobs.Get(ctx, jobs.GetJobRequest{JobId: jobID}); !apierr.IsMissing(err) {
		t.Errorf("a deleted job: %v", err)
	}
	if _, err := w.Jobs.GetRun(ctx, jobs.GetRunRequest{RunId: 999_999}); !apierr.IsMissing(err) {
		t.Errorf("a run that never was: %v", err)
	}
}

// TestPaging reads a job and a run of 250 tasks, which come in three pages.
func TestPaging(t *testing.T) {
	t.Parallel()
	s := start(t)
	w, ctx := client(t, s), context.Background()
	create := jobs.CreateJob{Name: "wide"}
	for i := range 250 {
		create.Tasks = append(create.Tasks, python(fmt.Sprintf("t%03d", i), "/a.py"))
	}
	job, err := w.Jobs.Create(ctx, create)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.Jobs.Get(ctx, jobs.GetJobRequest{JobId: job.JobId})
	if err != nil || len(got.Settings.Tasks) != 250 || got.Settings.Tasks[249].TaskKey != "t249" {
		t.Fatalf("%v, %d tasks", err, len(got.Settings.Tasks))
	}
	wait, err := w.Jobs.RunNow(ctx, jobs.RunNow{JobId: job.JobId})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wait.GetWithTimeout(3 * time.Minute); err != nil {
		t.Fatal(err)
	}
	run, err := w.Jobs.GetRun(ctx, jobs.GetRunRequest{RunId: wait.RunId})
	if err != nil || len(run.Tasks) != 250 || run.State.ResultState != jobs.RunResultStateSuccess {
		t.Fatalf("%v, %d tasks, %+v", err, len(run.Tasks), run.State)
	}
	body := get(t, s, fmt.Sprintf("/api/2.1/jobs/get?job_id=%d", job.JobId))
	if !strings.Contains(body, "API version 2.2") {
		t.Errorf("2.1 shows a job of 250 tasks: %.200s", body)
	}
}

func get(t *testing.T, s *servertest.Server, path string) string {
	t.Helper()
	q, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+s.Token)
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestIdempotentRunNow(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{store.SQLite, store.Postgres} {
		t.Run(dialect, func(t *testing.T) {
			if dialect == store.Postgres {
				idempotentRunNow(t, storetest.Postgres(t))
			} else {
				idempotentRunNow(t, "")
			}
		})
	}
}

func idempotentRunNow(t *testing.T, database string) {
	w, ctx := client(t, startOn(t, database)), context.Background()
	job, err := w.Jobs.Create(ctx, jobs.CreateJob{Name: "once", MaxConcurrentRuns: 1000, Tasks: []jobs.Task{python("a", "/a.py")}})
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]int64, 50)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			r, err := w.Jobs.RunNow(ctx, jobs.RunNow{JobId: job.JobId, IdempotencyToken: "token"})
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = r.RunId
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || id == 0 {
			t.Fatalf("50 calls with one token: runs %v", ids)
		}
	}
}

func TestFailuresAndRepair(t *testing.T) {
	t.Parallel()
	w, ctx := client(t, start(t)), context.Background()
	after := python("after", "/a.py")
	after.DependsOn = []jobs.TaskDependency{{TaskKey: "bad"}}
	job, err := w.Jobs.Create(ctx, jobs.CreateJob{Name: "fails", Tasks: []jobs.Task{python("bad", "/fail.py"), after}})
	if err != nil {
		t.Fatal(err)
	}
	wait, err := w.Jobs.RunNow(ctx, jobs.RunNow{JobId: job.JobId})
	if err != nil {
		t.Fatal(err)
	}
	run, err := wait.GetWithTimeout(2 * time.Minute)
	if err != nil || run.State.ResultState != jobs.RunResultStateFailed || run.Tasks[1].State.ResultState != jobs.RunResultStateUpstreamFailed ||
		run.Tasks[1].State.LifeCycleState != jobs.RunLifeCycleStateSkipped {
		t.Fatalf("%v %+v", err, run)
	}
	out, err := w.Jobs.GetRunOutput(ctx, jobs.GetRunOutputRequest{RunId: run.Tasks[0].RunId})
	if err != nil || out.Error != "ValueError: no" || out.ErrorTrace == "" {
		t.Errorf("%+v %v", out, err)
	}
	if err := w.Jobs.Update(ctx, jobs.UpdateJob{JobId: job.JobId, NewSettings: &jobs.JobSettings{Tasks: []jobs.Task{python("bad", "/good.py")}}}); err != nil {
		t.Fatal(err)
	}
	repair, err := w.Jobs.RepairRun(ctx, jobs.RepairRun{RunId: run.RunId, RerunAllFailedTasks: true})
	if err != nil {
		t.Fatal(err)
	}
	if run, err = repair.GetWithTimeout(2 * time.Minute); err != nil || run.State.ResultState != jobs.RunResultStateSuccess {
		t.Fatalf("%v %+v", err, run)
	}
	if run, err = w.Jobs.GetRun(ctx, jobs.GetRunRequest{RunId: run.RunId, IncludeHistory: true}); err != nil || len(run.RepairHistory) != 2 ||
		len(run.RepairHistory[1].TaskRunIds) != 2 {
		t.Errorf("%v %+v", err, run.RepairHistory)
	}
}

func TestSubmitAndCancel(t *testing.T) {
	t.Parallel()
	w, ctx := client(t, start(t)), context.Background()
	wait, err := w.Jobs.Submit(ctx, jobs.SubmitRun{RunName: "one", Tasks: []jobs.SubmitTask{{TaskKey: "a", SparkPythonTask: &jobs.SparkPythonTask{PythonFile: "/wait.py"}}}})
	if err != nil {
		t.Fatal(err)
	}
	cancel, err := w.Jobs.CancelRun(ctx, jobs.CancelRun{RunId: wait.RunId})
	if err != nil {
		t.Fatal(err)
	}
	run, err := cancel.GetWithTimeout(2 * time.Minute)
	if err != nil || run.State.ResultState != jobs.RunResultStateCanceled || !run.State.UserCancelledOrTimedout || run.RunType != jobs.RunTypeSubmitRun {
		t.Errorf("%v %+v", err, run)
	}
	if err := w.Jobs.DeleteRun(ctx, jobs.DeleteRun{RunId: wait.RunId}); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w, ctx := client(t, start(t)), context.Background()
	for name, tc := range map[string]struct {
		job    jobs.CreateJob
		status int
		text   string
	}{
		"cycle": {jobs.CreateJob{Tasks: []jobs.Task{
			{TaskKey: "a", NotebookTask: &jobs.NotebookTask{NotebookPath: "/a"}, DependsOn: []jobs.TaskDependency{{TaskKey: "a"}}},
		}}, 400, "a → a"},
		"sql":  {jobs.CreateJob{Tasks: []jobs.Task{{TaskKey: "a", SqlTask: &jobs.SqlTask{}}}}, 501, "sql_task"},
		"cron": {jobs.CreateJob{Schedule: &jobs.CronSchedule{QuartzCronExpression: "* * * * *", TimezoneId: "UTC"}}, 400, "6 or 7 fields"},
		"zone": {jobs.CreateJob{Schedule: &jobs.CronSchedule{QuartzCronExpression: "0 0 1 * * ?", TimezoneId: "Mars/Olympus"}}, 400, "time zone"},
		"who":  {jobs.CreateJob{RunAs: &jobs.JobRunAs{UserName: "nobody@example.com"}}, 400, "nobody@example.com"},
	} {
		_, err := w.Jobs.Create(ctx, tc.job)
		var e *apierr.APIError
		if !errors.As(err, &e) || e.StatusCode != tc.status || !strings.Contains(e.Message, tc.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPythonSDK(t *testing.T) {
	t.Parallel()
	python := environment.ForTest(t).Python
	s := start(t)
	cmd := exec.Command(python, "testdata/sdk.py")
	cmd.Env = append(os.Environ(), "DATABRICKS_HOST="+s.URL, "DATABRICKS_TOKEN="+s.Token, "DATABRICKS_CONFIG_FILE=/dev/null", "DATABRICKS_AUTH_TYPE=pat")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "ok") {
		t.Errorf("%v\n%s", err, out)
	}
}
