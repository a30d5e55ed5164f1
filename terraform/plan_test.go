package terraform_test

import (
	"slices"
	"testing"

	"github.com/wherry-ml/wherry/terraform"
)

func TestConcerns(t *testing.T) {
	const account = `{"address":"azurerm_storage_account.a","mode":"managed","type":"azurerm_storage_account","change":`
	const scope = `{"address":"databricks_secret_scope.s","mode":"managed","type":"databricks_secret_scope","change":`
	for name, test := range map[string]struct {
		plan string
		want []string
	}{
		"nothing": {`{"resource_changes":[` + account + `{"actions":["no-op"]}}]}`, nil},
		"deleted": {`{"resource_changes":[` + account + `{"actions":["delete"],"before":{},"after":null}}]}`, []string{"azurerm_storage_account.a would be deleted: what is in it is lost"}},
		"replaced": {
			`{"resource_changes":[` + account + `{"actions":["delete","create"],"before":{},"after":{}}}]}`,
			[]string{"azurerm_storage_account.a would be replaced: what is in it is lost"},
		},
		"a schema is not protected": {`{"resource_changes":[{"address":"databricks_schema.s","mode":"managed","type":"databricks_schema","change":{"actions":["delete"]}}]}`, nil},
		"undone": {
			`{"resource_drift":[` + account + `{"actions":["update"],"before":{"tls":"1.2","n":1},"after":{"tls":"1.0","n":2}}}],
			"resource_changes":[` + account + `{"actions":["update"],"before":{"tls":"1.0","n":2},"after":{"tls":"1.2","n":2}}}]}`,
			[]string{"azurerm_storage_account.a was changed behind Terraform's back (tls): the plan undoes that"},
		},
		"what only the API sets is no drift": {
			`{"resource_drift":[` + account + `{"actions":["update"],"before":{"n":1},"after":{"n":2}}}],
			"resource_changes":[` + account + `{"actions":["update"],"before":{"n":2,"tls":"1.0"},"after":{"n":2,"tls":"1.2"}}}]}`, nil,
		},
		"gone": {
			`{"resource_drift":[` + account + `{"actions":["delete"],"before":{},"after":null}}],"resource_changes":[` + account + `{"actions":["create"],"before":null,"after":{}}}]}`,
			[]string{"azurerm_storage_account.a was deleted behind Terraform's back: the plan makes it again"},
		},
		"gone with its workspace": {
			`{"resource_drift":[` + scope + `{"actions":["delete"],"before":{},"after":null}}],"resource_changes":[` + scope + `{"actions":["create"],"before":null,"after":{}}},
			{"address":"azurerm_databricks_workspace.w","mode":"managed","type":"azurerm_databricks_workspace","change":{"actions":["delete","create"],"before":{},"after":{}}}]}`,
			[]string{
				"databricks_secret_scope.s was deleted behind Terraform's back, or is lost with the workspace that the plan replaces: the plan makes it again",
				"azurerm_databricks_workspace.w would be replaced: what is in it is lost",
			},
		},
		"gone while another thing is replaced": {
			`{"resource_drift":[` + scope + `{"actions":["delete"],"before":{},"after":null}}],"resource_changes":[` + scope + `{"actions":["create"],"before":null,"after":{}}},` +
				account + `{"actions":["delete","create"],"before":{},"after":{}}}]}`,
			[]string{"databricks_secret_scope.s was deleted behind Terraform's back: the plan makes it again", "azurerm_storage_account.a would be replaced: what is in it is lost"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := terraform.ReadPlan([]byte(test.plan))
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Concerns(); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestStateDigest shows that a secret does not change a resource's digest, and
// anything else does.
func TestStateDigest(t *testing.T) {
	digest := func(name, secret string) string {
		t.Helper()
		list, err := terraform.ReadState([]byte(`{"values":{"root_module":{"child_modules":[{"resources":[{"address":"module.m.x.y","mode":"managed","type":"x","values":{"id":"7","name":"` + name +
			`","key":"` + secret + `"},"sensitive_values":{"key":true}},{"address":"data.x.y","mode":"data","type":"x","values":{"id":"8"}}]}]}}}`))
		if err != nil || len(list) != 1 || list[0].Address != "module.m.x.y" || list[0].ID != "7" {
			t.Fatalf("%+v, %v", list, err)
		}
		return list[0].Digest
	}
	if digest("a", "1") != digest("a", "2") || digest("a", "1") == digest("b", "1") {
		t.Error("the digest is of what is not sensitive")
	}
}
