package git_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/store"
	gitstore "github.com/wherry-ml/wherry/store/git"
	"github.com/wherry-ml/wherry/store/storetest"
)

// oddRefs are names that git takes, and PostgreSQL not as text or in an index.
var oddRefs = []string{"refs/heads/\xff\xfe", "refs/heads/" + strings.Repeat(strings.Repeat("x", 240)+"/", 12) + "x"}

// TestOddNames: what git takes, and a database does not, makes no repository
// unusable: refs are refused, or left out of a mirror, and what commits say
// becomes text.
func TestOddNames(t *testing.T) {
	database := storetest.Postgres(t)
	s := newSite(t, func(cfg *server.Config) { cfg.Database = database })
	dir := s.work("app")
	s.run(dir, "push", "-q", "origin", "main")
	s.refused(dir, []string{"is not UTF-8", "Nothing was pushed"}, "push", "origin", "main:"+oddRefs[0])
	s.refused(dir, []string{"has 2904 bytes: 255 at most", "Nothing was pushed"}, "push", "origin", "main:"+oddRefs[1], "main:fine")
	s.run(dir, "push", "-q", "origin", "main:"+"refs/heads/"+strings.Repeat("ä", 122))

	bare := s.State.Path("repos", "app.git")
	for _, ref := range oddRefs { // from before there was a rule
		s.run(bare, "update-ref", ref, s.sha(dir, "main"))
		s.run(dir, "push", "-q", "origin", "--delete", ref)
	}

	file := filepath.Join(s.root, "commit") // `git commit` would make text of it
	text := fmt.Sprintf("tree %s\nparent %s\nauthor A\xffda <a\xff@example.com> 1 +0000\ncommitter A <a@b> 1 +0000\n\na \xff title\n\nand \xfe text\n", s.sha(dir, "main^{tree}"), s.sha(dir, "main"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	odd := strings.TrimSpace(s.run(dir, "hash-object", "-t", "commit", "-w", file))
	s.run(dir, "push", "-q", "origin", odd+":refs/heads/odd")
	var p struct{ Title string }
	s.call("POST", "/api/wherry/repos/app/pulls", map[string]any{"head": "odd"}, &p)
	if p.Title != "a \ufffd title" {
		t.Errorf("the pull request is called %q", p.Title)
	}
	db, err := store.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	st := gitstore.New(db)
	r, err := st.Repo(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	h := s.hosting(st)
	c, err := h.Commit(t.Context(), r, odd)
	list, failed := h.Log(t.Context(), r, odd, 0, 1)
	if err != nil || failed != nil || c.Author != "A\ufffdda" || c.Email != "a\ufffd@example.com" || !strings.HasSuffix(c.Message, "and \ufffd text") || len(list) != 1 || list[0].Author != c.Author {
		t.Errorf("the commit says %+v (%v), the log %+v (%v)", c, err, list, failed)
	}
	s.run(s.root, "clone", "-q", s.url("app"), filepath.Join(s.root, "clone"))
}

// TestOddMirror: the odd refs of a mirror's original are left out, and the others
// are followed; a long title of a pull request is cut between two characters.
func TestOddMirror(t *testing.T) {
	database := storetest.Postgres(t)
	s := newSite(t, func(cfg *server.Config) { cfg.Database = database })
	f := newForge(s)
	first := f.push("main", "a.txt", "a")
	f.run(f.dir, "update-ref", oddRefs[0], first)
	f.mirror("", nil)
	f.run(f.dir, "update-ref", oddRefs[1], first)
	second := f.push("main", "b.txt", "b")
	s.call("POST", "/api/wherry/repos/app/mirror/fetch", nil, nil)
	if out := s.run(s.root, "ls-remote", s.url("app"), "main"); !strings.HasPrefix(out, second) {
		t.Errorf("the mirror has %s", out)
	}
	var hook struct{ Secret string }
	s.call("PUT", "/api/wherry/repos/app/hooks/github", map[string]any{}, &hook)
	body := fmt.Sprintf(`{"action":"opened","sender":{"login":"eve"},"repository":{"full_name":"team/app"},"pull_request":{"number":7,"title":"x%s","user":{"login":"eve"},
		"base":{"ref":"main","repo":{"full_name":"team/app"}},"head":{"ref":"topic","sha":%q,"repo":{"full_name":"team/app"}}}}`, strings.Repeat("ä", 600), second)
	f.run(f.dir, "update-ref", "refs/pull/7/head", second)
	if status, answer := s.hook("github", body, map[string]string{"X-Hub-Signature-256": signed(hook.Secret, body), "X-GitHub-Event": "pull_request"}); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, answer)
	}
	var p struct{ Title string }
	s.until(func() bool { return s.ask("GET", "/api/wherry/repos/app/pulls/7", nil, &p) == nil })
	if p.Title != "x"+strings.Repeat("ä", 499) {
		t.Errorf("its title has %d bytes and ends with %q", len(p.Title), p.Title[max(0, len(p.Title)-10):])
	}
}
