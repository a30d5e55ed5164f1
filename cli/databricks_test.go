package cli_test

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server/servertest"
)

// TestDatabricks runs the databricks command, this binary under that name,
// against one real server, as its admin. The server answers for production
// names too, through its proxy: $PROXY and $CA.
func TestDatabricks(t *testing.T) {
	environment.ForTest(t)
	s := servertest.Start(t, nil)
	setup := scriptEnv(s)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/databricks", UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			for key, value := range map[string]string{
				"DATABRICKS_HOST": s.URL, "DATABRICKS_TOKEN": s.Token, "HOME": env.WorkDir, "PROXY": s.ProxyURL, "CA": filepath.Join(string(s.State), "ca", "bundle.pem"),
			} {
				env.Setenv(key, value)
			}
			return setup(env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"json": queryJSON, "keep": keepJSON, "api": callServer(s)},
	})
}
