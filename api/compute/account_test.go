//go:build linux

package compute_test

import (
	"testing"

	"github.com/databricks/databricks-sdk-go/service/jobs"

	"github.com/wherry-ml/wherry/sandbox"
)

// TestNewAccount: a task makes a storage account and reaches it at once, by the
// name that it has in production.
func TestNewAccount(t *testing.T) {
	t.Parallel()
	if layers, err := sandbox.Probe(t.Context()); err != nil || !layers[0].Active {
		t.Skipf("no namespaces here: %v %v", layers, err)
	}
	s := newSite(t)
	s.write("account.py", `
import os, urllib.error, urllib.request
from databricks.sdk import WorkspaceClient
for k in list(os.environ):
    if k.lower().endswith("_proxy"): del os.environ[k]  # by the box's own hosts file
WorkspaceClient().api_client.do("POST", "/api/wherry/storage/accounts", body={"name": "late"})
for account in "late", "never":
    try:
        urllib.request.urlopen(f"https://{account}.dfs.core.windows.net/raw?resource=filesystem")
    except urllib.error.HTTPError as e:
        print(account, e.code, e.headers["Server"])
    except urllib.error.URLError as e:
        print(account, type(e.reason).__name__)
`)
	run, out := s.run(must(s.Jobs.Submit(s.ctx, jobs.SubmitRun{Tasks: []jobs.SubmitTask{{
		TaskKey: "a", SparkPythonTask: &jobs.SparkPythonTask{PythonFile: "/Workspace/account.py"},
	}}}))(t).RunId)
	if want := "late 401 wherry-storage\nnever gaierror\n"; run.State.ResultState != jobs.RunResultStateSuccess || out["a"] != want {
		t.Errorf("%+v: %v, want %q", run.State, out, want)
	}
}
