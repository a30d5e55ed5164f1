package cicd

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
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

// Review is a run with an environment that it waits for a decision about.
type Review struct {
	*workflow.Run
	Environment string
}

// Reviews lists what waits for a decision in a workspace, the oldest first.
func (s *Service) Reviews(ctx context.Context, ws int64) (list []Review, err error) {
	open, err := s.cfg.Store.Open(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range open {
		if r.WorkspaceID != ws {
			continue
		}
		names, err := s.undecided(ctx, r)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			list = append(list, Review{r.Run, name})
		}
	}
	return list, nil
}

// undecided lists the environments that a run waits for a reviewer of.
func (s *Service) undecided(ctx context.Context, r *cicd.Record) (names []string, err error) {
	for _, j := range r.Jobs {
		if j.State != workflow.Waiting || j.Environment == "" || j.Approved || slices.Contains(names, j.Environment) {
			continue
		}
		e, err := s.cfg.Environments.Get(ctx, j.Environment)
		if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(e.Reviewers) == 0 || !e.Allows(r.Event.Ref) {
			continue
		}
		if _, decided, err := s.decision(ctx, r, e.Name); err != nil {
			return nil, err
		} else if !decided {
			names = append(names, j.Environment)
		}
	}
	return names, nil
}

// Decisions lists what reviewers said of an environment, the newest first.
func (s *Service) Decisions(ctx context.Context, ws int64, environment string, limit int) ([]cicd.Decided, error) {
	return s.cfg.Store.Decisions(ctx, ws, environment, limit)
}

// Decide stores what a reviewer says of the environment that a run waits for.
func (s *Service) Decide(ctx context.Context, r *cicd.Record, environment, decision, reason string) (a cicd.Approval, err error) {
	id := wherry.IdentityFrom(ctx)
	e, err := s.cfg.Environments.Get(ctx, environment)
	if err != nil {
		return a, err
	}
	waiting := slices.ContainsFunc(r.Jobs, func(j *workflow.Job) bool { return j.State == workflow.Waiting && j.Environment == environment })
	switch {
	case !waiting:
		return a, wherry.Errorf(wherry.CodeInvalidState, "run %d does not wait for %s", r.ID, environment)
	case len(e.Reviewers) == 0:
		return a, wherry.Errorf(wherry.CodeInvalidState, "%s has no reviewers: nothing waits for an approval of it", e.Name)
	case e.PreventSelfReview && id.UserName == r.Actor:
		return a, wherry.Errorf(wherry.CodePermissionDenied, "%s started run %d, and %s wants another reviewer", id.UserName, r.ID, e.Name)
	}
	may, err := s.reviews(ctx, id, e)
	if err != nil {
		return a, err
	}
	if !may {
		return a, wherry.Errorf(wherry.CodePermissionDenied, "%s is no reviewer of %s: %v are", id.UserName, e.Name, e.Reviewers)
	}
	a = cicd.Approval{RunID: r.ID, Attempt: r.Attempt, Environment: e.Name, Decision: decision, By: id.UserName, Reason: reason}
	return a, s.cfg.Store.DB().Write(ctx, func(tx *store.Tx) error {
		ok, err := cicd.Decide(tx, a)
		if err == nil && !ok {
			err = wherry.Errorf(wherry.CodeInvalidState, "it was decided before: `wherry ci show %d`", r.ID)
		}
		if err != nil {
			return err
		}
		jobs := []string{}
		for _, j := range r.Jobs {
			if j.Environment == environment {
				jobs = append(jobs, j.Key)
			}
		}
		if err := tellDecision(tx, r, e, a); err != nil {
			return err
		}
		return s.emit(tx, r, wherry.EventCIApproval, a.By, map[string]any{"environment": e.Name, "jobs": jobs, "decision": decision, "by": a.By, "reason": reason})
	})
}

// reviews tells whether somebody is among the reviewers, by name, id or group.
func (s *Service) reviews(ctx context.Context, id wherry.Identity, e wherry.Environment) (may bool, err error) {
	if len(e.Reviewers) == 0 || slices.Contains(e.Reviewers, id.UserName) || id.ApplicationID != "" && slices.Contains(e.Reviewers, id.ApplicationID) {
		return true, nil
	}
	err = s.cfg.Store.DB().Read(ctx, func(tx *store.Tx) (err error) {
		may, err = auth.InGroup(tx, id.Principal.ID, e.Reviewers)
		return err
	})
	return may, err
}
