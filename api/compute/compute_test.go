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
	"github.com/databricks/databricks-sdk-go/apierr"
	"github.com/databricks/databricks-sdk-go/service/compute"
	"github.com/databricks/databricks-sdk-go/service/jobs"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server/servertest"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestClusterLife drives an all-purpose cluster with the Go SDK.
func TestClusterLife(t *testing.T) {
	environment.ForTest(t)
	s := servertest.Start(t, nil)
	w := must(databricks.NewWorkspaceClient(&databricks.Config{Host: s.URL, Token: s.Token}))(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	made := must(w.Clusters.Create(ctx, compute.CreateCluster{
		ClusterName: "mine", SparkVersion: "16.4.x-scala2.13", NodeTypeId: "Standard_DS3_v2",
		Autoscale: &compute.AutoScale{MinWorkers: 1, MaxWorkers: 3}, CustomTags: map[string]string{"team": "ml"},
	}))(t)
	id := made.ClusterId
	c := must(made.Get())(t)
	if c.State != compute.StateRunning || c.ClusterName != "mine" || c.ClusterSource != compute.ClusterSourceApi || c.CustomTags["team"] != "ml" {
		t.Errorf("%+v", c)
	}
	if !strings.Contains(c.StateMessage, "autoscale 1-3 accepted, run as local[") {
		t.Errorf("what is different is not said: %q", c.StateMessage)
	}

	file := filepath.Join(s.State.Workspace(1), "hello.py")
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte("print('hello')\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	submit := jobs.SubmitRun{RunName: "on it", Tasks: []jobs.SubmitTask{{
		TaskKey: "a", ExistingClusterId: id,
		SparkPythonTask: &jobs.SparkPythonTask{PythonFile: "/Workspace/hello.py"},
	}}}
	run := must(must(w.Jobs.Submit(ctx, submit))(t).Get())(t)
	if run.State.ResultState != jobs.RunResultStateSuccess || run.Tasks[0].ClusterInstance.ClusterId != id {
		t.Errorf("run: %+v on %+v", run.State, run.Tasks[0].ClusterInstance)
	}

	must(must(w.Clusters.Edit(ctx, compute.EditCluster{ClusterId: id, ClusterName: "yours", SparkVersion: "16.4.x-scala2.13"}))(t).Get())(t)
	must(must(w.Clusters.Restart(ctx, compute.RestartCluster{ClusterId: id}))(t).Get())(t)
	must(must(w.Clusters.Delete(ctx, compute.DeleteCluster{ClusterId: id}))(t).Get())(t)
	c = must(w.Clusters.GetByClusterId(ctx, id))(t)
	if c.ClusterName != "yours" || c.State != compute.StateTerminated || c.TerminationReason.Code != "USER_REQUEST" || len(c.CustomTags) != 0 {
		t.Errorf("%+v", c)
	}
	// A job's task starts it again.
	if run := must(must(w.Jobs.Submit(ctx, submit))(t).Get())(t); run.State.ResultState != jobs.RunResultStateSuccess {
		t.Errorf("run on a terminated cluster: %+v", run.State)
	}
	events := must(w.Clusters.EventsAll(ctx, compute.GetEvents{ClusterId: id}))(t)
	if len(events) < 6 || events[len(events)-1].Type != compute.EventTypeCreating {
		t.Errorf("events: %+v", events)
	}
	if all := must(w.Clusters.ListAll(ctx, compute.ListClustersRequest{}))(t); len(all) != 1 {
		t.Errorf("%d clusters", len(all))
	}
	if err := w.Clusters.PermanentDeleteByClusterId(ctx, id); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Clusters.GetByClusterId(ctx, id); !errors.Is(err, apierr.ErrResourceDoesNotExist) {
		t.Errorf("after permanent-delete: %v", err)
	}
}

// TestPinned pins a cluster while it starts, as Terraform does: it runs all the
// same, and is not deleted for good before it is unpinned.
func TestPinned(t *testing.T) {
	environment.ForTest(t)
	s := servertest.Start(t, nil)
	w := must(databricks.NewWorkspaceClient(&databricks.Config{Host: s.URL, Token: s.Token}))(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	pinned := func() int {
		return len(must(w.Clusters.ListAll(ctx, compute.ListClustersRequest{FilterBy: &compute.ListClustersFilterBy{IsPinned: true}}))(t))
	}
	made := must(w.Clusters.Create(ctx, compute.CreateCluster{ClusterName: "mine", SparkVersion: "16.4.x-scala2.13", NodeTypeId: "Standard_DS3_v2"}))(t)
	id := made.ClusterId
	if n := pinned(); n != 0 {
		t.Errorf("%d clusters are pinned", n)
	}
	for range 50 { // one of them meets the start between its read and its write
		if err := errors.Join(w.Clusters.PinByClusterId(ctx, id), w.Clusters.UnpinByClusterId(ctx, id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Clusters.PinByClusterId(ctx, id); err != nil {
		t.Fatal(err)
	}
	if c := must(made.Get())(t); c.State != compute.StateRunning {
		t.Errorf("it is %s: %s", c.State, c.StateMessage)
	}
	if err := w.Clusters.PermanentDeleteByClusterId(ctx, id); err == nil || !strings.Contains(err.Error(), "unpin the cluster first") || pinned() != 1 {
		t.Errorf("a pinned cluster, deleted: %v", err)
	}
	if c := must(w.Clusters.GetByClusterId(ctx, id))(t); c.State != compute.StateRunning {
		t.Errorf("a refused delete left it %s", c.State)
	}
	if err := errors.Join(w.Clusters.UnpinByClusterId(ctx, id), w.Clusters.PermanentDeleteByClusterId(ctx, id)); err != nil || pinned() != 0 {
		t.Errorf("unpinned and deleted: %v", err)
	}
}

func TestTables(t *testing.T) {
	s := servertest.Start(t, nil)
	w := must(databricks.NewWorkspaceClient(&databricks.Config{Host: s.URL, Token: s.Token}))(t)
	ctx := context.Background()
	if id := must(w.Clusters.SelectNodeType(ctx, compute.NodeTypeRequest{MinCores: 4, MinMemoryGB: 14}))(t); id == "" {
		t.Error("no node type of 4 cores")
	}
	version := must(w.Clusters.SelectSparkVersion(ctx, compute.SparkVersionRequest{LongTermSupport: true, ML: true, Latest: true}))(t)
	if !strings.Contains(version, "-ml-") {
		t.Errorf("ML runtime: %s", version)
	}
	_, err := w.Clusters.Create(ctx, compute.CreateCluster{SparkVersion: version, Autoscale: &compute.AutoScale{MinWorkers: 3, MaxWorkers: 1}})
	if err == nil || !strings.Contains(err.Error(), "max_workers (1) is less than min_workers (3)") {
		t.Errorf("bad autoscale: %v", err)
	}
	if _, err := w.Clusters.Create(ctx, compute.CreateCluster{}); err == nil || !strings.Contains(err.Error(), "spark_version") {
		t.Errorf("no spark_version: %v", err)
	}
}
