package cicd_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/wherry-ml/wherry/notify"
	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/workflow"
)

// postman is a real server for e-mail that tells what came, as "to: subject".
type postman struct {
	came chan string
	to   string
}

func (p *postman) Mail(string, *smtp.MailOptions) error { return nil }

func (p *postman) Rcpt(to string, _ *smtp.RcptOptions) error {
	p.to = to
	return nil
}

func (p *postman) Data(r io.Reader) error {
	m, err := mail.ReadMessage(r)
	if err == nil {
		p.came <- p.to + ": " + m.Header.Get("Subject")
	}
	return err
}

func (p *postman) Reset()        {}
func (p *postman) Logout() error { return nil }

// receivers serve e-mail, at the address returned, and a webhook.
func receivers(t *testing.T) (came chan string, address, hook string) {
	t.Helper()
	came = make(chan string, 20)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	post := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &postman{came: came}, nil }))
	go func() { _ = post.Serve(l) }()
	t.Cleanup(func() { _ = post.Close() })
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var doc struct {
			Event   string `json:"event_type"`
			Subject string `json:"subject"`
		}
		if err := json.NewDecoder(r.Body).Decode(&doc); err != nil {
			doc.Event = err.Error()
		}
		came <- doc.Event + ": " + doc.Subject
	}))
	t.Cleanup(web.Close)
	return came, l.Addr().String(), web.URL
}

// told is a site whose notices come to real receivers, by e-mail and at the
// destination "hook" of the installation, and what waits for the next of them.
func told(t *testing.T) (s *site, comes func(want ...string)) {
	t.Helper()
	came, address, hook := receivers(t)
	s = newSite(t, func(c *server.Config) {
		post, err := notify.ParseMail("smtp://"+address+"?tls=none", "", "wherry@example.com")
		if err != nil {
			t.Fatal(err)
		}
		c.Notify = notify.Options{Mail: post, AllowHosts: []string{"127.0.0.1"}}
	})
	s.call("POST", "/api/2.0/notification-destinations", map[string]any{"display_name": "hook", "installation": true, "config": map[string]any{"generic_webhook": map[string]any{"url": hook}}}, nil)
	return s, func(want ...string) {
		t.Helper()
		var got []string
		for range want {
			select {
			case text := <-came:
				got = append(got, text)
			case <-time.After(time.Minute):
				t.Fatalf("of %q came %q only", want, got)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("came %q, want %q", got, want)
		}
	}
}

// TestApprovalIsTold: the reviewers of an environment, members of groups too,
// and those whom it names are told that a run waits, once, and how it was
// decided; who may not approve is not asked.
func TestApprovalIsTold(t *testing.T) {
	s, comes := told(t)
	for _, name := range []string{"grace@example.com", "bob@example.com", "eve@example.com"} {
		s.call("POST", "/api/2.0/preview/scim/v2/Users", map[string]any{"userName": name}, nil)
	}
	s.denied("RESOURCE_DOES_NOT_EXIST", "no notification destination \"nowhere\"", "PUT", "/api/wherry/environments/prod", map[string]any{"name": "prod", "notify": []string{"nowhere"}})
	s.call("PUT", "/api/wherry/environments/prod", map[string]any{
		"name": "prod", "reviewers": []string{"grace@example.com", "bob@example.com", "admins"}, "notify": []string{"hook", "team@example.com"},
	}, nil)
	dir := s.repo("app", "")
	s.push(dir, "deploy.yml", strings.Replace(job("deploy", "push", "echo deployed"), "    steps:", "    environment: prod\n    steps:", 1))
	r := s.begun("app", "deploy", "push")
	s.waits(r.ID, workflow.Waiting)
	const waits = "[wherry/app] deploy waits for an approval of prod (main)"
	comes("bob@example.com: "+waits, "grace@example.com: "+waits, "team@example.com: "+waits, "ci.approval.waiting: "+waits)
	s.call("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/review", r.ID), map[string]any{"decision": "approved", "reason": "read"}, nil)
	const given = "[wherry/app] admin@localhost approved the deployment to prod (main)"
	comes("team@example.com: "+given, "ci.approval.decided: "+given)
	s.ended(r.ID, workflow.Success)
	if n := s.count(`SELECT count(*) FROM notification`); n != 6 {
		t.Errorf("%d notifications", n)
	}
}

// TestOutcomeIsTold: how a run ended is told once for each attempt: a failure to
// the author and to the destinations of the installation, or to those whom the
// repository names instead; a success to those alone whom it names.
func TestOutcomeIsTold(t *testing.T) {
	s, comes := told(t)
	dir := s.repo("app", "")
	s.push(dir, "ci.yml", job("ci", "push", `echo "${{ github.event.head_commit.message }}" | grep good`))
	r := s.begun("app", "ci", "push")
	s.ended(r.ID, workflow.Failure)
	const failed, well = "[wherry/app] ci: failure (main)", "[wherry/app] ci: success (main)"
	comes("ada@example.com: "+failed, "ci.run.finished: "+failed)
	s.push(dir, "good", "")
	s.ended(s.begunAt("app", s.git(dir, "rev-parse", "HEAD")).ID, workflow.Success) // nobody is told

	const setting = "/api/wherry/repos/app/notify"
	s.denied("RESOURCE_DOES_NOT_EXIST", "no notification destination \"nowhere\"", "PUT", setting, map[string]any{"on_failure": []string{"nowhere"}})
	s.denied("INVALID_PARAMETER_VALUE", "is not an e-mail address", "PUT", setting, map[string]any{"on_success": []string{"a b@"}})
	var now struct {
		OnFailure []string `json:"on_failure"`
		OnSuccess []string `json:"on_success"`
	}
	s.call("PUT", setting, map[string]any{"on_failure": []string{"team@example.com", "ada@example.com"}}, nil)
	s.call("PUT", setting, map[string]any{"on_success": []string{"releases@example.com", "hook"}}, nil)
	s.call("GET", setting, nil, &now)
	if len(now.OnFailure) != 2 || len(now.OnSuccess) != 2 || now.OnSuccess[1] == "hook" {
		t.Errorf("the setting: %+v", now)
	}
	s.call("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/rerun", r.ID), map[string]any{}, nil)
	comes("ada@example.com: "+failed, "team@example.com: "+failed)
	s.push(dir, "good again", "")
	comes("releases@example.com: "+well, "ci.run.finished: "+well)
	s.push(dir, "broken.yml", "on: push\njobs: 7\n")
	const broken = "[wherry/app] .github/workflows/broken.yml: startup_failure (main)"
	comes("ada@example.com: "+broken, "team@example.com: "+broken, "ada@example.com: "+failed, "team@example.com: "+failed)
	if n := s.count(`SELECT count(*) FROM notification`); n != 10 {
		t.Errorf("%d notifications", n)
	}
}

// TestPullRequestIsTold: of a pull request the author of its head is told, and
// not that of the merge, which is the server.
func TestPullRequestIsTold(t *testing.T) {
	s, comes := told(t)
	dir := s.repo("app", "")
	s.push(dir, "pull.yml", job("pull", "pull_request", "false"))
	s.git(dir, "checkout", "-qb", "idea")
	s.git(dir, "commit", "-q", "--allow-empty", "-m", "an idea", "--author", "Bob <bob@example.com>")
	s.git(dir, "push", "-q", "origin", "idea")
	s.call("POST", "/api/wherry/repos/app/pulls", map[string]any{"head": "idea"}, nil)
	s.ended(s.begun("app", "pull", "pull_request").ID, workflow.Failure)
	const failed = "[wherry/app] pull: failure (1/merge)"
	comes("bob@example.com: "+failed, "ci.run.finished: "+failed)
}

// begunAt waits for a run of a commit.
func (s *site) begunAt(repo, sha string) (found *workflow.Run) {
	s.Helper()
	s.until("a run of "+sha, func() bool {
		for _, r := range s.runs(repo) {
			if r.Event.SHA == sha {
				found = r
			}
		}
		return found != nil
	})
	return found
}
