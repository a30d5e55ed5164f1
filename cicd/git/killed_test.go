package git_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/server/servertest"
)

// mortalSite is a server that can be killed, with a repository app and a clone of
// it whose main is pushed.
func mortalSite(t *testing.T) (m *servertest.Mortal, s *site, work string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git on the PATH")
	}
	m = servertest.StartMortal(t)
	s = &site{T: t, Server: m.Server, root: t.TempDir(), env: environment(t)}
	work = s.work("app")
	s.run(work, "push", "-q", "origin", "main")
	return m, s, work
}

// TestServerKilled kills the server with SIGKILL at each point of a push, and
// starts another: what git has is what the store has, once, with who did it.
func TestServerKilled(t *testing.T) {
	for _, c := range []struct {
		at, hook string
		moved    bool
	}{
		{"before refs may move", "pre-receive", false},
		{"after refs moved, before that is told", "post-receive", true},
	} {
		t.Run(c.at, func(t *testing.T) {
			m, s, work := mortalSite(t)
			old := s.sha(work, "main")
			s.commit(work, "b.txt", "b")
			// The hook is git's own step at that point.
			name := m.State.Path("repos", ".hooks", c.hook)
			hook, err := os.ReadFile(name)
			if err == nil {
				err = os.WriteFile(name, fmt.Appendf(nil, "#!/bin/sh\nkill -9 %d\n%s", m.Process.Process.Pid, hook), 0o700)
			}
			if err != nil {
				t.Fatal(err)
			}
			if out, err := s.try(work, "push", "origin", "main", "main:second"); err == nil {
				t.Fatalf("the push went well without a server\n%s", out)
			}
			_ = m.Process.Wait()

			s.Server = servertest.Start(t, func(cfg *server.Config) { cfg.State, cfg.KeepTriggers = m.State, true })
			s.run(work, "remote", "set-url", "origin", s.url("app"))
			s.run(work, "ls-remote", "origin")
			s.consistent("app")
			list, want := s.pushes("app"), 1
			if c.moved {
				want = 3
			}
			if len(list) != want {
				t.Fatalf("%d pushes, want %d: %+v", len(list), want, list)
			}
			for _, p := range list {
				if p.Actor != "admin@localhost" {
					t.Errorf("%+v: nobody knows who pushed", p)
				}
				if c.moved && p.Ref == "refs/heads/main" && p.ID != list[0].ID && p.Old != old {
					t.Errorf("%+v does not begin at %s", p, old)
				}
			}
			s.run(work, "push", "-q", "origin", "main", "main:second")
			s.consistent("app")
			if n := len(s.pushes("app")); n != 3 {
				t.Errorf("after another push there are %d, want 3", n)
			}
		})
	}
}

// TestMergeCutOff: a server that was killed after the base of a pull request
// moved and before that was stored leaves what is on the disk here; the next one
// ends the pull request, once, also where the merge is one commit of its own.
func TestMergeCutOff(t *testing.T) {
	m, s, work := mortalSite(t)
	s.run(work, "checkout", "-q", "-b", "topic")
	s.commit(work, "b.txt", "b")
	s.run(work, "push", "-q", "origin", "topic")
	var p pull
	s.call("POST", "/api/wherry/repos/app/pulls", map[string]any{"head": "topic"}, &p)
	m.Kill()
	bare := m.State.Path("repos", "app.git")
	squashed := strings.TrimSpace(s.run(bare, "commit-tree", p.HeadSHA+"^{tree}", "-p", p.BaseSHA, "-m", "topic (#1)"))
	note := fmt.Sprintf(`{"actor":"grace@example.com","pull":1,"merge":%q}`, squashed)
	if err := os.WriteFile(m.State.Path("repos", "app.git", "wherry.pusher"), []byte(note), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(bare, "update-ref", "refs/heads/main", squashed, p.BaseSHA)

	s.Server = servertest.Start(t, func(cfg *server.Config) { cfg.State, cfg.KeepTriggers = m.State, true })
	s.call("GET", "/api/wherry/repos/app/pulls/1", nil, &p)
	if p.State != "merged" || p.MergeSHA != squashed || p.ClosedBy != "grace@example.com" {
		t.Errorf("%+v", p)
	}
	if got := strings.Join(s.actions(), ", "); got != "1 opened open, 1 closed merged" {
		t.Errorf("the queue has %s", got)
	}
	s.consistent("app")
}

// TestCreationCutOff: a fork whose making was cut off, after it was stored and
// before its folder had its name, has its branches all the same; a creation that
// fails there leaves the name free.
func TestCreationCutOff(t *testing.T) {
	m, s, work := mortalSite(t)
	s.call("POST", "/api/wherry/repos", map[string]any{"name": "mine", "fork_of": "app"}, nil)
	m.Kill()
	if err := os.RemoveAll(m.State.Path("repos", "mine.git")); err != nil {
		t.Fatal(err)
	}

	s.Server = servertest.Start(t, func(cfg *server.Config) { cfg.State, cfg.KeepTriggers = m.State, true })
	if out := s.run(work, "ls-remote", s.url("mine"), "main"); !strings.HasPrefix(out, s.sha(work, "main")) {
		t.Errorf("the fork has %q", out)
	}
	if list := s.pushes("mine"); len(list) != 0 {
		t.Errorf("nobody pushed to the fork: %+v", list)
	}

	left := m.State.Path("repos", "left.git")
	if err := os.MkdirAll(filepath.Join(left, "refs"), 0o700); err != nil {
		t.Fatal(err)
	}
	in := map[string]any{"name": "left", "fork_of": "app"}
	s.denied(wherry.CodeInvalidState, "repos/left.git", "POST", "/api/wherry/repos", in)
	if err := os.RemoveAll(left); err != nil {
		t.Fatal(err)
	}
	s.call("POST", "/api/wherry/repos", in, nil)
}
