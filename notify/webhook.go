package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/notify"
)

// post sends a notice to a destination over HTTP. What the receiver answers is
// not read, but for its status.
func (s *Service) post(ctx context.Context, n notify.Notification, c *wherry.DestinationConfig) error {
	to, body, err := s.payload(n, c)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return undeliverable("the URL of the destination is not valid: set it again")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "wherry")
	r.Header.Set("Idempotency-Key", n.Token)
	if w := c.Webhook; w != nil && w.Username+w.Password != "" {
		r.SetBasicAuth(w.Username, w.Password)
	}
	res, err := s.http.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the URL, which is a secret
		}
		return err
	}
	_ = res.Body.Close() // unread
	return answered(res)
}

// answered is what a status means for the notice.
func answered(res *http.Response) error {
	if res.StatusCode/100 == 2 {
		return nil
	}
	err := fmt.Errorf("the receiver answered %d %s", res.StatusCode, http.StatusText(res.StatusCode))
	if res.StatusCode == http.StatusGone { // it says so for good
		return &refusal{notify.Failed, err.Error()}
	}
	if seconds, nerr := strconv.Atoi(res.Header.Get("Retry-After")); nerr == nil && seconds > 0 && seconds < int(within.Seconds()) {
		return &busy{err, time.Duration(seconds) * time.Second}
	}
	return err
}

// payload is where a notice is posted to, and what.
func (s *Service) payload(n notify.Notification, c *wherry.DestinationConfig) (to string, body []byte, err error) {
	var doc any
	switch c.Type() {
	case wherry.DestinationSlack:
		to, doc = c.Slack.URL, slack(n.Notice)
	case wherry.DestinationTeams:
		to, doc = c.Teams.URL, teams(n.Notice)
	case wherry.DestinationWebhook:
		to = c.Webhook.URL
		doc, err = generic(n)
	case wherry.DestinationPagerDuty:
		to, doc = s.cfg.PagerDuty+"/v2/enqueue", pagerDuty(n, c.PagerDuty.IntegrationKey, s.cfg.URL)
	default:
		return "", nil, undeliverable("the destination has another type by now")
	}
	if err != nil {
		return "", nil, err
	}
	body, err = json.Marshal(doc)
	return to, body, err
}

type m = map[string]any

// cut shortens text to what a receiver takes, in characters.
func cut(text string, most int) string {
	r := []rune(text)
	if len(r) <= most {
		return text
	}
	return string(r[:most-1]) + "…"
}

// slack is the message of an incoming webhook: blocks of plain text, in which
// no name of a job is markup. Slack takes 150 characters of a header and 3000 of
// a section.
func slack(n notify.Notice) any {
	blocks := []m{
		{"type": "header", "text": m{"type": "plain_text", "text": cut(n.Subject, 150)}},
	}
	if n.Text != "" {
		blocks = append(blocks, m{"type": "section", "text": m{"type": "plain_text", "text": cut(n.Text, 3000)}})
	}
	if n.Link != "" {
		blocks = append(blocks, m{"type": "section", "text": m{"type": "mrkdwn", "text": "<" + n.Link + "|Open in wherry>"}})
	}
	return m{"text": escapeSlack(cut(n.Subject, 3000)), "blocks": blocks}
}

func escapeSlack(text string) string {
	var b bytes.Buffer
	for _, r := range text {
		switch r { // the three characters that Slack's format has a meaning for
		case '&':
			b.WriteString("&amp;")
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// teams is an adaptive card, as incoming webhooks and workflows of Teams take
// it. Version 1.4 is what they show.
func teams(n notify.Notice) any {
	color := "Default"
	if n.Bad {
		color = "Attention"
	}
	card := m{
		"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
		"body": []m{
			{"type": "TextBlock", "text": cut(n.Subject, 500), "weight": "Bolder", "size": "Medium", "wrap": true, "color": color},
			{"type": "TextBlock", "text": cut(n.Text, 10_000), "wrap": true},
		},
	}
	if n.Link != "" {
		card["actions"] = []m{{"type": "Action.OpenUrl", "title": "Open in wherry", "url": n.Link}}
	}
	return m{"type": "message", "attachments": []m{{"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": nil, "content": card}}}
}

// generic is what a webhook gets: the notice's own document, or its text, with
// the type of the event and the workspace, whose id is a string as on the
// platform.
func generic(n notify.Notification) (any, error) {
	doc := m{}
	if n.Notice.Body == nil {
		doc = m{"subject": n.Notice.Subject, "text": n.Notice.Text, "link": n.Notice.Link}
	} else if err := json.Unmarshal(n.Notice.Body, &doc); err != nil {
		return nil, fmt.Errorf("the document of notification %d: %w", n.ID, err)
	}
	doc["event_type"], doc["workspace_id"] = n.Kind, fmt.Sprint(n.WorkspaceID)
	return doc, nil
}

// pagerDuty is an event of its Events API v2. The same dedup_key in each attempt
// keeps one incident.
func pagerDuty(n notify.Notification, key, server string) any {
	severity := "info"
	if n.Notice.Bad {
		severity = "error"
	}
	event := m{
		"routing_key": key, "event_action": "trigger", "dedup_key": cut(n.Token, 255), "client": "wherry", "client_url": server,
		"payload": m{
			"summary": cut(n.Notice.Subject, 1024), "source": "wherry", "severity": severity, "class": n.Kind,
			"timestamp": time.UnixMilli(n.CreatedAt).UTC().Format(time.RFC3339), "custom_details": m{"text": n.Notice.Text},
		},
	}
	if n.Notice.Link != "" {
		event["links"] = []m{{"href": n.Notice.Link, "text": "Open in wherry"}}
	}
	return event
}
