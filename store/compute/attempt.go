// Package compute stores clusters, and where each attempt runs and how far its
// output has come.
package compute

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
)

// Store gives access to clusters and attempts.
type Store struct{ db *store.DB }

// New returns the store.
func New(db *store.DB) *Store { return &Store{db: db} }

// Attempt is where an attempt was sent.
type Attempt struct {
	RunID       int64
	WorkspaceID int64
	ClusterID   string // "" is serverless
	AgentID     string
	// Epoch is the server's that may write its output.
	Epoch   int64
	Offsets protocol.Offsets
	AskedAt time.Time // when compute was asked for
	Done    bool
}

// OutputTopic is what output watchers of a run watch (store.DB.Watch).
func OutputTopic(runID int64) string { return fmt.Sprintf("output:%d", runID) }

// Assign stores that an attempt goes to an agent, and issues the token that
// its calls come with. One that was sent to an agent which never began it may
// be assigned again; older tokens of it end.
func (s *Store) Assign(ctx context.Context, a Attempt, principalID int64) (token string, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(`INSERT INTO compute_attempt (run_id, workspace_id, cluster_id, agent_id, epoch, out_offset, events_offset, asked_at, done)
			VALUES ($1, $2, $3, $4, $5, 0, 0, $6, false)
			ON CONFLICT (run_id) DO UPDATE SET cluster_id = excluded.cluster_id, agent_id = excluded.agent_id, epoch = excluded.epoch
			WHERE NOT compute_attempt.done AND compute_attempt.epoch <= excluded.epoch
			  AND compute_attempt.out_offset = 0 AND compute_attempt.events_offset = 0`,
			a.RunID, a.WorkspaceID, a.ClusterID, a.AgentID, a.Epoch, a.AskedAt.UnixMilli())
		if err != nil {
			return err
		}
		if n == 0 {
			return wherry.Errorf(wherry.CodeAborted, "attempt %d has begun elsewhere", a.RunID)
		}
		if err := auth.RevokeRun(tx, a.RunID); err != nil {
			return err
		}
		_, token, err = auth.IssueToken(tx, a.WorkspaceID, principalID, a.RunID, "task run", 0)
		return err
	})
	return token, err
}

// Active returns the attempts that are not done, by run id.
func (s *Store) Active(ctx context.Context) (all []Attempt, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT run_id, workspace_id, cluster_id, agent_id, epoch, out_offset, events_offset, asked_at, done
			FROM compute_attempt WHERE NOT done ORDER BY run_id`, nil, func(scan func(...any) error) error {
			a, err := scanAttempt(scan)
			all = append(all, a)
			return err
		})
	})
	return all, err
}

// Attempt returns where a run was sent; RESOURCE_DOES_NOT_EXIST if nowhere yet.
func (s *Store) Attempt(ctx context.Context, runID int64) (a Attempt, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		a, err = scanAttempt(tx.Row(`SELECT run_id, workspace_id, cluster_id, agent_id, epoch, out_offset, events_offset, asked_at, done
			FROM compute_attempt WHERE run_id = $1`, runID).Scan)
		if errors.Is(err, store.ErrNoRows) {
			return wherry.Errorf(wherry.CodeDoesNotExist, "run %d has not been sent to a cluster", runID)
		}
		return err
	})
	return a, err
}

func scanAttempt(scan func(...any) error) (a Attempt, err error) {
	var asked int64
	err = scan(&a.RunID, &a.WorkspaceID, &a.ClusterID, &a.AgentID, &a.Epoch, &a.Offsets.Out, &a.Offsets.Events, &asked, &a.Done)
	a.AskedAt = time.UnixMilli(asked)
	return a, err
}

// TakeOver makes epoch the one that may write the attempt's output, from the
// given offsets on: what the files hold, if that is less than was stored.
// ABORTED means that a newer server has it.
func (s *Store) TakeOver(ctx context.Context, runID, epoch int64, at protocol.Offsets) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		return tx.ExecVersioned(`UPDATE compute_attempt SET epoch = $1, out_offset = $2, events_offset = $3
			WHERE run_id = $4 AND epoch <= $1 AND NOT done`, epoch, at.Out, at.Events, runID)
	})
}

// Advance moves the offsets; ABORTED means that they are not at from, or that
// a newer server has the attempt.
func (s *Store) Advance(ctx context.Context, runID, epoch int64, from, to protocol.Offsets) error {
	return s.db.Write(ctx, func(tx *store.Tx) error { return AdvanceTx(tx, runID, epoch, from, to) })
}

// AdvanceTx is Advance inside of a transaction.
func AdvanceTx(tx *store.Tx, runID, epoch int64, from, to protocol.Offsets) error {
	err := tx.ExecVersioned(`UPDATE compute_attempt SET out_offset = $1, events_offset = $2
		WHERE run_id = $3 AND epoch = $4 AND out_offset = $5 AND events_offset = $6 AND NOT done`,
		to.Out, to.Events, runID, epoch, from.Out, from.Events)
	if err == nil {
		tx.Changed(OutputTopic(runID))
	}
	return err
}

// FinishTx ends an attempt and its tokens. Ending it again changes nothing.
func FinishTx(tx *store.Tx, runID int64) error {
	if _, err := tx.Exec(`UPDATE compute_attempt SET done = true WHERE run_id = $1 AND NOT done`, runID); err != nil {
		return err
	}
	tx.Changed(OutputTopic(runID))
	return auth.RevokeRun(tx, runID)
}

// Finish is Advance and FinishTx and whatever else ends with the attempt, in
// one transaction. An attempt that never was assigned has nothing to advance.
func (s *Store) Finish(ctx context.Context, runID, epoch int64, from, to protocol.Offsets, also func(*store.Tx) error) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		if from != to {
			if err := AdvanceTx(tx, runID, epoch, from, to); err != nil {
				return err
			}
		}
		if err := FinishTx(tx, runID); err != nil {
			return err
		}
		return also(tx)
	})
}
