package cli_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server/servertest"
)

// TestTofu runs the script of `wherry terraform` with OpenTofu.
func TestTofu(t *testing.T) {
	if _, err := exec.LookPath("tofu"); err != nil {
		t.Skip("tofu is not in PATH; CONTRIBUTING.md says how to build it")
	}
	environment.ForTest(t)
	s := servertest.Start(t, nil)
	setup := scriptEnv(s)
	testscript.Run(t, testscript.Params{
		Files: []string{filepath.Join("testdata", "script", "terraform.txtar")},
		Setup: func(env *testscript.Env) error {
			err := setup(env)
			env.Setenv("ENGINE", "tofu")
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"api": callServer(s)},
	})
}
