package notify_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/databricks/databricks-sdk-go"
	"github.com/databricks/databricks-sdk-go/apierr"
	"github.com/databricks/databricks-sdk-go/service/jobs"
	"github.com/databricks/databricks-sdk-go/service/settings"

	notifyapi "github.com/wherry-ml/wherry/api/notify"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/notify"
	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/server/servertest"
	store "github.com/wherry-ml/wherry/store/notify"
)

func start(t *testing.T) (*databricks.WorkspaceClient, *servertest.Server) {
	t.Helper()
	s := servertest.Start(t, func(c *server.Config) { c.Notify = notify.Options{AllowHosts: []string{"127.0.0.1"}} })
	w, err := databricks.NewWorkspaceClient(&databricks.Config{Host: s.URL, Token: s.Token})
	if err != nil {
		t.Fatal(err)
	}
	return w, s
}

func wantStatus(t *testing.T, err error, status int, text string) {
	t.Helper()
	e, ok := errors.AsType[*apierr.APIError](err)
	if !ok || e.StatusCode != status || !strings.Contains(e.Message, text) {
		t.Errorf("got %v, want %d %q", err, status, text)
	}
}

// TestDestinations drives the calls by the real client: what is secret is taken
// and not given, nor to be found in the database's files.
func TestDestinations(t *testing.T) {
	w, s := start(t)
	ctx, api := t.Context(), w.NotificationDestinations
	var made []settings.NotificationDestination
	for _, c := range []struct {
		config settings.Config
		kind   settings.DestinationType
	}{
		{settings.Config{Email: &settings.EmailConfig{Addresses: []string{"ada@example.com"}}}, settings.DestinationTypeEmail},
		{settings.Config{Slack: &settings.SlackConfig{Url: "https://hooks.example.com/S3CRET"}}, settings.DestinationTypeSlack},
		{settings.Config{MicrosoftTeams: &settings.MicrosoftTeamsConfig{Url: "https://teams.example.com/S3CRET"}}, settings.DestinationTypeMicrosoftTeams},
		{settings.Config{Pagerduty: &settings.PagerdutyConfig{IntegrationKey: "S3CRET"}}, settings.DestinationTypePagerduty},
		{settings.Config{GenericWebhook: &settings.GenericWebhookConfig{Url: "https://example.com/S3CRET", Username: "S3CRET", Password: "S3CRET"}}, settings.DestinationTypeWebhook},
	} {
		d, err := api.Create(ctx, settings.CreateNotificationDestinationRequest{DisplayName: string("to " + c.kind), Config: &c.config})
		if err != nil || d.DestinationType != c.kind || d.Id == "" {
			t.Fatalf("%s: %+v, %v", c.kind, d, err)
		}
		got, err := api.GetById(ctx, d.Id)
		if err != nil || got.DisplayName != string("to "+c.kind) {
			t.Fatalf("%s: %+v, %v", c.kind, got, err)
		}
		if b, _ := json.Marshal([]any{d, got}); bytes.Contains(b, []byte("S3CRET")) {
			t.Errorf("%s tells its secret: %s", c.kind, b)
		}
		made = append(made, *got)
	}
	if made[0].Config.Email.Addresses[0] != "ada@example.com" || !made[1].Config.Slack.UrlSet || !made[2].Config.MicrosoftTeams.UrlSet ||
		!made[3].Config.Pagerduty.IntegrationKeySet || !made[4].Config.GenericWebhook.PasswordSet || !made[4].Config.GenericWebhook.UsernameSet {
		t.Errorf("what is set: %+v", made)
	}
	files, err := filepath.Glob(s.State.Path("wherry.db*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if b, err := os.ReadFile(name); err != nil || bytes.Contains(b, []byte("S3CRET")) {
			t.Errorf("%s holds a secret, %v", name, err)
		}
	}

	hook := made[4].Id
	d, err := api.Update(ctx, settings.UpdateNotificationDestinationRequest{Id: hook, DisplayName: "the hook", Config: &settings.Config{GenericWebhook: &settings.GenericWebhookConfig{Username: "other"}}})
	if err != nil || d.DisplayName != "the hook" || !d.Config.GenericWebhook.PasswordSet {
		t.Errorf("updated %+v, %v", d, err)
	}
	d, err = api.Update(ctx, settings.UpdateNotificationDestinationRequest{Id: hook, Config: &settings.Config{GenericWebhook: &settings.GenericWebhookConfig{Url: "https://elsewhere.example.com"}}})
	if err != nil || d.DisplayName != "the hook" || d.Config.GenericWebhook.PasswordSet {
		t.Errorf("the password goes along to another URL: %+v, %v", d, err)
	}
	_, err = api.Update(ctx, settings.UpdateNotificationDestinationRequest{Id: hook, Config: &settings.Config{Slack: &settings.SlackConfig{Url: "https://hooks.example.com"}}})
	wantStatus(t, err, 400, "is of the type WEBHOOK, which stays")
	for text, config := range map[string]settings.Config{
		"exactly one of":      {Email: &settings.EmailConfig{Addresses: []string{"a@example.com"}}, Slack: &settings.SlackConfig{Url: "https://x"}},
		"is not an e-mail":    {Email: &settings.EmailConfig{Addresses: []string{"a@example.com\r\nBcc: eve@example.com"}}},
		"config.slack.url is": {Slack: &settings.SlackConfig{Url: "file:///etc/passwd"}},
		"holds a user name":   {GenericWebhook: &settings.GenericWebhookConfig{Url: "https://a:b@example.com"}},
	} {
		_, err := api.Create(ctx, settings.CreateNotificationDestinationRequest{DisplayName: "x", Config: &config})
		wantStatus(t, err, 400, text)
	}
	_, err = api.Create(ctx, settings.CreateNotificationDestinationRequest{DisplayName: "x", Config: &settings.Config{Slack: &settings.SlackConfig{ChannelId: "C1", OauthToken: "xoxb"}}})
	wantStatus(t, err, 501, "a Slack app")
	_, err = api.Create(ctx, settings.CreateNotificationDestinationRequest{DisplayName: "x", Config: &settings.Config{MicrosoftTeams: &settings.MicrosoftTeamsConfig{AppId: "1"}}})
	wantStatus(t, err, 501, "a Microsoft Teams app")

	if all, err := api.ListAll(ctx, settings.ListNotificationDestinationsRequest{PageSize: 2}); err != nil || len(all) != 5 || all[0].DisplayName != "the hook" {
		t.Errorf("listed %+v, %v", all, err)
	}
	for _, d := range made {
		if err := api.DeleteById(ctx, d.Id); err != nil {
			t.Error(err)
		}
	}
	_, err = api.GetById(ctx, hook)
	wantStatus(t, err, 404, "no notification destination")
}

// TestJobTells: a job's run tells a webhook in the documented shape, of its
// start and of its end; the history knows, and a destination that was missing
// can be supplied and told later.
func TestJobTells(t *testing.T) {
	w, s := start(t)
	ctx := t.Context()
	came := make(chan string, 10)
	rec := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var doc struct {
			Event     string            `json:"event_type"`
			Workspace string            `json:"workspace_id"`
			Run       map[string]string `json:"run"`
			Job       map[string]string `json:"job"`
		}
		if err := json.NewDecoder(r.Body).Decode(&doc); err != nil {
			came <- err.Error()
		}
		came <- fmt.Sprint(doc.Event, " ", doc.Workspace, " ", doc.Run["run_id"], " ", doc.Job["job_id"], " ", doc.Job["name"])
	}))
	defer rec.Close()
	hook, err := w.NotificationDestinations.Create(ctx, settings.CreateNotificationDestinationRequest{DisplayName: "hook", Config: &settings.Config{GenericWebhook: &settings.GenericWebhookConfig{Url: rec.URL}}})
	if err != nil {
		t.Fatal(err)
	}
	const missing = "a0b1c2d3-0000-4000-8000-000000000001"
	job, err := w.Jobs.Create(ctx, jobs.CreateJob{
		Name:                 "otters",
		Tasks:                []jobs.Task{{TaskKey: "a", ConditionTask: &jobs.ConditionTask{Op: jobs.ConditionTaskOpGreaterThan, Left: "one", Right: "2"}}}, // fails: no number
		WebhookNotifications: &jobs.WebhookNotifications{OnStart: []jobs.Webhook{{Id: hook.Id}}, OnFailure: []jobs.Webhook{{Id: hook.Id}, {Id: missing}}},
		EmailNotifications:   &jobs.JobEmailNotifications{OnFailure: []string{"ada@example.com"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	run, err := w.Jobs.RunNow(ctx, jobs.RunNow{JobId: job.JobId})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{<-came: true, <-came: true}
	for _, event := range []string{"on_start", "on_failure"} {
		if want := fmt.Sprintf("jobs.%s 1 %d %d otters", event, run.RunId, job.JobId); !got[want] {
			t.Errorf("%q did not come, but %v", want, got)
		}
	}

	c := client.New(s.URL, s.Token)
	history := settledHistory(t, c, fmt.Sprintf("?run_id=%d", run.RunId), 4)
	var lost store.Notification
	for _, n := range history {
		switch {
		case n.Channel == store.Email && (n.State != store.Undeliverable || !strings.Contains(n.LastError, "--smtp")):
			t.Errorf("the e-mail: %+v", n)
		case n.Address == hook.Id && (n.State != store.Sent || n.Destination != "hook" || n.Attempts != 1):
			t.Errorf("the webhook: %+v", n)
		case n.Address == missing:
			lost = n
		}
	}
	if lost.State != store.Undeliverable || !strings.Contains(lost.LastError, "there is no notification destination") {
		t.Errorf("the destination that there is not: %+v", lost)
	}
	if err := c.Do(ctx, "POST", "/api/2.0/notification-destinations", map[string]any{
		"id": missing, "display_name": "late", "config": map[string]any{"generic_webhook": map[string]string{"url": rec.URL}},
	}, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Do(ctx, "POST", fmt.Sprintf("/api/wherry/notifications/%d/retry", lost.ID), nil, nil); err != nil {
		t.Fatal(err)
	}
	if doc := <-came; doc != fmt.Sprintf("jobs.on_failure 1 %d %d otters", run.RunId, job.JobId) {
		t.Errorf("told late: %s", doc)
	}
	var test notifyapi.History
	if err := c.Do(ctx, "POST", "/api/wherry/notifications/test", map[string]string{"destination": "late"}, &test); err != nil || len(test.Notifications) != 1 {
		t.Fatalf("test %+v, %v", test, err)
	}
	if doc := <-came; !strings.HasPrefix(doc, "wherry.test 1 ") {
		t.Errorf("the test is %s", doc)
	}
	if err := c.Do(ctx, "POST", "/api/wherry/notifications/test", map[string]string{"destination": "nowhere"}, nil); err == nil || !strings.Contains(err.Error(), "there is no notification destination") {
		t.Errorf("a test of nothing: %v", err)
	}
	for path, want := range map[string]string{"?state=lost": "state is pending", "?limit=100000": "limit is between", "/12345": "there is no notification 12345", "/x": "not an integer"} {
		if err := c.Do(ctx, "GET", "/api/wherry/notifications"+path, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// settledHistory waits until n notifications are there and none is pending.
func settledHistory(t *testing.T, c *client.Client, query string, n int) []store.Notification {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		var out notifyapi.History
		if err := c.Do(t.Context(), "GET", "/api/wherry/notifications"+query, nil, &out); err != nil {
			t.Fatal(err)
		}
		open := len(out.Notifications) < n
		for _, one := range out.Notifications {
			open = open || one.State == store.Pending
		}
		if !open {
			return out.Notifications
		}
		<-look.C
	}
}
