package git_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/client"
	gitstore "github.com/wherry-ml/wherry/store/git"
)

// call asks the server's API as the admin; the answer goes to out unless nil.
func (s *site) call(method, path string, in, out any) {
	s.Helper()
	if err := s.ask(method, path, in, out); err != nil {
		s.Fatalf("%s %s: %v", method, path, err)
	}
}

func (s *site) ask(method, path string, in, out any) error {
	return client.New(s.URL, s.Token).Do(s.Context(), method, path, in, out)
}

// denied asks for what must be refused, with the code and the words.
func (s *site) denied(code, words, method, path string, in any) {
	s.Helper()
	err := s.ask(method, path, in, nil)
	if wherry.CodeOf(err) != code || !strings.Contains(err.Error(), words) {
		s.Errorf("%s %s: %v, want %s that says %q", method, path, err, code, words)
	}
}

// pull is a pull request as the API shows it.
type pull struct {
	Number    int64
	State     string
	Title     string
	HeadSHA   string `json:"head_sha"`
	BaseSHA   string `json:"base_sha"`
	MergeSHA  string `json:"merge_sha"`
	HeadRepo  string `json:"head_repo"`
	Mergeable bool
	Why       string
	ClosedBy  string `json:"closed_by"`
	Comments  []struct{ Body string }
}

// actions are what the pull requests of the queue did, with the state then.
func (s *site) actions() (list []string) {
	s.Helper()
	waiting, err := gitstore.New(s.open()).Pending(s.Context(), 1000)
	if err != nil {
		s.Fatal(err)
	}
	for _, t := range waiting {
		if t.Pull != nil {
			list = append(list, fmt.Sprintf("%d %s %s", t.Pull.Number, t.Action, t.Pull.State))
		}
	}
	return list
}

func (s *site) status(repo, sha, context, state string) {
	s.Helper()
	s.call("POST", "/api/wherry/repos/"+repo+"/commits/"+sha+"/statuses", map[string]any{"context": context, "state": state}, nil)
}

// TestProtection: what a protected branch refuses is said by git itself, and
// nothing of the push remains.
func TestProtection(t *testing.T) {
	s := newSite(t, nil)
	dir := s.work("p")
	protections := "/api/wherry/repos/p/protections"
	s.call("POST", "/api/wherry/repos", map[string]any{"name": "p"}, nil)
	s.call("PUT", protections, map[string]any{"pattern": "main", "required_checks": []string{"ci"}}, nil)
	s.call("PUT", protections, map[string]any{"pattern": "release/*"}, nil)
	s.run(dir, "push", "-q", "origin", "main") // the first push has nothing to protect
	first := s.sha(dir, "main")
	second := s.commit(dir, "b.txt", "b")
	s.refused(dir, []string{"remote: main is protected: " + second[:12] + " needs checks that are not green: ci (not reported)", "pre-receive hook declined"}, "push", "origin", "main")
	s.run(dir, "push", "-q", "origin", "main:topic")
	s.status("p", second, "ci", "pending")
	s.refused(dir, []string{"ci (pending)"}, "push", "origin", "main")
	s.status("p", second, "ci", "success")
	s.run(dir, "push", "-q", "origin", "main", "main:release/1")

	s.run(dir, "checkout", "-q", "-b", "other", first)
	s.commit(dir, "c.txt", "c")
	s.refused(dir, []string{"main is protected: no forced pushes", "Nothing was pushed"}, "push", "--force", "origin", "other:main", "other:elsewhere")
	s.refused(dir, []string{"release/1 is protected: it may not be deleted"}, "push", "origin", "--delete", "release/1")
	if out := s.run(dir, "ls-remote", "origin", "elsewhere"); out != "" {
		t.Errorf("a part of the refused push is there: %s", out)
	}
	s.call("PUT", protections, map[string]any{"pattern": "main", "pull_request": true}, nil)
	s.run(dir, "checkout", "-q", "main")
	s.commit(dir, "d.txt", "d")
	s.refused(dir, []string{"changes come by pull request", "wherry pr open"}, "push", "origin", "main")
	s.call("DELETE", protections+"?pattern=main", nil, nil)
	s.run(dir, "push", "-q", "origin", "main")
	s.denied(wherry.CodeInvalidParameter, "no pattern", "PUT", protections, map[string]any{"pattern": "[a"})
	s.denied(wherry.CodeDoesNotExist, "no commit", "POST", "/api/wherry/repos/p/commits/"+strings.Repeat("a", 40)+"/statuses", map[string]any{"state": "success"})
	s.refused(dir, []string{"deny updating a hidden ref"}, "push", "origin", "main:refs/pull/1/head")
	s.consistent("p")
}

// TestPullRequest is the life of pull requests: opened, pushed to, in the way of
// each other, merged both ways, closed by hand and by what happens to their
// branches.
func TestPullRequest(t *testing.T) {
	s := newSite(t, nil)
	dir, pulls := s.work("app"), "/api/wherry/repos/app/pulls"
	s.run(dir, "push", "-q", "origin", "main")
	branch := func(name, file, text string) string {
		s.Helper()
		s.run(dir, "checkout", "-q", "-B", name, "main")
		sha := s.commit(dir, file, text)
		s.run(dir, "push", "-q", "origin", name)
		return sha
	}
	open := func(head string) (p pull) {
		s.Helper()
		s.call("POST", pulls, map[string]any{"head": head}, &p)
		return p
	}
	show := func(n int64) (p pull) {
		s.Helper()
		s.call("GET", fmt.Sprint(pulls, "/", n), nil, &p)
		return p
	}

	one := branch("one", "one.txt", "1")
	s.call("PUT", "/api/wherry/repos/app/protections", map[string]any{"pattern": "main", "pull_request": true, "required_checks": []string{"ci"}}, nil)
	p := open("one")
	if p.Number != 1 || p.HeadSHA != one || p.Title != "change one.txt" || p.Mergeable || !strings.Contains(p.Why, "ci (not reported)") {
		t.Errorf("%+v", p)
	}
	s.denied(wherry.CodeAlreadyExists, "pull request 1", "POST", pulls, map[string]any{"head": "one"})
	s.denied(wherry.CodeDoesNotExist, "git push -u origin none", "POST", pulls, map[string]any{"head": "none"})
	s.denied(wherry.CodeInvalidState, "has nothing that", "POST", pulls, map[string]any{"head": "main", "base": "one"})
	s.run(dir, "fetch", "-q", "origin", "refs/pull/1/head", "refs/pull/1/merge:refs/test/merge")
	if got := s.run(dir, "log", "-1", "--format=%P", "refs/test/merge"); strings.TrimSpace(got) != p.BaseSHA+" "+one {
		t.Errorf("the merge is of %s", got)
	}
	s.denied(wherry.CodeInvalidState, "ci (not reported)", "POST", pulls+"/1/merge", map[string]any{})
	two := s.commit(dir, "one.txt", "2")
	s.run(dir, "push", "-q", "origin", "one")
	if p = show(1); p.HeadSHA != two {
		t.Errorf("after a push it is at %s, want %s", p.HeadSHA, two)
	}
	s.status("app", two, "ci", "success")
	s.denied(wherry.CodeConflict, "has moved", "POST", pulls+"/1/merge", map[string]any{"sha": one})
	s.call("POST", pulls+"/1/comments", map[string]any{"body": "well done"}, nil)
	s.call("POST", pulls+"/1/merge", map[string]any{"delete_head": true, "sha": two}, &p)
	if p.State != "merged" || p.ClosedBy != "admin@localhost" || len(p.Comments) != 1 {
		t.Errorf("%+v", p)
	}
	s.run(dir, "fetch", "-q", "--prune", "origin")
	if s.sha(dir, "origin/main") != p.MergeSHA || s.sha(dir, "origin/main^2") != two {
		t.Errorf("main is at %s, whose second parent is %s; want %s and %s", s.sha(dir, "origin/main"), s.sha(dir, "origin/main^2"), p.MergeSHA, two)
	}
	s.refused(dir, nil, "rev-parse", "--verify", "-q", "origin/one")

	// Two that are in each other's way; one is squashed.
	s.run(dir, "checkout", "-q", "main")
	s.run(dir, "merge", "-q", "--ff-only", "origin/main")
	left := branch("left", "same.txt", "left")
	s.commit(dir, "left.txt", "more")
	s.run(dir, "push", "-q", "origin", "left")
	branch("right", "same.txt", "right")
	l, r := open("left"), open("right")
	s.status("app", l.HeadSHA, "ci", "success")
	s.status("app", r.HeadSHA, "ci", "success")
	s.call("POST", fmt.Sprint(pulls, "/", l.Number, "/merge"), map[string]any{"method": "squash"}, &l)
	s.run(dir, "fetch", "-q", "origin")
	if got := strings.TrimSpace(s.run(dir, "log", "-1", "--format=%s %P %an", "origin/main")); got != "change left.txt (#2) "+l.BaseSHA+" Ada" {
		t.Errorf("the squashed commit: %s", got)
	}
	if s.sha(dir, "origin/main:same.txt") != s.sha(dir, left+":same.txt") {
		t.Error("the squashed commit has not the branch's file")
	}
	s.denied(wherry.CodeConflict, "same lines of same.txt", "POST", fmt.Sprint(pulls, "/", r.Number, "/merge"), map[string]any{})
	s.denied(wherry.CodeNotImplemented, "rebase", "POST", fmt.Sprint(pulls, "/", r.Number, "/merge"), map[string]any{"method": "rebase"})
	s.call("POST", fmt.Sprint(pulls, "/", r.Number, "/close"), nil, &r)
	s.denied(wherry.CodeInvalidState, "is closed", "POST", fmt.Sprint(pulls, "/", r.Number, "/merge"), map[string]any{})
	s.call("POST", fmt.Sprint(pulls, "/", r.Number, "/reopen"), nil, &r)
	if r.State != "open" || r.Mergeable || r.MergeSHA != "" {
		t.Errorf("%+v", r)
	}
	s.run(dir, "push", "-q", "origin", "--delete", "right")
	if r = show(r.Number); r.State != "closed" {
		t.Errorf("its branch is gone and it is %s", r.State)
	}
	want := "1 opened open, 1 synchronize open, 1 closed merged, 2 opened open, 3 opened open, 2 closed merged, 3 closed closed, 3 reopened open, 3 closed closed"
	if got := strings.Join(s.actions(), ", "); got != want {
		t.Errorf("the queue has\n%s, want\n%s", got, want)
	}
	var list struct{ Pulls []pull }
	s.call("GET", pulls+"?state="+url.QueryEscape("all"), nil, &list)
	if len(list.Pulls) != 3 {
		t.Errorf("%+v", list)
	}
	s.consistent("app")
}

// TestFork: a pull request from a fork is marked as one, and merges.
func TestFork(t *testing.T) {
	s := newSite(t, nil)
	dir := s.work("base")
	s.run(dir, "push", "-q", "origin", "main")
	s.call("POST", "/api/wherry/repos", map[string]any{"name": "mine", "fork_of": "base"}, nil)
	s.run(dir, "checkout", "-q", "-b", "topic")
	s.commit(dir, "x.txt", "x")
	s.run(dir, "push", "-q", s.url("mine"), "topic")
	if n := len(s.pushes("mine")); n != 1 {
		t.Errorf("the fork has %d pushes: making it is none", n)
	}
	var p pull
	s.call("POST", "/api/wherry/repos/base/pulls", map[string]any{"head": "mine:topic"}, &p)
	if p.HeadRepo != "mine" || !p.Mergeable {
		t.Errorf("%+v", p)
	}
	waiting, err := gitstore.New(s.open()).Pending(t.Context(), 10)
	if last := waiting[len(waiting)-1]; err != nil || last.Pull == nil || !last.Pull.Fork() {
		t.Errorf("%v %+v", err, last)
	}
	sha := s.commit(dir, "y.txt", "y")
	s.run(dir, "push", "-q", s.url("mine"), "topic")
	s.call("GET", "/api/wherry/repos/base/pulls/1", nil, &p)
	if p.HeadSHA != sha {
		t.Errorf("after a push to the fork it is at %s, want %s", p.HeadSHA, sha)
	}
	s.call("POST", "/api/wherry/repos/base/pulls/1/merge", map[string]any{}, &p)
	s.run(dir, "fetch", "-q", "origin")
	if s.sha(dir, "origin/main^2") != sha {
		t.Error("the fork's commit is not in main")
	}
	s.denied(wherry.CodeInvalidParameter, "no fork", "POST", "/api/wherry/repos/mine/pulls", map[string]any{"head": "base:main"})
	s.consistent("base")
}
