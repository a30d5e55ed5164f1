package drift_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/drift"
	"github.com/wherry-ml/wherry/store/environments"
	"github.com/wherry-ml/wherry/store/notify"
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
	d, err := s.Open(ctx, deployments.Deployment{WorkspaceID: 1, Bundle: "b", RootPath: "/Workspace/a/b", Target: "prod"})
	check(t, err)
	v, err := s.Begin(ctx, 1, deployments.Version{DeploymentID: d.ID, Kind: deployments.KindDeploy, CreatedBy: "ada"}, false)
	check(t, err)
	check(t, s.Succeed(ctx, v, "ada", deployments.Done{Workspace: 1, Target: "prod", Upserts: []deployments.Resource{{Key: "jobs.j", Kind: "jobs", ResourceID: "7", State: "{}", Live: "{}"}}}))
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
		for range 2 { // the second changes nothing
			check(t, s.Mark(ctx, 1, int64(first.ID), drift.Adopted, "databricks.yml", "carl"))
		}
		if err := s.Mark(ctx, 2, int64(first.ID), drift.Adopted, "", "carl"); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			t.Errorf("of another workspace: %v", err)
		}
		check(t, db.Read(ctx, func(tx *store.Tx) error {
			var n int
			err := tx.Row(`SELECT count(*) FROM event WHERE kind = $1 AND actor = 'carl' AND subject = $2 AND payload LIKE '%"state":"adopted"%'`,
				wherry.EventDriftMarked, fmt.Sprint(int64(first.ID))).Scan(&n)
			if n != 1 {
				t.Errorf("%d events tell who adopted it", n)
			}
			return err
		}))
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

// told lists what waits to be sent: subject → receivers.
func told(t *testing.T, db *store.DB) map[string][]string {
	t.Helper()
	list, err := notify.New(db).List(context.Background(), wherry.DefaultWorkspace, notify.Filter{})
	check(t, err)
	out := map[string][]string{}
	for _, n := range list {
		out[n.Notice.Subject] = append([]string{n.Address}, out[n.Notice.Subject]...)
	}
	return out
}

// Drift is told of in the transaction that records it, once: to those whom its
// environment names, else to the installation's destinations.
func TestTold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s, id := context.Background(), drift.New(db), deploy(t, db)
		for _, d := range []notify.StoredDestination{{ID: "all", Installation: true}, {ID: "hook"}, {ID: "other", WorkspaceID: 2, Installation: true}} {
			d.WorkspaceID, d.Name, d.Kind, d.Sealed = max(d.WorkspaceID, 1), d.ID, wherry.DestinationWebhook, []byte{1}
			check(t, notify.New(db).CreateDestination(ctx, d))
		}
		found := drift.Drift{WorkspaceID: 1, DeploymentID: id, Resource: "jobs.j", ResourceID: "7", Kind: drift.Changed, Actor: "eve", Fields: []drift.Field{{Path: "name", Before: "a", After: "b"}}}
		broken := errors.New("the write fails")
		err := db.Write(ctx, func(tx *store.Tx) error {
			_, err := drift.Record(tx, found)
			return errors.Join(err, broken)
		})
		if got := told(t, db); !errors.Is(err, broken) || len(got) != 0 {
			t.Fatalf("told of what did not happen: %v, %v", got, err)
		}
		for range 2 { // the second says the same
			_, err := s.Compared(ctx, 0, found, "", "eve")
			check(t, err)
		}
		_, err = environments.New(db).Put(ctx, wherry.Environment{Name: "prod", Notify: []string{"ada@example.com", "hook"}}, "ada")
		check(t, err)
		found.Kind, found.Fields = drift.Deleted, nil
		_, err = s.Compared(ctx, 0, found, "", "eve")
		check(t, err)
		in := drift.Infra{Source: "infra", Environment: "PROD", PlanDigest: "p", Resources: []drift.InfraResource{{Address: "a.lake", ID: "/l"}}}
		check(t, s.Applied(ctx, 1, in, "ci", 0))
		check(t, db.Write(ctx, func(tx *store.Tx) error { return drift.InfraChanged(tx, 1, "/L", drift.Deleted, "", nil) }))
		want := map[string][]string{
			"[b, prod] drift: jobs.j was changed by eve":               {"all"},
			"[b, prod] drift: jobs.j was deleted by eve":               {"ada@example.com", "hook"},
			"[infra, PROD] drift: a.lake was deleted by nobody we saw": {"ada@example.com", "hook"},
		}
		if got := told(t, db); !reflect.DeepEqual(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
		list, err := notify.New(db).List(ctx, 1, notify.Filter{})
		check(t, err)
		text := list[len(list)-1].Notice.Text
		if !strings.Contains(text, "jobs.j (7) was changed by eve.\nname: \"a\" → \"b\"\n") || !strings.Contains(text, "wherry drift adopt jobs.j") {
			t.Errorf("the first notice says %q", text)
		}
	})
}
