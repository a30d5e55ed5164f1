package demo

import (
	"context"
	"net/http"
	"net/smtp"
	"strings"
	"testing"
)

// TestArrived: messages are proven to have gone out by an e-mail and a message
// to Slack that name a run's outcome, nothing less.
func TestArrived(t *testing.T) {
	r := &Receivers{}
	if err := r.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	defer func() { stop(); <-done }()
	slack := func(text string) {
		res, err := http.Post("http://"+r.web.Addr().String(), "application/json", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	mail := func(subject string) {
		err := smtp.SendMail(r.post.Addr().String(), nil, "ci@example.com", []string{"team@example.com"}, []byte("Subject: "+subject+"\r\n\r\nHello.\r\n"))
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		do           func()
		told, failed string
	}{
		{func() {}, "0 messages to Slack, 0 of them with a run's outcome; 0 e-mails, 0 of them", "among the messages to Slack that came|among the e-mails that came"},
		{func() { slack(`{"text": "a successful day"}`) }, "1 messages to Slack, 0 of them", "among the messages to Slack that came|among the e-mails that came"},
		{func() { slack(`{"text": "wherry/x: deployment of abc to prod: success <http://x>"}`) }, "2 messages to Slack, 1 of them", "among the e-mails that came"},
		{func() { mail("[wherry/x] cd waits for an approval of prod (v1)") }, "1 e-mails, 0 of them", "among the e-mails that came"},
		{func() { mail("wherry/x: deployment to prod: failure") }, "2 e-mails, 1 of them with a run's outcome (the last: wherry/x: deployment to prod: failure)", ""},
	} {
		step.do()
		told, err := r.arrived()
		if !strings.Contains(told, step.told) {
			t.Errorf("told %q, want %q", told, step.told)
		}
		if (err == nil) != (step.failed == "") {
			t.Errorf("%s: %v", told, err)
		}
		for part := range strings.SplitSeq(step.failed, "|") {
			if err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("the error is %q, want %q", err, part)
			}
		}
	}
}
