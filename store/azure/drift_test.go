package azure_test

import (
	"fmt"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/azure"
	"github.com/wherry-ml/wherry/store/drift"
	"github.com/wherry-ml/wherry/store/storetest"
)

// What someone else than who made it changes of a resource that Terraform
// applied is drift, with what was before the first change; undone it is settled,
// and so by the next apply.
func TestChangesBehindTerraformsBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s, drifts := t.Context(), azure.New(db), drift.New(db)
		const id = group + "/providers/Microsoft.Storage/storageAccounts/lake"
		set := func(by, tier, team string) {
			t.Helper()
			_, _, err := s.Put(ctx, id, by, func(_ *store.Tx, old *azure.Resource) (azure.Resource, error) {
				r := azure.Resource{ID: id, Type: "Microsoft.Storage/storageAccounts", Name: "lake", Document: azure.Document{"properties": azure.Document{}, "tags": azure.Document{}}}
				if old != nil {
					r = *old // changed in place, as the kinds may
				}
				r.Document["properties"].(azure.Document)["accessTier"] = tier
				r.Document["tags"].(azure.Document)["team"] = team
				return r, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		want := func(what, text string) {
			t.Helper()
			list, err := drifts.List(ctx, wherry.DefaultWorkspace, false, 10)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, d := range list {
				got += fmt.Sprintf("%s %s by %s %v", d.Resource, d.Kind, d.Actor, d.Fields)
			}
			if got != text {
				t.Errorf("%s: %s, want %s", what, got, text)
			}
		}
		apply := func() {
			t.Helper()
			in := drift.Infra{Source: "infra", PlanDigest: "p", Serial: 1, Resources: []drift.InfraResource{{Address: "azurerm_storage_account.lake", Type: "azurerm_storage_account", ID: id}}}
			if err := drifts.Applied(ctx, wherry.DefaultWorkspace, in, "ci", 0); err != nil {
				t.Fatal(err)
			}
		}
		set("deployer", "Hot", "ml")
		set("eve", "Hot", "bi")
		want("before an apply reported it", "")
		set("eve", "Hot", "ml")
		apply()
		set("deployer", "Hot", "ml")
		want("Terraform's own", "")
		set("eve", "Cool", "ml")
		want("the tier", "azurerm_storage_account.lake changed by eve [{properties.accessTier Hot Cool}]")
		set("bob", "Cold", "bi")
		want("again, and a tag", "azurerm_storage_account.lake changed by bob [{properties.accessTier Hot Cold} {tags.team ml bi}]")
		set("eve", "Hot", "bi")
		want("half undone", "azurerm_storage_account.lake changed by eve [{tags.team ml bi}]")
		set("eve", "Hot", "ml")
		want("undone", "")
		set("eve", "Hot", "bi")
		apply()
		want("applied again", "")
		list, err := drifts.List(ctx, wherry.DefaultWorkspace, true, 10)
		if err != nil || len(list) != 2 || list[0].Way != drift.WayApplied || list[1].Way != drift.WayUndone {
			t.Errorf("settled: %+v %v", list, err)
		}
	})
}
