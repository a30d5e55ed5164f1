package cli_test

import (
	"bufio"
	"bytes"
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
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"serves": serves, "schema": addSchema},
	})
}

// serves starts a server, waits until it says that it serves, ends it, and wants
// the exit code 0: serves FLAG....
func serves(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command("wherry", append([]string{"up"}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	line, _ := bufio.NewReader(out).ReadString('\n') // a failure leaves it empty
	_ = cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil || !strings.HasPrefix(line, "wherry serves http://") {
		ts.Fatalf("%v: %s%s", err, line, log.String())
	}
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
