package cicd

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/workflow"
)

// Decisions about an environment of a run.
const (
	Approved = "approved"
	Rejected = "rejected"
)

// Approval is what a reviewer said of one attempt of a run that is to deploy.
type Approval struct {
	RunID       int64  `json:"run_id"`
	Attempt     int64  `json:"attempt"`
	Environment string `json:"environment"`
	Decision    string `json:"decision"`
	By          string `json:"by"`
	Reason      string `json:"reason"`
	At          int64  `json:"at"` // ms
}

// Decide stores a decision; the first counts, and ok is false for a later one.
func Decide(tx *store.Tx, a Approval) (ok bool, err error) {
	n, err := tx.Exec(`INSERT INTO ci_approval (run_id, attempt, environment, decision, reviewer, reason, at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		a.RunID, a.Attempt, a.Environment, a.Decision, a.By, a.Reason, time.Now().UnixMilli())
	tx.Changed(Topic)
	return n == 1, err
}

// Approvals lists the decisions about a run.
func (s *Store) Approvals(ctx context.Context, runID int64) (list []Approval, err error) {
	list = []Approval{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT run_id, attempt, environment, decision, reviewer, reason, at FROM ci_approval WHERE run_id = $1 ORDER BY at`, []any{runID}, func(row func(...any) error) error {
			var a Approval
			err := row(&a.RunID, &a.Attempt, &a.Environment, &a.Decision, &a.By, &a.Reason, &a.At)
			list = append(list, a)
			return err
		})
	})
	return list, err
}

// Decided is a decision with what it was about.
type Decided struct {
	Approval
	Repo, Workflow, Title, Ref string
}

// Decisions lists what was decided about an environment by runs of a workspace,
// the newest first.
func (s *Store) Decisions(ctx context.Context, ws int64, environment string, limit int) (list []Decided, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT a.run_id, a.attempt, a.environment, a.decision, a.reviewer, a.reason, a.at, r.doc FROM ci_approval a JOIN ci_run r ON r.id = a.run_id
			WHERE r.workspace_id = $1 AND a.environment = $2 ORDER BY a.at DESC, a.run_id DESC LIMIT $3`, []any{ws, environment, limit}, func(row func(...any) error) error {
			var d Decided
			var doc string
			if err := row(&d.RunID, &d.Attempt, &d.Environment, &d.Decision, &d.By, &d.Reason, &d.At, &doc); err != nil {
				return err
			}
			var r workflow.Run
			if err := json.Unmarshal([]byte(doc), &r); err != nil {
				return fmt.Errorf("read a run of a workflow: %w", err)
			}
			d.Repo, d.Workflow, d.Title, d.Ref = r.Repo, r.Name, r.Title, r.Event.RefName()
			list = append(list, d)
			return nil
		})
	})
	return list, err
}
