package workspace_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server/servertest"
)

func TestPythonSDK(t *testing.T) {
	t.Parallel()
	python := environment.ForTest(t).Python
	s := servertest.Start(t, nil)
	cmd := exec.Command(python, "testdata/sdk.py")
	cmd.Env = append(os.Environ(), "DATABRICKS_HOST="+s.URL, "DATABRICKS_TOKEN="+s.Token, "DATABRICKS_CONFIG_FILE=/dev/null", "DATABRICKS_AUTH_TYPE=pat")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "ok") {
		t.Errorf("%v\n%s", err, out)
	}
}
