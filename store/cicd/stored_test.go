package cicd_test

import (
	"testing"
	"time"

	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/storetest"
)

// TestPrune: what is too old or too much is forgotten, and bytes are held as
// long as one of their rows is there.
func TestPrune(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx, now := cicd.New(db), t.Context(), time.Now()
		err := db.Write(ctx, func(tx *store.Tx) error {
			return cicd.PutArtifact(tx, 1, 1, cicd.Stored{Name: "out", Size: 3, Digest: "d1", ExpiresAt: now.Add(time.Hour).UnixMilli()})
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []cicd.Stored{{Name: "first", Size: 60, Digest: "d1"}, {Name: "second", Size: 60, Digest: "d2"}} {
			if ok, err := s.PutCache(ctx, 7, "refs/heads/main", c, 1000); err != nil || !ok {
				t.Fatal(ok, err)
			}
			if ok, err := s.PutCache(ctx, 7, "refs/heads/main", c, 1000); err != nil || !ok {
				t.Fatalf("a cache is sent again: %v, %v", ok, err)
			}
			c.Digest = "other"
			if ok, err := s.PutCache(ctx, 7, "refs/heads/main", c, 1000); err != nil || ok {
				t.Fatalf("a cache changes: %v, %v", ok, err)
			}
		}
		left := func(at, since time.Time, limit int64, artifacts, caches int) {
			t.Helper()
			if err := s.Prune(ctx, at, since, limit); err != nil {
				t.Fatal(err)
			}
			a, err := s.Artifacts(ctx, 1)
			if err != nil {
				t.Fatal(err)
			}
			c, err := s.Caches(ctx, 7, "refs/heads/main")
			if err != nil {
				t.Fatal(err)
			}
			if len(a) != artifacts || len(c) != caches {
				t.Errorf("%d artifacts and %d caches, want %d and %d", len(a), len(c), artifacts, caches)
			}
		}
		left(now, now.Add(-time.Hour), 120, 1, 2)
		left(now, now.Add(-time.Hour), 119, 1, 1)
		left(now.Add(2*time.Hour), now.Add(-time.Hour), 119, 0, 1)
		left(now, now.Add(time.Hour), 119, 0, 0)
		if held, err := s.Holds(ctx, "d1"); err != nil || held {
			t.Error(held, err)
		}
	})
}
