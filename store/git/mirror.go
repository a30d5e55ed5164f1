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

// Forges whose webhooks are understood and whose APIs take reports.
const (
	GitHub      = "github"
	GitLab      = "gitlab"
	AzureDevOps = "azure-devops"
)

// Mirror is what a repository follows elsewhere.
type Mirror struct {
	RepoID    int64  `json:"-"`
	URL       string `json:"url"`
	Forge     string `json:"forge,omitempty"`   // a constant above, "" for git alone
	APIURL    string `json:"api_url,omitempty"` // of the forge
	Seconds   int64  `json:"seconds"`           // between two looks; 0 waits for webhooks alone
	Reports   bool   `json:"reports"`           // statuses and deployments go back to the forge
	FetchedAt int64  `json:"fetched_at"`        // ms
	Error     string `json:"error,omitempty"`   // of the last look
	// Sealed holds user and token, to fetch and to report with.
	Sealed []byte `json:"-"`
	dueAt  int64
}

const mirrorColumns = `repo_id, url, forge, api_url, seconds, sealed, reports, due_at, fetched_at, error FROM git_mirror`

func scanMirror(scan func(...any) error) (m Mirror, err error) {
	err = scan(&m.RepoID, &m.URL, &m.Forge, &m.APIURL, &m.Seconds, &m.Sealed, &m.Reports, &m.dueAt, &m.FetchedAt, &m.Error)
	return m, err
}

// SetMirror makes a repository follow another, and does as if refs had always
// been there: what they hold is old.
func (s *Store) SetMirror(ctx context.Context, r Repo, m Mirror, refs map[string]string, actor string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO git_mirror (repo_id, url, forge, api_url, seconds, sealed, reports, due_at, fetched_at, error)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '') ON CONFLICT (repo_id) DO UPDATE SET url = excluded.url, forge = excluded.forge, api_url = excluded.api_url,
			seconds = excluded.seconds, sealed = excluded.sealed, reports = excluded.reports, due_at = excluded.due_at, fetched_at = excluded.fetched_at, error = ''`,
			r.ID, m.URL, m.Forge, m.APIURL, m.Seconds, m.Sealed, m.Reports, now+m.Seconds*1000, now); err != nil {
			return err
		}
		for name, sha := range refs {
			if _, err := tx.Exec(`INSERT INTO git_ref (repo_id, name, sha) VALUES ($1, $2, $3) ON CONFLICT (repo_id, name) DO UPDATE SET sha = excluded.sha`, r.ID, name, sha); err != nil {
				return err
			}
		}
		tx.Changed(Topic)
		return tellRepo(tx, r, actor, "mirrored", map[string]any{"url": m.URL, "forge": m.Forge, "reports": m.Reports})
	})
}

// Mirror returns what a repository follows; ok is false for nothing.
func (s *Store) Mirror(ctx context.Context, repoID int64) (m Mirror, ok bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		m, err = scanMirror(tx.Row(`SELECT `+mirrorColumns+` WHERE repo_id = $1`, repoID).Scan)
		return err
	})
	if errors.Is(err, store.ErrNoRows) {
		return m, false, nil
	}
	return m, err == nil, err
}

// DueMirrors lists the mirrors whose original is to be looked at, and says when
// the next one is, in milliseconds; 0 is never.
func (s *Store) DueMirrors(ctx context.Context) (due []Mirror, next int64, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		return tx.Each(`SELECT `+mirrorColumns+` WHERE seconds > 0 ORDER BY due_at`, nil, func(scan func(...any) error) error {
			m, err := scanMirror(scan)
			switch {
			case err != nil:
			case m.dueAt <= now:
				due = append(due, m)
			case next == 0:
				next = m.dueAt - now
			}
			return err
		})
	})
	return due, next, err
}

// Looked stores that a mirror's original was looked at, and what went wrong.
func (s *Store) Looked(ctx context.Context, m Mirror, failure string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		fetched := now
		if failure != "" {
			fetched = m.FetchedAt
		}
		_, err = tx.Exec(`UPDATE git_mirror SET due_at = $1, fetched_at = $2, error = $3 WHERE repo_id = $4`, now+m.Seconds*1000, fetched, failure, m.RepoID)
		return err
	})
}

// SetHook stores what the sender of a forge's webhooks proves itself with.
func (s *Store) SetHook(ctx context.Context, r Repo, forge string, sealed []byte, actor string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`INSERT INTO git_hook (repo_id, forge, sealed) VALUES ($1, $2, $3) ON CONFLICT (repo_id, forge) DO UPDATE SET sealed = excluded.sealed`,
			r.ID, forge, sealed); err != nil {
			return err
		}
		return tellRepo(tx, r, actor, "hook", map[string]any{"forge": forge})
	})
}

// Hook returns the sealed secret of a forge's webhooks, nil if there is none.
func (s *Store) Hook(ctx context.Context, repoID int64, forge string) (sealed []byte, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		err := tx.Row(`SELECT sealed FROM git_hook WHERE repo_id = $1 AND forge = $2`, repoID, forge).Scan(&sealed)
		if errors.Is(err, store.ErrNoRows) {
			return nil
		}
		return err
	})
	return sealed, err
}

// RefuseHook writes down that a webhook's sender did not prove who they are.
func (s *Store) RefuseHook(ctx context.Context, r Repo, forge, reason, delivery, remote string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		return tx.Emit(wherry.Event{
			WorkspaceID: r.WorkspaceID, Kind: wherry.EventHookRefused, Subject: r.Name,
			Payload: json.RawMessage(document(map[string]any{"repo": r.Name, "forge": forge, "reason": reason, "delivery": delivery, "remote": remote})),
		})
	})
}

// Delivery is what a forge told in a webhook.
type Delivery struct {
	ID       int64
	RepoID   int64
	Forge    string
	Delivery string // the forge's id of it
	News     string // a document of the receiver's own
}

// Deliver stores what a forge told, to be done. fresh is false if it was told
// before.
func (s *Store) Deliver(ctx context.Context, d Delivery) (fresh bool, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		id, err := tx.NextID("git_delivery")
		if err != nil {
			return err
		}
		n, err := tx.Exec(`INSERT INTO git_delivery (repo_id, forge, delivery, id, news, at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
			d.RepoID, d.Forge, d.Delivery, id, d.News, time.Now().UnixMilli())
		fresh = n == 1
		tx.Changed(Topic)
		return err
	})
	return fresh, err
}

// Deliveries lists what was told and is not done, in order.
func (s *Store) Deliveries(ctx context.Context, limit int) (list []Delivery, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT id, repo_id, forge, delivery, news FROM git_delivery WHERE NOT done ORDER BY id LIMIT $1`, []any{limit}, func(scan func(...any) error) error {
			var d Delivery
			err := scan(&d.ID, &d.RepoID, &d.Forge, &d.Delivery, &d.News)
			list = append(list, d)
			return err
		})
	})
	return list, err
}

// Delivered stores that a delivery was done, or what was in the way.
func (s *Store) Delivered(ctx context.Context, d Delivery, failure string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE git_delivery SET done = true, error = $1, news = '' WHERE id = $2`, failure, d.ID)
		tx.Changed(TopicDelivered)
		return err
	})
}

// TopicDelivered is told to watchers when a delivery was done.
const TopicDelivered = "git.delivered"

// Kinds of report.
const (
	ReportStatus     = "status"
	ReportDeployment = "deployment"
)

// Deployment is what a forge is told of a deployment.
type Deployment struct {
	Key         string `json:"key"` // names the deployment here; a later report of the same key changes its state
	SHA         string `json:"sha"`
	Ref         string `json:"ref"`
	Environment string `json:"environment"`
	State       string `json:"state"` // pending, in_progress, success, failure, error or inactive, as GitHub names them
	Description string `json:"description"`
	Path        string `json:"path"` // of its page here
}

// Report is one thing that a forge has yet to be told.
type Report struct {
	ID         int64
	RepoID     int64
	Kind       string
	Status     Status
	Deployment Deployment
	RemoteID   string // the forge's id of a deployment, "" until it has one
	Attempts   int64
}

// report puts something into the outbox of a repository that reports; one of
// the same key that still waits is replaced.
func report(tx *store.Tx, r Repo, kind, key string, what any) error {
	var reports bool
	err := tx.Row(`SELECT reports FROM git_mirror WHERE repo_id = $1`, r.ID).Scan(&reports)
	if errors.Is(err, store.ErrNoRows) || err == nil && !reports {
		return nil
	}
	if err != nil {
		return err
	}
	id, err := tx.NextID("git_report")
	if err != nil {
		return err
	}
	now, err := tx.Now()
	if err != nil {
		return err
	}
	remote := ""
	err = tx.Row(`SELECT remote_id FROM git_report WHERE repo_id = $1 AND key = $2 AND remote_id <> '' ORDER BY id DESC LIMIT 1`, r.ID, key).Scan(&remote)
	if err != nil && !errors.Is(err, store.ErrNoRows) {
		return err
	}
	_, err = tx.Exec(`INSERT INTO git_report (id, repo_id, kind, key, payload, remote_id, attempts, due_at, error, done_at) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, '', 0)
		ON CONFLICT (repo_id, key) WHERE done_at = 0 DO UPDATE SET id = excluded.id, payload = excluded.payload`, id, r.ID, kind, key, document(what), remote, now)
	tx.Changed(Topic)
	return err
}

// ReportDeployed tells the forge of a mirror, if it is to be told, what became of
// a deployment.
func ReportDeployed(tx *store.Tx, r Repo, d Deployment) error {
	return report(tx, r, ReportDeployment, "deployment/"+d.Key, d)
}

// DueReports lists the reports that are to be sent now, and says how long the
// next one waits, in milliseconds; 0 is for none.
func (s *Store) DueReports(ctx context.Context, limit int) (due []Report, next int64, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		return tx.Each(`SELECT id, repo_id, kind, payload, remote_id, attempts, due_at FROM git_report WHERE done_at = 0 ORDER BY due_at, id LIMIT $1`, []any{limit}, func(scan func(...any) error) error {
			var o Report
			var doc string
			var at int64
			if err := scan(&o.ID, &o.RepoID, &o.Kind, &doc, &o.RemoteID, &o.Attempts, &at); err != nil {
				return err
			}
			if at > now {
				if next == 0 {
					next = at - now
				}
				return nil
			}
			var err error
			if o.Kind == ReportStatus {
				err = json.Unmarshal([]byte(doc), &o.Status)
			} else {
				err = json.Unmarshal([]byte(doc), &o.Deployment)
			}
			if err != nil {
				return fmt.Errorf("read report %d: %w", o.ID, err)
			}
			due = append(due, o)
			return nil
		})
	})
	return due, next, err
}

// Reported stores that the forge was told. A report that was replaced meanwhile
// has another id, and stays.
func (s *Store) Reported(ctx context.Context, o Report) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE git_report SET done_at = $1, error = '' WHERE id = $2 AND done_at = 0`, time.Now().UnixMilli(), o.ID)
		return err
	})
}

// KeepRemote stores the forge's id of a deployment, before its state is told.
func (s *Store) KeepRemote(ctx context.Context, o Report, remote string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE git_report SET remote_id = $1 WHERE repo_id = $2 AND key = $3`, remote, o.RepoID, "deployment/"+o.Deployment.Key)
		return err
	})
}

// Attempts until the forge is told no more: about a day.
const maxAttempts = 30

// NotReported stores why the forge could not be told; it is tried again after
// 2, 4, 8 … seconds, an hour at most, or never if that is of no use.
func (s *Store) NotReported(ctx context.Context, o Report, failure string, final bool) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		wait := min(int64(1)<<min(o.Attempts+1, 12), 3600) * 1000
		done := int64(0)
		if final || o.Attempts+1 >= maxAttempts {
			done = now
		}
		_, err = tx.Exec(`UPDATE git_report SET attempts = attempts + 1, due_at = $1, error = $2, done_at = $3 WHERE id = $4`, now+wait, failure, done, o.ID)
		return err
	})
}

// FailedReports says what the forge could not be told, the newest first.
func (s *Store) FailedReports(ctx context.Context, repoID int64) (list []string, err error) {
	list = []string{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT key, attempts, error, done_at FROM git_report WHERE repo_id = $1 AND error <> '' ORDER BY id DESC LIMIT 20`, []any{repoID}, func(scan func(...any) error) error {
			var key, failure string
			var attempts, done int64
			err := scan(&key, &attempts, &failure, &done)
			more := "; it is tried again"
			if done > 0 {
				more = "; given up"
			}
			list = append(list, fmt.Sprintf("%s after %d attempts: %s%s", key, attempts, failure, more))
			return err
		})
	})
	return list, err
}

// ReportDeployed tells the forge of a mirror what became of a deployment.
func (s *Store) ReportDeployed(ctx context.Context, r Repo, d Deployment) error {
	return s.db.Write(ctx, func(tx *store.Tx) error { return ReportDeployed(tx, r, d) })
}
