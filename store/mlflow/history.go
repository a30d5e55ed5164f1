package mlflow

import (
	"context"
	"sort"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// maxHistory bounds one answer of metric values.
const maxHistory = 25000

// History returns a metric's values in the order of time and step, at most
// maxHistory at a time, and the next page's token. A name that was never
// logged has none.
func (s *Store) History(ctx context.Context, ws int64, runID, key string, limit int, token string) (list []Metric, next string, err error) {
	at, err := parseOffset(token)
	if err != nil {
		return nil, "", err
	}
	if limit <= 0 || limit > maxHistory {
		limit = maxHistory
	}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		run, err := runInfo(tx, ws, runID)
		if err != nil {
			return err
		}
		list, err = s.values(tx, run, key, `ORDER BY at, step, value LIMIT $3 OFFSET $4`, limit+1, at)
		return err
	})
	if len(list) > limit {
		list, next = list[:limit], offsetToken(at+limit)
	}
	return list, next, err
}

func (s *Store) values(tx *store.Tx, run *Run, key, tail string, args ...any) (list []Metric, err error) {
	id, err := s.knownKey(tx, key)
	if err != nil || id == 0 {
		return nil, err
	}
	err = tx.Each(`SELECT step, at, value, is_nan FROM mlflow_metric WHERE run_id = $1 AND key_id = $2 `+tail,
		append([]any{run.Info.id, id}, args...), func(scan func(...any) error) error {
			m := Metric{Key: key, RunID: run.Info.RunID}
			var nan bool
			err := scan(&m.Step, &m.Timestamp, &m.Value, &nan)
			m.setNaN(nan)
			list = append(list, m)
			return err
		})
	return list, err
}

// HistoryBulk returns the values of one metric of several runs, at most limit
// of all, the runs in the order of their ids.
func (s *Store) HistoryBulk(ctx context.Context, ws int64, runIDs []string, key string, limit int) (list []Metric, err error) {
	sorted := append([]string(nil), runIDs...)
	sort.Strings(sorted)
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		list = nil
		for _, id := range sorted {
			run, err := runInfo(tx, ws, id)
			if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
				continue
			}
			if err != nil {
				return err
			}
			v, err := s.values(tx, run, key, `ORDER BY at, step, value LIMIT $3`, limit-len(list))
			if err != nil {
				return err
			}
			if list = append(list, v...); len(list) >= limit {
				return nil
			}
		}
		return nil
	})
	return list, err
}

// HistoryInterval returns about limit values of one metric of several runs,
// the same steps for all, between two steps (nil is the first or last), always
// with each run's first and last step.
func (s *Store) HistoryInterval(ctx context.Context, ws int64, runIDs []string, key string, from, to *int64, limit int) (list []Metric, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		all, perRun := map[int64]bool{}, make([][]Metric, 0, len(runIDs))
		keep := map[int64]bool{}
		for _, id := range runIDs {
			run, err := runInfo(tx, ws, id)
			if err != nil {
				return err
			}
			lo, hi := int64(-1<<63), int64(1<<63-1)
			if from != nil {
				lo = *from
			}
			if to != nil {
				hi = *to
			}
			v, err := s.values(tx, run, key, `AND step BETWEEN $3 AND $4 ORDER BY step, at, value`, lo, hi)
			if err != nil {
				return err
			}
			for _, m := range v {
				all[int64(m.Step)] = true
			}
			if len(v) > 0 {
				keep[int64(v[0].Step)], keep[int64(v[len(v)-1].Step)] = true, true
			}
			perRun = append(perRun, v)
		}
		for _, step := range sample(all, limit) {
			keep[step] = true
		}
		list = nil
		for _, v := range perRun {
			for _, m := range v {
				if keep[int64(m.Step)] {
					list = append(list, m)
				}
			}
		}
		return nil
	})
	return list, err
}

// sample picks about limit of the steps, evenly, the last one among them.
func sample(steps map[int64]bool, limit int) []int64 {
	sorted := make([]int64, 0, len(steps))
	for s := range steps {
		sorted = append(sorted, s)
	}
	sort.Slice(sorted, func(i, j int) bool { return sorted[i] < sorted[j] })
	if len(sorted) <= limit || limit <= 0 {
		return sorted
	}
	interval := float64(len(sorted)) / float64(limit)
	out := make([]int64, 0, limit+1)
	for i := range limit {
		out = append(out, sorted[int(float64(i)*interval)])
	}
	return append(out, sorted[len(sorted)-1])
}
