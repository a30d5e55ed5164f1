package jobs

import (
	"context"
	"errors"
	"strconv"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Finished is a run of a job that came to its end.
type Finished struct {
	RunID     int64
	Result    string
	CreatedAt int64 // milliseconds since 1970
	EndedAt   int64
}

// Succeeded tells whether the run did what it should.
func (f Finished) Succeeded() bool {
	return f.Result == wherry.ResultSuccess || f.Result == wherry.ResultSuccessWithFailures // tasks that may fail did
}

// LastResult returns, of the runs of a job that were begun since, in
// milliseconds, the one that ended last; ok is false where there is none.
func (s *Store) LastResult(ctx context.Context, jobID string, since int64) (f Finished, ok bool, err error) {
	id, err := strconv.ParseInt(jobID, 10, 64)
	if err != nil {
		return f, false, nil // no job of ours
	}
	return s.finished(ctx, `SELECT id, result, created_at, end_time FROM job_run WHERE job_id = $1 AND end_time > 0 AND created_at >= $2
		ORDER BY end_time DESC, id DESC LIMIT 1`, id, since)
}

// FirstResult returns the first run of a job of those begun since, in
// milliseconds, if it has ended; runs that were cancelled or skipped prove
// nothing and are passed over.
func (s *Store) FirstResult(ctx context.Context, jobID, since int64) (f Finished, ok bool, err error) {
	return s.finished(ctx, `SELECT id, result, created_at, end_time FROM job_run WHERE job_id = $1 AND end_time > 0 AND created_at >= $2
		AND result IN ('SUCCESS', 'SUCCESS_WITH_FAILURES', 'FAILED', 'TIMEDOUT', 'UPSTREAM_FAILED') ORDER BY end_time, id LIMIT 1`, jobID, since)
}

func (s *Store) finished(ctx context.Context, query string, args ...any) (f Finished, ok bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Row(query, args...).Scan(&f.RunID, &f.Result, &f.CreatedAt, &f.EndedAt)
	})
	if errors.Is(err, store.ErrNoRows) {
		return f, false, nil
	}
	return f, err == nil, err
}
