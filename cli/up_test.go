package cli_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/store"
)

// TestUp starts servers that cannot start, beside a real one whose state
// directory and addresses the scripts find as $STATE, $ADDRESS and $STORAGE.
func TestUp(t *testing.T) {
	s := servertest.Start(t, nil)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/up",
		Setup: func(env *testscript.Env) error {
			env.Setenv("STATE", string(s.State))
			env.Setenv("ADDRESS", strings.TrimPrefix(s.URL, "http://"))
			env.Setenv("STORAGE", strings.TrimPrefix(s.StorageURL, "http://"))
			return nil
		},
		Condition: func(name string) (bool, error) {
			return name == "namespaces" && exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "none", os.TempDir()).Run() == nil, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"serves": serves, "up": up, "until": until, "schema": addSchema},
	})
}

// serves starts a server, waits until it says that it serves, ends it, and wants
// the exit code 0: serves FLAG....
func serves(ts *testscript.TestScript, _ bool, args []string) {
	cmd := startUp(ts, args)
	_ = cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		ts.Fatalf("%v: %s", err, ts.ReadFile("up.log"))
	}
}

// up starts a server with its state in st that serves until the script ends: up FLAG....
func up(ts *testscript.TestScript, _ bool, args []string) {
	cmd := startUp(ts, append([]string{"--state", "st", "--listen", "127.0.0.1:0", "--storage-listen", "127.0.0.1:0"}, args...))
	ts.Defer(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
}

// startUp returns when the server says that it serves. Its stderr goes to up.log.
func startUp(ts *testscript.TestScript, args []string) *exec.Cmd {
	cmd := exec.Command("wherry", append([]string{"up"}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+ts.Getenv("XDG_CACHE_HOME"))
	log, err := os.Create(ts.MkAbs("up.log"))
	ts.Check(err)
	defer log.Close()
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	line, _ := bufio.NewReader(out).ReadString('\n') // a failure leaves it empty
	if !strings.HasPrefix(line, "wherry serves http://") {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		ts.Fatalf("%s%s", line, ts.ReadFile("up.log"))
	}
	return cmd
}

// addSchema makes a database one of a version to come: schema DIR VERSION.
func addSchema(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	db, err := store.Open(ctx, "sqlite://"+ts.MkAbs(args[0])+"/wherry.db")
	ts.Check(err)
	ts.Check(db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES ($1, true)`, args[1])
		return err
	}))
	ts.Check(db.Close())
}
