package cicd

import (
	"context"
	"fmt"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/workflow"
)

// gate lets a waiting job go on once its environment and its concurrency group
// allow it, or ends it if they never will.
func (s *Service) gate(ctx context.Context, r *cicd.Record, j *workflow.Job, open []*cicd.Record) error {
	if j.ID == 0 {
		return nil // stored first
	}
	ready, err := s.approved(ctx, r, j)
	if err != nil || !ready || j.State == workflow.Completed {
		return err
	}
	if j.Group != "" {
		if wait, err := s.takeJobTurn(ctx, r, j, open); wait || err != nil {
			return err
		}
	}
	j.State, j.Message = workflow.Queued, ""
	return nil
}

// approved tells whether a job may deploy to its environment now. An
// environment that nobody has set up lets everything through, as on GitHub.
func (s *Service) approved(ctx context.Context, r *cicd.Record, j *workflow.Job) (bool, error) {
	if j.Environment == "" {
		return true, nil
	}
	e, err := s.cfg.Environments.Get(ctx, j.Environment)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	now := time.Now().UnixMilli()
	if !e.Allows(r.Event.Ref) {
		end(j, workflow.Failure, fmt.Sprintf("%s may not be deployed to %s: its environment allows %v", r.Event.Ref, e.Name, e.Branches), now)
		return false, nil
	}
	if j.StartedAt == 0 { // when it began to wait
		j.StartedAt = now
	}
	if len(e.Reviewers) > 0 && !j.Approved {
		d, ok, err := s.decision(ctx, r, e.Name)
		if err != nil {
			return false, err
		}
		if !ok {
			j.Message = fmt.Sprintf("waits for an approval of %s: `wherry promote %d`", e.Name, r.ID)
			return false, nil
		}
		if d.Decision == cicd.Rejected {
			end(j, workflow.Failure, fmt.Sprintf("%s rejected the deployment to %s: %s", d.By, e.Name, d.Reason), now)
			return false, nil
		}
		j.Approved = true
	}
	if wait := int64(e.WaitMinutes) * 60_000; now < j.StartedAt+wait {
		j.Message = fmt.Sprintf("waits %d minutes before it deploys to %s", e.WaitMinutes, e.Name)
		return false, nil
	}
	return true, nil
}

func end(j *workflow.Job, conclusion, message string, now int64) {
	j.State, j.Conclusion, j.Message, j.EndedAt = workflow.Completed, conclusion, message, now
}

func (s *Service) decision(ctx context.Context, r *cicd.Record, environment string) (a cicd.Approval, ok bool, err error) {
	list, err := s.cfg.Store.Approvals(ctx, r.ID)
	for _, a := range list {
		if a.Attempt == r.Attempt && a.Environment == environment {
			return a, true, nil
		}
	}
	return a, false, err
}
