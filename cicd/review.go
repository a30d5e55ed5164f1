package cicd

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/workflow"
)

// reviewRoutes are for those who decide whether a workflow may deploy: reviewers
// of an environment, whether they are admins or not.
func (s *Service) reviewRoutes() []api.Route {
	return []api.Route{
		{Method: "GET", Path: "/api/wherry/ci/reviews", Permission: api.Own, Summary: "List the workflow runs that wait for the caller's approval", Handler: api.JSON(s.listReviews)},
		{Method: "POST", Path: "/api/wherry/ci/runs/{id}/review", Permission: api.SignedIn, Summary: "Approve or reject the environment that a workflow run waits for", Handler: api.JSON(s.review)},
	}
}

// Review is a run with an environment that it waits for a decision about.
type Review struct {
	*workflow.Run
	Environment string   `json:"environment"`
	Reviewers   []string `json:"reviewers"`
	// May tells that the caller is one of the reviewers.
	May bool `json:"may"`
}

type reviewsOut struct {
	Reviews []Review `json:"reviews"`
}

func (s *Service) listReviews(ctx context.Context, _ *struct{}) (*reviewsOut, error) {
	list, err := s.Reviews(ctx)
	list = slices.DeleteFunc(list, func(r Review) bool { return !r.May })
	for _, r := range list {
		r.Event.Payload = nil // large, and of no use in a list
	}
	return &reviewsOut{Reviews: append([]Review{}, list...)}, err
}

// Reviews lists what waits for a decision in the caller's workspace, the oldest
// first, also what others have to decide.
func (s *Service) Reviews(ctx context.Context) (list []Review, err error) {
	open, err := s.cfg.Store.Open(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range open {
		if r.WorkspaceID != wherry.IdentityFrom(ctx).WorkspaceID {
			continue
		}
		of, err := s.undecided(ctx, r)
		if err != nil {
			return nil, err
		}
		list = append(list, of...)
	}
	return list, nil
}

// undecided lists the environments that a run waits for a reviewer of.
func (s *Service) undecided(ctx context.Context, r *cicd.Record) (list []Review, err error) {
	for _, j := range r.Jobs {
		if j.State != workflow.Waiting || j.Environment == "" || j.Approved || slices.ContainsFunc(list, func(v Review) bool { return v.Environment == j.Environment }) {
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
		} else if decided {
			continue
		}
		err = s.mayDecide(ctx, r, e, wherry.IdentityFrom(ctx))
		if err != nil && wherry.CodeOf(err) != wherry.CodePermissionDenied {
			return nil, err
		}
		list = append(list, Review{Run: r.Run, Environment: j.Environment, Reviewers: e.Reviewers, May: err == nil})
	}
	return list, nil
}

// readable tells whether the caller may read a run: admins all, others what they
// started themselves, and what deploys to an environment that they review.
func (s *Service) readable(ctx context.Context, r *cicd.Record) (bool, error) {
	id := wherry.IdentityFrom(ctx)
	if id.Admin || id.ForAdmin || r.Actor == id.UserName {
		return true, nil
	}
	for _, j := range r.Jobs {
		if j.Environment == "" {
			continue
		}
		e, err := s.cfg.Environments.Get(ctx, j.Environment)
		if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
			continue
		}
		if err != nil {
			return false, err
		}
		if may, err := s.reviews(ctx, id, e); may || err != nil {
			return may, err
		}
	}
	return false, nil
}

type reviewIn struct {
	ID          int64  `json:"id"`
	Environment string `json:"environment"` // "" is the one that it waits for
	Decision    string `json:"decision"`    // approved or rejected
	Reason      string `json:"reason"`
}

func (s *Service) review(ctx context.Context, in *reviewIn) (*cicd.Approval, error) {
	return s.decide(ctx, in)
}

// Review stores what the caller says of the environment that a run waits for.
func (s *Service) Review(ctx context.Context, id int64, environment, decision, reason string) error {
	_, err := s.decide(ctx, &reviewIn{ID: id, Environment: environment, Decision: decision, Reason: reason})
	return err
}

func (s *Service) decide(ctx context.Context, in *reviewIn) (*cicd.Approval, error) {
	r, err := s.read(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in.ID)
	if err != nil {
		return nil, err
	}
	if in.Decision != cicd.Approved && in.Decision != cicd.Rejected {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "decision is approved or rejected, not %q", in.Decision)
	}
	if in.Environment == "" {
		list, err := s.undecided(ctx, r)
		if err != nil {
			return nil, err
		}
		if len(list) > 0 {
			in.Environment = list[0].Environment
		}
	}
	if in.Environment == "" {
		return nil, wherry.Errorf(wherry.CodeInvalidState, "run %d waits for no approval", r.ID)
	}
	a, err := s.Decide(ctx, r, in.Environment, in.Decision, in.Reason)
	return &a, err
}

// Decisions lists what reviewers said of an environment, the newest first.
func (s *Service) Decisions(ctx context.Context, ws int64, environment string, limit int) ([]cicd.Decided, error) {
	return s.cfg.Store.Decisions(ctx, ws, environment, limit)
}

// Decide stores what a reviewer says of the environment that a run waits for.
func (s *Service) Decide(ctx context.Context, r *cicd.Record, environment, decision, reason string) (a cicd.Approval, err error) {
	id := wherry.IdentityFrom(ctx)
	if id.RunID != 0 { // what is reviewed must not approve itself
		return a, wherry.Errorf(wherry.CodePermissionDenied, "a task of a run decides nothing: %s has to do it", id.UserName)
	}
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
	}
	if err := s.mayDecide(ctx, r, e, id); err != nil {
		return a, err
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
				jobs = append(jobs, j.Leg())
			}
		}
		if err := tellDecision(tx, r, e, a); err != nil {
			return err
		}
		return s.emit(tx, r, wherry.EventCIApproval, a.By, map[string]any{"environment": e.Name, "jobs": jobs, "decision": decision, "by": a.By, "reason": reason})
	})
}

// mayDecide refuses who is no reviewer, and who started the run where that is
// prevented.
func (s *Service) mayDecide(ctx context.Context, r *cicd.Record, e wherry.Environment, id wherry.Identity) error {
	may, err := s.reviews(ctx, id, e)
	if err != nil {
		return err
	}
	if !may {
		return wherry.Errorf(wherry.CodePermissionDenied, "%s is no reviewer of %s: %v are", id.UserName, e.Name, e.Reviewers)
	}
	if !e.PreventSelfReview {
		return nil
	}
	began, err := s.began(ctx, r, id)
	if err == nil && began {
		err = wherry.Errorf(wherry.CodePermissionDenied, "%s started run %d, and %s wants another reviewer", id.UserName, r.ID, e.Name)
	}
	return err
}

// began tells whether somebody started a run: by name, or, where a forge did so
// for one whom we do not know, as the author of the commit.
func (s *Service) began(ctx context.Context, r *cicd.Record, id wherry.Identity) (bool, error) {
	if r.Actor == id.UserName {
		return true, nil
	}
	err := s.cfg.Store.DB().Read(ctx, func(tx *store.Tx) error {
		_, err := auth.PrincipalByName(tx, r.Actor)
		return err
	})
	if wherry.CodeOf(err) != wherry.CodeDoesNotExist {
		return false, err
	}
	repo, err := s.cfg.Git.RepoByID(ctx, r.RepoID)
	if err != nil {
		return false, err
	}
	c, err := s.cfg.Hosting.Commit(ctx, repo, cmp.Or(r.StatusSHA, r.Event.SHA))
	return err == nil && strings.EqualFold(c.Email, id.UserName), err
}

// reviews tells whether somebody is among the reviewers, by name, id or group.
func (s *Service) reviews(ctx context.Context, id wherry.Identity, e wherry.Environment) (may bool, err error) {
	if len(e.Reviewers) == 0 {
		return false, nil
	}
	if slices.Contains(e.Reviewers, id.UserName) || id.ApplicationID != "" && slices.Contains(e.Reviewers, id.ApplicationID) {
		return true, nil
	}
	err = s.cfg.Store.DB().Read(ctx, func(tx *store.Tx) (err error) {
		may, err = auth.InGroup(tx, id.Principal.ID, e.Reviewers)
		return err
	})
	return may, err
}
