//go:build linux

package tables_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/databricks/databricks-sdk-go"
	"github.com/databricks/databricks-sdk-go/service/catalog"
	"github.com/databricks/databricks-sdk-go/service/compute"
	"github.com/databricks/databricks-sdk-go/service/jobs"
	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/story/site"
)

// source runs its arguments as SQL, one after the other.
const source = `
import sys
for text in sys.argv[1:]:
    print([tuple(r) for r in spark.sql(text).collect()])
`

type story struct {
	*site.Site
	*databricks.WorkspaceClient
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (s story) connect() story {
	s.T.Helper()
	token := must(os.ReadFile(s.Dir.Path("admin-token")))(s.T)
	s.WorkspaceClient = must(databricks.NewWorkspaceClient(&databricks.Config{Host: s.Info.URL, Token: strings.TrimSpace(string(token))}))(s.T)
	return s
}

func (s story) cluster(name string) (id string) {
	s.T.Helper()
	made := must(s.Clusters.Create(s.Ctx, compute.CreateCluster{ClusterName: name, SparkVersion: "16.4.x-scala2.13", NodeTypeId: "Standard_DS3_v2"}))(s.T)
	return must(made.Get())(s.T).ClusterId
}

// start gives a cluster statements to run.
func (s story) start(cluster string, statements ...string) (runID int64) {
	s.T.Helper()
	return must(s.Jobs.Submit(s.Ctx, jobs.SubmitRun{Tasks: []jobs.SubmitTask{{
		TaskKey: "sql", ExistingClusterId: cluster, SparkPythonTask: &jobs.SparkPythonTask{PythonFile: "/Workspace/sql.py", Parameters: statements},
	}}}))(s.T).RunId
}

// wait returns what the statements gave, a line each.
func (s story) wait(runID int64) string {
	s.T.Helper()
	var run *jobs.Run
	s.Until(fmt.Sprintf("run %d has ended", runID), func() bool {
		run = must(s.Jobs.GetRun(s.Ctx, jobs.GetRunRequest{RunId: runID}))(s.T)
		return run.State.LifeCycleState == jobs.RunLifeCycleStateTerminated || run.State.LifeCycleState == jobs.RunLifeCycleStateInternalError
	})
	out := must(s.Jobs.GetRunOutputByRunId(s.Ctx, run.Tasks[0].RunId))(s.T)
	if run.State.ResultState != jobs.RunResultStateSuccess {
		s.T.Fatalf("%+v: %s\n%s", run.State, out.Logs, out.Error)
	}
	return out.Logs
}

func (s story) sql(cluster string, statements ...string) string {
	s.T.Helper()
	return s.wait(s.start(cluster, statements...))
}

// killAgents ends every agent with SIGKILL.
func (s story) killAgents() {
	s.T.Helper()
	dirs := must(filepath.Glob(s.Dir.Path("agents", "*")))(s.T)
	if len(dirs) < 2 {
		s.T.Fatalf("agents: %v", dirs)
	}
	for _, dir := range dirs {
		b := must(os.ReadFile(filepath.Join(dir, protocol.LockFile)))(s.T)
		if err := unix.Kill(must(strconv.Atoi(strings.TrimSpace(string(b))))(s.T), unix.SIGKILL); err != nil {
			s.T.Fatal(err)
		}
	}
}

// seen checks that the SDK and the API show the table and the volume.
func (s story) seen(columns int) {
	s.T.Helper()
	table := must(s.Tables.GetByFullName(s.Ctx, "workspace.default.seen"))(s.T)
	if table.TableType != catalog.TableTypeManaged || len(table.Columns) != columns {
		s.T.Errorf("the SDK shows %+v", table)
	}
	if _, err := s.Volumes.ReadByName(s.Ctx, "workspace.default.files"); err != nil {
		s.T.Error(err)
	}
	list := must(s.Tables.ListAll(s.Ctx, catalog.ListTablesRequest{CatalogName: "workspace", SchemaName: "default"}))(s.T)
	if len(list) != 1 || list[0].Name != "seen" {
		s.T.Errorf("listed: %+v", list)
	}
}

// TestTables: what one cluster makes, changes and drops is at once so for the
// other, whose driver had looked before; and all of it is there when the
// server and the agents were killed.
func TestTables(t *testing.T) {
	s := story{Site: site.New(t, 2)}
	if err := os.MkdirAll(s.Dir.Workspace(1), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir.Workspace(1), "sql.py"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	server := s.Up()
	s = s.connect()
	one, two := s.cluster("one"), s.cluster("two")
	early := s.start(two, "SHOW TABLES IN workspace.default") // both drivers start at once
	made := s.start(one, "SHOW TABLES IN workspace.default")
	if out := s.wait(early) + s.wait(made); out != "[]\n[]\n" {
		t.Errorf("before: %q", out)
	}
	s.sql(one, "CREATE TABLE workspace.default.seen AS SELECT 1 AS id", "CREATE VOLUME workspace.default.files")
	s.seen(1)
	if out := s.sql(two, "SELECT * FROM workspace.default.seen", "ALTER TABLE workspace.default.seen ADD COLUMN word STRING", "INSERT INTO workspace.default.seen VALUES (2, 'two')"); !strings.HasPrefix(out, "[(1,)]\n") {
		t.Errorf("the other cluster reads %q", out)
	}
	s.seen(2)
	const all = "SELECT * FROM workspace.default.seen ORDER BY id"
	if out := s.sql(one, all); out != "[(1, None), (2, 'two')]\n" {
		t.Errorf("what the other appended: %q", out)
	}

	s.Kill(server)
	s.killAgents()
	s.Up()
	s.seen(2)
	if out := s.sql(one, all, "DROP TABLE workspace.default.seen"); !strings.HasPrefix(out, "[(1, None), (2, 'two')]\n") {
		t.Errorf("after the kill: %q", out)
	}
	if _, err := s.Tables.GetByFullName(context.Background(), "workspace.default.seen"); err == nil {
		t.Error("a dropped table is shown")
	}
}
