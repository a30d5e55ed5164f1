package git

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/git"
)

// refusals says why the branches' protections refuse a push, nothing if they do
// not. The new objects are still in quarantine.
func (p *push) refusals(quarantine string, lines []line) (why []string, err error) {
	list, err := p.s.store.Protections(p.ctx, p.repo.ID)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	known, err := p.s.store.Refs(p.ctx, p.repo.ID)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		branch, ok := strings.CutPrefix(l.ref, "refs/heads/")
		if !ok {
			continue
		}
		rule := git.RuleOf(list, branch)
		if !rule.Protected || len(known) == 0 { // a first push has nothing to protect
			continue
		}
		reason, err := p.refusal(quarantine, rule, branch, l)
		if err != nil {
			return nil, err
		}
		if reason != "" {
			why = append(why, fmt.Sprintf("%s is protected: %s", branch, reason))
		}
	}
	return why, nil
}

func (p *push) refusal(quarantine string, rule git.Rule, branch string, l line) (string, error) {
	if l.sha == git.Zero {
		return "it may not be deleted.", nil
	}
	if l.old != git.Zero {
		c := p.s.command(p.ctx, p.s.dir(p.repo), "merge-base", "--is-ancestor", l.old, l.sha)
		c.Env = append(c.Env, "GIT_OBJECT_DIRECTORY="+quarantine, "GIT_ALTERNATE_OBJECT_DIRECTORIES="+filepath.Join(p.s.dir(p.repo), "objects"), "GIT_QUARANTINE_PATH="+quarantine)
		_, err := run(c)
		after, err := said(err)
		if err != nil {
			return "", err
		}
		if !after {
			return "no forced pushes. Pull, and push what comes after " + l.old[:12] + ".", nil
		}
		if rule.PullRequest {
			return "changes come by pull request. Push another branch (git push origin HEAD:NAME), then `wherry pr open --head NAME`.", nil
		}
	}
	if len(rule.Checks) == 0 {
		return "", nil
	}
	checks, err := p.s.store.Statuses(p.ctx, p.repo.ID, l.sha)
	if err != nil {
		return "", err
	}
	if missing := rule.Missing(checks); missing != "" {
		return fmt.Sprintf("%s needs checks that are not green: %s. Push the commit to another branch and wait for them.", l.sha[:12], missing), nil
	}
	return "", nil
}

// mergeable says why a pull request may not be merged yet, by the rule of its
// base.
func mergeable(rule git.Rule, checks []git.Status, pull git.PullRequest) error {
	if missing := rule.Missing(checks); missing != "" {
		return wherry.Errorf(wherry.CodeInvalidState, "%s needs checks that are not green at %.12s: %s", pull.Base, pull.HeadSHA, missing)
	}
	return nil
}
