package terraform_test

import (
	"bufio"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/server/servertest"
)

const thereProject = `
terraform {
  required_providers {
    azuread    = { source = "hashicorp/azuread", version = "~> 3.0" }
    databricks = { source = "databricks/databricks", version = "~> 1.60" }
  }
}
provider "azuread" {}
provider "databricks" {}
resource "databricks_catalog" "c" { name = "there" }
resource "databricks_schema" "s" {
  catalog_name = databricks_catalog.c.name
  name         = "s"
}
resource "databricks_group" "g" { display_name = "there" }
resource "databricks_user" "u" { user_name = "there@example.com" }
resource "databricks_secret_scope" "s" { name = "there" }
resource "azuread_application" "a" { display_name = "there" }
resource "azuread_service_principal" "s" { client_id = azuread_application.a.client_id }
resource "azuread_application_federated_identity_credential" "f" {
  application_id = azuread_application.a.id
  display_name   = "there"
  issuer         = "https://token.actions.githubusercontent.com"
  audiences      = ["api://AzureADTokenExchange"]
  subject        = "repo:wherry/there:environment:prod"
}
resource "azuread_group" "g" {
  display_name     = "there-of-entra"
  security_enabled = true
}
data "azuread_client_config" "me" {}
resource "azuread_group_member" "m" {
  group_object_id  = azuread_group.g.object_id
  member_object_id = data.azuread_client_config.me.object_id
}
`

// TestThere makes what is there already: the refusal names the import that takes
// it into the state, and that import does.
func TestThere(t *testing.T) {
	t.Parallel()
	eachEngine(t, testThere)
}

func testThere(t *testing.T, on setup) {
	s := servertest.Start(t, nil)
	p := newProject(t, s, on, thereProject)
	p.env = append(p.env, newCloud(t, s).env...)
	p.env = append(p.env, "DATABRICKS_AUTH_TYPE=pat")
	p.run("init", "-no-color", "-input=false")
	p.apply()
	lost := []string{
		"databricks_schema.s", "databricks_group.g", "databricks_user.u", "databricks_secret_scope.s",
		"azuread_service_principal.s", "azuread_application_federated_identity_credential.f", "azuread_group_member.m",
	}
	p.run(append([]string{"state", "rm", "-no-color"}, lost...)...)
	code, out := p.try("apply", "-auto-approve", "-json", "-input=false")
	if code == 0 {
		t.Fatalf("it was made twice:\n%s", out)
	}
	said := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		var line struct {
			Diagnostic struct{ Severity, Address, Detail string }
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err == nil && line.Diagnostic.Severity == "error" {
			said[line.Diagnostic.Address] = line.Diagnostic.Detail
		}
	}
	for _, address := range lost {
		m := regexp.MustCompile("`terraform import ADDRESS (\\S+)` takes it into the state$").FindStringSubmatch(said[address])
		if m == nil {
			t.Errorf("%s: no import is named: %q", address, said[address])
			continue
		}
		p.run("import", "-no-color", "-input=false", address, m[1])
	}
	p.apply()
}
