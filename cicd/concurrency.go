package cicd

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/workflow"
)

// A concurrency group of a repository lets one run, or one job, go on at a time.
// One more waits, and is needless once a newer comes; with cancel-in-progress
// the newer ends those before it. What a fork sends has groups of its own: it
// must not end a deployment by the name of its group.

// takeTurn says whether a run that has not begun must wait for older ones of its
// group.
func (s *Service) takeTurn(ctx context.Context, r *cicd.Record, open []*cicd.Record) (wait bool, err error) {
	if r.Group == "" || len(r.Jobs) > 0 || r.Cancel {
		return false, nil
	}
	for _, o := range open {
		if o.ID == r.ID || o.RepoID != r.RepoID || o.Fork != r.Fork || o.Group != r.Group || o.State == workflow.Completed {
			continue
		}
		if o.ID > r.ID {
			r.State, r.Conclusion, r.EndedAt = workflow.Completed, workflow.Cancelled, time.Now().UnixMilli()
			r.Message = fmt.Sprintf("run %d came after it in the concurrency group %s", o.ID, r.Group)
			return true, nil
		}
		wait = true
		if r.CancelInProgress && !o.Cancel {
			if err := s.overtake(ctx, o, func(o *cicd.Record) { o.Cancel = true }); err != nil {
				return true, err
			}
		}
	}
	return wait, nil
}

// takeJobTurn says so of a job whose environment has let it through.
func (s *Service) takeJobTurn(ctx context.Context, r *cicd.Record, j *workflow.Job, open []*cicd.Record) (wait bool, err error) {
	for _, o := range open {
		if o.RepoID != r.RepoID || o.Fork != r.Fork {
			continue
		}
		for _, other := range o.Jobs {
			if other.ID == 0 || other.ID == j.ID || other.Group != j.Group || other.State == workflow.Completed {
				continue
			}
			waits := other.State == workflow.Waiting
			if waits && (other.ID < j.ID || other.Environment != "" && !other.Approved) {
				continue // the older of two that wait ends when it is looked at; one without its approval is not in the queue
			}
			if waits {
				end(j, workflow.Cancelled, fmt.Sprintf("the job %s of run %d came after it in the concurrency group %s", other.Name, o.ID, j.Group), time.Now().UnixMilli())
				return true, nil
			}
			wait = true
			if j.CancelInProgress && !other.Stop {
				if err := s.overtake(ctx, o, func(o *cicd.Record) { stopJob(o, other.ID) }); err != nil {
					return true, err
				}
			}
		}
	}
	return wait, nil
}

// overtake changes a run that another makes needless, as it is stored now.
func (s *Service) overtake(ctx context.Context, o *cicd.Record, change func(*cicd.Record)) error {
	_, err := s.cfg.Store.Change(ctx, o.WorkspaceID, o.ID, func(_ *store.Tx, stored *cicd.Record) error {
		if stored.State == workflow.Completed {
			return cicd.ErrUnchanged
		}
		change(stored)
		return nil
	})
	return err
}

// stopJob has a job end that runs; one that has not begun is cancelled.
func stopJob(r *cicd.Record, id int64) {
	i := slices.IndexFunc(r.Jobs, func(j *workflow.Job) bool { return j.ID == id })
	switch {
	case i < 0 || r.Jobs[i].State == workflow.Completed:
	case r.Jobs[i].State == workflow.Running:
		r.Jobs[i].Stop = true
	default:
		end(r.Jobs[i], workflow.Cancelled, "", time.Now().UnixMilli())
	}
}
