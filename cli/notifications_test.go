package cli_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestMail runs scripts beside a real server for e-mail each, found as $SMTP: `up`
// starts wherry with flags, `mail` waits for the next e-mail and prints it.
func TestMail(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/mail",
		Setup: func(env *testscript.Env) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			came := make(chan string, 10)
			post := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return postman{came}, nil }))
			go func() { _ = post.Serve(l) }()
			env.Defer(func() { _ = post.Close() })
			env.Setenv("SMTP", l.Addr().String())
			env.Values["came"] = came
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"up": up, "keep": keepJSON, "json": queryJSON,
			"mail": func(ts *testscript.TestScript, _ bool, _ []string) {
				select {
				case text := <-ts.Value("came").(chan string):
					_, err := io.WriteString(ts.Stdout(), text)
					ts.Check(err)
				case <-time.After(time.Minute):
					ts.Fatalf("no e-mail came")
				}
			},
		},
	})
}

// postman takes every e-mail but for nobody.
type postman struct{ came chan string }

func (postman) Mail(string, *smtp.MailOptions) error { return nil }

func (postman) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	}
	return nil
}

func (p postman) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	p.came <- string(b)
	return err
}

func (postman) Reset()        {}
func (postman) Logout() error { return nil }
