package jobs

import (
	"context"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Schedule is a job's schedule and the next time it fires. Times are
// milliseconds since 1970.
type Schedule struct {
	JobID       int64
	WorkspaceID int64
	Creator     string
	// Spec is the schedule as text: when it changes, NextFire is worked out anew.
	Spec     string
	NextFire int64
	LastFire int64
	// Skipped counts the times that passed while no server ran.
	Skipped int64
}

// Scheduled lists the jobs whose settings hold a schedule or a periodic
// trigger, paused ones too.
func (s *Store) Scheduled(ctx context.Context) (list []*wherry.Job, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+jobColumns+` FROM job j JOIN principal p ON p.id = j.run_as
			WHERE j.settings LIKE '%"schedule"%' OR j.settings LIKE '%"periodic"%' ORDER BY j.id`, nil, func(scan func(...any) error) error {
			j, err := scanJob(scan)
			list = append(list, j)
			return err
		})
	})
	return list, err
}

// Schedules lists what SetSchedule stored.
func (s *Store) Schedules(ctx context.Context) (list []Schedule, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT c.job_id, j.workspace_id, j.creator, c.spec, c.next_fire, c.last_fire, c.skipped
			FROM job_schedule c JOIN job j ON j.id = c.job_id ORDER BY c.next_fire`, nil, func(scan func(...any) error) error {
			var c Schedule
			err := scan(&c.JobID, &c.WorkspaceID, &c.Creator, &c.Spec, &c.NextFire, &c.LastFire, &c.Skipped)
			list = append(list, c)
			return err
		})
	})
	return list, err
}

// SetSchedule stores when a job fires next; a NextFire of 0 takes it away.
func (s *Store) SetSchedule(ctx context.Context, c Schedule) error {
	return s.write(ctx, func(x *change) error {
		if c.NextFire == 0 {
			_, err := x.Exec(`DELETE FROM job_schedule WHERE job_id = $1`, c.JobID)
			return err
		}
		// A job that was deleted in the meantime gets no row.
		_, err := x.Exec(`INSERT INTO job_schedule (job_id, spec, next_fire, last_fire, skipped)
			SELECT j.id, $2, CAST($3 AS BIGINT), CAST($4 AS BIGINT), CAST($5 AS BIGINT) FROM job j WHERE j.id = $1
			ON CONFLICT (job_id) DO UPDATE SET spec = excluded.spec, next_fire = excluded.next_fire, last_fire = excluded.last_fire, skipped = excluded.skipped`,
			c.JobID, c.Spec, c.NextFire, c.LastFire, c.Skipped)
		return err
	})
}
