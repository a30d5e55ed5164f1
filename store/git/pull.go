package git

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// States of a pull request.
const (
	PullOpen   = "open"
	PullClosed = "closed"
	PullMerged = "merged"
)

// Actions on a pull request, as GitHub names them.
const (
	ActionOpened      = "opened"
	ActionSynchronize = "synchronize"
	ActionClosed      = "closed"
	ActionReopened    = "reopened"
)

// PullRequest asks to bring a branch into another.
type PullRequest struct {
	RepoID   int64  `json:"repo_id"`
	Number   int64  `json:"number"`
	Title    string `json:"title"`
	Body     string `json:"body"`
	Base     string `json:"base"`                // branch
	Head     string `json:"head"`                // branch
	HeadRepo string `json:"head_repo,omitempty"` // name of the fork that has the head, "" for the repository itself
	BaseSHA  string `json:"base_sha"`
	HeadSHA  string `json:"head_sha"`
	// MergeSHA is the commit of refs/pull/N/merge while the request is open, ""
	// if the branches conflict or are too much to merge; of a merged one it is
	// what the base became.
	MergeSHA  string `json:"merge_sha"`
	State     string `json:"state"`
	Author    string `json:"author"`
	ClosedBy  string `json:"closed_by,omitempty"`
	CreatedAt int64  `json:"created_at"` // ms
	UpdatedAt int64  `json:"updated_at"`
	Version   int64  `json:"version"`

	HeadRepoID int64 `json:"head_repo_id"`
}

// Fork says whether the head is in another repository: then it is of someone
// who may not see the secrets of this one.
func (p PullRequest) Fork() bool { return p.HeadRepoID != p.RepoID }

const pullColumns = `p.repo_id, p.number, p.title, p.body, p.base, p.head, p.head_repo_id, CASE WHEN p.head_repo_id = p.repo_id THEN '' ELSE coalesce(h.name, p.head_name) END,
	p.base_sha, p.head_sha, p.merge_sha, p.state, p.author, p.closed_by, p.created_at, p.updated_at, p.version
	FROM git_pull p LEFT JOIN git_repo h ON h.id = p.head_repo_id`

func scanPull(scan func(...any) error) (p PullRequest, err error) {
	err = scan(&p.RepoID, &p.Number, &p.Title, &p.Body, &p.Base, &p.Head, &p.HeadRepoID, &p.HeadRepo,
		&p.BaseSHA, &p.HeadSHA, &p.MergeSHA, &p.State, &p.Author, &p.ClosedBy, &p.CreatedAt, &p.UpdatedAt, &p.Version)
	return p, err
}

func getPull(tx *store.Tx, r Repo, number int64) (PullRequest, error) {
	p, err := scanPull(tx.Row(`SELECT `+pullColumns+` WHERE p.repo_id = $1 AND p.number = $2`, r.ID, number).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return p, wherry.Errorf(wherry.CodeDoesNotExist, "%s has no pull request %d", r.Name, number)
	}
	return p, err
}

// Pull returns a pull request; RESOURCE_DOES_NOT_EXIST if there is none.
func (s *Store) Pull(ctx context.Context, r Repo, number int64) (p PullRequest, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		p, err = getPull(tx, r, number)
		return err
	})
	return p, err
}

// Pulls lists pull requests in a state, or in any for "", the newest first.
func (s *Store) Pulls(ctx context.Context, repoID int64, state string) ([]PullRequest, error) {
	return s.pulls(ctx, `WHERE p.repo_id = $1 AND (p.state = $2 OR $2 = '') ORDER BY p.number DESC LIMIT 1000`, repoID, state)
}

// Stale lists the open pull requests into a repository, or from it, whose
// branches are no more where the request has them; those of all for 0. Those of
// a mirror are followed by what its forge tells.
func (s *Store) Stale(ctx context.Context, repoID int64) ([]PullRequest, error) {
	return s.pulls(ctx, `WHERE p.state = 'open' AND NOT EXISTS (SELECT 1 FROM git_mirror m WHERE m.repo_id = p.repo_id) AND ($1 = 0 OR p.repo_id = $1 OR p.head_repo_id = $1)
		AND (p.head_sha <> coalesce((SELECT sha FROM git_ref f WHERE f.repo_id = p.head_repo_id AND f.name = 'refs/heads/' || p.head), '')
		OR p.base_sha <> coalesce((SELECT sha FROM git_ref f WHERE f.repo_id = p.repo_id AND f.name = 'refs/heads/' || p.base), '')) ORDER BY p.number`, repoID)
}

func (s *Store) pulls(ctx context.Context, where string, args ...any) (list []PullRequest, err error) {
	list = []PullRequest{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+pullColumns+` `+where, args, func(scan func(...any) error) error {
			p, err := scanPull(scan)
			list = append(list, p)
			return err
		})
	})
	return list, err
}

// OpenPull stores a new pull request; its number is the next of the repository.
func (s *Store) OpenPull(ctx context.Context, r Repo, p PullRequest) (out PullRequest, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		out = p
		var same int64
		err := tx.Row(`SELECT number FROM git_pull WHERE repo_id = $1 AND head_repo_id = $2 AND head = $3 AND base = $4 AND state = 'open'`,
			r.ID, p.HeadRepoID, p.Head, p.Base).Scan(&same)
		if err == nil {
			return wherry.Errorf(wherry.CodeAlreadyExists, "pull request %d asks for the same already", same)
		}
		if !errors.Is(err, store.ErrNoRows) {
			return err
		}
		if err := tx.Row(`UPDATE git_repo SET pulls = pulls + 1 WHERE id = $1 RETURNING pulls`, r.ID).Scan(&out.Number); err != nil {
			return err
		}
		out.RepoID, out.State, out.Version, out.CreatedAt = r.ID, PullOpen, 1, time.Now().UnixMilli()
		out.UpdatedAt = out.CreatedAt
		// Its refs and its merge come with the first pass, which sees that it has
		// no commits yet; so a server killed here leaves nothing to repair.
		_, err = tx.Exec(`INSERT INTO git_pull (repo_id, number, title, body, base, head, head_repo_id, base_sha, head_sha, merge_sha, state, author, closed_by, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, '', '', '', 'open', $8, '', $9, $9)`,
			r.ID, out.Number, p.Title, p.Body, p.Base, p.Head, p.HeadRepoID, p.Author, out.CreatedAt)
		tx.Changed(Topic)
		return err
	})
	out.BaseSHA, out.HeadSHA, out.MergeSHA = "", "", ""
	return out, err
}

// MovePull stores where a pull request's branches are now. A head that moved is
// an action of who pushed it: opened for the first, synchronize for later ones.
func (s *Store) MovePull(ctx context.Context, r Repo, p PullRequest, baseSHA, headSHA, mergeSHA string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		q, action, actor := p, "", p.Author
		switch p.HeadSHA {
		case headSHA:
		case "":
			action = ActionOpened
		default:
			action = ActionSynchronize
			err := tx.Row(`SELECT actor FROM git_push WHERE repo_id = $1 AND ref = $2 ORDER BY id DESC LIMIT 1`, p.HeadRepoID, "refs/heads/"+p.Head).Scan(&actor)
			if err != nil && !errors.Is(err, store.ErrNoRows) {
				return err
			}
		}
		q.BaseSHA, q.HeadSHA, q.MergeSHA = baseSHA, headSHA, mergeSHA
		return changePull(tx, r, q, action, actor)
	})
}

// ClosePull ends a pull request: merged to a commit, or closed for "". An actor
// "" is who moved its base there, or its head away.
func (s *Store) ClosePull(ctx context.Context, r Repo, p PullRequest, mergeSHA, actor string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error { return closePull(tx, r, p, mergeSHA, actor) })
}

func closePull(tx *store.Tx, r Repo, p PullRequest, mergeSHA, actor string) error {
	p.State = PullClosed
	moved := Push{RepoID: p.HeadRepoID, Ref: "refs/heads/" + p.Head, New: Zero}
	if mergeSHA != "" {
		p.State, p.MergeSHA = PullMerged, mergeSHA
		moved = Push{RepoID: r.ID, Ref: "refs/heads/" + p.Base, New: mergeSHA}
	}
	if actor == "" {
		err := tx.Row(`SELECT actor FROM git_push WHERE repo_id = $1 AND ref = $2 AND new_sha = $3 ORDER BY id DESC LIMIT 1`, moved.RepoID, moved.Ref, moved.New).Scan(&actor)
		if err != nil && !errors.Is(err, store.ErrNoRows) {
			return err
		}
	}
	p.ClosedBy = actor
	return changePull(tx, r, p, ActionClosed, actor)
}

// Merge stores that a pull request was merged: the movement of its base, and
// its end, at once.
func (s *Store) Merge(ctx context.Context, r Repo, p PullRequest, sha, actor string, runID int64) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := record(tx, r, actor, runID, Movement{Ref: "refs/heads/" + p.Base, New: sha}); err != nil {
			return err
		}
		return closePull(tx, r, p, sha, actor)
	})
}

// PutPull stores what a forge says of a pull request of a mirror, under the
// forge's own number. An action "" triggers nothing, and neither does one that
// changes nothing.
func (s *Store) PutPull(ctx context.Context, r Repo, p PullRequest, action, actor string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		p.RepoID = r.ID
		now := time.Now().UnixMilli()
		n, err := tx.Exec(`INSERT INTO git_pull (repo_id, number, title, body, base, head, head_repo_id, head_name, base_sha, head_sha, merge_sha, state, author, closed_by, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', '', '', 'open', $9, '', $10, $10) ON CONFLICT DO NOTHING`,
			p.RepoID, p.Number, p.Title, p.Body, p.Base, p.Head, p.HeadRepoID, p.HeadRepo, p.Author, now)
		if err != nil {
			return err
		}
		old, err := getPull(tx, r, p.Number)
		if err != nil {
			return err
		}
		if n == 0 && old.HeadSHA == p.HeadSHA && old.State == p.State {
			action = ""
		}
		if _, err := tx.Exec(`UPDATE git_pull SET title = $1, body = $2, base = $3 WHERE repo_id = $4 AND number = $5`, p.Title, p.Body, p.Base, r.ID, p.Number); err != nil {
			return err
		}
		p.CreatedAt, p.Version, p.Author = old.CreatedAt, old.Version, old.Author
		return changePull(tx, r, p, action, actor)
	})
}

// ReopenPull takes a closed pull request up again.
func (s *Store) ReopenPull(ctx context.Context, r Repo, p PullRequest, actor string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		p.State, p.ClosedBy = PullOpen, ""
		return changePull(tx, r, p, ActionReopened, actor)
	})
}

// changePull stores a pull request with what its change triggers, if it is
// still of the version that was read. An action "" triggers nothing.
func changePull(tx *store.Tx, r Repo, p PullRequest, action, actor string) error {
	p.UpdatedAt = time.Now().UnixMilli()
	if err := tx.ExecVersioned(`UPDATE git_pull SET base_sha = $1, head_sha = $2, merge_sha = $3, state = $4, closed_by = $5, updated_at = $6, version = version + 1
		WHERE repo_id = $7 AND number = $8 AND version = $9`, p.BaseSHA, p.HeadSHA, p.MergeSHA, p.State, p.ClosedBy, p.UpdatedAt, p.RepoID, p.Number, p.Version); err != nil {
		return err
	}
	p.Version++
	tx.Changed(Topic)
	if action == "" {
		return nil
	}
	if err := queue(tx, Trigger{Kind: KindPullRequest, Repo: r, Pull: &p, Action: action, Actor: actor, At: p.UpdatedAt}); err != nil {
		return err
	}
	return tx.Emit(wherry.Event{
		WorkspaceID: r.WorkspaceID, Kind: wherry.EventPullRequest, Subject: fmt.Sprintf("%s#%d", r.Name, p.Number), Actor: actor, At: time.UnixMilli(p.UpdatedAt),
		Payload: json.RawMessage(document(map[string]any{
			"repo": r.Name, "action": action, "number": p.Number, "title": p.Title, "base": p.Base, "head": p.Head, "head_repo": p.HeadRepo,
			"base_sha": p.BaseSHA, "head_sha": p.HeadSHA, "merge_sha": p.MergeSHA, "state": p.State, "author": p.Author,
		})),
	})
}

// Comment is a remark on a pull request.
type Comment struct {
	ID        int64  `json:"id"`
	Number    int64  `json:"number"` // of the pull request
	Author    string `json:"author"`
	Body      string `json:"body"`
	CreatedAt int64  `json:"created_at"` // ms
	UpdatedAt int64  `json:"updated_at"`
}

// maxText is how long a comment or the text of a pull request may be, as on
// GitHub.
const maxText = 65536

// CheckText says that a text is too long, nil if not.
func CheckText(text string) error {
	if len(text) > maxText {
		return wherry.Errorf(wherry.CodeInvalidParameter, "the text has %d bytes: %d at most", len(text), maxText)
	}
	return nil
}

// AddComment stores a remark on a pull request.
func (s *Store) AddComment(ctx context.Context, r Repo, c Comment) (out Comment, err error) {
	if err := CheckText(c.Body); err != nil {
		return c, err
	}
	if c.Body == "" {
		return c, wherry.Errorf(wherry.CodeInvalidParameter, "a comment needs a text")
	}
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		out = c
		if _, err := getPull(tx, r, c.Number); err != nil {
			return err
		}
		if out.ID, err = tx.NextID("git_comment"); err != nil {
			return err
		}
		out.CreatedAt = time.Now().UnixMilli()
		out.UpdatedAt = out.CreatedAt
		_, err := tx.Exec(`INSERT INTO git_comment (id, repo_id, number, author, body, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6)`,
			out.ID, r.ID, c.Number, c.Author, c.Body, out.CreatedAt)
		return err
	})
	return out, err
}

// EditComment changes the text of a comment.
func (s *Store) EditComment(ctx context.Context, r Repo, id int64, body string) (c Comment, err error) {
	if err := CheckText(body); err != nil {
		return c, err
	}
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		err := tx.Row(`UPDATE git_comment SET body = $1, updated_at = $2 WHERE id = $3 AND repo_id = $4
			RETURNING id, number, author, body, created_at, updated_at`, body, time.Now().UnixMilli(), id, r.ID).
			Scan(&c.ID, &c.Number, &c.Author, &c.Body, &c.CreatedAt, &c.UpdatedAt)
		if errors.Is(err, store.ErrNoRows) {
			return wherry.Errorf(wherry.CodeDoesNotExist, "%s has no comment %d", r.Name, id)
		}
		return err
	})
	return c, err
}

// DeleteComment removes a comment.
func (s *Store) DeleteComment(ctx context.Context, r Repo, id int64) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(`DELETE FROM git_comment WHERE id = $1 AND repo_id = $2`, id, r.ID)
		if err == nil && n == 0 {
			return wherry.Errorf(wherry.CodeDoesNotExist, "%s has no comment %d", r.Name, id)
		}
		return err
	})
}

// Comments lists the remarks on a pull request, the oldest first.
func (s *Store) Comments(ctx context.Context, repoID, number int64) (list []Comment, err error) {
	list = []Comment{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT id, number, author, body, created_at, updated_at FROM git_comment WHERE repo_id = $1 AND number = $2 ORDER BY id`,
			[]any{repoID, number}, func(scan func(...any) error) error {
				var c Comment
				err := scan(&c.ID, &c.Number, &c.Author, &c.Body, &c.CreatedAt, &c.UpdatedAt)
				list = append(list, c)
				return err
			})
	})
	return list, err
}
