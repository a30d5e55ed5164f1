package cicd

import (
	"context"
	"fmt"
	"net/mail"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/git"
	"github.com/wherry-ml/wherry/store/notify"
	"github.com/wherry-ml/wherry/workflow"
)

// tellOutcome tells how a run ended, once for each attempt: of a failure the
// commit's author and those whom the repository names, or else the destinations
// of the installation; of a success those alone whom the repository names.
func tellOutcome(tx *store.Tx, repo git.Repo, r *cicd.Record, author string) error {
	to, err := git.NotifyOf(tx, repo.ID)
	if err != nil {
		return err
	}
	n := notify.Notice{
		DedupKey: fmt.Sprintf("ci/%d/%d", r.ID, r.Attempt), Kind: "ci.run.finished", Link: Page(r.ID),
		Subject: fmt.Sprintf("[%s] %s: %s (%s)", r.Repository(), r.Name, r.Conclusion, r.Event.RefName()),
		Text:    fmt.Sprintf("%s (%.8s)", r.Title, r.Event.SHA),
	}
	switch r.Conclusion {
	case workflow.Cancelled, workflow.Skipped:
		return nil
	case workflow.Success:
		if len(to.OnSuccess) == 0 {
			return nil
		}
		return notify.Tell(tx, n, to.OnSuccess)
	}
	n.Bad, n.Text = true, failure(r.Run)+"\n"+n.Text
	if strings.Contains(author, "@") {
		n.Emails = []string{author}
	}
	return notify.Tell(tx, n, to.OnFailure)
}

// waitingFor lists the environments that a run waits for a reviewer of.
func (s *Service) waitingFor(ctx context.Context, r *cicd.Record) (list []wherry.Environment, err error) {
	reviews, err := s.undecided(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, v := range reviews {
		e, err := s.cfg.Environments.Get(ctx, v.Environment)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

// askReviewers writes, once for each attempt, to the reviewers of an
// environment that a run waits for, and to those whom it names.
func (s *Service) askReviewers(tx *store.Tx, r *cicd.Record, e wherry.Environment) error {
	reviewers, err := s.addresses(tx, e)
	if err != nil {
		return err
	}
	if e.PreventSelfReview {
		reviewers = slices.DeleteFunc(reviewers, func(a string) bool { return a == r.Actor })
	}
	return notify.Tell(tx, notify.Notice{
		DedupKey: fmt.Sprintf("ci.approval.waiting/%d/%d/%s", r.ID, r.Attempt, e.Name), Kind: "ci.approval.waiting", Link: Page(r.ID), Emails: reviewers,
		Subject: fmt.Sprintf("[%s] %s waits for an approval of %s (%s)", r.Repository(), r.Name, e.Name, r.Event.RefName()),
		Text: fmt.Sprintf("%s started %s: %s (%.8s).\nReviewers: %s.\n`wherry promote %d --reason …` approves, with --reject it is rejected.",
			r.Actor, r.Name, r.Title, r.Event.SHA, strings.Join(e.Reviewers, ", "), r.ID),
	}, e.Notify)
}

// tellDecision writes to who started a run, and to those whom the environment
// names, how it was decided.
func tellDecision(tx *store.Tx, r *cicd.Record, e wherry.Environment, a cicd.Approval) error {
	var to []string
	if isAddress(r.Actor) && r.Actor != a.By {
		to = []string{r.Actor}
	}
	text := fmt.Sprintf("%s: %s (%.8s).", r.Name, r.Title, r.Event.SHA)
	if a.Reason != "" {
		text += "\nReason: " + a.Reason
	}
	return notify.Tell(tx, notify.Notice{
		DedupKey: fmt.Sprintf("ci.approval.decided/%d/%d/%s", r.ID, r.Attempt, e.Name), Kind: "ci.approval.decided", Link: Page(r.ID), Emails: to, Bad: a.Decision == cicd.Rejected,
		Subject: fmt.Sprintf("[%s] %s %s the deployment to %s (%s)", r.Repository(), a.By, a.Decision, e.Name, r.Event.RefName()), Text: text,
	}, e.Notify)
}

// addresses are those of an environment's reviewers, the members of groups too.
func (s *Service) addresses(tx *store.Tx, e wherry.Environment) (list []string, err error) {
	users, err := auth.Principals(tx, wherry.KindUser)
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		if !isAddress(u.UserName) {
			continue
		}
		may := slices.Contains(e.Reviewers, u.UserName)
		if !may {
			if may, err = auth.InGroup(tx, u.ID, e.Reviewers); err != nil {
				return nil, err
			}
		}
		if may {
			list = append(list, u.UserName)
		}
	}
	return list, nil
}

// isAddress tells whether a user name is an address that mail can go to:
// admin@localhost is none.
func isAddress(name string) bool {
	a, err := mail.ParseAddress(name)
	return err == nil && a.Address == name && strings.Contains(name[strings.LastIndexByte(name, '@'):], ".")
}
