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

// TestApprovalIsTold: the reviewers of an environment, members of groups too,
// and those whom it names are told that a run waits, once, and how it was
// decided; who may not approve is not asked.
func TestApprovalIsTold(t *testing.T) {
	came, address, hook := receivers(t)
	s := newSite(t, func(c *server.Config) {
		post, err := notify.ParseMail("smtp://"+address+"?tls=none", "", "wherry@example.com")
		if err != nil {
			t.Fatal(err)
		}
		c.Notify = notify.Options{Mail: post, AllowHosts: []string{"127.0.0.1"}}
	})
	for _, name := range []string{"grace@example.com", "bob@example.com", "eve@example.com"} {
		s.call("POST", "/api/2.0/preview/scim/v2/Users", map[string]any{"userName": name}, nil)
	}
	s.call("POST", "/api/2.0/notification-destinations", map[string]any{"display_name": "hook", "config": map[string]any{"generic_webhook": map[string]any{"url": hook}}}, nil)
	s.denied("RESOURCE_DOES_NOT_EXIST", "no notification destination \"nowhere\"", "PUT", "/api/wherry/environments/prod", map[string]any{"name": "prod", "notify": []string{"nowhere"}})
	s.call("PUT", "/api/wherry/environments/prod", map[string]any{
		"name": "prod", "reviewers": []string{"grace@example.com", "bob@example.com", "admins"}, "notify": []string{"hook", "team@example.com"},
	}, nil)
	dir := s.repo("app", "")
	s.push(dir, "deploy.yml", strings.Replace(job("deploy", "push", "echo deployed"), "    steps:", "    environment: prod\n    steps:", 1))
	r := s.begun("app", "deploy", "push")
	s.waits(r.ID, workflow.Waiting)
	comes := func(want ...string) {
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
