//go:build linux

package compute_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/databricks/databricks-sdk-go"
	"github.com/databricks/databricks-sdk-go/service/compute"
	"github.com/databricks/databricks-sdk-go/service/jobs"
	"github.com/databricks/databricks-sdk-go/service/workspace"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server/servertest"
)

// TestClusterSecrets: {{secrets/scope/key}} in a cluster's settings is the
// secret's value; one that is not there fails the task and is named.
func TestClusterSecrets(t *testing.T) {
	environment.ForTest(t)
	s := servertest.Start(t, nil)
	w := must(databricks.NewWorkspaceClient(&databricks.Config{Host: s.URL, Token: s.Token}))(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	file := filepath.Join(s.State.Workspace(1), "key.py")
	source := "import os\nprint(os.environ['URL'] == 'https://me:s3cret@host')\n"
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(source), 0o600)); err != nil {
		t.Fatal(err)
	}
	run := func(wait func(*jobs.Run)) (*jobs.Run, error) {
		submitted := must(w.Jobs.Submit(ctx, jobs.SubmitRun{RunName: "secret", Tasks: []jobs.SubmitTask{{
			TaskKey: "a", SparkPythonTask: &jobs.SparkPythonTask{PythonFile: "/Workspace/key.py"},
			NewCluster: &compute.ClusterSpec{
				SparkVersion: "17.3.x-scala2.13", NodeTypeId: "Standard_DS3_v2",
				SparkEnvVars: map[string]string{"URL": "https://me:{{secrets/keys/api}}@host"},
			},
		}}}))(t)
		return submitted.OnProgress(wait).Get()
	}
	var last *jobs.Run
	if _, err := run(func(r *jobs.Run) { last = r }); err == nil {
		t.Fatal("a cluster without its secret started")
	}
	if message := last.Tasks[0].State.StateMessage; !strings.Contains(message, "spark_env_vars.URL refers to the secret keys/api: ") {
		t.Errorf("message %q", message)
	}
	if err := errors.Join(w.Secrets.CreateScope(ctx, workspace.CreateScope{Scope: "keys"}),
		w.Secrets.PutSecret(ctx, workspace.PutSecret{Scope: "keys", Key: "api", StringValue: "s3cret"})); err != nil {
		t.Fatal(err)
	}
	ended := must(run(func(*jobs.Run) {}))(t)
	out := must(w.Jobs.GetRunOutput(ctx, jobs.GetRunOutputRequest{RunId: ended.Tasks[0].RunId}))(t)
	if out.Logs != "True\n" {
		t.Errorf("logs %q", out.Logs)
	}
}
