package notify_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/wherry-ml/wherry/notify"
	outbox "github.com/wherry-ml/wherry/store/notify"
	"github.com/wherry-ml/wherry/store/storetest"
)

// postOffice is a real server for e-mail.
type postOffice struct {
	address, cert string
	accepted      func() error // after a message came in whole, before it is answered

	mu    sync.Mutex
	got   []*mail.Message
	bodys [][]byte
	users []string
}

// newPostOffice serves on the loopback, with STARTTLS under a certificate of
// its own if secure.
func newPostOffice(t *testing.T, secure bool) *postOffice {
	t.Helper()
	p := &postOffice{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.address = l.Addr().String()
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &visit{p: p}, nil }))
	srv.Domain = "localhost"
	if secure {
		srv.TLSConfig = p.certificate(t)
	}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return p
}

func (p *postOffice) certificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	p.cert = filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(p.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func (p *postOffice) mails() []*mail.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got
}

// visit is one connection.
type visit struct{ p *postOffice }

func (v *visit) AuthMechanisms() []string { return []string{sasl.Plain} }

func (v *visit) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "otter" {
			return errors.New("wrong password")
		}
		v.p.mu.Lock()
		defer v.p.mu.Unlock()
		v.p.users = append(v.p.users, user)
		return nil
	}), nil
}

func (v *visit) Mail(string, *smtp.MailOptions) error { return nil }

func (v *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	switch {
	case strings.HasPrefix(to, "nobody@"):
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	case strings.HasPrefix(to, "full@"):
		return &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: "mailbox full"}
	}
	return nil
}

func (v *visit) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	msg, err := mail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		return err
	}
	v.p.mu.Lock()
	v.p.got, v.p.bodys = append(v.p.got, msg), append(v.p.bodys, b)
	v.p.mu.Unlock()
	if v.p.accepted != nil {
		return v.p.accepted()
	}
	return nil
}

func (v *visit) Reset()        {}
func (v *visit) Logout() error { return nil }

// TestMail: what arrives, as a mail program shows it.
func TestMail(t *testing.T) {
	post := newPostOffice(t, false)
	server, err := notify.ParseMail("smtp://"+post.address+"?tls=none", "", "Wherry <wherry@example.com>")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, storetest.SQLite(t), notify.Options{Mail: server})
	n := failed
	n.Subject += "\r\nBcc: eve@example.com"
	n.Emails = []string{"ada@example.com"}
	if got := s.send(n); got.State != outbox.Sent {
		t.Fatalf("%+v", got)
	}
	msg := post.mails()[0]
	for header, want := range map[string]string{
		"From": `"Wherry" <wherry@example.com>`, "To": "<ada@example.com>", "Subject": "[wherry] Job <otters> & co failed Bcc: eve@example.com",
		"Bcc": "", "Auto-Submitted": "auto-generated", "X-Wherry-Event": "jobs.on_failure",
	} {
		if got := msg.Header.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
	if id := msg.Header.Get("Message-Id"); !strings.HasSuffix(id, "@example.com>") {
		t.Errorf("Message-ID is %q", id)
	}
	_, boundary, _ := strings.Cut(msg.Header.Get("Content-Type"), "boundary=")
	parts := multipart.NewReader(msg.Body, strings.Trim(boundary, `"`))
	for _, want := range [][2]string{
		{"text/plain", "Job otters failed.\r\nTask a: division by zero\r\n\r\nhttp://wherry.test/jobs/1/runs/2\r\n"},
		{"text/html", `<a href="http://wherry.test/jobs/1/runs/2">Open in wherry</a>`},
	} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil || !strings.HasPrefix(part.Header.Get("Content-Type"), want[0]) || !strings.Contains(string(b), want[1]) {
			t.Errorf("%s: %s, %v", part.Header.Get("Content-Type"), b, err)
		}
		if strings.Contains(want[0], "html") && !strings.Contains(string(b), "Job &lt;otters&gt; &amp; co failed") {
			t.Errorf("the name of the job is not escaped: %s", b)
		}
	}
}

// TestMailRefused: what the server for e-mail says for good ends the attempts,
// and no password or notice goes over an open connection.
func TestMailRefused(t *testing.T) {
	secure, plain := newPostOffice(t, true), newPostOffice(t, false)
	db := storetest.SQLite(t)
	for i, test := range []struct {
		url, address, state, error string
	}{
		{"smtp://" + plain.address + "?tls=none", "nobody@example.com", outbox.Failed, "no such mailbox"},
		{"smtp://" + plain.address + "?tls=none", "full@example.com", outbox.Pending, "mailbox full"},
		{"smtp://" + plain.address + "?tls=none", "not an address", outbox.Failed, "is not an e-mail address"},
		{"smtp://" + plain.address, "ada@example.com", outbox.Pending, "STARTTLS"},
		{"smtp://" + secure.address, "ada@example.com", outbox.Pending, "certificate"}, // of an unknown authority
		{"smtps://" + plain.address, "ada@example.com", outbox.Pending, "tls"},
		{"smtp://127.0.0.1:1", "ada@example.com", outbox.Pending, "connection refused"},
	} {
		server, err := notify.ParseMail(test.url, "", "wherry@example.com")
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, db, notify.Options{Mail: server})
		n := failed
		n.DedupKey, n.Emails = string(rune('a'+i)), []string{test.address}
		if got := s.send(n); got.State != test.state || !strings.Contains(got.LastError, test.error) {
			t.Errorf("%s to %s: %s %q", test.url, test.address, got.State, got.LastError)
		}
	}
	if len(plain.mails())+len(secure.mails()) != 0 {
		t.Error("something was delivered")
	}
}

func TestParseMail(t *testing.T) {
	for text, want := range map[string]string{
		"mail.example.com":               "--smtp is smtp://",
		"http://mail.example.com":        "--smtp is smtp://",
		"smtp://:25":                     "--smtp is smtp://",
		"smtp://mail:0":                  "is not a port",
		"smtp://mail?tls=yes":            "tls=yes is not known",
		"smtps://mail?tls=none":          "tls=none is not known",
		"smtp://mail?x=y":                "x=y is not known",
		"smtp://ada:pw@mail":             "others can read a password",
		"smtp://ada@mail":                "WHERRY_SMTP_PASSWORD",
		"smtp://mail.example.com/folder": "--smtp is smtp://",
	} {
		if _, err := notify.ParseMail(text, "", "wherry@example.com"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := notify.ParseMail("smtp://mail", "", ""); err == nil || !strings.Contains(err.Error(), "--smtp-from") {
		t.Errorf("without an address: %v", err)
	}
	if _, err := notify.ParseMail("smtps://ada@mail:4650", "pw", "wherry@example.com"); err != nil {
		t.Error(err)
	}
}
