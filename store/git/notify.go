package git

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wherry-ml/wherry/store"
)

// Notify are who is told of the outcomes of a repository's workflows: e-mail
// addresses and ids of notification destinations. Of failures, where nobody is
// named, the installation's destinations are told; of successes nobody is.
type Notify struct {
	OnFailure []string `json:"on_failure"`
	OnSuccess []string `json:"on_success"`
}

// SetNotify sets who is told of the outcomes of a repository's workflows.
func (s *Store) SetNotify(ctx context.Context, r Repo, n Notify, actor string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`INSERT INTO git_notify (repo_id, on_failure, on_success) VALUES ($1, $2, $3)
			ON CONFLICT (repo_id) DO UPDATE SET on_failure = excluded.on_failure, on_success = excluded.on_success`, r.ID, document(n.OnFailure), document(n.OnSuccess)); err != nil {
			return err
		}
		return tellRepo(tx, r, actor, "notify", map[string]any{"on_failure": n.OnFailure, "on_success": n.OnSuccess})
	})
}

// Notify returns who is told of the outcomes of a repository's workflows.
func (s *Store) Notify(ctx context.Context, repoID int64) (n Notify, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		n, err = NotifyOf(tx, repoID)
		return err
	})
	return n, err
}

// NotifyOf is the same inside of a transaction.
func NotifyOf(tx *store.Tx, repoID int64) (n Notify, err error) {
	var failure, success string
	err = tx.Row(`SELECT on_failure, on_success FROM git_notify WHERE repo_id = $1`, repoID).Scan(&failure, &success)
	if errors.Is(err, store.ErrNoRows) {
		return Notify{OnFailure: []string{}, OnSuccess: []string{}}, nil
	}
	if err != nil {
		return n, err
	}
	if err := errors.Join(json.Unmarshal([]byte(failure), &n.OnFailure), json.Unmarshal([]byte(success), &n.OnSuccess)); err != nil {
		return n, fmt.Errorf("who is told of repository %d: %w", repoID, err)
	}
	return n, nil
}
