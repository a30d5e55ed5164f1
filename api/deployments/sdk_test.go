package deployments_test

import (
	"context"
	"testing"

	"github.com/databricks/databricks-sdk-go"
	"github.com/databricks/databricks-sdk-go/service/bundledeployments"
)

// The public deployments API as the Go SDK calls it: create, lock, record,
// complete.
func TestPublicAPIWithTheSDK(t *testing.T) {
	s, ctx := newSite(t), context.Background()
	w, err := databricks.NewWorkspaceClient(&databricks.Config{Host: s.client.URL, Token: "secret"})
	check(t, err)
	d, err := w.BundleDeployments.CreateDeployment(ctx, bundledeployments.CreateDeploymentRequest{
		Deployment: bundledeployments.Deployment{DisplayName: "shop", TargetName: "prod"},
	})
	check(t, err)
	if d.Name == "deployments/" || d.Status != bundledeployments.DeploymentStatusDeploymentStatusActive {
		t.Fatalf("%+v", d)
	}
	v, err := w.BundleDeployments.CreateVersion(ctx, bundledeployments.CreateVersionRequest{
		Parent: d.Name, VersionId: "1",
		Version: bundledeployments.Version{CliVersion: "1", VersionType: bundledeployments.VersionTypeVersionTypeDeploy, GitInfo: &bundledeployments.GitInfo{Commit: "c0ffee", Branch: "main"}},
	})
	check(t, err)
	if _, err := w.BundleDeployments.CreateVersion(ctx, bundledeployments.CreateVersionRequest{
		Parent: d.Name, VersionId: "2", Version: bundledeployments.Version{CliVersion: "1", VersionType: bundledeployments.VersionTypeVersionTypeDeploy},
	}); err == nil {
		t.Error("a second version was begun while the first is in progress")
	}
	beat, err := w.BundleDeployments.Heartbeat(ctx, bundledeployments.HeartbeatRequest{Name: v.Name})
	check(t, err)
	if beat.ExpireTime == nil {
		t.Error("a heartbeat tells no end of the lease")
	}
	_, err = w.BundleDeployments.CompleteVersion(ctx, bundledeployments.CompleteVersionRequest{
		Name: v.Name, CompletionReason: bundledeployments.VersionCompleteVersionCompleteSuccess,
	})
	check(t, err)
	got, err := w.BundleDeployments.GetVersion(ctx, bundledeployments.GetVersionRequest{Name: v.Name})
	check(t, err)
	if got.Status != bundledeployments.VersionStatusVersionStatusCompleted || got.GitInfo == nil || got.GitInfo.Commit != "c0ffee" || got.CompleteTime == nil {
		t.Errorf("%+v", got)
	}
	list := w.BundleDeployments.ListVersions(ctx, bundledeployments.ListVersionsRequest{Parent: d.Name})
	if first, err := list.Next(ctx); err != nil || first.VersionId != "1" || list.HasNext(ctx) {
		t.Errorf("%+v %v", first, err)
	}
	check(t, w.BundleDeployments.DeleteDeployment(ctx, bundledeployments.DeleteDeploymentRequest{Name: d.Name}))
	if d, err = w.BundleDeployments.GetDeployment(ctx, bundledeployments.GetDeploymentRequest{Name: d.Name}); err != nil || d.Status != bundledeployments.DeploymentStatusDeploymentStatusDeleted {
		t.Errorf("%+v %v", d, err)
	}
}
