package git

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Protection holds for the branches that its pattern covers: no forced push, no
// deletion, and what else it asks for.
type Protection struct {
	Pattern     string   `json:"pattern"`         // main, release/*, or ** for all
	PullRequest bool     `json:"pull_request"`    // changes come by pull requests alone
	Checks      []string `json:"required_checks"` // contexts of statuses that must be success
}

// Covers says whether a branch is under the protection. * stands for any part
// of a name, ** also for several.
func (p Protection) Covers(branch string) bool {
	ok, err := doublestar.Match(p.Pattern, branch)
	return ok && err == nil
}

// Rule is what all protections of one branch ask for together.
type Rule struct {
	Protected   bool
	PullRequest bool
	Checks      []string
}

// RuleOf joins the protections that cover a branch.
func RuleOf(list []Protection, branch string) (r Rule) {
	for _, p := range list {
		if !p.Covers(branch) {
			continue
		}
		r.Protected = true
		r.PullRequest = r.PullRequest || p.PullRequest
		for _, c := range p.Checks {
			if !slices.Contains(r.Checks, c) {
				r.Checks = append(r.Checks, c)
			}
		}
	}
	return r
}

// Missing says which required checks are not green, each with its state; "" if
// all are.
func (r Rule) Missing(list []Status) string {
	state := map[string]string{}
	for _, st := range list {
		state[st.Context] = st.State
	}
	var missing []string
	for _, c := range r.Checks {
		if got := state[c]; got != StateSuccess {
			if got == "" {
				got = "not reported"
			}
			missing = append(missing, fmt.Sprintf("%s (%s)", c, got))
		}
	}
	return strings.Join(missing, ", ")
}

// Protect sets the protection of a pattern.
func (s *Store) Protect(ctx context.Context, r Repo, p Protection, actor string) error {
	if p.Pattern == "" || len(p.Pattern) > 250 || !doublestar.ValidatePattern(p.Pattern) || strings.ContainsAny(p.Pattern, " \n\x00") {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%.260q is no pattern of branch names, as main or release/*", p.Pattern)
	}
	if p.Checks == nil {
		p.Checks = []string{}
	}
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO git_protection (repo_id, pattern, pull_request, checks) VALUES ($1, $2, $3, $4)
			ON CONFLICT (repo_id, pattern) DO UPDATE SET pull_request = excluded.pull_request, checks = excluded.checks`,
			r.ID, p.Pattern, p.PullRequest, document(p.Checks))
		if err != nil {
			return err
		}
		return tellRepo(tx, r, actor, "protected", map[string]any{"protection": p})
	})
}

// Unprotect ends the protection of a pattern.
func (s *Store) Unprotect(ctx context.Context, r Repo, pattern, actor string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(`DELETE FROM git_protection WHERE repo_id = $1 AND pattern = $2`, r.ID, pattern)
		if err == nil && n == 0 {
			return wherry.Errorf(wherry.CodeDoesNotExist, "%s has no protection of %.260q", r.Name, pattern)
		}
		if err != nil {
			return err
		}
		return tellRepo(tx, r, actor, "unprotected", map[string]any{"pattern": pattern})
	})
}

// Protections lists a repository's protections by pattern.
func (s *Store) Protections(ctx context.Context, repoID int64) (list []Protection, err error) {
	list = []Protection{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT pattern, pull_request, checks FROM git_protection WHERE repo_id = $1 ORDER BY pattern`, []any{repoID}, func(scan func(...any) error) error {
			var p Protection
			var checks string
			if err := scan(&p.Pattern, &p.PullRequest, &checks); err != nil {
				return err
			}
			err := json.Unmarshal([]byte(checks), &p.Checks)
			list = append(list, p)
			return err
		})
	})
	return list, err
}

// tellRepo emits what was changed of a repository beside its refs.
func tellRepo(tx *store.Tx, r Repo, actor, action string, more map[string]any) error {
	doc := map[string]any{"repo": r.Name, "action": action}
	for k, v := range more {
		doc[k] = v
	}
	return tx.Emit(wherry.Event{WorkspaceID: r.WorkspaceID, Kind: wherry.EventRepo, Subject: r.Name, Actor: actor, Payload: json.RawMessage(document(doc))})
}
