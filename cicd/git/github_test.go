package git_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/cicd/git"
	"github.com/wherry-ml/wherry/store"
	gitstore "github.com/wherry-ml/wherry/store/git"
)

// github makes a call as octokit does.
func (s *site) github(method, path, body string) (int, string) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, s.URL+"/api/v3/repos/wherry/app"+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Authorization", "token "+s.Token)
	r.Header.Set("Accept", "application/vnd.github.v3+json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestGitHubAPI: the calls that workflows make of GitHub's API.
func TestGitHubAPI(t *testing.T) {
	s := newSite(t, nil)
	dir := s.work("app")
	s.run(dir, "push", "-q", "origin", "main")
	s.run(dir, "checkout", "-q", "-b", "topic")
	sha := s.commit(dir, "b.txt", "b")
	s.run(dir, "push", "-q", "origin", "topic", "topic:fix/weights")
	s.call("POST", "/api/wherry/repos/app/pulls", map[string]any{"head": "topic"}, nil)
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", "/statuses/" + sha, `{"state":"success","context":"ci","target_url":"` + s.URL + `/ci/1"}`, 201, `"context":"ci"`},
		{"POST", "/statuses/" + sha, `{"state":"pending","context":"lint"}`, 201, `"state":"pending"`},
		{"POST", "/statuses/" + sha, `{"state":"green"}`, 422, `"message":"state must be`},
		{"POST", "/statuses/" + strings.Repeat("0", 40), `{"state":"success"}`, 404, "no commit"},
		{"GET", "/commits/topic/status", "", 200, `"state":"pending","sha":"` + sha},
		{"GET", "/commits/fix/weights/status", "", 200, `"state":"pending","sha":"` + sha},
		{"GET", "/commits/heads/fix/weights/statuses", "", 200, `"context":"ci"`},
		{"GET", "/commits/fix%2Fweights/status", "", 200, `"sha":"` + sha},
		{"GET", "/commits/fix/none/status", "", 422, "not the id of a commit"},
		{"GET", "/commits/fix/weights/check-runs", "", 501, "not supported by wherry"},
		{"GET", "/commits/" + sha + "/statuses", "", 200, `"target_url":"` + s.URL + `/ci/1"`},
		{"GET", "/pulls?head=wherry:topic", "", 200, `[{"number":1,"state":"open"`},
		{"GET", "/pulls?head=wherry:other", "", 200, `[]`},
		{"GET", "/pulls/1", "", 200, `"mergeable":true`},
		{"POST", "/issues/1/comments", `{"body":"12 tests passed"}`, 201, `"id":1`},
		{"POST", "/issues/9/comments", `{"body":"x"}`, 404, "no pull request 9"},
		{"PATCH", "/issues/comments/1", `{"body":"13 tests passed"}`, 200, `13 tests`},
		{"GET", "/issues/1/comments", "", 200, `[{"id":1,"body":"13 tests passed","user":{"login":"admin@localhost"}`},
		{"DELETE", "/issues/comments/1", "", 204, ""},
		{"DELETE", "/issues/comments/1", "", 404, "no comment 1"},
		{"GET", "/releases", "", 501, `not supported by wherry`},
	} {
		status, body := s.github(c.method, c.path, c.body)
		if status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s %s %s: %d %s, want %d %q", c.method, c.path, c.body, status, body, c.status, c.says)
		}
	}
}

// TestHostileTree: paths that lead out of a checkout are refused with git's own
// reason; a link out of the tree and a submodule are stored as they are, and
// nothing of the server's is written or read for them.
func TestHostileTree(t *testing.T) {
	s := newSite(t, nil)
	dir := s.work("odd")
	s.run(dir, "push", "-q", "origin", "main")
	blob := strings.TrimSpace(s.run(dir, "hash-object", "-w", "README.md"))
	tree := func(mode, kind, sha, name string) string {
		file := filepath.Join(t.TempDir(), "tree")
		if err := os.WriteFile(file, fmt.Appendf(nil, "%s %s %s\t%s\n", mode, kind, sha, name), 0o600); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(s.run(dir, "-c", "alias.mk=!git mktree --missing < '"+file+"'", "mk"))
	}
	commit := func(tree string) string {
		return strings.TrimSpace(s.run(dir, "commit-tree", tree, "-m", "odd", "-p", "main"))
	}
	for name, reason := range map[string]string{".git": "hasDotgit", "..": "hasDotdot", ".": "hasDot", ".GIT": "hasDotgit"} {
		s.refused(dir, []string{reason, "unpack failed"}, "push", "origin", commit(tree("100644", "blob", blob, name))+":refs/heads/bad")
	}
	long := strings.Repeat("x", 250) + " \"odd\" 'name' ; $(touch pwned) *?"
	link := filepath.Join(s.root, "target")
	if err := os.WriteFile(link, []byte("/etc/passwd"), 0o600); err != nil {
		t.Fatal(err)
	}
	target := strings.TrimSpace(s.run(dir, "hash-object", "-w", link))
	for i, c := range []string{
		commit(tree("100644", "blob", blob, long)),
		commit(tree("120000", "blob", target, "out")),
		commit(tree("160000", "commit", strings.Repeat("1", 40), "module")),
	} {
		s.run(dir, "push", "-q", "origin", fmt.Sprintf("%s:refs/heads/good-%d", c, i))
	}
	for _, ref := range []string{"refs/heads/$(touch x)", "refs/heads/ä;rm -rf", "refs/heads/-x"} {
		out, err := s.try(dir, "push", "-q", "origin", "main:"+ref)
		if err != nil && !strings.Contains(out, "invalid refspec") && !strings.Contains(out, "funny refname") {
			t.Errorf("%s: %v %s", ref, err, out)
		}
	}
	for _, path := range []string{"/git/..%2f..%2fodd.git/info/refs?service=git-upload-pack", "/git/.hooks/info/refs?service=git-upload-pack", "/git/.empty.git/info/refs?service=git-upload-pack", "/git/odd.git/info/refs?service=git-shell"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("git", s.Token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	s.run(dir, "push", "-q", "origin", commit(s.bomb(dir, ".github", 6))+":refs/heads/bomb", commit(s.bomb(dir, "data", 6))+":refs/heads/bomb-2")
	long = strings.Repeat("long ", 100<<10)
	s.run(dir, "push", "-q", "origin", strings.TrimSpace(s.run(dir, "-c", "alias.mk=!printf '%s [skip ci]' '"+long[:90<<10]+"' | git commit-tree main^{tree} -p main", "mk"))+":refs/heads/long")
	s.consistent("odd")
	s.reads(dir)
	s.tooMuch(dir)
	bare := s.State.Path("repos", "odd.git")
	for _, name := range []string{"hooks", "README.md", "out", "module"} {
		if _, err := os.Lstat(filepath.Join(bare, name)); err == nil {
			t.Errorf("the bare repository has %s", name)
		}
	}
}

// tooMuch checks that what git would need too much memory to merge is not merged:
// a million files of one side, and the same ones on both.
func (s *site) tooMuch(dir string) {
	s.Helper()
	tree := s.sha(dir, s.sha(s.State.Path("repos", "odd.git"), "bomb-2")+"^{tree}")
	other := strings.TrimSpace(s.run(dir, "commit-tree", tree, "-m", "the same", "-p", "main"))
	s.run(dir, "push", "-q", "origin", other+":refs/heads/same")
	for i, in := range []map[string]any{{"head": "bomb-2"}, {"head": "same", "base": "bomb-2"}} {
		var pull struct {
			Mergeable bool
			Why       string
		}
		s.call("POST", "/api/wherry/repos/odd/pulls", in, &pull)
		if pull.Mergeable || !strings.Contains(pull.Why, "too much for git to merge") {
			s.Errorf("a million files can be merged: %+v", pull)
		}
		if err := s.ask("POST", fmt.Sprintf("/api/wherry/repos/odd/pulls/%d/merge", i+1), map[string]any{}, nil); wherry.CodeOf(err) != wherry.CodeExhausted {
			s.Errorf("they are merged: %v", err)
		}
	}
}

// bomb makes a tree with a folder in which each folder is ten times the next, and
// returns its id: of six levels it is a few hundred bytes for a million files.
func (s *site) bomb(dir, name string, levels int) string {
	s.Helper()
	tree := func(list string) string {
		file := filepath.Join(s.TempDir(), "tree")
		if err := os.WriteFile(file, []byte(list), 0o600); err != nil {
			s.Fatal(err)
		}
		return strings.TrimSpace(s.run(dir, "-c", "alias.mk=!git mktree < '"+file+"'", "mk"))
	}
	entry := "100644 blob " + s.sha(dir, "main:README.md")
	for range levels {
		list := ""
		for i := range 10 {
			list += fmt.Sprintf("%s\t%d\n", entry, i)
		}
		entry = "040000 tree " + tree(list)
	}
	return tree(entry + "\t" + name + "\n")
}

// reads checks how what is too large is read: it costs no more than the bounds.
func (s *site) reads(dir string) {
	s.Helper()
	st := gitstore.New(s.open())
	r, err := st.Repo(s.Context(), "odd")
	if err != nil {
		s.Fatal(err)
	}
	h := s.hosting(st)
	at := func(branch string) string { return s.sha(s.State.Path("repos", "odd.git"), branch) }
	if files, err := h.Files(s.Context(), r, at("bomb"), ".github"); wherry.CodeOf(err) != wherry.CodeExhausted || !strings.Contains(err.Error(), "git ls-tree has more to say than 16777216 bytes") {
		s.Errorf("a million files: %d %v", len(files), err)
	}
	for _, branch := range []string{"bomb", "bomb-2"} {
		for _, pair := range [][2]string{{at("main"), at(branch)}, {at(branch), at("main")}} {
			if paths, err := h.Differing(s.Context(), r, pair[0], pair[1]); paths != nil || err != nil {
				s.Errorf("what differs of a million files is known: %d (%v)", len(paths), err)
			}
		}
	}
	if c, err := h.Commit(s.Context(), r, at("long")); err != nil || c.SHA != at("long") || c.Email != "ada@example.com" || len(c.Subject)+len(c.Message) > 64<<10 {
		s.Errorf("a long message: %.60s %s, %d and %d bytes (%v)", c.SHA, c.Email, len(c.Subject), len(c.Message), err)
	}
}

// hosting is a service beside the server, of the same state.
func (s *site) hosting(st *gitstore.Store) *git.Service {
	s.Helper()
	h := git.New(git.Config{Store: st, State: s.State})
	if err := h.Start(s.Context()); err != nil {
		s.Fatal(err)
	}
	return h
}

// TestDiffering: the files that differ are those that git names, also where a
// file has become a folder; it is not known where a commit is not there.
func TestDiffering(t *testing.T) {
	s := newSite(t, nil)
	dir := s.work("app")
	first := s.sha(dir, "HEAD")
	for _, name := range []string{"a/b/c.txt", "a/b/d e.txt", "a/x", "ä/ö.txt", "sub/gone.txt", "same/same.txt"} {
		s.commit(dir, name, name)
	}
	second := s.sha(dir, "HEAD")
	s.run(dir, "rm", "-q", "-r", "a/x", "sub")
	s.commit(dir, "a/x/y/z.txt", "was a file")
	s.commit(dir, "a/b/c.txt", "changed")
	s.run(dir, "update-index", "--add", "--cacheinfo", "160000,"+first+",module")
	s.run(dir, "update-index", "--chmod=+x", "README.md")
	s.run(dir, "commit", "-q", "-m", "a module and a mode")
	third := s.sha(dir, "HEAD")
	s.run(dir, "push", "-q", "origin", "main")
	st := gitstore.New(s.open())
	r, err := st.Repo(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	h := s.hosting(st)
	for _, c := range [][2]string{{first, second}, {second, third}, {third, first}, {first, third}, {third, third}} {
		want := s.run(dir, "diff", "--name-only", "-z", "--no-renames", c[0], c[1])
		paths, err := h.Differing(t.Context(), r, c[0], c[1])
		got := ""
		for _, p := range paths {
			got += p + "\x00"
		}
		if err != nil || paths == nil || got != want {
			t.Errorf("between %.8s and %.8s differ\n%q, want\n%q (%v)", c[0], c[1], got, want, err)
		}
	}
	if paths, err := h.Differing(t.Context(), r, strings.Repeat("1", 40), third); paths != nil || err != nil {
		t.Errorf("of a commit that is not there: %q (%v)", paths, err)
	}
	broken := r
	broken.Name = "not-there"
	if paths, err := h.Differing(t.Context(), broken, first, third); err == nil {
		t.Errorf("of a repository that is not there: %q, and no error", paths)
	}
}

// TestWhoMayPush: who is no admin uses the repositories that they made, and no
// others.
func TestWhoMayPush(t *testing.T) {
	s := newSite(t, nil)
	dir := s.work("theirs")
	s.run(dir, "push", "-q", "origin", "main")
	token := s.user("eve@example.com")
	s.refused(s.root, []string{"remote: eve@example.com may not use the repository theirs"}, "ls-remote", s.urlAs("theirs", token))
	s.refused(dir, []string{"remote: there is no repository \"new\""}, "push", s.urlAs("new", token), "main")
	db := s.open()
	own, err := gitstore.New(db).Repo(t.Context(), "theirs")
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE git_repo SET creator = 'eve@example.com' WHERE id = $1`, own.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.run(dir, "push", "-q", s.urlAs("theirs", token), "main:topic")
	if list := s.pushes("theirs"); list[len(list)-1].Actor != "eve@example.com" {
		t.Errorf("%+v", list)
	}
}
