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
	if r.Group == "" || r.HadTurn || r.Cancel {
		return false, nil
	}
	for _, o := range open {
		if o.ID == r.ID || o.RepoID != r.RepoID || o.Fork != r.Fork || o.Group != r.Group || o.State == workflow.Completed {
			continue
		}
		if o.QueuedAt > r.QueuedAt || o.QueuedAt == r.QueuedAt && o.ID > r.ID {
			r.State, r.Conclusion, r.EndedAt = workflow.Completed, workflow.Cancelled, time.Now().UnixMilli()
			r.Message = fmt.Sprintf("run %d came after it in the concurrency group %s", o.ID, r.Group)
			return true, nil
		}
		wait = true
		if r.CancelInProgress && !o.Cancel {
			if err := s.overtake(ctx, o, func(_ *store.Tx, o *cicd.Record) error { o.Cancel = true; return nil }); err != nil {
				return true, err
			}
		}
	}
	r.HadTurn = !wait
	return wait, nil
}

// takeJobTurn says so of a job whose environment has let it through.
func (s *Service) takeJobTurn(ctx context.Context, r *cicd.Record, j *workflow.Job, open []*cicd.Record) (wait bool, err error) {
	j.Ready = true
	for _, o := range open {
		if o.RepoID != r.RepoID || o.Fork != r.Fork {
			continue
		}
		for _, other := range o.Jobs {
			if other.ID == 0 || other.ID == j.ID || other.Group != j.Group || other.State == workflow.Completed {
				continue
			}
			waits := other.State == workflow.Waiting
			if waits && (other.ID < j.ID || !other.Ready) {
				continue // the older of two that wait ends when it is looked at; one that its environment holds is not in the queue
			}
			if waits {
				end(j, workflow.Cancelled, fmt.Sprintf("the job %s of run %d came after it in the concurrency group %s", other.Name, o.ID, j.Group), time.Now().UnixMilli())
				return true, nil
			}
			wait = true
			if j.CancelInProgress && !other.Stop {
				if err := s.overtake(ctx, o, func(tx *store.Tx, o *cicd.Record) error { return stopJob(tx, o, other.ID) }); err != nil {
					return true, err
				}
			}
		}
	}
	return wait, nil
}

// overtake changes a run that another makes needless, as it is stored now.
func (s *Service) overtake(ctx context.Context, o *cicd.Record, change func(*store.Tx, *cicd.Record) error) error {
	_, err := s.cfg.Store.Change(ctx, o.WorkspaceID, o.ID, func(tx *store.Tx, stored *cicd.Record) error {
		if stored.State == workflow.Completed {
			return cicd.ErrUnchanged
		}
		return change(tx, stored)
	})
	return err
}

// stopJob has a job end that runs; one that has not begun is cancelled.
func stopJob(tx *store.Tx, r *cicd.Record, id int64) error {
	i := slices.IndexFunc(r.Jobs, func(j *workflow.Job) bool { return j.ID == id })
	if i < 0 || r.Jobs[i].State == workflow.Completed {
		return nil
	}
	j := r.Jobs[i]
	if err := resume(tx, j); err != nil {
		return err
	}
	if j.State == workflow.Running {
		j.Stop = true
	} else {
		end(j, workflow.Cancelled, "", time.Now().UnixMilli())
	}
	return nil
}

// resume takes up a job that was launched by a pass which could not store it:
// somebody changed the run meanwhile.
func resume(tx *store.Tx, j *workflow.Job) error {
	if j.ID == 0 || j.State != workflow.Queued {
		return nil
	}
	jobRun, taskRun, err := cicd.Launched(tx, j.ID)
	if err == nil && jobRun != 0 {
		j.State, j.StartedAt, j.JobRun, j.TaskRun = workflow.Running, time.Now().UnixMilli(), jobRun, taskRun
	}
	return err
}
