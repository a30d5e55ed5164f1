package notify_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/notify"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/drift"
	"github.com/wherry-ml/wherry/store/environments"
	"github.com/wherry-ml/wherry/store/storetest"
)

// Drift of an environment is told to those it names, each change once: to a
// webhook and by e-mail, of a deployment and of Terraform's; elsewhere nobody is
// told.
func TestDriftIsTold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, rec, post := t.Context(), receive(t), newPostOffice(t, false)
		mail, err := notify.ParseMail("smtp://"+post.address+"?tls=none", "", "wherry@example.com")
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, db, notify.Options{AllowHosts: []string{"127.0.0.1"}, Mail: mail})
		ok := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		id := s.destination(wherry.DestinationConfig{Webhook: &wherry.WebhookConfig{URL: rec.URL}})
		env := wherry.Environment{Name: "prod", Notify: []string{"ada@example.com", id}}
		_, err = environments.New(db).Put(ctx, env, "ada")
		ok(err)
		drifts := drift.New(db)
		deployed := func(target string) string {
			d, err := deployments.New(db).Open(ctx, deployments.Deployment{WorkspaceID: 1, RootPath: "/Workspace/" + target, Target: target, Bundle: "shop"})
			ok(err)
			return d.ID
		}
		found := drift.Drift{WorkspaceID: 1, DeploymentID: deployed("prod"), Resource: "jobs.nightly", Kind: drift.Changed, Actor: "eve", Fields: []drift.Field{{Path: "name", Before: "a", After: "b"}}}
		other := found
		other.DeploymentID = deployed("dev")
		ok(drifts.Applied(ctx, 1, drift.Infra{Source: "infra", PlanDigest: "p", Serial: 3, Environment: "prod", Resources: []drift.InfraResource{{Address: "azurerm_storage_account.lake", ID: "/x"}}}, "ci", 0))
		for _, d := range []drift.Drift{found, found, other} { // seen twice, told once
			_, err := drifts.Compared(ctx, 0, d, "", "eve")
			ok(err)
		}
		ok(db.Write(ctx, func(tx *store.Tx) error {
			return drift.InfraChanged(tx, 1, "/X", drift.Changed, "eve", []drift.Field{{Path: "tags.team", Before: "ml", After: "bi"}})
		}))
		found.Fields = []drift.Field{{Path: "name", Before: "a", After: "c"}} // another change
		_, err = drifts.Compared(ctx, 0, found, "", "eve")
		ok(err)
		_, err = notify.New(s.cfg).Pass(ctx)
		ok(err)
		got := ""
		for _, b := range rec.bodies {
			if b["event_type"] != wherry.EventDriftFound {
				t.Errorf("%v", b)
			}
			first, _, _ := strings.Cut(fmt.Sprint(b["text"]), "\n`wherry")
			got += fmt.Sprint(b["subject"], ": ", first, "\n")
		}
		want := []string{
			"[prod] drift: jobs.nightly was changed in shop: jobs.nightly was changed by eve.\nname: \"a\" → \"b\"\n",
			"[prod] drift: jobs.nightly was changed in shop: jobs.nightly was changed by eve.\nname: \"a\" → \"c\"\n",
			"[prod] drift: azurerm_storage_account.lake was changed in infra: azurerm_storage_account.lake was changed by eve.\ntags.team: \"ml\" → \"bi\"\n",
		}
		for _, text := range want {
			if !strings.Contains(got, text) {
				t.Errorf("no %q in\n%s", text, got)
			}
		}
		if len(rec.bodies) != len(want) || len(post.mails()) != len(want) {
			t.Errorf("%d webhooks and %d e-mails, want %d of each:\n%s", len(rec.bodies), len(post.mails()), len(want), got)
		}
	})
}
