package notify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/notify"
	"github.com/wherry-ml/wherry/store"
	outbox "github.com/wherry-ml/wherry/store/notify"
	"github.com/wherry-ml/wherry/store/storetest"
	"github.com/wherry-ml/wherry/store/workspace"
)

// TestMain is also the server that is killed: see TestKilled.
func TestMain(m *testing.M) {
	if dir := os.Getenv("WHERRY_TEST_SENDER"); dir != "" {
		if err := sendUntilKilled(dir, os.Getenv("WHERRY_TEST_SMTP")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func sendUntilKilled(dir, smtp string) error {
	ctx := context.Background()
	db, err := store.Open(ctx, "sqlite://"+filepath.Join(dir, "test.db"))
	if err != nil {
		return err
	}
	key, err := workspace.OpenKey(dir)
	if err != nil {
		return err
	}
	mail, err := notify.ParseMail(smtp, "otter", "wherry@example.com")
	if err != nil {
		return err
	}
	return notify.New(notify.Config{
		Options: notify.Options{Mail: mail, AllowHosts: []string{"127.0.0.1"}}, Store: outbox.New(db), Key: key, Epoch: int64(os.Getpid()), URL: "http://wherry.test",
	}).Run(ctx)
}

// site is an outbox with its sender.
type site struct {
	*testing.T
	store *outbox.Store
	key   *workspace.Key
	cfg   notify.Config
}

func open(t *testing.T, db *store.DB, options notify.Options) *site {
	t.Helper()
	key, err := workspace.OpenKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{T: t, store: outbox.New(db), key: key}
	s.cfg = notify.Config{Options: options, Store: s.store, Key: key, Epoch: 1, URL: "http://wherry.test"}
	return s
}

func (s *site) destination(c wherry.DestinationConfig) string {
	s.Helper()
	id := outbox.NewDestinationID()
	sealed, err := notify.SealConfig(s.key, id, &c)
	if err != nil {
		s.Fatal(err)
	}
	if err := s.store.CreateDestination(s.Context(), outbox.StoredDestination{ID: id, WorkspaceID: 1, Name: "d", Kind: c.Type(), Sealed: sealed}); err != nil {
		s.Fatal(err)
	}
	return id
}

var failed = outbox.Notice{
	WorkspaceID: 1, DedupKey: "jobs.on_failure/2/0", Kind: "jobs.on_failure", Subject: "[wherry] Job <otters> & co failed",
	Text: "Job otters failed.\nTask a: division by zero", Link: "/jobs/1/runs/2", Bad: true, RunID: 2,
	Body: json.RawMessage(`{"run":{"run_id":"2"},"job":{"job_id":"1","name":"otters"}}`),
}

// send has a notice sent to a destination and returns what became of it.
func (s *site) send(n outbox.Notice) outbox.Notification {
	s.Helper()
	list, err := s.store.Send(s.Context(), n)
	if err != nil || len(list) == 0 {
		s.Fatalf("enqueued %+v, %v", list, err)
	}
	if _, err := notify.New(s.cfg).Pass(s.Context()); err != nil {
		s.Fatal(err)
	}
	got, err := s.store.Get(s.Context(), 1, list[len(list)-1].ID)
	if err != nil {
		s.Fatal(err)
	}
	return got
}

func to(n outbox.Notice, id string) outbox.Notice {
	n.Destinations = []string{id}
	return n
}

// receiver is a server that notes what it is sent.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []map[string]any
	heads  []*http.Request
	answer func(w http.ResponseWriter, r *http.Request)
}

func receive(t *testing.T) *receiver {
	rec := &receiver{answer: func(http.ResponseWriter, *http.Request) {}}
	rec.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var doc map[string]any
		_ = json.Unmarshal(b, &doc)
		rec.mu.Lock()
		rec.bodies, rec.heads = append(rec.bodies, doc), append(rec.heads, r)
		rec.mu.Unlock()
		rec.answer(w, r)
	}))
	t.Cleanup(rec.Close)
	return rec
}

// at follows a path of keys and numbers into a document.
func at(doc any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := doc.(map[string]any)
			doc = m[p]
		case int:
			l, _ := doc.([]any)
			if p >= len(l) {
				return nil
			}
			doc = l[p]
		}
	}
	return doc
}

func TestChannels(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		rec := receive(t)
		s := open(t, db, notify.Options{AllowHosts: []string{"127.0.0.1"}, PagerDuty: rec.URL})
		for i, test := range []struct {
			config wherry.DestinationConfig
			want   map[string]any
			got    func(doc any) map[string]any
		}{
			{
				wherry.DestinationConfig{Slack: &wherry.SlackConfig{URL: rec.URL + "/services/T/B/secret"}},
				map[string]any{"text": "[wherry] Job &lt;otters&gt; &amp; co failed", "header": failed.Subject, "body": failed.Text, "link": "<http://wherry.test/jobs/1/runs/2|Open in wherry>"},
				func(doc any) map[string]any {
					return map[string]any{
						"text": at(doc, "text"), "header": at(doc, "blocks", 0, "text", "text"), "body": at(doc, "blocks", 1, "text", "text"), "link": at(doc, "blocks", 2, "text", "text"),
					}
				},
			},
			{
				wherry.DestinationConfig{Teams: &wherry.TeamsConfig{URL: rec.URL}},
				map[string]any{"type": "message", "card": "AdaptiveCard", "subject": failed.Subject, "color": "Attention", "link": "http://wherry.test/jobs/1/runs/2"},
				func(doc any) map[string]any {
					card := at(doc, "attachments", 0, "content")
					return map[string]any{
						"type": at(doc, "type"), "card": at(card, "type"), "subject": at(card, "body", 0, "text"), "color": at(card, "body", 0, "color"), "link": at(card, "actions", 0, "url"),
					}
				},
			},
			{
				wherry.DestinationConfig{Webhook: &wherry.WebhookConfig{URL: rec.URL, Username: "ada", Password: "pw"}},
				map[string]any{"event_type": "jobs.on_failure", "workspace_id": "1", "run_id": "2", "job_id": "1", "name": "otters"},
				func(doc any) map[string]any {
					return map[string]any{"event_type": at(doc, "event_type"), "workspace_id": at(doc, "workspace_id"), "run_id": at(doc, "run", "run_id"), "job_id": at(doc, "job", "job_id"), "name": at(doc, "job", "name")}
				},
			},
			{
				wherry.DestinationConfig{PagerDuty: &wherry.PagerDutyConfig{IntegrationKey: "R0UT1NG"}},
				map[string]any{"key": "R0UT1NG", "action": "trigger", "summary": failed.Subject, "severity": "error", "source": "wherry", "link": "http://wherry.test/jobs/1/runs/2"},
				func(doc any) map[string]any {
					return map[string]any{
						"key": at(doc, "routing_key"), "action": at(doc, "event_action"), "summary": at(doc, "payload", "summary"),
						"severity": at(doc, "payload", "severity"), "source": at(doc, "payload", "source"), "link": at(doc, "links", 0, "href"),
					}
				},
			},
		} {
			n := to(failed, s.destination(test.config))
			if got := s.send(n); got.State != outbox.Sent || got.Attempts != 1 || got.DoneAt == 0 {
				t.Fatalf("%s: %+v", test.config.Type(), got)
			}
			if got := test.got(rec.bodies[i]); fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("%s got\n%v, want\n%v", test.config.Type(), got, test.want)
			}
			if r := rec.heads[i]; r.Header.Get("Idempotency-Key") == "" || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: header %v", test.config.Type(), r.Header)
			}
			user, password, ok := rec.heads[i].BasicAuth()
			if hook := test.config.Webhook; ok != (hook != nil) || ok && (user != "ada" || password != "pw") {
				t.Errorf("%s signs in as %q", test.config.Type(), user)
			}
		}
		if path := rec.heads[3].URL.Path; path != "/v2/enqueue" {
			t.Errorf("PagerDuty's path is %s", path)
		}
		plain := failed
		plain.Body, plain.DedupKey = nil, "plain"
		s.send(to(plain, s.destination(wherry.DestinationConfig{Webhook: &wherry.WebhookConfig{URL: rec.URL}})))
		if doc := rec.bodies[4]; doc["subject"] != plain.Subject || doc["link"] != "http://wherry.test/jobs/1/runs/2" || doc["event_type"] != plain.Kind {
			t.Errorf("a notice without a document gives %v", doc)
		}
	})
}

// TestNothingSends: what nothing can send is kept, with what to do.
func TestNothingSends(t *testing.T) {
	s := open(t, storetest.SQLite(t), notify.Options{})
	mail := failed
	mail.Emails = []string{"ada@example.com"}
	if got := s.send(mail); got.State != outbox.Undeliverable || !strings.Contains(got.LastError, "--smtp") {
		t.Errorf("without a server for e-mail: %+v", got)
	}
	if got := s.send(to(failed, "11-22")); got.State != outbox.Undeliverable || !strings.Contains(got.LastError, "no notification destination 11-22") {
		t.Errorf("without the destination: %+v", got)
	}
	hook := s.destination(wherry.DestinationConfig{Webhook: &wherry.WebhookConfig{URL: "http://127.0.0.1:1"}})
	var err error
	if s.cfg.Key, err = workspace.OpenKey(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if got := s.send(to(failed, hook)); got.State != outbox.Undeliverable || !strings.Contains(got.LastError, "another key") {
		t.Errorf("with another key: %+v", got)
	}
}

// TestAnswers: a receiver that is not well is tried again, one that is gone is
// not; what it says is not repeated, nor is its URL.
func TestAnswers(t *testing.T) {
	rec := receive(t)
	s := open(t, storetest.SQLite(t), notify.Options{AllowHosts: []string{"127.0.0.1"}})
	hook := s.destination(wherry.DestinationConfig{Webhook: &wherry.WebhookConfig{URL: rec.URL + "/token-of-the-receiver"}})
	dead := s.destination(wherry.DestinationConfig{Webhook: &wherry.WebhookConfig{URL: "http://127.0.0.1:1/token-of-the-receiver"}})
	for i, test := range []struct {
		to     string
		status int
		header string
		state  string
		error  string
		after  time.Duration // at least
	}{
		{hook, 500, "", outbox.Pending, "the receiver answered 500 Internal Server Error", 5 * time.Second},
		{hook, 404, "", outbox.Pending, "the receiver answered 404 Not Found", 5 * time.Second},
		{hook, 429, "300", outbox.Pending, "the receiver answered 429 Too Many Requests", 290 * time.Second},
		{hook, 410, "", outbox.Failed, "the receiver answered 410 Gone", 0},
		{hook, 204, "", outbox.Sent, "", 0},
		{dead, 0, "", outbox.Pending, "connection refused", 5 * time.Second},
	} {
		rec.answer = func(w http.ResponseWriter, _ *http.Request) {
			if test.header != "" {
				w.Header().Set("Retry-After", test.header)
			}
			w.WriteHeader(test.status)
			if test.status != 204 {
				fmt.Fprint(w, "the password is hunter2")
			}
		}
		n := to(failed, test.to)
		n.DedupKey = fmt.Sprint(i)
		got := s.send(n)
		if got.State != test.state || !strings.Contains(got.LastError, test.error) || test.error == "" && got.LastError != "" {
			t.Errorf("%d: %s %q", test.status, got.State, got.LastError)
		}
		if strings.Contains(got.LastError, "hunter2") || strings.Contains(got.LastError, "token") {
			t.Errorf("%d: %q tells too much", test.status, got.LastError)
		}
		if test.after > 0 && time.Duration(got.NextAt-got.CreatedAt)*time.Millisecond < test.after {
			t.Errorf("%d: tried again after %d ms", test.status, got.NextAt-got.CreatedAt)
		}
	}
}

// TestBackOff: a receiver that is not there is tried for a day, more and more
// rarely, and then given up. Time passes by what is stored growing old: leases
// and attempts go by the database's clock, which no test can turn.
func TestBackOff(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := open(t, db, notify.Options{AllowHosts: []string{"127.0.0.1"}})
		n := s.send(to(failed, s.destination(wherry.DestinationConfig{Webhook: &wherry.WebhookConfig{URL: "http://127.0.0.1:1"}})))
		var total, longest time.Duration
		for n.State == outbox.Pending && n.Attempts < 100 {
			wait, err := notify.New(s.cfg).Pass(t.Context())
			if err != nil || wait <= 0 {
				t.Fatalf("attempt %d is tried again at once: %s, %v", n.Attempts, wait, err)
			}
			if most := 10 * time.Second << (n.Attempts - 1); wait > most || wait > 6*time.Hour || n.Attempts < 12 && wait < most/2-time.Second {
				t.Errorf("after attempt %d it waits %s", n.Attempts, wait)
			}
			total, longest = total+wait, max(longest, wait)
			err = db.Write(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(`UPDATE notification SET since = since - $1, next_at = next_at - $1`, wait.Milliseconds()+1)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := notify.New(s.cfg).Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n, err = s.store.Get(t.Context(), 1, n.ID); err != nil {
				t.Fatal(err)
			}
		}
		if n.State != outbox.Failed || n.Attempts < 12 || n.Attempts > 30 || !strings.Contains(n.LastError, "refused") {
			t.Errorf("at the end: %+v", n)
		}
		if total > 24*time.Hour || total < 12*time.Hour || longest < 3*time.Hour {
			t.Errorf("given up after %s, the longest wait was %s", total, longest)
		}
	})
}

// TestLoop: the loop sends what is enqueued while it waits, and what has become
// due in the meantime, and ends when it is told to.
func TestLoop(t *testing.T) {
	rec := receive(t)
	s := open(t, storetest.SQLite(t), notify.Options{AllowHosts: []string{"127.0.0.1"}})
	hook := s.destination(wherry.DestinationConfig{Webhook: &wherry.WebhookConfig{URL: rec.URL}})
	came := make(chan string)
	rec.answer = func(_ http.ResponseWriter, r *http.Request) { came <- r.Header.Get("Idempotency-Key") }
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- notify.New(s.cfg).Run(ctx) }()
	seen := map[string]bool{}
	for i := range 20 {
		n := to(failed, hook)
		n.DedupKey = fmt.Sprint(i)
		if _, err := s.store.Send(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 { // one by one, and several at once
			for range 10 {
				seen[<-came] = true
			}
		}
	}
	stop()
	if err := <-done; err != nil || len(seen) != 20 {
		t.Errorf("%d notices came, %v", len(seen), err)
	}
}

// TestKilled: a server that is killed after the receiver has the notice and
// before it knows sends it again, and the receiver can tell.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(t.Context(), "sqlite://"+filepath.Join(dir, "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := open(t, db, notify.Options{})
	if s.key, err = workspace.OpenKey(dir); err != nil {
		t.Fatal(err)
	}
	rec, post := receive(t), newPostOffice(t, true)
	n := to(failed, s.destination(wherry.DestinationConfig{Webhook: &wherry.WebhookConfig{URL: rec.URL}}))
	n.Emails = []string{"ada@example.com"}
	list, err := s.store.Send(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}

	var arrived sync.WaitGroup
	arrived.Add(2)
	rec.answer = func(_ http.ResponseWriter, r *http.Request) { arrived.Done(); <-r.Context().Done() } // never answers
	post.accepted = func() error { arrived.Done(); select {} }
	first := sender(t, dir, post)
	arrived.Wait()
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	for _, one := range list {
		if got, err := s.store.Get(t.Context(), 1, one.ID); err != nil || got.State != outbox.Pending {
			t.Fatalf("after the kill: %+v, %v", got, err)
		}
	}

	rec.answer, post.accepted = func(http.ResponseWriter, *http.Request) {}, nil
	second := sender(t, dir, post)
	defer func() { _ = second.Process.Kill(); _ = second.Wait() }()
	look := time.NewTicker(10 * time.Millisecond) // the other process wakes nobody here
	defer look.Stop()
	for _, one := range list {
		for {
			got, err := s.store.Get(t.Context(), 1, one.ID)
			if err != nil {
				t.Fatal(err)
			}
			if got.State == outbox.Sent && got.Attempts == 2 {
				break
			}
			if got.State != outbox.Pending {
				t.Fatalf("after the restart: %+v", got)
			}
			<-look.C
		}
	}
	if len(rec.heads) != 2 || rec.heads[0].Header.Get("Idempotency-Key") != rec.heads[1].Header.Get("Idempotency-Key") {
		t.Errorf("the webhook was called %d times", len(rec.heads))
	}
	if mails := post.mails(); len(mails) != 2 || mails[0].Header.Get("Message-Id") != mails[1].Header.Get("Message-Id") || mails[0].Header.Get("Message-Id") == "" {
		t.Errorf("%d e-mails came: %+v", len(mails), mails)
	}
}

// sender starts a process that sends.
func sender(t *testing.T, dir string, post *postOffice) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "WHERRY_TEST_SENDER="+dir, "WHERRY_TEST_SMTP=smtp://ada@"+post.address, "SSL_CERT_FILE="+post.cert, "SSL_CERT_DIR="+dir)
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}
