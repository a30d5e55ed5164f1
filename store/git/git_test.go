package git_test

import (
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/git"
	"github.com/wherry-ml/wherry/store/storetest"
)

func sha(c string) string { return strings.Repeat(c, 40) }

// TestRecord: the same movement is recorded once, and what follows begins where
// the one before ended.
func TestRecord(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := git.New(db)
		r, err := s.Create(t.Context(), git.Repo{WorkspaceID: wherry.DefaultWorkspace, Name: "App", DefaultBranch: "main", Creator: "ada"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Create(t.Context(), git.Repo{Name: "app", DefaultBranch: "main"}, nil); wherry.CodeOf(err) != wherry.CodeAlreadyExists {
			t.Errorf("a second one by the same letters: %v", err)
		}
		for i, c := range []struct {
			moved []git.Movement
			want  int
		}{
			{[]git.Movement{{Ref: "refs/heads/main", New: sha("a")}, {Ref: "refs/tags/v1", New: sha("a")}}, 2},
			{[]git.Movement{{Ref: "refs/heads/main", New: sha("a")}}, 0},
			{[]git.Movement{{Ref: "refs/heads/main", New: sha("b")}, {Ref: "refs/tags/v1", New: sha("a")}}, 1},
			{[]git.Movement{{Ref: "refs/heads/main", New: git.Zero}, {Ref: "refs/heads/none", New: git.Zero}}, 1},
		} {
			got, err := s.Record(t.Context(), r, "ada", 0, c.moved)
			if err != nil || len(got) != c.want {
				t.Errorf("%d: %v %+v, want %d", i, err, got, c.want)
			}
		}
		list, err := s.Pushes(t.Context(), r.ID, 10)
		if err != nil || len(list) != 4 || list[0].Old != sha("b") || list[0].New != git.Zero {
			t.Errorf("%v %+v", err, list)
		}
		refs, err := s.Refs(t.Context(), r.ID)
		if err != nil || len(refs) != 1 || refs["refs/tags/v1"] != sha("a") {
			t.Errorf("%v %v", err, refs)
		}
		waiting, err := s.Pending(t.Context(), 3)
		if err != nil || len(waiting) != 3 || waiting[2].Push.New != sha("b") || waiting[2].Repo.Name != "App" {
			t.Errorf("%v %+v", err, waiting)
		}
	})
}

// TestDefaultBranchIsTold: that a repository has another default branch is an
// event, with who pushed it.
func TestDefaultBranchIsTold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := git.New(db)
		r, err := s.Create(t.Context(), git.Repo{WorkspaceID: 1, Name: "app", DefaultBranch: "main", Creator: "ada"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SetDefaultBranch(t.Context(), r, "trunk", "bob"); err != nil {
			t.Fatal(err)
		}
		var actor, doc string
		err = db.Read(t.Context(), func(tx *store.Tx) error {
			return tx.Row(`SELECT actor, payload FROM event WHERE kind = $1 ORDER BY id DESC LIMIT 1`, wherry.EventRepo).Scan(&actor, &doc)
		})
		if err != nil || actor != "bob" || doc != `{"action":"default_branch","branch":"trunk","repo":"app"}` {
			t.Errorf("%v %s %s", err, actor, doc)
		}
	})
}

// TestStatus: the last word of a context counts.
func TestStatus(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := git.New(db)
		r, err := s.Create(t.Context(), git.Repo{Name: "app", DefaultBranch: "main"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			st   git.Status
			code string
		}{
			{git.Status{SHA: sha("a"), Context: "ci", State: git.StatePending}, ""},
			{git.Status{SHA: sha("a"), Context: "ci", State: git.StateSuccess, Description: "well"}, ""},
			{git.Status{SHA: sha("a"), State: git.StateFailure}, ""},
			{git.Status{SHA: sha("a"), State: "green"}, wherry.CodeInvalidParameter},
			{git.Status{SHA: "abc", State: git.StateFailure}, wherry.CodeInvalidParameter},
		} {
			err := db.Write(t.Context(), func(tx *store.Tx) error { return git.SetStatus(tx, r, c.st) })
			if wherry.CodeOf(err) != c.code {
				t.Errorf("%+v: %v, want %q", c.st, err, c.code)
			}
		}
		list, err := s.Statuses(t.Context(), r.ID, sha("a"))
		if err != nil || len(list) != 2 || list[0].State != git.StateSuccess || list[1].Context != "default" {
			t.Errorf("%v %+v", err, list)
		}
		found, err := s.StatusesOf(t.Context(), r.ID, []string{sha("a"), sha("b"), sha("a")})
		if err != nil || len(found[sha("a")]) != 2 || len(found[sha("b")]) != 0 {
			t.Errorf("of two commits: %v %+v", err, found)
		}
	})
}

// TestCheckName: names that could be anything else than one folder, or one part
// of a URL, are refused.
func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"app": true, "My-App_2.0": true, "7": true, strings.Repeat("a", 100): true,
		"": false, ".": false, "..": false, "a..b": false, "a/b": false, "-rf": false, ".hooks": false, "a.git": false, "a.LOCK": false,
		"a b": false, "a\x00": false, "ä": false, "a.": false, "a\n": false, "%2e": false, strings.Repeat("a", 101): false,
	} {
		if err := git.CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
