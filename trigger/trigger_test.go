package trigger_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/jobs"
	"github.com/wherry-ml/wherry/trigger"
)

type world struct {
	*testing.T
	runs *jobs.Store
	stop func()
}

func inWorld(t *testing.T, fn func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(context.Background(), "sqlite://"+filepath.Join(t.TempDir(), "test.db"))
		if err != nil {
			t.Fatal(err)
		}
		if err := auth.New(db).Bootstrap(context.Background(), "token"); err != nil {
			t.Fatal(err)
		}
		w := &world{T: t, runs: jobs.New(db)}
		w.start()
		fn(w)
		w.stop()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

// start runs the loop until stop.
func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- trigger.New(w.runs).Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.Error(err)
		}
	}
}

func (w *world) job(doc string) int64 {
	w.Helper()
	admin, err := w.runs.Principal(context.Background(), "admin@localhost")
	if err != nil {
		w.Fatal(err)
	}
	j := &wherry.Job{WorkspaceID: wherry.DefaultWorkspace, Creator: admin.UserName, RunAs: admin}
	if err := json.Unmarshal([]byte(doc), &j.Settings); err != nil {
		w.Fatal(err)
	}
	if err := w.runs.Create(context.Background(), j); err != nil {
		w.Fatal(err)
	}
	return j.ID
}

// fired lists the times for which the job's runs were started, the oldest first.
func (w *world) fired(id int64) (times []string) {
	w.Helper()
	list, err := w.runs.Runs(context.Background(), jobs.Filter{WorkspaceID: wherry.DefaultWorkspace, JobID: id, After: 1, Limit: 100})
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range list {
		times = append(times, time.UnixMilli(r.TriggerTime).UTC().Format("02 15:04"))
	}
	return times
}

func (w *world) want(id int64, want ...string) {
	w.Helper()
	got, _ := json.Marshal(w.fired(id))
	if text, _ := json.Marshal(want); string(got) != string(text) {
		w.Errorf("fired at %s, want %s", got, text)
	}
}

const task = `"max_concurrent_runs":100,"tasks":[{"task_key":"a","spark_python_task":{"python_file":"/a"}}]`

// The bubble's clock starts at midnight UTC, 1 January 2000, a Saturday.
func TestSchedule(t *testing.T) {
	inWorld(t, func(w *world) {
		w.job(`{` + task + `}`) // takes run id 1 out of the list's way
		if _, err := w.runs.Launch(context.Background(), jobs.Launch{WorkspaceID: wherry.DefaultWorkspace, JobID: 1}); err != nil {
			t.Fatal(err)
		}
		nightly := w.job(`{"schedule":{"quartz_cron_expression":"0 30 1 * * ?","timezone_id":"Europe/Berlin"},` + task + `}`)
		paused := w.job(`{"schedule":{"quartz_cron_expression":"0 0 * * * ?","timezone_id":"UTC","pause_status":"PAUSED"},` + task + `}`)
		hourly := w.job(`{"trigger":{"periodic":{"interval":12,"unit":"HOURS"}},` + task + `}`)
		time.Sleep(50 * time.Hour)
		synctest.Wait()
		w.want(nightly, "01 00:30", "02 00:30", "03 00:30")
		w.want(hourly, "01 12:00", "02 00:00", "02 12:00", "03 00:00")
		if got := w.fired(paused); got != nil {
			t.Errorf("a paused schedule fired at %v", got)
		}
		// Unpaused, it fires from now on only.
		edit := func(doc string) func(*wherry.Job) error {
			return func(j *wherry.Job) error { return json.Unmarshal([]byte(doc), &j.Settings) }
		}
		if err := w.runs.Update(context.Background(), wherry.DefaultWorkspace, paused,
			edit(`{"schedule":{"quartz_cron_expression":"0 0 * * * ?","timezone_id":"UTC","pause_status":"UNPAUSED"},`+task+`}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Minute)
		synctest.Wait()
		w.want(paused, "03 03:00")
		if err := w.runs.Delete(context.Background(), wherry.DefaultWorkspace, nightly); err != nil {
			t.Fatal(err)
		}
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		w.want(nightly, "01 00:30", "02 00:30", "03 00:30")
	})
}

func TestMissedTimesFireOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.job(`{` + task + `}`)
		if _, err := w.runs.Launch(context.Background(), jobs.Launch{WorkspaceID: wherry.DefaultWorkspace, JobID: 1}); err != nil {
			t.Fatal(err)
		}
		id := w.job(`{"schedule":{"quartz_cron_expression":"0 0 * * * ?","timezone_id":"UTC"},` + task + `}`)
		time.Sleep(61 * time.Minute)
		synctest.Wait()
		w.stop()
		time.Sleep(5 * time.Hour)
		w.start()
		time.Sleep(time.Minute)
		synctest.Wait()
		w.want(id, "01 01:00", "01 06:00")
		list, err := w.runs.Schedules(context.Background())
		if err != nil || len(list) != 1 || list[0].Skipped != 4 {
			t.Errorf("%+v %v, want 4 skipped", list, err)
		}
	})
}
