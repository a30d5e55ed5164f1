package cli_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/terraform"
)

// TestNewProjectOnce runs what docs/cicd.md says that a new project needs once,
// as it stands there, with wherry's stand-ins.
func TestNewProjectOnce(t *testing.T) {
	engine, err := terraform.Find("")
	if err != nil {
		t.Skip(err)
	}
	environment.ForTest(t)
	s := servertest.Start(t, nil)
	setup := scriptEnv(s)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/doc",
		Setup: func(env *testscript.Env) error {
			if err := setup(env); err != nil {
				return err
			}
			env.Setenv("ENGINE", engine)
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, "home")) // the commands name no state directory
			env.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")                  // no registry answers: stand-ins
			env.Setenv("CHECKPOINT_DISABLE", "1")
			return errors.Join(
				os.Mkdir(filepath.Join(env.WorkDir, "home"), 0o755),
				os.Symlink(string(s.State), filepath.Join(env.WorkDir, "home", "wherry")),
				writeDoc(env),
			)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"api": callServer(s), "json": queryJSON},
	})
}

// writeDoc lays the page's Terraform into the folder once, its commands into
// once.sh, and the name of its storage account into $ACCOUNT.
func writeDoc(env *testscript.Env) error {
	page, err := os.ReadFile(filepath.Join("..", "docs", "cicd.md"))
	if err != nil {
		return err
	}
	m := regexp.MustCompile("(?s)\n## What a new project needs once\n.*?\n```hcl\n(.*?)```\n+```sh\n(.*?)```\n").FindSubmatch(page)
	if m == nil {
		return errors.New("docs/cicd.md has no section \"What a new project needs once\" with a block of hcl and one of sh after it")
	}
	account := regexp.MustCompile(`(?s)"azurerm_storage_account".*?\n  name += "(.*?)"`).FindSubmatch(m[1])
	if account == nil {
		return errors.New("docs/cicd.md names no storage account")
	}
	env.Setenv("ACCOUNT", string(account[1]))
	return errors.Join(
		os.Mkdir(filepath.Join(env.WorkDir, "once"), 0o755),
		os.WriteFile(filepath.Join(env.WorkDir, "once", "main.tf"), m[1], 0o600),
		os.WriteFile(filepath.Join(env.WorkDir, "once.sh"), append([]byte("set -eu\n"), m[2]...), 0o600),
	)
}
