package cicd_test

import (
	"testing"
	"time"

	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/storetest"
	"github.com/wherry-ml/wherry/workflow"
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

// TestArtifactBytes: the artifacts of a repository are counted, without the one
// that is to be replaced, and those of a pull request among them.
func TestArtifactBytes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var ids []int64
		err := db.Write(t.Context(), func(tx *store.Tx) error {
			for i, of := range []struct {
				repo int64
				ref  string
			}{{7, "refs/heads/main"}, {7, "refs/pull/1/merge"}, {7, "refs/pull/1/merge"}, {8, "refs/pull/1/merge"}} {
				r := &cicd.Record{RepoID: of.repo, Run: &workflow.Run{Path: "a.yml", Event: workflow.Event{Ref: of.ref}}}
				if err := cicd.Insert(tx, r); err != nil {
					return err
				}
				ids = append(ids, r.ID)
				for n, name := range []string{"out", "more"} {
					if err := cicd.PutArtifact(tx, r.ID, 1, cicd.Stored{Name: name, Size: int64(1+n) << (2 * i)}); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			repo, run int64
			ref, name string
			all, own  int64
		}{
			{7, ids[0], "", "new", 0o77, 0o3},
			{7, ids[0], "", "out", 0o76, 0o2},
			{7, ids[1], "refs/pull/1/merge", "new", 0o77, 0o74},
			{7, ids[1], "refs/pull/1/merge", "more", 0o67, 0o64},
			{8, ids[3], "refs/pull/1/merge", "new", 0o300, 0o300},
			{9, 0, "", "new", 0, 0},
		} {
			err := db.Read(t.Context(), func(tx *store.Tx) error {
				all, own, err := cicd.ArtifactBytes(tx, c.repo, c.run, c.ref, c.name)
				if all != c.all || own != c.own {
					t.Errorf("%s of run %d: %o and %o, want %o and %o", c.name, c.run, all, own, c.all, c.own)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}
