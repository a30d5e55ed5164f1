// Package git stores what is known of Git repositories beside their objects:
// who made them, which pushes moved their refs, pull requests, statuses of
// commits, and what other systems have yet to be told.
package git

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Topic is told to watchers when there may be something for Pending to give.
const Topic = "git"

// Zero is the id of no commit: the old one of a ref that was made, the new one
// of a ref that was deleted.
const Zero = "0000000000000000000000000000000000000000"

// Repo is a repository.
type Repo struct {
	ID            int64  `json:"id"`
	WorkspaceID   int64  `json:"workspace_id"`
	Name          string `json:"name"`
	DefaultBranch string `json:"default_branch"`
	ForkOf        string `json:"fork_of,omitempty"`    // name of another repository
	OriginURL     string `json:"origin_url,omitempty"` // the address that a trace shows; "" is this server's
	Creator       string `json:"creator"`
	CreatedAt     int64  `json:"created_at"` // ms
}

// Store keeps repositories in db.
type Store struct{ db *store.DB }

// New returns the store.
func New(db *store.DB) *Store { return &Store{db: db} }

// Changed returns a channel that receives when Pending may have more to give,
// and a function that ends that.
func (s *Store) Changed() (woken <-chan struct{}, stop func()) { return s.db.Watch(Topic) }

// repoName allows what can be a part of a path and of a URL on every system.
var repoName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$`)

// CheckName says what is wrong with the name of a repository, nil for nothing.
func CheckName(name string) error {
	lower := strings.ToLower(name)
	if !repoName.MatchString(name) || strings.Contains(name, "..") || strings.HasSuffix(name, ".") || strings.HasSuffix(lower, ".git") || strings.HasSuffix(lower, ".lock") {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%.120q is no name for a repository: letters, digits, '-', '_' and '.', at most 100, beginning with a letter or digit and not ending with .git", name)
	}
	return nil
}

const repoColumns = `r.id, r.workspace_id, r.name, r.default_branch, coalesce(f.name, ''), r.origin_url, r.creator, r.created_at
	FROM git_repo r LEFT JOIN git_repo f ON f.id = r.fork_of`

func scanRepo(scan func(...any) error) (r Repo, err error) {
	err = scan(&r.ID, &r.WorkspaceID, &r.Name, &r.DefaultBranch, &r.ForkOf, &r.OriginURL, &r.Creator, &r.CreatedAt)
	return r, err
}

// GetRepo returns the repository with a name; RESOURCE_DOES_NOT_EXIST if there
// is none.
func GetRepo(tx *store.Tx, name string) (Repo, error) {
	r, err := scanRepo(tx.Row(`SELECT `+repoColumns+` WHERE r.key = $1`, strings.ToLower(name)).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return r, wherry.Errorf(wherry.CodeDoesNotExist, "there is no repository %.120q: make it with `wherry repo create`", name)
	}
	return r, err
}

// Repo returns the repository with a name; RESOURCE_DOES_NOT_EXIST if there is
// none.
func (s *Store) Repo(ctx context.Context, name string) (r Repo, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		r, err = GetRepo(tx, name)
		return err
	})
	return r, err
}

// RepoByID returns the repository with an id.
func (s *Store) RepoByID(ctx context.Context, id int64) (r Repo, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		r, err = scanRepo(tx.Row(`SELECT `+repoColumns+` WHERE r.id = $1`, id).Scan)
		return err
	})
	return r, err
}

// Repos lists the repositories by name.
func (s *Store) Repos(ctx context.Context) (list []Repo, err error) {
	list = []Repo{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+repoColumns+` ORDER BY r.key`, nil, func(scan func(...any) error) error {
			r, err := scanRepo(scan)
			list = append(list, r)
			return err
		})
	})
	return list, err
}

// Create stores a new repository with the refs that it begins with, which nobody
// pushed; its ID and CreatedAt are set here. A name that is taken is
// RESOURCE_ALREADY_EXISTS.
func (s *Store) Create(ctx context.Context, r Repo, refs map[string]string) (out Repo, err error) {
	if err := CheckName(r.Name); err != nil {
		return r, err
	}
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		out = r
		out.CreatedAt = time.Now().UnixMilli()
		var parent int64
		if r.ForkOf != "" {
			f, err := GetRepo(tx, r.ForkOf)
			if err != nil {
				return err
			}
			parent, out.ForkOf = f.ID, f.Name
		}
		if out.ID, err = tx.NextID("git_repo"); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO git_repo (id, workspace_id, name, key, default_branch, fork_of, origin_url, creator, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
			out.ID, r.WorkspaceID, r.Name, strings.ToLower(r.Name), r.DefaultBranch, parent, r.OriginURL, r.Creator, out.CreatedAt)
		if err != nil {
			return err
		}
		if got, err := GetRepo(tx, r.Name); err != nil || got.ID != out.ID {
			return errors.Join(err, wherry.Errorf(wherry.CodeAlreadyExists, "the repository %s exists already", r.Name))
		}
		for name, sha := range refs {
			if _, err := tx.Exec(`INSERT INTO git_ref (repo_id, name, sha) VALUES ($1, $2, $3)`, out.ID, name, sha); err != nil {
				return err
			}
		}
		return tellRepo(tx, out, r.Creator, "created", map[string]any{"fork_of": out.ForkOf})
	})
	return out, err
}

// Uncreate takes back a Create whose repository nobody could use yet.
func (s *Store) Uncreate(ctx context.Context, r Repo) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`DELETE FROM git_ref WHERE repo_id = $1`, r.ID); err != nil {
			return err
		}
		if _, err := tx.Exec(`DELETE FROM git_repo WHERE id = $1`, r.ID); err != nil {
			return err
		}
		return tellRepo(tx, r, r.Creator, "not created", nil)
	})
}

// SetDefaultBranch names the branch that a clone checks out.
func (s *Store) SetDefaultBranch(ctx context.Context, r Repo, branch, actor string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`UPDATE git_repo SET default_branch = $1 WHERE id = $2`, branch, r.ID); err != nil {
			return err
		}
		return tellRepo(tx, r, actor, "default_branch", map[string]any{"branch": branch})
	})
}

func document(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "{}" // no type of ours fails
	}
	return string(b)
}
