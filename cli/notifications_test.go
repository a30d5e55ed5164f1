package cli_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestMail runs scripts beside a real server for e-mail, found as $SMTP: `up`
// starts wherry with flags, `mail` waits for the next e-mail and prints it.
func TestMail(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan string, 10)
	post := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return postman{came}, nil }))
	go func() { _ = post.Serve(l) }()
	t.Cleanup(func() { _ = post.Close() })
	testscript.Run(t, testscript.Params{
		Dir: "testdata/mail",
		Setup: func(env *testscript.Env) error {
			env.Setenv("SMTP", l.Addr().String())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"up": upAndServe, "keep": keepJSON,
			"mail": func(ts *testscript.TestScript, _ bool, _ []string) {
				select {
				case text := <-came:
					_, err := io.WriteString(ts.Stdout(), text)
					ts.Check(err)
				case <-time.After(time.Minute):
					ts.Fatalf("no e-mail came")
				}
			},
		},
	})
}

// upAndServe starts a server in st and returns once it serves: up FLAG....
func upAndServe(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command("wherry", append([]string{"up", "--state", "st", "--listen", "127.0.0.1:0", "--storage-listen", "127.0.0.1:0"}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	line, _ := bufio.NewReader(out).ReadString('\n')
	if !strings.HasPrefix(line, "wherry serves http://") {
		ts.Fatalf("the server did not start: %s", line)
	}
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
