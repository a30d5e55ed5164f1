package drift_test

import (
	"context"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/drift"
	"github.com/wherry-ml/wherry/store/storetest"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// deploy makes a deployment that holds job 7, and returns its id.
func deploy(t *testing.T, db *store.DB) string {
	t.Helper()
	ctx, s := context.Background(), deployments.New(db)
	d, err := s.Open(ctx, deployments.Deployment{WorkspaceID: 1, RootPath: "/Workspace/a/b", Target: "prod"})
	check(t, err)
	v, err := s.Begin(ctx, 1, deployments.Version{DeploymentID: d.ID, Kind: deployments.KindDeploy, CreatedBy: "ada"}, false)
	check(t, err)
	check(t, s.Succeed(ctx, v, "ada", deployments.Done{Workspace: 1, Upserts: []deployments.Resource{{Key: "jobs.j", Kind: "jobs", ResourceID: "7", State: "{}", Live: "{}"}}}))
	return d.ID
}

func touch(t *testing.T, db *store.DB, who wherry.Identity, kind, id string) {
	t.Helper()
	ctx := wherry.WithIdentity(context.Background(), who)
	check(t, db.Write(ctx, func(tx *store.Tx) error { return drift.Touch(ctx, tx, kind, id) }))
}

func TestTouchAndSettle(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s, id := context.Background(), drift.New(db), deploy(t, db)
		eve := wherry.Identity{Principal: wherry.Principal{UserName: "eve"}, RunID: 5}
		touch(t, db, eve, "jobs", "8")                               // of no deployment
		touch(t, db, wherry.Identity{Deployment: id}, "jobs", "7")   // its own
		touch(t, db, eve, "jobs", "7")                               // drift
		touch(t, db, wherry.Identity{Deployment: "x"}, "jobs", "77") // nothing
		pending, err := s.Pending(ctx, 10)
		if err != nil || len(pending) != 1 || pending[0].Actor != "eve" || pending[0].RunID != 5 || pending[0].DeploymentID != id || pending[0].Resource != "jobs.j" {
			t.Fatalf("%+v, %v", pending, err)
		}
		found := drift.Drift{WorkspaceID: 1, DeploymentID: id, Resource: "jobs.j", Kind: drift.Changed, Actor: "eve", Fields: []drift.Field{{Path: "name", Before: "a", After: "b"}}}
		first, err := s.Compared(ctx, pending[0].ID, found, "", "eve")
		if err != nil || first.ID == 0 || first.Digest == "" {
			t.Fatalf("%+v, %v", first, err)
		}
		same, err := s.Compared(ctx, 0, found, "", "bob")
		if err != nil || same.ID != first.ID || same.FoundAt != first.FoundAt || same.Actor != "eve" {
			t.Errorf("the same again: %+v, %v", same, err)
		}
		found.Fields[0].After, found.Actor = "c", "bob"
		if other, err := s.Compared(ctx, 0, found, "", "bob"); err != nil || other.ID != first.ID || other.Actor != "bob" {
			t.Errorf("another change: %+v, %v", other, err)
		}
		check(t, s.Mark(ctx, 1, int64(first.ID), drift.Adopted, "databricks.yml"))
		check(t, db.Write(ctx, func(tx *store.Tx) error { return drift.Deployed(tx, id, "ada") }))
		if pending, err = s.Pending(ctx, 10); err != nil || len(pending) != 1 || pending[0].Way != drift.WayDeployed {
			t.Fatalf("after a deploy: %+v, %v", pending, err)
		}
		_, err = s.Compared(ctx, pending[0].ID, drift.Drift{DeploymentID: id, Resource: "jobs.j"}, pending[0].Way, "ada")
		check(t, err)
		if list, err := s.List(ctx, 1, true, 10); err != nil || len(list) != 1 || list[0].State != drift.Settled || list[0].Way != drift.WayAdopted || list[0].SettledBy != "ada" {
			t.Errorf("settled: %+v, %v", list, err)
		}
		if list, err := s.List(ctx, 1, false, 10); err != nil || len(list) != 0 {
			t.Errorf("open: %+v, %v", list, err)
		}
		for ws, n := range map[int64]int{0: 1, 2: 0} { // of all, of another
			if list, err := s.List(ctx, ws, true, 10); err != nil || len(list) != n {
				t.Errorf("of workspace %d: %+v, %v", ws, list, err)
			}
			if _, err := s.Get(ctx, ws, int64(first.ID)); (err == nil) != (n == 1) {
				t.Errorf("drift %d of workspace %d: %v", int64(first.ID), ws, err)
			}
		}
	})
}

func TestDestroyedSettles(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s, id := context.Background(), drift.New(db), deploy(t, db)
		_, err := s.Compared(ctx, 0, drift.Drift{WorkspaceID: 1, DeploymentID: id, Resource: "jobs.j", Kind: drift.Deleted}, "", "")
		check(t, err)
		check(t, db.Write(ctx, func(tx *store.Tx) error { return drift.Destroyed(tx, id, "ada") }))
		if list, err := s.List(ctx, 1, true, 10); err != nil || len(list) != 1 || list[0].Way != drift.WayGone {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

// What Terraform recorded and somebody deleted is drift until it applies again.
func TestInfra(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), drift.New(db)
		lake := drift.InfraResource{Address: "azurerm_storage_account.lake", Type: "azurerm_storage_account", ID: "/subscriptions/S/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/lake", Digest: "d1"}
		in := drift.Infra{Source: "infra", PlanDigest: "p", Serial: 3, Resources: []drift.InfraResource{lake}}
		check(t, s.Applied(ctx, 1, in, "ci", 0))
		if err := s.Applied(ctx, 1, drift.Infra{Source: "infra"}, "ci", 0); wherry.CodeOf(err) != wherry.CodeInvalidParameter {
			t.Errorf("an apply without a plan: %v", err)
		}
		for _, id := range []string{"/subscriptions/s/resourcegroups/RG/providers/microsoft.storage/storageaccounts/LAKE", "/subscriptions/s/other"} {
			check(t, db.Write(ctx, func(tx *store.Tx) error { return drift.InfraChanged(tx, 1, id, drift.Deleted, "eve", nil) }))
		}
		list, err := s.List(ctx, 1, false, 10)
		if err != nil || len(list) != 1 || list[0].Resource != lake.Address || list[0].Actor != "eve" || list[0].Version != 3 || list[0].Kind != drift.Deleted {
			t.Fatalf("%+v, %v", list, err)
		}
		in.Serial = 4
		check(t, s.Applied(ctx, 1, in, "ci", 0))
		if list, err := s.List(ctx, 1, true, 10); err != nil || len(list) != 1 || list[0].Way != drift.WayApplied {
			t.Errorf("applied again: %+v, %v", list, err)
		}
	})
}
