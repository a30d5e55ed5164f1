package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/mail"
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

// Received is how many messages came, and the last of each.
func (r *Receivers) Received() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := fmt.Sprintf("%d to Slack, %d e-mails", len(r.slack), len(r.mails))
	if n := len(r.mails); n > 0 {
		text += ", the last: " + r.mails[n-1]
	}
	return text
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
