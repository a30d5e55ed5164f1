package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	netmail "net/mail"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/wherry-ml/wherry/store/notify"
)

// Mail is the server that e-mail goes out through.
type Mail struct {
	host, user, password string
	from                 *netmail.Address
	port                 int
	tls                  string
}

// How a connection to a server for e-mail is made safe.
const (
	tlsImplicit      = "implicit"      // from the first byte on: smtps
	tlsStart         = "starttls"      // after STARTTLS, or not at all
	tlsOpportunistic = "opportunistic" // if the server offers it
	tlsNone          = "none"
)

// mailTimeout bounds one e-mail.
const mailTimeout = 30 * time.Second

// ParseMail reads smtp://user@host:port?tls=starttls, opportunistic or none, or
// smtps://user@host:port. The password is given beside it: a command line can be
// read by everyone on the machine.
func ParseMail(text, password, from string) (*Mail, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("--smtp is smtp://user@host:port or smtps://user@host:port")
	}
	s := &Mail{host: u.Hostname(), user: u.User.Username(), password: password, port: 587, tls: tlsStart}
	if u.Scheme == "smtps" {
		s.port, s.tls = 465, tlsImplicit
	}
	if port := u.Port(); port != "" {
		if s.port, err = strconv.Atoi(port); err != nil || s.port < 1 || s.port > 65535 {
			return nil, fmt.Errorf("--smtp: %q is not a port", port)
		}
	}
	for key, values := range u.Query() {
		mode := values[len(values)-1]
		if key != "tls" || u.Scheme == "smtps" || mode != tlsStart && mode != tlsOpportunistic && mode != tlsNone {
			return nil, fmt.Errorf("--smtp: %s=%s is not known: smtp:// takes tls=starttls, opportunistic or none", key, mode)
		}
		s.tls = mode
	}
	if _, given := u.User.Password(); given {
		return nil, errors.New("--smtp: others can read a password on the command line: put it into WHERRY_SMTP_PASSWORD, or into a file for --smtp-password-file")
	}
	if s.user != "" && password == "" {
		return nil, fmt.Errorf("--smtp names the user %s: put the password into WHERRY_SMTP_PASSWORD, or into a file for --smtp-password-file", s.user)
	}
	if s.from, err = netmail.ParseAddress(from); err != nil {
		return nil, errors.New("--smtp-from is the address that e-mail comes from, such as wherry@example.com")
	}
	return s, nil
}

// send sends a notice to one address.
func (s *Mail) send(ctx context.Context, n notify.Notification) error {
	msg, err := s.message(n)
	if err != nil {
		return err
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	err = c.DialAndSendWithContext(ctx, msg)
	if err == nil || msg.IsDelivered() { // an error of the farewell changes nothing
		return nil
	}
	if refused, ok := errors.AsType[*mail.SendError](err); ok && refused.ErrorCode() >= 500 {
		// RFC 5321, 4.2.1: the command is not to be repeated.
		return &refusal{notify.Failed, "the server for e-mail refused: " + err.Error()}
	}
	return fmt.Errorf("send e-mail through %s: %w", s.host, err)
}

func (s *Mail) client() (*mail.Client, error) {
	options := []mail.Option{mail.WithPort(s.port), mail.WithTimeout(mailTimeout / 2)}
	switch s.tls {
	case tlsImplicit:
		options = append(options, mail.WithSSL())
	case tlsOpportunistic:
		options = append(options, mail.WithTLSPolicy(mail.TLSOpportunistic))
	case tlsNone:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if s.user != "" { // the best way that the server offers; none that shows the password to others
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.user), mail.WithPassword(s.password))
	}
	return mail.NewClient(s.host, options...)
}

// message is a notice as text and as HTML. Its Message-ID is the same in each
// attempt.
func (s *Mail) message(n notify.Notification) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := msg.From(s.from.String()); err != nil {
		return nil, err
	}
	if err := msg.To(n.Address); err != nil {
		return nil, &refusal{notify.Failed, fmt.Sprintf("%q is not an e-mail address", n.Address)}
	}
	_, domain, _ := strings.Cut(s.from.Address, "@")
	msg.Subject(strings.Join(strings.Fields(n.Notice.Subject), " "))
	msg.SetMessageIDWithValue(n.Token + "@" + domain)
	msg.SetDateWithValue(time.UnixMilli(n.CreatedAt))
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no holiday notes, please
	msg.SetGenHeader("X-Wherry-Event", n.Kind)
	text := n.Notice.Text
	if n.Notice.Link != "" {
		text += "\n\n" + n.Notice.Link
	}
	msg.SetBodyString(mail.TypeTextPlain, text+"\n")
	var html bytes.Buffer
	if err := page.Execute(&html, n.Notice); err != nil {
		return nil, err
	}
	msg.AddAlternativeString(mail.TypeTextHTML, html.String())
	return msg, nil
}

var page = template.Must(template.New("").Funcs(template.FuncMap{"lines": func(s string) []string { return strings.Split(s, "\n") }}).Parse(
	`<!doctype html><html><body style="font-family:sans-serif;color:#222">
<h3 style="{{if .Bad}}color:#b00020{{else}}color:#222{{end}}">{{.Subject}}</h3>
<p>{{range lines .Text}}{{.}}<br>
{{end}}</p>{{with .Link}}
<p><a href="{{.}}">Open in wherry</a></p>{{end}}
</body></html>
`))
