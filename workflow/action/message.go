package action

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/yuin/goldmark"
)

// slack posts to an incoming webhook. The other ways into Slack need its API.
func slack(ctx context.Context, c *call) error {
	hook := c.input("webhook")
	if hook == "" {
		hook = os.Getenv("SLACK_WEBHOOK_URL")
	}
	if hook == "" {
		return errors.New("a webhook is needed, as the input webhook or in SLACK_WEBHOOK_URL: is the secret set? Bot tokens are not supported")
	}
	payload := c.inputs["payload"]
	if name := c.input("payload-file-path"); name != "" {
		b, err := os.ReadFile(filepath.Join(workspace(), name))
		if err != nil {
			return err
		}
		payload = string(b)
	}
	if c.flag("payload-templated") || c.flag("payload-file-path-parsed") {
		payload = filled(payload)
	}
	body, err := document(payload)
	if err != nil {
		return err
	}
	ok, response, err := post(ctx, hook, body)
	if err != nil && c.flag("errors") {
		return err
	}
	if err != nil {
		c.warn("%s", err) // as the action does, the step goes on
	} else {
		c.say("Slack took the message")
	}
	return errors.Join(c.output("ok", strconv.FormatBool(ok)), c.output("response", response), c.output("time", strconv.FormatInt(time.Now().Unix(), 10)))
}

var templated = regexp.MustCompile(`\$\{\{\s*(env|github)\.([\w.-]+)\s*\}\}`)

// filled puts into a payload of a file what it names of env and github, which
// has payload for the event and else what the variables of the step say.
func filled(payload string) string {
	var event any
	if b, err := os.ReadFile(os.Getenv("GITHUB_EVENT_PATH")); err == nil {
		_ = json.Unmarshal(b, &event) // none: nothing is filled in
	}
	return templated.ReplaceAllStringFunc(payload, func(found string) string {
		m := templated.FindStringSubmatch(found)
		path, ok := strings.CutPrefix(m[2], "payload.")
		switch {
		case m[1] == "env":
			return jsonText(os.Getenv(m[2]))
		case !ok:
			return jsonText(os.Getenv("GITHUB_" + strings.ToUpper(m[2])))
		}
		v := event
		for key := range strings.SplitSeq(path, ".") {
			o, _ := v.(map[string]any)
			v = o[key]
		}
		if v == nil {
			return ""
		}
		return jsonText(fmt.Sprint(v))
	})
}

// jsonText is a text as it stands between the quotes of JSON.
func jsonText(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return string(b[1 : len(b)-1])
}

// post sends a message; response is what came back, as JSON.
func post(ctx context.Context, hook string, body []byte) (ok bool, response string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hook, bytes.NewReader(body))
	if err != nil {
		return false, `""`, errors.New("the webhook is not a URL")
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the address: it is a secret
		}
		return false, `""`, fmt.Errorf("post to Slack: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 10_000))
	if err != nil {
		return false, `""`, fmt.Errorf("post to Slack: %w", err)
	}
	response = string(text)
	if !json.Valid(text) {
		quoted, err := json.Marshal(response)
		if err != nil {
			return false, `""`, err
		}
		response = string(quoted)
	}
	if res.StatusCode >= 300 {
		err = fmt.Errorf("Slack answers %s: %.500s", res.Status, strings.TrimSpace(string(text)))
	}
	return err == nil, response, err
}

// sendMail sends one message, as dawidd6/action-send-mail does.
func sendMail(ctx context.Context, c *call) error {
	host, port, user, password, secure := c.input("server_address"), c.input("server_port"), c.input("username"), c.input("password"), c.flag("secure")
	if u := c.input("connection_url"); u != "" {
		parsed, err := url.Parse(u)
		if err != nil {
			return errors.New("connection_url is not a URL")
		}
		secure = strings.HasSuffix(parsed.Scheme, "s") || strings.HasSuffix(parsed.Scheme, "+starttls")
		host, port, user = parsed.Hostname(), cmp.Or(parsed.Port(), map[bool]string{true: "465", false: "25"}[secure]), parsed.User.Username()
		password, _ = parsed.User.Password()
	}
	if host == "" {
		return errors.New("server_address is needed: is the secret or variable set?")
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("server_port %q is not a number", port)
	}
	if number == 465 {
		secure = true
	}
	message, err := c.message()
	if err != nil {
		return err
	}
	options := []gomail.Option{gomail.WithPort(number), gomail.WithTLSPolicy(gomail.TLSOpportunistic), gomail.WithDialContextFunc(dialThroughProxy)}
	if c.flag("ignore_cert") {
		options = append(options, gomail.WithTLSConfig(&tls.Config{InsecureSkipVerify: true, ServerName: host})) //nolint:gosec // the workflow says so
	}
	if secure {
		options = append(options, gomail.WithSSL())
	}
	if user != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(user), gomail.WithPassword(password))
	}
	client, err := gomail.NewClient(host, options...)
	if err != nil {
		return err
	}
	if err := client.DialAndSendWithContext(ctx, message); err != nil {
		return fmt.Errorf("send mail: %w", err)
	}
	c.say("Sent to %s", c.input("to"))
	return nil
}

func (c *call) message() (*gomail.Msg, error) {
	m := gomail.NewMsg()
	from := c.input("from")
	if a, err := mail.ParseAddress(from); err != nil || a.Address == "" { // a name alone, and the user's address
		from = (&mail.Address{Name: from, Address: c.input("username")}).String()
	}
	if err := m.From(from); err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	for name, set := range map[string]func(...string) error{"to": m.To, "cc": m.Cc, "bcc": m.Bcc} {
		if list := addresses(c.input(name)); len(list) > 0 {
			if err := set(list...); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if to := c.input("reply_to"); to != "" {
		if err := m.ReplyTo(to); err != nil {
			return nil, fmt.Errorf("reply_to: %w", err)
		}
	}
	if len(addresses(c.input("to")+","+c.input("cc")+","+c.input("bcc"))) == 0 {
		return nil, errors.New("to, cc or bcc is needed: is the secret or variable set?")
	}
	m.Subject(c.input("subject"))
	if id := c.input("in_reply_to"); id != "" {
		m.SetGenHeader(gomail.HeaderInReplyTo, id)
		m.SetGenHeader(gomail.HeaderReferences, id)
	}
	switch c.input("priority") {
	case "high":
		m.SetImportance(gomail.ImportanceHigh)
	case "low":
		m.SetImportance(gomail.ImportanceLow)
	}
	if err := c.bodies(m); err != nil {
		return nil, err
	}
	var patterns []string
	for name := range strings.SplitSeq(c.input("attachments"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			patterns = append(patterns, name)
		}
	}
	if len(patterns) == 0 {
		return m, nil
	}
	files, err := find(patterns, true)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("attachments: no file matches %s", strings.Join(patterns, ", "))
	}
	for _, name := range files {
		m.AttachFile(name)
	}
	return m, nil
}

// bodies are the message as text, as HTML, or both.
func (c *call) bodies(m *gomail.Msg) error {
	text, err := content(c.inputs["body"])
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	html, err := content(c.inputs["html_body"])
	if err != nil {
		return fmt.Errorf("html_body: %w", err)
	}
	if c.flag("convert_markdown") && html != "" {
		var b bytes.Buffer
		if err := goldmark.Convert([]byte(html), &b); err != nil {
			return fmt.Errorf("html_body: %w", err)
		}
		html = b.String()
	}
	switch {
	case html == "":
		m.SetBodyString(gomail.TypeTextPlain, text)
	case text == "":
		m.SetBodyString(gomail.TypeTextHTML, html)
	default:
		m.SetBodyString(gomail.TypeTextPlain, text)
		m.AddAlternativeString(gomail.TypeTextHTML, html)
	}
	return nil
}

func addresses(list string) (all []string) {
	for a := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == '\n' }) {
		if a = strings.TrimSpace(a); a != "" {
			all = append(all, a)
		}
	}
	return all
}

// content is a text, or what is in the file that file://NAME names.
func content(text string) (string, error) {
	name, ok := strings.CutPrefix(strings.TrimSpace(text), "file://")
	if !ok {
		return text, nil
	}
	b, err := os.ReadFile(filepath.Join(workspace(), name))
	return string(b), err
}

// document is a payload as JSON; people write it as YAML too.
func document(payload string) ([]byte, error) {
	var v any
	if json.Unmarshal([]byte(payload), &v) == nil {
		return []byte(payload), nil
	}
	v, err := fromYAML(payload)
	if err != nil {
		return nil, errors.New("payload is neither JSON nor YAML")
	}
	if _, ok := v.(map[string]any); !ok {
		return nil, errors.New("payload is not an object")
	}
	return json.Marshal(v)
}

// dialThroughProxy reaches a server outside of the box: its only way out is an
// HTTP proxy.
func dialThroughProxy(ctx context.Context, network, address string) (net.Conn, error) {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: address}})
	if err != nil || proxy == nil {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", proxy.Host)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", address, address); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	reader := bufio.NewReader(conn)
	res, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect}) //nolint:bodyclose // what follows the answer is the tunnel
	if err == nil && res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(reader, 300))
		err = fmt.Errorf("the way to %s is closed: %s %s", address, res.Status, strings.TrimSpace(string(text)))
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &buffered{Conn: conn, reader: reader}, nil
}

// buffered is a connection of which a reader has taken the first bytes.
type buffered struct {
	net.Conn
	reader *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.reader.Read(p) }
