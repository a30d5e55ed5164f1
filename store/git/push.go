package git

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Push is one movement of one ref.
type Push struct {
	ID     int64  `json:"id"`
	RepoID int64  `json:"repo_id"`
	Ref    string `json:"ref"` // in full: refs/heads/main
	Old    string `json:"old"` // Zero if the push made it
	New    string `json:"new"` // Zero if the push deleted it
	Actor  string `json:"actor"`
	Forced bool   `json:"forced"` // New does not come after Old
	At     int64  `json:"at"`     // ms
}

// Branch is the name of the branch that moved, "" for another ref.
func (p Push) Branch() string {
	name, ok := strings.CutPrefix(p.Ref, "refs/heads/")
	if !ok {
		return ""
	}
	return name
}

// Movement is what happened to a ref, as git tells it.
type Movement struct {
	Ref, New string
	Forced   bool
}

// maxRef is how long the name of a ref may be, in bytes, GitHub's own limit.
const maxRef = 255

// CheckRef says why a ref cannot be recorded, nil if it can: git takes names that
// are no text, and longer ones than a database's index holds.
func CheckRef(name string) error {
	switch {
	case len(name) > maxRef:
		return wherry.Errorf(wherry.CodeInvalidParameter, "the name of the ref %.60q… has %d bytes: %d at most", strings.ToValidUTF8(name, "\ufffd"), len(name), maxRef)
	case !utf8.ValidString(name):
		return wherry.Errorf(wherry.CodeInvalidParameter, "the name of the ref %q is not UTF-8", name)
	}
	return nil
}

// Refs returns the refs of a repository as they were last recorded.
func (s *Store) Refs(ctx context.Context, repoID int64) (refs map[string]string, err error) {
	refs = map[string]string{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT name, sha FROM git_ref WHERE repo_id = $1`, []any{repoID}, func(scan func(...any) error) error {
			var name, sha string
			err := scan(&name, &sha)
			refs[name] = sha
			return err
		})
	})
	return refs, err
}

// Record stores that refs moved, each with its event and its place in the queue
// of Pending. A ref that is known to be where it moved is left out, so the same
// movement is recorded once, however often it is told. The caller keeps others
// from moving the repository's refs meanwhile.
func (s *Store) Record(ctx context.Context, r Repo, actor string, runID int64, moved []Movement) (pushes []Push, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		pushes = nil
		for _, m := range moved {
			p, err := record(tx, r, actor, runID, m)
			if err != nil {
				return err
			}
			if p.ID != 0 {
				pushes = append(pushes, p)
			}
		}
		return nil
	})
	return pushes, err
}

func record(tx *store.Tx, r Repo, actor string, runID int64, m Movement) (Push, error) {
	old := Zero
	err := tx.Row(`SELECT sha FROM git_ref WHERE repo_id = $1 AND name = $2`, r.ID, m.Ref).Scan(&old)
	if err != nil && !errors.Is(err, store.ErrNoRows) {
		return Push{}, err
	}
	if old == m.New {
		return Push{}, nil
	}
	if m.New == Zero {
		_, err = tx.Exec(`DELETE FROM git_ref WHERE repo_id = $1 AND name = $2`, r.ID, m.Ref)
	} else {
		_, err = tx.Exec(`INSERT INTO git_ref (repo_id, name, sha) VALUES ($1, $2, $3)
			ON CONFLICT (repo_id, name) DO UPDATE SET sha = excluded.sha`, r.ID, m.Ref, m.New)
	}
	if err != nil {
		return Push{}, err
	}
	p := Push{RepoID: r.ID, Ref: m.Ref, Old: old, New: m.New, Actor: actor, Forced: m.Forced, At: time.Now().UnixMilli()}
	if p.ID, err = tx.NextID("git_push"); err != nil {
		return p, err
	}
	if _, err := tx.Exec(`INSERT INTO git_push (id, repo_id, ref, old_sha, new_sha, actor, forced, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		p.ID, p.RepoID, p.Ref, p.Old, p.New, p.Actor, p.Forced, p.At); err != nil {
		return p, err
	}
	if err := queue(tx, Trigger{Kind: KindPush, Repo: r, Push: &p, Actor: actor, At: p.At}); err != nil {
		return p, err
	}
	return p, tx.Emit(wherry.Event{
		WorkspaceID: r.WorkspaceID, Kind: wherry.EventRefUpdated, Subject: r.Name + ":" + p.Ref, Actor: actor, RunID: runID, At: time.UnixMilli(p.At),
		Payload: json.RawMessage(document(map[string]any{"repo": r.Name, "push_id": p.ID, "ref": p.Ref, "old": p.Old, "new": p.New, "forced": p.Forced})),
	})
}

// Pushes lists the pushes of a repository, the newest first.
func (s *Store) Pushes(ctx context.Context, repoID int64, limit int) (list []Push, err error) {
	list = []Push{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT id, repo_id, ref, old_sha, new_sha, actor, forced, at FROM git_push WHERE repo_id = $1 ORDER BY id DESC LIMIT $2`,
			[]any{repoID, limit}, func(scan func(...any) error) error {
				var p Push
				err := scan(&p.ID, &p.RepoID, &p.Ref, &p.Old, &p.New, &p.Actor, &p.Forced, &p.At)
				list = append(list, p)
				return err
			})
	})
	return list, err
}

// Kinds of trigger.
const (
	KindPush        = "push"
	KindPullRequest = "pull_request"
)

// Trigger is something that workflows may be waiting for.
type Trigger struct {
	ID    int64  `json:"id"`
	Kind  string `json:"kind"`
	Repo  Repo   `json:"repo"`
	Actor string `json:"actor"`
	At    int64  `json:"at"`             // ms
	Push  *Push  `json:"push,omitempty"` // of KindPush

	// Of KindPullRequest: what was done, and the request as it was then.
	Action string       `json:"action,omitempty"`
	Pull   *PullRequest `json:"pull,omitempty"`
}

func queue(tx *store.Tx, t Trigger) error {
	id, err := tx.NextID("git_trigger")
	if err != nil {
		return err
	}
	t.ID = id
	_, err = tx.Exec(`INSERT INTO git_trigger (id, repo_id, kind, actor, at, payload) VALUES ($1, $2, $3, $4, $5, $6)`,
		t.ID, t.Repo.ID, t.Kind, t.Actor, t.At, document(t))
	tx.Changed(Topic)
	return err
}

// Pending returns the first n triggers that were not yet handled, the oldest
// first, as they were when they happened.
func (s *Store) Pending(ctx context.Context, n int) (list []Trigger, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT payload FROM git_trigger WHERE NOT handled ORDER BY id LIMIT $1`, []any{n}, func(scan func(...any) error) error {
			var doc string
			if err := scan(&doc); err != nil {
				return err
			}
			var t Trigger
			if err := json.Unmarshal([]byte(doc), &t); err != nil {
				return fmt.Errorf("read a trigger: %w", err)
			}
			list = append(list, t)
			return nil
		})
	})
	return list, err
}

// Handled takes a trigger out of the queue, in the transaction that did what it
// asked for. ok is false if another was first.
func Handled(tx *store.Tx, id int64) (ok bool, err error) {
	n, err := tx.Exec(`UPDATE git_trigger SET handled = true WHERE id = $1 AND NOT handled`, id)
	return n == 1, err
}
