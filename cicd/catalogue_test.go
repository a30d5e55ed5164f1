package cicd_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/workflow"
	"github.com/wherry-ml/wherry/workflow/action"
)

const tenant = "11111111-1111-1111-1111-111111111111"

// set sets a variable or, if it is one, a secret of a repository or environment.
func (s *site) set(scope, of, name, value string, secret bool) {
	s.Helper()
	s.call("PUT", "/api/wherry/ci/values", map[string]any{scope: of, "name": name, "value": value, "secret": secret}, nil)
}

// robot makes a service principal that the jobs of an environment sign in as,
// at the workspace and at Entra, and a secret of it.
func (s *site) robot(environment string) (client, secret string) {
	s.Helper()
	var id int64
	s.database(func(db *store.DB) error {
		return db.Write(s.Context(), func(tx *store.Tx) error {
			p, err := auth.AddServicePrincipal(tx, "", "ci", false)
			id, client = p.ID, p.ApplicationID
			for _, f := range []auth.Federation{{Surface: auth.SurfaceAccount}, {Surface: auth.SurfaceGraph, Audiences: []string{auth.ExchangeAudience}}} {
				f.PrincipalID, f.Name, f.Issuer, f.Subject = p.ID, "ci", auth.ActionsIssuer, "repo:wherry/app:environment:"+environment
				if err == nil {
					err = auth.PutFederation(tx, f)
				}
			}
			return err
		})
	})
	var made struct{ Secret string }
	s.call("POST", fmt.Sprintf("/api/2.0/accounts/00000000-0000-4000-8000-000000000001/servicePrincipals/%d/credentials/secrets", id), map[string]any{}, &made)
	return client, made.Secret
}

// TestSignsIn: azure/login and, after databricks/setup-cli, the databricks
// command sign in with the job's id-token and with a secret; azure/login fails
// where Entra refuses or an input is missing. Variables are those of the
// repository, and over them those of the environment.
func TestSignsIn(t *testing.T) {
	s := newSite(t, nil)
	client, secret := s.robot("prod")
	dir := s.repo("app", "")
	creds, err := json.Marshal(map[string]string{"clientId": client, "clientSecret": secret, "tenantId": tenant, "subscriptionId": "sub"})
	if err != nil {
		t.Fatal(err)
	}
	s.set("repo", "app", "AZURE_CREDENTIALS", string(creds), true)
	s.set("repo", "app", "SECRET", secret, true)
	s.set("repo", "app", "CLIENT", client, false)
	s.set("repo", "app", "REGION", "of-the-repo", false)
	s.set("repo", "app", "ONLY", "repo", false)
	s.call("PUT", "/api/wherry/environments/prod", map[string]any{"name": "prod"}, nil)
	s.set("environment", "prod", "REGION", "of-prod", false)
	s.push(dir, "signs.yml", `name: signs
on: push
env: {DATABRICKS_HOST: "${{ github.server_url }}", TENANT: `+tenant+`}
jobs:
  oidc:
    if: vars.REGION == 'of-the-repo' && vars.NOTHING == ''
    environment: prod
    permissions: {id-token: write}
    runs-on: ubuntu-latest
    steps:
      - uses: azure/login@v2
        with: {client-id: "${{ vars.CLIENT }}", tenant-id: "${{ env.TENANT }}", subscription-id: sub}
      - uses: databricks/setup-cli@main
      - run: |
          echo "I am $(databricks current-user me | sed -n 's/.*"userName": *"\([^"]*\)".*/\1/p'), region ${{ vars.REGION }}, only ${{ vars.ONLY }}"
          [ "$(basename "$(command -v databricks)")" = databricks ] && databricks --version
        env: {DATABRICKS_AUTH_TYPE: github-oidc, DATABRICKS_CLIENT_ID: "${{ vars.CLIENT }}"}
  secret:
    runs-on: ubuntu-latest
    steps:
      - {uses: azure/login@v2, with: {creds: "${{ secrets.AZURE_CREDENTIALS }}"}}
      - {uses: databricks/setup-cli@main}
      - run: |
          echo "I am $(databricks current-user me | sed -n 's/.*"userName": *"\([^"]*\)".*/\1/p'), region ${{ vars.REGION }}"
        env: {DATABRICKS_CLIENT_ID: "${{ vars.CLIENT }}", DATABRICKS_CLIENT_SECRET: "${{ secrets.SECRET }}"}
      - {id: right, continue-on-error: true, uses: azure/login@v2, with: {client-id: "${{ vars.CLIENT }}", tenant-id: "${{ env.TENANT }}", subscription-id: sub}}
      - {id: wrong, continue-on-error: true, uses: azure/login@v2, with: {creds: '{"clientId": "${{ vars.CLIENT }}", "clientSecret": "no", "tenantId": "${{ env.TENANT }}", "subscriptionId": "sub"}'}}
      - {id: none, continue-on-error: true, uses: azure/login@v2, with: {client-id: "${{ vars.CLIENT }}", tenant-id: "${{ env.TENANT }}"}}
      - {id: unset, continue-on-error: true, uses: azure/login@v2, with: {creds: "${{ secrets.UNSET }}"}}
      - run: 'echo "without: ${{ steps.right.outcome }} ${{ steps.wrong.outcome }} ${{ steps.none.outcome }} ${{ steps.unset.outcome }}"'
`)
	r := s.ended(s.begun("app", "signs", "push").ID, workflow.Success)
	s.says(r.ID, "oidc", "Signed in as "+client, "I am "+client+", region of-prod, only repo\n", "Databricks-compatible")
	s.says(r.ID, "secret", "Signed in as "+client, "I am "+client+", region of-the-repo\n", "without: failure failure failure failure\n",
		"give it permissions: id-token: write", "AADSTS7000215", "allow-no-subscriptions", "client-id and tenant-id, or creds, are needed")
}

// mailbox is a real server for e-mail that keeps whole messages; it wants a
// password.
type mailbox struct {
	came chan string
	from string
	to   []string
}

func (m *mailbox) AuthMechanisms() []string { return []string{sasl.Plain} }
func (m *mailbox) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "robot" || password != "mail-password" {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (m *mailbox) Mail(from string, _ *smtp.MailOptions) error {
	m.from, m.to = from, nil
	return nil
}

func (m *mailbox) Rcpt(to string, _ *smtp.RcptOptions) error {
	m.to = append(m.to, to)
	return nil
}

func (m *mailbox) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	m.came <- "from " + m.from + " to " + strings.Join(m.to, " ") + "\n" + strings.ReplaceAll(string(b), "\r", "")
	return err
}

func (m *mailbox) Reset()        {}
func (m *mailbox) Logout() error { return nil }

// next is what comes in next.
func (s *site) next(c chan string) string {
	s.Helper()
	select {
	case text := <-c:
		return text
	case <-time.After(10 * time.Second):
		s.Fatal("nothing came")
		return ""
	}
}

// slacks is a workflow that posts to Slack, by both of the action's versions.
const slacks = `name: tells
on: push
jobs:
  slack:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - id: json
        uses: slackapi/slack-github-action@v2
        with:
          webhook: ${{ secrets.HOOK }}
          webhook-type: incoming-webhook
          payload: '{"text": "run ${{ github.run_number }}: ${{ job.status }}"}'
      - uses: slackapi/slack-github-action@v1
        env: {SLACK_WEBHOOK_URL: "${{ secrets.HOOK }}", SLACK_WEBHOOK_TYPE: INCOMING_WEBHOOK}
        with:
          payload: |
            text: as YAML
            blocks: [{type: section}]
      - uses: slackapi/slack-github-action@v2
        env: {WHAT: 'a "build"'}
        with: {webhook: "${{ secrets.HOOK }}", webhook-type: incoming-webhook, payload-file-path: message.json, payload-templated: true}
      - {id: bad, uses: slackapi/slack-github-action@v2, with: {webhook: "${{ secrets.BAD_HOOK }}", webhook-type: incoming-webhook, payload: '{"text": "x"}'}}
      - {id: errors, continue-on-error: true, uses: slackapi/slack-github-action@v2, with: {webhook: "${{ secrets.BAD_HOOK }}", webhook-type: incoming-webhook, errors: true, payload: '{"text": "x"}'}}
      - {id: unset, continue-on-error: true, uses: slackapi/slack-github-action@v2, with: {webhook: "${{ secrets.UNSET }}", webhook-type: incoming-webhook, payload: '{"text": "x"}'}}
      - run: |
          echo 'sent ${{ steps.json.outputs.ok }} ${{ steps.json.outputs.response }}'
          echo 'bad ${{ steps.bad.outcome }} ${{ steps.bad.outputs.ok }} ${{ steps.bad.outputs.response }}, errors ${{ steps.errors.outcome }}, unset ${{ steps.unset.outcome }}'
          [ "$(($(date +%s) - ${{ steps.json.outputs.time }}))" -lt 600 ]
`

// TestSlack: slack-github-action posts to a webhook; where Slack refuses, or none
// is given, the steps end as the action's do.
func TestSlack(t *testing.T) {
	posts := make(chan string, 5)
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/services/T0/B0/hook" {
			http.Error(w, "no_service", http.StatusNotFound)
			return
		}
		posts <- r.Header.Get("Content-Type") + " " + string(b)
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(slack.Close)
	s := newSite(t, func(c *server.Config) {
		c.Reach = map[string]string{"hooks.slack.example:80": slack.Listener.Addr().String()}
	})
	dir := s.repo("app", "")
	s.set("repo", "app", "HOOK", "http://hooks.slack.example/services/T0/B0/hook", true)
	s.set("repo", "app", "BAD_HOOK", "http://hooks.slack.example/services/T0/B0/revoked", true)
	s.push(dir, "message.json", `{"text": "${{ env.WHAT }} of ${{ github.payload.repository.full_name }} at ${{ github.ref_name }}"}`, "tells.yml", slacks)
	r := s.ended(s.begun("app", "tells", "push").ID, workflow.Success)
	s.says(r.ID, "slack", "sent true \"ok\"\n", "bad success false \"no_service\\n\", errors failure, unset failure\n", "Slack answers 404 Not Found: no_service")
	for _, want := range []string{`{"text": "run 1: success"}`, `{"blocks":[{"type":"section"}],"text":"as YAML"}`, `{"text": "a \"build\" of wherry/app at main"}`} {
		if got := s.next(posts); got != "application/json "+want {
			t.Errorf("came %s, want %s", got, want)
		}
	}
	if len(posts) != 0 {
		t.Errorf("%s came too", s.next(posts))
	}
}

// mailServer is where mailboxes are, for those who have TLS: no password goes
// without.
func mailServer(t *testing.T, came chan string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	post := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailbox{came: came}, nil }))
	certified := httptest.NewTLSServer(nil)
	certified.Close()
	post.TLSConfig = &tls.Config{Certificates: certified.TLS.Certificates}
	go func() { _ = post.Serve(l) }()
	t.Cleanup(func() { _ = post.Close() })
	return l.Addr().String()
}

// mails is a workflow that sends e-mail.
const mails = `name: tells
on: push
jobs:
  mail:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: dawidd6/action-send-mail@v3
        with:
          server_address: mail.example.com
          server_port: ${{ vars.MAIL_PORT }}
          ignore_cert: true
          username: robot
          password: ${{ secrets.MAIL_PASSWORD }}
          from: CI <ci@example.com>
          to: ada@example.com, grace@example.com
          bcc: hidden@example.com
          reply_to: team@example.com
          subject: ${{ github.workflow }} of ${{ github.repository }}
          body: all is ${{ job.status }}
          html_body: file://report.md
          convert_markdown: true
          attachments: "*.json"
          priority: high
      - uses: dawidd6/action-send-mail@v3
        with: {ignore_cert: true, connection_url: "smtp://robot:${{ secrets.MAIL_PASSWORD }}@mail.example.com:${{ vars.MAIL_PORT }}", from: ci@example.com, to: ada@example.com, subject: by URL, body: plain}
      - id: denied
        continue-on-error: true
        uses: dawidd6/action-send-mail@v3
        with: {server_address: mail.example.com, server_port: "${{ vars.MAIL_PORT }}", username: robot, password: wrong-one, ignore_cert: true, from: ci@example.com, to: ada@example.com, subject: no, body: no}
      - id: nobody
        continue-on-error: true
        uses: dawidd6/action-send-mail@v3
        with: {server_address: mail.example.com, from: ci@example.com, to: "${{ vars.UNSET }}", subject: no, body: no}
      - run: 'echo "denied ${{ steps.denied.outcome }}, nobody ${{ steps.nobody.outcome }}"'
`

// TestMail: action-send-mail sends to a mail server; where that refuses, or
// nobody is to get it, the steps end as the action's do.
func TestMail(t *testing.T) {
	came := make(chan string, 5)
	address := mailServer(t, came)
	s := newSite(t, func(c *server.Config) { c.Reach = map[string]string{"mail.example.com:2525": address} })
	dir := s.repo("app", "")
	s.set("repo", "app", "MAIL_PASSWORD", "mail-password", true)
	s.set("repo", "app", "MAIL_PORT", "2525", false)
	s.push(dir, "message.json", `{"text": "attached"}`, "report.md", "# Report\n\n- *green*\n", "tells.yml", mails)
	r := s.ended(s.begun("app", "tells", "push").ID, workflow.Success)
	s.says(r.ID, "mail", "denied failure, nobody failure\n", "to, cc or bcc is needed")
	first, second := s.next(came), s.next(came)
	for _, want := range []string{
		"from ci@example.com to ada@example.com grace@example.com hidden@example.com\n", "Subject: tells of wherry/app\n", "From: \"CI\" <ci@example.com>\n", "Reply-To: <team@example.com>\n",
		"all is success", "<h1>Report</h1>", "<li><em>green</em></li>", `filename="message.json"`, "Importance: high\n", base64.StdEncoding.EncodeToString([]byte(`{"text": `)),
	} {
		if !strings.Contains(first, want) {
			t.Errorf("the mail has no %q:\n%s", want, first)
		}
	}
	if strings.Contains(first, "Bcc") || !strings.Contains(second, "Subject: by URL\n") || !strings.Contains(second, "plain") || len(came) != 0 {
		t.Errorf("the mails are\n%s\n%s", first, second)
	}
}

// TestSetUp: cache: pip brings pip's cache back to a later run, and that of
// other requirements where there is none of these; uv has the Python that it is
// told, and makes an environment.
func TestSetUp(t *testing.T) {
	tools := action.Detect()
	s := newSite(t, nil)
	dir := s.repo("app", "")
	const uv = `
      - id: uv
        uses: astral-sh/setup-uv@v6
        with: {python-version: "${{ steps.py.outputs.python-version }}", activate-environment: true}
      - run: |
          [ "${{ steps.uv.outputs.uv-version }}" = "$(uv --version | cut -d' ' -f2)" ] && [ "${{ steps.uv.outputs.uv-path }}" = "$(command -v uv)" ]
          [ "$("$UV_PYTHON" --version)" = "Python ${{ steps.py.outputs.python-version }}" ] && [ "$(command -v python)" = "$VIRTUAL_ENV/bin/python" ] && [ "$VIRTUAL_ENV" = "${{ steps.uv.outputs.venv }}" ]
          echo "uv in $(basename "$(python -c 'import sys; print(sys.prefix)')")"
`
	text := `name: setup
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - id: py
        uses: actions/setup-python@v5
        with: {python-version: 3.x, cache: pip}
      - run: |
          echo "hit ${{ steps.py.outputs.cache-hit }}, kept $(cat "$(pip cache dir)/kept" 2>/dev/null || echo nothing)"
          mkdir -p "$(pip cache dir)" && cat requirements.txt > "$(pip cache dir)/kept"
`
	if tools.UV != "" {
		text += uv[1:]
	}
	last := int64(0)
	for _, step := range []struct{ file, text, want string }{
		{"requirements.txt", "one", "hit false, kept nothing\n"}, {"other.txt", "x", "hit true, kept one\n"}, {"requirements.txt", "two", "hit false, kept one\n"},
	} {
		s.push(dir, step.file, step.text, "setup.yml", text)
		s.until("a run of "+step.file, func() bool { list := s.runs("app"); return len(list) > 0 && list[0].ID != last })
		last = s.runs("app")[0].ID
		s.ended(last, workflow.Success)
		s.says(last, "a", step.want)
		if tools.UV != "" {
			s.says(last, "a", "uv in .venv\n")
		}
	}
}
