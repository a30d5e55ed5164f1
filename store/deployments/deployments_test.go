package deployments_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/storetest"
)

const root = "/Workspace/Users/a/.bundle/b/dev"

func TestVersionsLockAndSucceed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), deployments.New(db)
		d, err := s.Open(ctx, deployments.Deployment{WorkspaceID: 1, RootPath: root, Bundle: "b", Status: deployments.StatusInProgress})
		if err != nil {
			t.Fatal(err)
		}
		if again, err := s.Open(ctx, deployments.Deployment{WorkspaceID: 1, RootPath: root}); err != nil || again.ID != d.ID {
			t.Fatalf("a second Open made %v, %v", again, err)
		}
		v, err := s.Begin(ctx, 1, deployments.Version{DeploymentID: d.ID, Kind: deployments.KindDeploy, CreatedBy: "ada", Git: deployments.Git{Commit: "c0"}, TreeDigest: "t1"}, false)
		if err != nil || v.Version != 1 {
			t.Fatal(v, err)
		}
		next := deployments.Version{DeploymentID: d.ID, Kind: deployments.KindDeploy, CreatedBy: "bob"}
		if _, err := s.Begin(ctx, 1, next, false); wherry.CodeOf(err) != wherry.CodeConflict {
			t.Errorf("a locked deployment was begun again: %v", err)
		}
		if _, err := s.Heartbeat(ctx, 1, d.ID, 1); err != nil {
			t.Error(err)
		}
		err = s.Succeed(ctx, v, "ada", deployments.Done{Files: "t1", FilePath: root + "/files", Workspace: 1, Event: map[string]any{"bundle": "b"}, Upserts: []deployments.Resource{
			{Key: "jobs.j", Kind: "jobs", ResourceID: "7", State: "{}", Action: deployments.ActionCreate, Owned: true},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if digest, at, ok := s.TreeOf(ctx, 1, "/Users/a/.bundle/b/dev/files/src/x"); !ok || digest != "t1" || at != root+"/files" {
			t.Errorf("TreeOf: %s %s %t", digest, at, ok)
		}
		if _, _, ok := s.TreeOf(ctx, 1, root+"/files2/x"); ok {
			t.Error("TreeOf takes a neighbour for the tree")
		}
		if id, version, ok, err := s.DeploymentOf(ctx, 7); err != nil || !ok || id != d.ID || version != 1 {
			t.Errorf("DeploymentOf: %s %d %t %v", id, version, ok, err)
		}
		checkEvent(t, db)
	})
}

func checkEvent(t *testing.T, db *store.DB) {
	t.Helper()
	var doc string
	err := db.Read(context.Background(), func(tx *store.Tx) error {
		return tx.Row(`SELECT payload FROM event WHERE kind = $1`, wherry.EventDeployment).Scan(&doc)
	})
	var payload struct {
		Commit, Bundle string
		Resources      []struct{ Key, ID string }
	}
	if err != nil || json.Unmarshal([]byte(doc), &payload) != nil || payload.Commit != "c0" || payload.Bundle != "b" || len(payload.Resources) != 1 || payload.Resources[0].ID != "7" {
		t.Errorf("event %s, %v", doc, err)
	}
}

func TestNumbersForceAndLostLock(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), deployments.New(db)
		d, err := s.Create(ctx, deployments.Deployment{ID: "mine", WorkspaceID: 1, Status: deployments.StatusActive})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Create(ctx, deployments.Deployment{ID: "mine", WorkspaceID: 1}); wherry.CodeOf(err) != wherry.CodeAlreadyExists {
			t.Errorf("a taken id: %v", err)
		}
		v := deployments.Version{DeploymentID: d.ID, Version: 2, Kind: deployments.KindDeploy}
		if _, err := s.Begin(ctx, 1, v, false); wherry.CodeOf(err) != wherry.CodeAborted {
			t.Errorf("a version that is not the next: %v", err)
		}
		v.Version = 1
		first, err := s.Begin(ctx, 1, v, false)
		if err != nil {
			t.Fatal(err)
		}
		v.Version = 2
		if _, err := s.Begin(ctx, 1, v, true); err != nil {
			t.Fatal(err)
		}
		if err := s.Succeed(ctx, first, "x", deployments.Done{Workspace: 1}); wherry.CodeOf(err) != wherry.CodeAborted {
			t.Errorf("a version that lost its lock succeeded: %v", err)
		}
		if old, err := s.Version(ctx, 1, d.ID, 1); err != nil || old.Reason != deployments.ReasonForce {
			t.Errorf("%+v %v", old, err)
		}
		if err := s.Delete(ctx, 1, d.ID, "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Begin(ctx, 1, deployments.Version{DeploymentID: d.ID}, true); wherry.CodeOf(err) != wherry.CodeInvalidState {
			t.Errorf("a destroyed deployment was begun: %v", err)
		}
	})
}
