package jobs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/notify"
)

// told lists what is to be sent about a run, the oldest first.
func (s *suite) told(runID int64) (lines []string) {
	s.Helper()
	list, err := notify.New(s.s.db).List(ctx, ws, notify.Filter{RunID: runID})
	s.ok(err)
	for _, n := range list {
		lines = append([]string{n.Address + ": " + n.Notice.Subject}, lines...)
	}
	return lines
}

func (s *suite) wantTold(runID int64, want ...string) {
	s.Helper()
	if got := strings.Join(s.told(runID), "\n"); got != strings.Join(want, "\n") {
		s.Errorf("of run %d is told\n%s\nwant\n%s", runID, got, strings.Join(want, "\n"))
	}
}

// TestJobNotifications: a run tells once of its start and of each of its ends,
// a task of each attempt, or of the first start and the last failure.
func TestJobNotifications(t *testing.T) {
	each(t, func(s *suite) {
		job := s.job(`{"name":"otters","email_notifications":{"on_start":["go@x"],"on_success":["ok@x"],"on_failure":["bad@x"]},
			"webhook_notifications":{"on_failure":[{"id":"hook"}]},"tasks":[
			{"task_key":"each",` + py + `,"max_retries":1,"email_notifications":{"on_start":["each@x"],"on_failure":["each@x"]}},
			{"task_key":"last",` + py + `,"max_retries":1,"email_notifications":{"on_start":["last@x"],"on_failure":["last@x"]},"notification_settings":{"alert_on_last_attempt":true}},
			{"task_key":"after",` + py + `,"depends_on":[{"task_key":"each"}],"email_notifications":{"on_failure":["after@x"]},"notification_settings":{"no_alert_for_skipped_runs":true}}]}`)
		run := s.launch(job)
		s.wantTold(run, "go@x: [wherry] Job otters started", "each@x: [wherry] Task each of job otters started", "last@x: [wherry] Task last of job otters started")
		s.end(run, "each", wherry.ResultFailed)
		s.end(run, "last", wherry.ResultFailed)
		s.end(run, "each", wherry.ResultFailed)
		s.end(run, "last", wherry.ResultFailed)
		s.want(run, "TERMINATED/FAILED each:FAILED last:FAILED after:UPSTREAM_FAILED")
		failed := []string{
			"go@x: [wherry] Job otters started", "each@x: [wherry] Task each of job otters started", "last@x: [wherry] Task last of job otters started",
			"each@x: [wherry] Task each of job otters failed", "each@x: [wherry] Task each of job otters started",
			"each@x: [wherry] Task each of job otters failed", "last@x: [wherry] Task last of job otters failed",
			"bad@x: [wherry] Job otters failed", "hook: [wherry] Job otters failed",
		}
		s.wantTold(run, failed...)
		list, err := notify.New(s.s.db).List(ctx, ws, notify.Filter{RunID: run, Limit: 1})
		s.ok(err)
		want := fmt.Sprintf(`{"run":{"run_id":"%d"},"job":{"job_id":"%d","name":"otters"}}`, run, job)
		if n := list[0]; n.Kind != "jobs.on_failure" || string(n.Notice.Body) != want || n.Notice.Link != fmt.Sprintf("/jobs/%d/runs/%d", job, run) || !n.Notice.Bad {
			t.Errorf("the webhook gets %s %s %s", n.Kind, n.Notice.Body, n.Notice.Link)
		}

		_, err = s.s.Repair(ctx, ws, &wherry.RepairRequest{RunID: wherry.Int64(run), RerunAllFailed: true})
		s.ok(err)
		for _, key := range []string{"each", "last", "after"} {
			s.end(run, key, wherry.ResultSuccess)
		}
		s.want(run, "TERMINATED/SUCCESS each:SUCCESS last:SUCCESS after:SUCCESS")
		s.wantTold(run, append(failed, "go@x: [wherry] Job otters started", "each@x: [wherry] Task each of job otters started",
			"last@x: [wherry] Task last of job otters started", "ok@x: [wherry] Job otters succeeded")...)
	})
}

func TestMutedNotifications(t *testing.T) {
	each(t, func(s *suite) {
		const task = `"tasks":[{"task_key":"a",` + py + `}]}`
		loud := s.job(`{"name":"loud","email_notifications":{"on_failure":["bad@x"]},` + task)
		mute := s.job(`{"name":"mute","email_notifications":{"on_failure":["bad@x"]},"notification_settings":{"no_alert_for_canceled_runs":true,"no_alert_for_skipped_runs":true},` + task)
		for job, want := range map[int64][2][]string{loud: {{"bad@x: [wherry] Job loud was cancelled"}, {"bad@x: [wherry] Job loud was skipped"}}, mute: {}} {
			run := s.launch(job)
			skipped := s.launch(job) // max_concurrent_runs is 1
			s.ok(s.s.Cancel(ctx, ws, run))
			s.end(run, "a", wherry.ResultFailed)
			s.want(run, "TERMINATED/CANCELED a:CANCELED")
			s.wantTold(run, want[0]...)
			s.wantTold(skipped, want[1]...)
		}
	})
}

// TestSlowRuns: what takes longer than its rule allows is told of once, and
// runs on.
func TestSlowRuns(t *testing.T) {
	each(t, func(s *suite) {
		const rule = `"health":{"rules":[{"metric":"RUN_DURATION_SECONDS","op":"GREATER_THAN","value":60}]}`
		job := s.job(`{"name":"slow",` + rule + `,"email_notifications":{"on_duration_warning_threshold_exceeded":["ada@x"]},
			"tasks":[{"task_key":"a",` + py + `,` + rule + `,"email_notifications":{"on_duration_warning_threshold_exceeded":["bob@x"]}}]}`)
		run := s.launch(job)
		due := func() {
			t.Helper()
			_, err := s.s.Due(ctx)
			s.ok(err)
		}
		due()
		s.wantTold(run)
		began := s.s.now()
		s.s.now = func() time.Time { return began.Add(2 * time.Minute) }
		due()
		due()
		want := []string{"ada@x: [wherry] Job slow takes longer than 1m0s", "bob@x: [wherry] Task a of job slow takes longer than 1m0s"}
		s.wantTold(run, want...)
		if w, err := s.s.Waiting(ctx); err != nil || w.WakeAt != 0 {
			t.Errorf("it wakes at %d again, %v", w.WakeAt, err)
		}
		s.want(run, "PENDING/ a:PENDING")
		s.end(run, "a", wherry.ResultSuccess)
		s.wantTold(run, want...)
		var events int
		s.ok(s.s.db.Read(ctx, func(tx *store.Tx) error {
			return tx.Row(`SELECT count(*) FROM event WHERE kind = $1`, wherry.EventRunSlow).Scan(&events)
		}))
		if events != 2 {
			t.Errorf("%d events", events)
		}
	})
}
