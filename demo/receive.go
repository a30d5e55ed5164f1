package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/mail"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// Receivers stand where Slack and the team's mail server would: real HTTP and
// SMTP, on loopback.
type Receivers struct {
	web, post net.Listener
	mu        sync.Mutex
	slack     []string
	mails     []string // subjects
}

// Listen opens both.
func (r *Receivers) Listen() (err error) {
	if r.web, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	r.post, err = net.Listen("tcp", "127.0.0.1:0")
	return err
}

// Names of the receivers, as the workflows know them.
const (
	slackHost = "hooks.slack.example"
	mailHost  = "mail.example.com"
)

// Reach is what `wherry up --reach` is told of them.
func (r *Receivers) Reach() []string {
	return []string{
		"--reach", slackHost + ":80=" + r.web.Addr().String(), "--reach", mailHost + ":25=" + r.post.Addr().String(),
		"--smtp", "smtp://" + r.post.Addr().String() + "?tls=none", "--smtp-from", "wherry@example.com",
	}
}

// Run serves until ctx ends.
func (r *Receivers) Run(ctx context.Context) {
	web := &http.Server{Handler: http.HandlerFunc(r.hook), ReadHeaderTimeout: 10 * time.Second}
	post := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{r: r}, nil }))
	post.Domain, post.AllowInsecureAuth = mailHost, true
	var serving sync.WaitGroup
	serving.Go(func() { _ = web.Serve(r.web) }) // until it is closed
	serving.Go(func() { _ = post.Serve(r.post) })
	<-ctx.Done()
	_ = web.Close()
	_ = post.Close()
	serving.Wait()
}

func (r *Receivers) hook(_ http.ResponseWriter, q *http.Request) {
	b, err := io.ReadAll(io.LimitReader(q.Body, 1<<20))
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.slack = append(r.slack, string(b))
	}
}

// outcomes are how runs end, as the project's workflows write it.
var outcomes = regexp.MustCompile(`: (success|failure)\b`)

// arrived counts the messages of each way and those among them that name a run's
// outcome, and fails unless each way brought one of these.
func (r *Receivers) arrived() (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var counts []string
	var missing error
	for _, way := range []struct {
		name string
		came []string
	}{{"messages to Slack", r.slack}, {"e-mails", r.mails}} {
		named, last := 0, ""
		for _, text := range way.came {
			if outcomes.MatchString(text) {
				named, last = named+1, text
			}
		}
		counts = append(counts, fmt.Sprintf("%d %s, %d of them with a run's outcome", len(way.came), way.name, named))
		if named == 0 {
			missing = errors.Join(missing, fmt.Errorf("no run's outcome is among the %s that came", way.name))
		} else {
			counts[len(counts)-1] += " (the last: " + last + ")"
		}
	}
	return strings.Join(counts, "; "), missing
}

type session struct{ r *Receivers }

func (*session) Mail(string, *smtp.MailOptions) error { return nil }
func (*session) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (*session) Reset()                               {}
func (*session) Logout() error                        { return nil }

func (s *session) Data(in io.Reader) error {
	m, err := mail.ReadMessage(in)
	if err != nil {
		return err
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.mails = append(s.r.mails, strings.TrimSpace(m.Header.Get("Subject")))
	return nil
}
