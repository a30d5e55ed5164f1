//go:build linux

package compute_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/databricks/databricks-sdk-go"
	"github.com/databricks/databricks-sdk-go/service/jobs"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server/servertest"
)

const workersSource = `
import os, sys
os.makedirs("/tmp/mine", exist_ok=True)
with open("/tmp/mine/%[1]s.py", "w") as f: f.write("answer = 42")
sys.path.insert(0, "/tmp/mine")
from pyspark.sql.functions import udf

@udf("string")
def worker(x):
    import importlib
    daemon = open(f"/proc/{os.getppid()}/cmdline").read().split("\0")[2]
    return f'{daemon} {importlib.import_module("%[1]s").answer} {hash("key")}'

print(spark.range(1).select(worker("id").alias("w")).first().w.replace(str(hash("key")), "same hash"))
`

// TestWorkers: Spark's Python workers are forks of the zygote, import the
// task's own modules, and give way to Spark's own where such a module replaces
// what the zygote has imported. Keys hash in them as in the task.
func TestWorkers(t *testing.T) {
	environment.ForTest(t)
	s := servertest.Start(t, nil)
	w := must(databricks.NewWorkspaceClient(&databricks.Config{Host: s.URL, Token: s.Token}))(t)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	folder := s.State.Workspace(1)
	for _, c := range []struct{ module, want string }{
		{"mine", "wherry_runtime.zygote 42 same hash"},
		{"traitlets", "wherry_runtime.spark_daemon 42 same hash"}, // IPython's, which every zygote imports
	} {
		file := filepath.Join(folder, c.module+".py")
		if err := errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(file, fmt.Appendf(nil, workersSource, c.module), 0o600)); err != nil {
			t.Fatal(err)
		}
		run := must(must(w.Jobs.Submit(ctx, jobs.SubmitRun{RunName: c.module, Tasks: []jobs.SubmitTask{{
			TaskKey: "a", SparkPythonTask: &jobs.SparkPythonTask{PythonFile: "/Workspace/" + c.module + ".py"},
		}}}))(t).Get())(t)
		out := must(w.Jobs.GetRunOutput(ctx, jobs.GetRunOutputRequest{RunId: run.Tasks[0].RunId}))(t)
		if got := strings.TrimSpace(out.Logs); got != c.want {
			t.Errorf("%s: %q, want %q; %s", c.module, got, c.want, out.Error)
		}
	}
}
