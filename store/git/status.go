package git

import (
	"context"
	"slices"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// States of a status, as GitHub names them.
const (
	StatePending = "pending"
	StateSuccess = "success"
	StateFailure = "failure"
	StateError   = "error"
)

// Status is what a check says of a commit. Its context names the check; the
// last word of a context counts.
type Status struct {
	SHA         string `json:"sha"`
	Context     string `json:"context"`
	State       string `json:"state"`
	Description string `json:"description"`
	Path        string `json:"path"` // of the page here, or a URL elsewhere
	Actor       string `json:"actor"`
	CreatedAt   int64  `json:"created_at"` // ms
	UpdatedAt   int64  `json:"updated_at"`
}

// Limits of what a check may say, GitHub's own.
const (
	maxContext     = 255
	maxDescription = 1024
)

// SetStatus stores what a check says of a commit, in the transaction that
// settled it. The forge of a mirror is told too, if it is to be.
func SetStatus(tx *store.Tx, r Repo, st Status) error {
	if !slices.Contains([]string{StatePending, StateSuccess, StateFailure, StateError}, st.State) {
		return wherry.Errorf(wherry.CodeInvalidParameter, "state must be pending, success, failure or error, not %.40q", st.State)
	}
	if len(st.SHA) != 40 {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%.60q is not the id of a commit: give all 40 digits", st.SHA)
	}
	if st.Context == "" {
		st.Context = "default"
	}
	if len(st.Context) > maxContext || len(st.Description) > maxDescription {
		return wherry.Errorf(wherry.CodeInvalidParameter, "a status has a context of at most %d bytes and a description of at most %d", maxContext, maxDescription)
	}
	now := time.Now().UnixMilli()
	_, err := tx.Exec(`INSERT INTO git_status (repo_id, sha, context, state, description, path, actor, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT (repo_id, sha, context) DO UPDATE SET state = excluded.state,
		description = excluded.description, path = excluded.path, actor = excluded.actor, updated_at = excluded.updated_at`,
		r.ID, st.SHA, st.Context, st.State, st.Description, st.Path, st.Actor, now)
	if err != nil {
		return err
	}
	return report(tx, r, ReportStatus, "status/"+st.SHA+"/"+st.Context, st)
}

// Statuses lists what checks say of a commit, by context.
func (s *Store) Statuses(ctx context.Context, repoID int64, sha string) (list []Status, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		list, err = statuses(tx, repoID, sha)
		return err
	})
	return list, err
}

// StatusesOf lists what checks say of several commits, by commit.
func (s *Store) StatusesOf(ctx context.Context, repoID int64, shas []string) (found map[string][]Status, err error) {
	found = map[string][]Status{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		for _, sha := range shas {
			if found[sha] != nil {
				continue
			}
			if found[sha], err = statuses(tx, repoID, sha); err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}

func statuses(tx *store.Tx, repoID int64, sha string) (list []Status, err error) {
	list = []Status{}
	err = tx.Each(`SELECT sha, context, state, description, path, actor, created_at, updated_at FROM git_status
		WHERE repo_id = $1 AND sha = $2 ORDER BY context`, []any{repoID, sha}, func(scan func(...any) error) error {
		var st Status
		err := scan(&st.SHA, &st.Context, &st.State, &st.Description, &st.Path, &st.Actor, &st.CreatedAt, &st.UpdatedAt)
		list = append(list, st)
		return err
	})
	return list, err
}

// SetStatus stores what a check says of a commit.
func (s *Store) SetStatus(ctx context.Context, r Repo, st Status) error {
	return s.db.Write(ctx, func(tx *store.Tx) error { return SetStatus(tx, r, st) })
}
