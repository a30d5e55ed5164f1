package cicd

import (
	"context"

	"github.com/wherry-ml/wherry/store"
)

// Schedule is when a workflow of a default branch fires next.
type Schedule struct {
	RepoID   int64
	Path     string
	Cron     string
	NextFire int64 // ms
}

// Schedules lists those of a repository, or all for 0.
func (s *Store) Schedules(ctx context.Context, repoID int64) (list []Schedule, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT repo_id, path, cron, next_fire FROM ci_schedule WHERE $1 = 0 OR repo_id = $1 ORDER BY next_fire`, []any{repoID}, func(row func(...any) error) error {
			var c Schedule
			err := row(&c.RepoID, &c.Path, &c.Cron, &c.NextFire)
			list = append(list, c)
			return err
		})
	})
	return list, err
}

// SetSchedules replaces those of a repository; one that stays keeps its time.
func SetSchedules(tx *store.Tx, repoID int64, list []Schedule) error {
	var old []Schedule
	err := tx.Each(`SELECT repo_id, path, cron, next_fire FROM ci_schedule WHERE repo_id = $1`, []any{repoID}, func(row func(...any) error) error {
		var c Schedule
		err := row(&c.RepoID, &c.Path, &c.Cron, &c.NextFire)
		old = append(old, c)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM ci_schedule WHERE repo_id = $1`, repoID); err != nil {
		return err
	}
	for _, c := range list {
		for _, o := range old {
			if o.Path == c.Path && o.Cron == c.Cron {
				c.NextFire = o.NextFire
			}
		}
		_, err := tx.Exec(`INSERT INTO ci_schedule (repo_id, path, cron, next_fire) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`, repoID, c.Path, c.Cron, c.NextFire)
		if err != nil {
			return err
		}
	}
	return nil
}

// Fired moves a schedule on; ok is false if another did it first.
func Fired(tx *store.Tx, c Schedule, next int64) (ok bool, err error) {
	n, err := tx.Exec(`UPDATE ci_schedule SET next_fire = $1 WHERE repo_id = $2 AND path = $3 AND cron = $4 AND next_fire = $5`, next, c.RepoID, c.Path, c.Cron, c.NextFire)
	return n == 1, err
}
