package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wherry-ml/wherry/cli"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/state"
)

var update = flag.Bool("update", false, "rewrite the wanted outputs in the scripts")

// TestMain makes this binary wherry, or databricks, when a script, a server or an agent starts
// it by that name.
func TestMain(m *testing.M) {
	sandbox.Main()
	main := func() { os.Exit(cli.Main(os.Args)) }
	testscript.Main(m, map[string]func(){
		"wherry": main, "databricks": main, "terraform-provider-azurerm": main, "terraform-provider-azuread": main, "terraform-provider-databricks": main,
	})
}

// TestScripts runs the commands against one real server, whose state directory
// scripts find as $STATE. Each script's bundle has a name of its own.
func TestScripts(t *testing.T) {
	environment.ForTest(t)
	s := servertest.Start(t, nil)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update, Setup: scriptEnv(s),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"stop": stopServer, "json": queryJSON, "keep": keepJSON, "api": callServer(s), "until": until, "exits": exits, "token": useToken},
	})
}

// exits wants a command to end with a code: exits CODE COMMAND ARG....
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("the exit code is %d", code)
	}
}

// useToken signs the commands after it in with the token in a file: token FILE.
func useToken(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv("DATABRICKS_TOKEN", strings.TrimSpace(ts.ReadFile(args[0])))
}

// until runs a command again until its output matches, for what a loop of the
// server comes to: until PATTERN COMMAND ARG....
func until(ts *testscript.TestScript, _ bool, args []string) {
	want, end := regexp.MustCompile("(?ms)"+args[0]), time.Now().Add(time.Minute)
	for {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("for a minute the output did not match %q", args[0])
		}
	}
}

// scriptEnv gives scripts the server's state directory, the set-up that there
// is, and a name in Git.
func scriptEnv(s *servertest.Server) func(*testscript.Env) error {
	return func(env *testscript.Env) error {
		cache, err := environment.CacheDir()
		if err != nil {
			return err
		}
		for key, value := range map[string]string{
			"STATE": string(s.State), "URL": s.URL, "XDG_CACHE_HOME": filepath.Dir(cache), "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com",
			"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.com", "PATH": env.Getenv("PATH"), "ENGINE": "terraform",
		} {
			env.Setenv(key, value)
		}
		env.Defer(func() {
			if err := endServer(filepath.Join(env.WorkDir, "st")); err != nil {
				env.T().Fatal(err)
			}
		})
		return nil
	}
}

// stopServer ends the server that a script had started: stop DIR.
func stopServer(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(endServer(ts.MkAbs(args[0])))
}

// endServer ends the server of a state directory, if one runs there.
func endServer(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := cli.StopServer(ctx, state.Dir(dir))
	return err
}

// queryJSON checks a field of the JSON on stdout: json KEY VALUE, with a dotted
// path for KEY.
func queryJSON(ts *testscript.TestScript, neg bool, args []string) {
	var doc any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &doc))
	got := lookup(doc, args[0])
	if (got == args[1]) == neg {
		ts.Fatalf("%s is %s", args[0], got)
	}
}
