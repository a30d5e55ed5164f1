package cicd

import (
	"context"
	"time"

	"github.com/wherry-ml/wherry/store"
)

// Stored is an artifact of a run or a cache of a repository.
type Stored struct {
	Name      string `json:"name"`
	Job       string `json:"job,omitempty"`
	Size      int64  `json:"size"` // bytes, packed
	Digest    string `json:"sha256"`
	CreatedAt int64  `json:"created_at"`           // ms
	ExpiresAt int64  `json:"expires_at,omitempty"` // ms, of an artifact
}

// PutArtifact records an artifact; one of that name is replaced.
func PutArtifact(tx *store.Tx, runID, attempt int64, a Stored) error {
	_, err := tx.Exec(`INSERT INTO ci_artifact (run_id, attempt, name, job, size, digest, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (run_id, name) DO UPDATE SET attempt = excluded.attempt, job = excluded.job, size = excluded.size, digest = excluded.digest,
			created_at = excluded.created_at, expires_at = excluded.expires_at`,
		runID, attempt, a.Name, a.Job, a.Size, a.Digest, time.Now().UnixMilli(), a.ExpiresAt)
	return err
}

// ArtifactBytes is how much a repository's artifacts have in all, without the one
// of the run with that name, and how much those of the run and of all others with
// its pull request's ref have; ref is "" for a run of none.
func ArtifactBytes(tx *store.Tx, repoID, runID int64, ref, name string) (all, own int64, err error) {
	err = tx.Row(`SELECT CAST(COALESCE(sum(a.size), 0) AS BIGINT), CAST(COALESCE(sum(CASE WHEN r.id = $2 OR r.ref = $3 THEN a.size ELSE 0 END), 0) AS BIGINT)
		FROM ci_artifact a JOIN ci_run r ON r.id = a.run_id WHERE r.repo_id = $1 AND NOT (a.run_id = $2 AND a.name = $4)`, repoID, runID, ref, name).Scan(&all, &own)
	return all, own, err
}

// Artifacts lists those of a run.
func (s *Store) Artifacts(ctx context.Context, runID int64) ([]Stored, error) {
	return s.stored(ctx, `SELECT name, job, size, digest, created_at, expires_at FROM ci_artifact WHERE run_id = $1 ORDER BY created_at DESC, name`, runID)
}

// PutCache records a cache of a ref, of at most limit bytes. What is there stays;
// ok is false if it has other bytes, and true for one that is sent again. What
// was used longest ago goes where the repository has more than limit bytes.
func (s *Store) PutCache(ctx context.Context, repoID int64, ref string, c Stored, limit int64) (ok bool, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(`INSERT INTO ci_cache (repo_id, ref, name, size, digest, created_at, used_at) VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT DO NOTHING`,
			repoID, ref, c.Name, c.Size, c.Digest, time.Now().UnixMilli())
		if err != nil {
			return err
		}
		if ok = n == 1; !ok {
			err := tx.Row(`SELECT count(*) FROM ci_cache WHERE repo_id = $1 AND ref = $2 AND name = $3 AND digest = $4`, repoID, ref, c.Name, c.Digest).Scan(&n)
			ok = n == 1
			return err
		}
		return evict(tx, repoID, limit)
	})
	return ok, err
}

// evict deletes the caches of a repository that do not fit into limit with all
// that were used after them.
func evict(tx *store.Tx, repoID, limit int64) error {
	type key struct{ ref, name string }
	var gone []key
	err := tx.Each(`SELECT ref, name, size FROM ci_cache WHERE repo_id = $1 ORDER BY used_at DESC, created_at DESC, ref, name`, []any{repoID}, func(row func(...any) error) error {
		var k key
		var size int64
		err := row(&k.ref, &k.name, &size)
		if limit -= size; limit < 0 {
			gone = append(gone, k)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, k := range gone {
		if _, err := tx.Exec(`DELETE FROM ci_cache WHERE repo_id = $1 AND ref = $2 AND name = $3`, repoID, k.ref, k.name); err != nil {
			return err
		}
	}
	return nil
}

// CacheUsed notes that a cache was restored.
func (s *Store) CacheUsed(ctx context.Context, repoID int64, c Stored) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE ci_cache SET used_at = $1 WHERE repo_id = $2 AND name = $3 AND digest = $4`, time.Now().UnixMilli(), repoID, c.Name, c.Digest)
		return err
	})
}

// Caches lists those that a ref may use, the newest first: its own, then those
// of the others in order.
func (s *Store) Caches(ctx context.Context, repoID int64, refs ...string) (list []Stored, err error) {
	for _, ref := range refs {
		more, err := s.stored(ctx, `SELECT name, '', size, digest, created_at, 0 FROM ci_cache WHERE repo_id = $1 AND ref = $2 ORDER BY created_at DESC, name`, repoID, ref)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

func (s *Store) stored(ctx context.Context, query string, args ...any) (list []Stored, err error) {
	list = []Stored{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(query, args, func(row func(...any) error) error {
			var a Stored
			err := row(&a.Name, &a.Job, &a.Size, &a.Digest, &a.CreatedAt, &a.ExpiresAt)
			list = append(list, a)
			return err
		})
	})
	return list, err
}

// Prune forgets the artifacts whose time is over, the caches that were not used
// since, and those that are too many for limit bytes a repository.
func (s *Store) Prune(ctx context.Context, now, since time.Time, limit int64) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`DELETE FROM ci_artifact WHERE expires_at <= $1`, now.UnixMilli()); err != nil {
			return err
		}
		if _, err := tx.Exec(`DELETE FROM ci_cache WHERE used_at <= $1`, since.UnixMilli()); err != nil {
			return err
		}
		var full []int64
		err := tx.Each(`SELECT repo_id FROM ci_cache GROUP BY repo_id HAVING sum(size) > $1`, []any{limit}, func(row func(...any) error) error {
			var id int64
			err := row(&id)
			full = append(full, id)
			return err
		})
		for _, id := range full {
			if err == nil {
				err = evict(tx, id, limit)
			}
		}
		return err
	})
}

// Holds tells whether an artifact or a cache has the bytes of a digest.
func (s *Store) Holds(ctx context.Context, digest string) (held bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		var n int
		err := tx.Row(`SELECT (SELECT count(*) FROM ci_artifact WHERE digest = $1) + (SELECT count(*) FROM ci_cache WHERE digest = $1)`, digest).Scan(&n)
		held = n > 0
		return err
	})
	return held, err
}
