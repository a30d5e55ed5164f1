package scheduler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/scheduler"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/jobs"
)

// executor is a small compute that sleeps: a task's parameters say for how
// long, and how it ends: ["2s", "fail"].
type executor struct {
	runs     *jobs.Store
	mu       sync.Mutex
	running  map[int64]context.CancelFunc
	released []int64
	most     int
	wg       sync.WaitGroup
}

func (e *executor) Start(_ context.Context, a wherry.Attempt) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running[a.RunID] != nil {
		return nil
	}
	var task wherry.Task
	if err := json.Unmarshal(a.Task, &task); err != nil {
		return err
	}
	if task.Python.File == "refused" {
		return wherry.Errorf(wherry.CodeInvalidParameter, "no such node type")
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.running[a.RunID] = cancel
	e.most = max(e.most, len(e.running))
	e.wg.Go(func() { e.run(ctx, a.RunID, task.Python.Parameters) })
	return nil
}

func (e *executor) run(ctx context.Context, id int64, args []string) {
	bg := context.Background()
	_ = e.runs.AttemptRunning(bg, id, "c")
	r := wherry.Result{State: wherry.ResultSuccess, Code: wherry.TermSuccess}
	if len(args) > 0 {
		d, _ := time.ParseDuration(args[0])
		select {
		case <-time.After(d):
		case <-ctx.Done():
			r = wherry.Result{State: wherry.ResultCanceled, Code: wherry.TermCanceled}
		}
	}
	if len(args) > 1 && args[1] == "fail" {
		r = wherry.Result{State: wherry.ResultFailed, Code: wherry.TermExecutionError, Error: "it failed"}
	}
	e.mu.Lock()
	delete(e.running, id)
	e.mu.Unlock()
	_ = e.runs.AttemptDone(bg, id, "c", r)
}

func (e *executor) Cancel(_ context.Context, id int64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if stop := e.running[id]; stop != nil {
		stop()
	}
	return nil
}

func (e *executor) ReleaseJob(_ context.Context, id int64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.released = append(e.released, id)
	return nil
}

type world struct {
	*testing.T
	runs *jobs.Store
	exec *executor
}

// inWorld runs fn with a scheduler, in a bubble of time that passes when all
// wait.
func inWorld(t *testing.T, fn func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(context.Background(), "sqlite://"+filepath.Join(t.TempDir(), "test.db"))
		if err != nil {
			t.Fatal(err)
		}
		if err := auth.New(db).Bootstrap(context.Background(), "token"); err != nil {
			t.Fatal(err)
		}
		runs := jobs.New(db)
		e := &executor{runs: runs, running: map[int64]context.CancelFunc{}}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- scheduler.New(runs, e).Run(ctx) }()
		fn(&world{T: t, runs: runs, exec: e})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		e.wg.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

func (w *world) launch(tasks string) int64 {
	w.Helper()
	l := jobs.Launch{WorkspaceID: wherry.DefaultWorkspace, Type: wherry.RunTypeSubmit, Trigger: wherry.TriggerOneTime}
	if err := json.Unmarshal([]byte(tasks), &l.Settings); err != nil {
		w.Fatal(err)
	}
	if err := l.Settings.Validate(); err != nil {
		w.Fatal(err)
	}
	var err error
	if l.RunAs, err = w.runs.Principal(context.Background(), "admin@localhost"); err != nil {
		w.Fatal(err)
	}
	id, err := w.runs.Launch(context.Background(), l)
	if err != nil {
		w.Fatal(err)
	}
	return id
}

// wait returns the run once it has ended.
func (w *world) wait(id int64) *wherry.Run {
	w.Helper()
	for range 10_000 {
		r, _, err := w.runs.Run(context.Background(), wherry.DefaultWorkspace, id)
		if err != nil {
			w.Fatal(err)
		}
		if r.Terminal() {
			return r
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.Fatal("the run does not end")
	return nil
}

func task(key, rest string, args ...string) string {
	b, _ := json.Marshal(args)
	return fmt.Sprintf(`{"task_key":%q,"spark_python_task":{"python_file":"f","parameters":%s}%s}`, key, b, rest)
}

func TestChain(t *testing.T) {
	inWorld(t, func(w *world) {
		var tasks []string
		for i := range 40 {
			rest := ""
			if i > 0 {
				rest = fmt.Sprintf(`,"depends_on":[{"task_key":"t%d"}]`, i-1)
			}
			tasks = append(tasks, task(fmt.Sprintf("t%d", i), rest))
		}
		id := w.launch(`{"tasks":[` + strings.Join(tasks, ",") + `]}`)
		if r := w.wait(id); r.Result != wherry.ResultSuccess || r.EndTime-r.StartTime > 1000 {
			t.Errorf("%+v in %d ms of bubble time", r.Standing, r.EndTime-r.StartTime)
		}
		synctest.Wait()
		if len(w.exec.released) != 1 || w.exec.released[0] != id {
			t.Errorf("released %v", w.exec.released)
		}
	})
}

func TestTimeouts(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.wait(w.launch(`{"tasks":[` + task("a", `,"timeout_seconds":10,"max_retries":1,"retry_on_timeout":true`, "1h") + `]}`))
		a := r.Latest("a")
		if a.Result != wherry.ResultTimedOut || a.Number != 1 || r.Result != wherry.ResultFailed {
			t.Errorf("task %+v, run %+v", a, r.Standing)
		}
		if took := r.EndTime - r.StartTime; took < 20_000 || took > 21_000 {
			t.Errorf("two time-outs of 10 s took %d ms", took)
		}
		r = w.wait(w.launch(`{"timeout_seconds":30,"tasks":[` + task("a", "", "1h") + `,` + task("b", `,"depends_on":[{"task_key":"a"}]`) + `]}`))
		if r.Result != wherry.ResultTimedOut || r.Latest("a").Result != wherry.ResultTimedOut || !r.Legacy().Cancelled {
			t.Errorf("run %+v", r.Standing)
		}
		if took := r.EndTime - r.StartTime; took < 30_000 || took > 31_000 {
			t.Errorf("a time-out of 30 s took %d ms", took)
		}
	})
}

func TestRetryInterval(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.wait(w.launch(`{"tasks":[` + task("a", `,"max_retries":2,"min_retry_interval_millis":60000`, "1s", "fail") + `]}`))
		if took := r.EndTime - r.StartTime; len(r.Attempts) != 3 || took < 121_000 || took > 122_500 {
			t.Errorf("%d attempts in %d ms", len(r.Attempts), took)
		}
		for i, a := range r.Attempts {
			if i > 0 && a.StartTime-r.Attempts[i-1].StartTime < 60_000 {
				t.Errorf("attempt %d started too early", i)
			}
		}
	})
}

func TestCancel(t *testing.T) {
	inWorld(t, func(w *world) {
		id := w.launch(`{"tasks":[` + task("a", "", "1h") + `]}`)
		time.Sleep(3 * time.Second)
		if err := w.runs.Cancel(context.Background(), wherry.DefaultWorkspace, id); err != nil {
			t.Fatal(err)
		}
		if r := w.wait(id); r.Result != wherry.ResultCanceled || r.EndTime-r.StartTime > 4000 {
			t.Errorf("%+v", r.Standing)
		}
	})
}

func TestForEachConcurrency(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.wait(w.launch(`{"tasks":[{"task_key":"each","for_each_task":{"inputs":"[1,2,3,4,5,6,7]","concurrency":3,"task":` + task("one", "", "10s") + `}}]}`))
		if r.Result != wherry.ResultSuccess || w.exec.most != 3 {
			t.Errorf("%+v, %d at once", r.Standing, w.exec.most)
		}
		if took := r.EndTime - r.StartTime; took < 30_000 || took > 32_000 {
			t.Errorf("7 iterations of 10 s, 3 at once, took %d ms", took)
		}
	})
}

// TestEveryFailureEnds is the contract of the clients' waiters: whatever goes
// wrong, the run comes to TERMINATED, SKIPPED or INTERNAL_ERROR.
func TestEveryFailureEnds(t *testing.T) {
	inWorld(t, func(w *world) {
		for name, doc := range map[string]string{
			"fails":     task("a", "", "1s", "fail"),
			"refused":   `{"task_key":"a","spark_python_task":{"python_file":"refused"}}`,
			"reference": task("b", "") + "," + task("a", `,"depends_on":[{"task_key":"b"}]`, "{{tasks.b.values.none}}"),
			"timeout":   task("a", `,"timeout_seconds":1`, "1h"),
			"condition": `{"task_key":"a","condition_task":{"op":"LESS_THAN","left":"x","right":"1"}}`,
			"run_job":   `{"task_key":"a","run_job_task":{"job_id":999}}`,
			"for_each":  `{"task_key":"a","for_each_task":{"inputs":"{{job.parameters.none}}","task":` + task("one", "") + `}}`,
		} {
			r := w.wait(w.launch(`{"tasks":[` + doc + `]}`))
			life := r.Legacy().LifeCycle
			if r.Result != wherry.ResultFailed || life != "TERMINATED" && life != "INTERNAL_ERROR" || r.Latest("a").Message == "" {
				t.Errorf("%s: run %+v, task %+v", name, r.Standing, r.Latest("a"))
			}
		}
	})
}
