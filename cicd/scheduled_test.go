package cicd_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/workflow"
)

// TestSchedule: a schedule starts a run of the default branch once for the times
// that it missed, and goes on; a commit that takes it away ends it.
func TestSchedule(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.CIRetention.ArtifactDays = 12 })
	dir := s.repo("app", "")
	const cron = "0 3 1 1 *"
	at := func(from int64) int {
		return s.count(`SELECT count(*) FROM ci_schedule WHERE cron = $1 AND next_fire > $2`, cron, from)
	}
	nightly := job("nightly", "{schedule: [{cron: '"+cron+"'}]}", `test "${{ github.event.schedule }} ${{ github.ref_name }} $GITHUB_RETENTION_DAYS" = "`+cron+` main 12"`)
	s.push(dir, "nightly.yml", strings.Replace(nightly, "  a:\n", "  a:\n    if: startsWith(github.server_url, 'http') && github.retention_days == '12'\n", 1))
	now := time.Now().UnixMilli()
	s.until("the schedule is there", func() bool { return at(now) == 1 })
	s.database(func(db *store.DB) error { // as if there had been no server for three days
		return db.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE ci_schedule SET next_fire = $1`, now-(72*time.Hour).Milliseconds())
			return err
		})
	})
	r := s.begun("app", "nightly", "schedule")
	if r = s.ended(r.ID, workflow.Success); r.Jobs[0].Conclusion != workflow.Success {
		t.Errorf("its job: %s", r.Jobs[0].Conclusion)
	}
	if at(now) != 1 {
		t.Error("it does not fire again")
	}
	if list := s.runs("app"); len(list) != 1 || list[0].Event.Name != "schedule" {
		t.Errorf("it fired %d times for one time that was missed", len(list))
	}
	s.push(dir, "nightly.yml", job("nightly", "workflow_dispatch", "true"))
	s.until("the schedule is gone", func() bool { return at(0) == 0 })
}
