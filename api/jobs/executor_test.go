package jobs_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/scheduler"
	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store/jobs"
)

// executor is a small compute: it prints a script's parameters, fails one whose
// file is named fail.py, lets one named wait.py run until it is cancelled, and
// has notebooks exit with their parameters.
type executor struct {
	runs *jobs.Store
	dir  state.Dir

	mu    sync.Mutex
	stops map[int64]chan struct{}
	wg    sync.WaitGroup
}

// start starts a server whose attempts an executor runs.
func start(t *testing.T) *servertest.Server { return startOn(t, "") }

// startOn does so on a PostgreSQL database; "" is SQLite.
func startOn(t *testing.T, database string) *servertest.Server {
	t.Helper()
	e := newExecutor(t)
	return servertest.Start(t, func(c *server.Config) { e.configure(c, database) })
}

func newExecutor(t *testing.T) *executor {
	e := &executor{stops: map[int64]chan struct{}{}}
	t.Cleanup(func() {
		e.mu.Lock()
		for _, c := range e.stops {
			close(c)
		}
		e.stops = nil
		e.mu.Unlock()
		e.wg.Wait()
	})
	return e
}

func (e *executor) configure(c *server.Config, database string) {
	e.dir, c.Database = c.State, database
	c.Compute = func(runs *jobs.Store) scheduler.Compute {
		e.runs = runs
		return e
	}
}

func (e *executor) Start(_ context.Context, a wherry.Attempt) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stops == nil || e.stops[a.RunID] != nil {
		return nil
	}
	stop := make(chan struct{})
	e.stops[a.RunID] = stop
	e.wg.Go(func() { e.run(a, stop) })
	return nil
}

func (e *executor) run(a wherry.Attempt, stop chan struct{}) {
	ctx := context.Background()
	_ = e.runs.AttemptRunning(ctx, a.RunID, "0101-000000-test")
	var task wherry.Task
	_ = json.Unmarshal(a.Task, &task)
	r := wherry.Result{State: wherry.ResultSuccess, Code: wherry.TermSuccess, SetupMillis: 1, ExecutionMillis: 2}
	switch {
	case task.Notebook != nil:
		b, _ := json.Marshal(a.Parameters)
		r.ExitValue, r.Exited = string(b), true
	case task.Python != nil && strings.HasSuffix(task.Python.File, "fail.py"):
		r = wherry.Result{State: wherry.ResultFailed, Code: wherry.TermExecutionError, Message: "Workload failed.", Error: "ValueError: no", Trace: "Traceback …"}
	case task.Python != nil && strings.HasSuffix(task.Python.File, "wait.py"):
		<-stop
		r = wherry.Result{State: wherry.ResultCanceled, Code: wherry.TermCanceled}
	case task.Python != nil:
		_ = os.MkdirAll(e.dir.Run(a.RunID), 0o700)
		_ = os.WriteFile(filepath.Join(e.dir.Run(a.RunID), "out"), []byte(strings.Join(task.Python.Parameters, " ")+"\n"), 0o600)
	}
	_ = e.runs.AttemptDone(ctx, a.RunID, "0101-000000-test", r)
}

func (e *executor) Cancel(_ context.Context, id int64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.stops[id]; c != nil {
		close(c)
		delete(e.stops, id)
	}
	return nil
}

func (e *executor) ReleaseJob(context.Context, int64) error { return nil }
