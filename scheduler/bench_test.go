package scheduler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/scheduler"
	"github.com/wherry-ml/wherry/store/jobs"
	"github.com/wherry-ml/wherry/store/storetest"
)

// BenchmarkChain is what the scheduler and the store, with its disk, cost a
// chain of 40 tasks that do nothing.
func BenchmarkChain(b *testing.B) {
	var tasks []string
	for i := range 40 {
		rest := ""
		if i > 0 {
			rest = fmt.Sprintf(`,"depends_on":[{"task_key":"t%d"}]`, i-1)
		}
		tasks = append(tasks, task(fmt.Sprintf("t%d", i), rest))
	}
	benchmark(b, tasks)
}

// BenchmarkWide is a run of 250 tasks at once.
func BenchmarkWide(b *testing.B) {
	var tasks []string
	for i := range 250 {
		tasks = append(tasks, task(fmt.Sprintf("t%d", i), ""))
	}
	benchmark(b, tasks)
}

func benchmark(b *testing.B, tasks []string) {
	ctx, cancel := context.WithCancel(context.Background())
	db := storetest.SQLite(b)
	if err := auth.New(db).Bootstrap(ctx, "token"); err != nil {
		b.Fatal(err)
	}
	runs := jobs.New(db)
	e := &executor{runs: runs, running: map[int64]context.CancelFunc{}}
	done := make(chan error, 1)
	go func() { done <- scheduler.New(runs, e).Run(ctx) }()
	l := jobs.Launch{WorkspaceID: wherry.DefaultWorkspace, Type: wherry.RunTypeSubmit, Trigger: wherry.TriggerOneTime}
	if err := json.Unmarshal([]byte(`{"tasks":[`+strings.Join(tasks, ",")+`]}`), &l.Settings); err != nil {
		b.Fatal(err)
	}
	var err error
	if l.RunAs, err = runs.Principal(ctx, "admin@localhost"); err != nil {
		b.Fatal(err)
	}
	woken, stop := db.Watch(jobs.TopicRun)
	defer stop()
	for b.Loop() {
		id, err := runs.Launch(ctx, l)
		if err != nil {
			b.Fatal(err)
		}
		for {
			r, _, err := runs.Run(ctx, wherry.DefaultWorkspace, id)
			if err != nil {
				b.Fatal(err)
			}
			if r.Terminal() {
				break
			}
			<-woken
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(len(tasks)), "µs/task")
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
	e.wg.Wait()
}
