package terraform_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/egress"
	wherryproject "github.com/wherry-ml/wherry/project"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/terraform"
)

const teamProject = `
terraform {
  required_providers {
    azurerm    = { source = "hashicorp/azurerm", version = ">= 4.0, < 6.0" }
    azuread    = { source = "hashicorp/azuread", version = "~> 3.0" }
    databricks = { source = "databricks/databricks", version = "~> 1.60" }
  }
}
provider "azurerm" {
  features {
    key_vault { purge_soft_delete_on_destroy = true }
  }
}
provider "azuread" {}
provider "databricks" {
  host                        = azurerm_databricks_workspace.main.workspace_url
  azure_workspace_resource_id = azurerm_databricks_workspace.main.id
}

data "azurerm_client_config" "current" {}
data "azurerm_subscription" "current" {}
data "azuread_client_config" "current" {}

resource "azurerm_resource_group" "main" {
  name     = "rg-team-prod"
  location = "West Europe"
  tags     = { team = "ml" }
}
resource "azurerm_storage_account" "lake" {
  name                     = "stteamprod"
  resource_group_name      = azurerm_resource_group.main.name
  location                 = azurerm_resource_group.main.location
  account_tier             = "Standard"
  account_replication_type = "LRS"
  is_hns_enabled           = true
  allow_nested_items_to_be_public = false
  blob_properties {
    delete_retention_policy { days = 7 }
  }
  tags = { team = "ml" }
}
resource "azurerm_storage_container" "zone" {
  for_each              = toset(["bronze", "catalog"])
  name                  = each.key
  storage_account_id    = azurerm_storage_account.lake.id
  container_access_type = "private"
}
resource "azurerm_storage_data_lake_gen2_filesystem" "gold" {
  name               = "gold"
  storage_account_id = azurerm_storage_account.lake.id
  depends_on         = [azurerm_role_assignment.me]
}
resource "azurerm_role_assignment" "me" {
  scope                = azurerm_storage_account.lake.id
  role_definition_name = "Storage Blob Data Owner"
  principal_id         = data.azurerm_client_config.current.object_id
}
resource "azurerm_databricks_workspace" "main" {
  name                        = "dbw-team-prod"
  resource_group_name         = azurerm_resource_group.main.name
  location                    = azurerm_resource_group.main.location
  sku                         = "premium"
  managed_resource_group_name = "rg-team-prod-databricks"
}
resource "azurerm_databricks_access_connector" "lake" {
  name                = "dbac-team-prod"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  identity { type = "SystemAssigned" }
}
resource "azurerm_user_assigned_identity" "jobs" {
  name                = "id-jobs"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
}
resource "azurerm_role_assignment" "connector" {
  scope                = azurerm_storage_account.lake.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_databricks_access_connector.lake.identity[0].principal_id
}
resource "azuread_application" "deployer" {
  display_name = "sp-team-deployer"
  owners       = [data.azuread_client_config.current.object_id]
}
resource "azuread_service_principal" "deployer" {
  client_id = azuread_application.deployer.client_id
}
resource "azuread_application_password" "deployer" {
  application_id = azuread_application.deployer.id
  display_name   = "terraform"
}
resource "azuread_application_federated_identity_credential" "github" {
  application_id = azuread_application.deployer.id
  display_name   = "github-prod"
  issuer         = "https://token.actions.githubusercontent.com"
  audiences      = ["api://AzureADTokenExchange"]
  subject        = "repo:wherry/team:environment:prod"
}
resource "azuread_group" "team" {
  display_name     = "team"
  security_enabled = true
}
resource "azurerm_role_assignment" "deployer" {
  scope                = azurerm_storage_account.lake.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azuread_service_principal.deployer.object_id
}
resource "azurerm_key_vault" "main" {
  name                = "kv-team-prod"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  tenant_id           = data.azurerm_client_config.current.tenant_id
  sku_name            = "standard"
  rbac_authorization_enabled = false
  access_policy {
    tenant_id          = data.azurerm_client_config.current.tenant_id
    object_id          = data.azurerm_client_config.current.object_id
    secret_permissions = ["Get", "List", "Set", "Delete", "Purge"]
  }
}
resource "azurerm_key_vault_secret" "api" {
  name         = "api-key"
  value        = "hush"
  key_vault_id = azurerm_key_vault.main.id
}
resource "databricks_service_principal" "deployer" {
  application_id       = azuread_application.deployer.client_id
  display_name         = azuread_application.deployer.display_name
  allow_cluster_create = true
}
resource "databricks_storage_credential" "lake" {
  name = "team-lake"
  azure_managed_identity {
    access_connector_id = azurerm_databricks_access_connector.lake.id
  }
}
resource "databricks_external_location" "zone" {
  for_each        = azurerm_storage_container.zone
  name            = "team-${each.key}"
  url             = "abfss://${each.key}@${azurerm_storage_account.lake.name}.dfs.core.windows.net/"
  credential_name = databricks_storage_credential.lake.name
}
resource "databricks_catalog" "main" {
  name         = "team_prod"
  storage_root = "${databricks_external_location.zone["catalog"].url}team"
}
resource "databricks_schema" "features" {
  catalog_name = databricks_catalog.main.name
  name         = "features"
}
resource "databricks_grants" "main" {
  catalog = databricks_catalog.main.name
  grant {
    principal  = databricks_service_principal.deployer.application_id
    privileges = ["USE_CATALOG", "USE_SCHEMA", "SELECT"]
  }
}
output "workspace" { value = azurerm_databricks_workspace.main.workspace_url }
output "client" { value = azuread_application.deployer.client_id }
output "secret" {
  value     = azuread_application_password.deployer.value
  sensitive = true
}
`

const tenant = "11111111-1111-1111-1111-111111111111"

// cloud is how a test reaches the production host names of a server.
type cloud struct {
	t *testing.T
	*http.Client
	env []string
}

// newCloud makes a service principal of an admin's for terraform, and a client
// that goes through the server's proxy.
func newCloud(t *testing.T, s *servertest.Server) *cloud {
	t.Helper()
	var sp struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
	}
	if err := client.New(s.URL, s.Token).Do(t.Context(), "POST", "/api/wherry/service-principals", map[string]any{"display_name": "terraform", "admin": true}, &sp); err != nil {
		t.Fatal(err)
	}
	bundle, err := os.ReadFile(filepath.Join(egress.Directory(s.State), "bundle.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	proxy, err := url.Parse(s.ProxyURL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &cloud{t: t, Client: &http.Client{Transport: transport}, env: []string{
		"ARM_TENANT_ID=" + tenant, "ARM_SUBSCRIPTION_ID=00000000-0000-0000-0000-0000000000aa", "ARM_CLIENT_ID=" + sp.ClientID, "ARM_CLIENT_SECRET=" + sp.ClientSecret,
	}}
}

// token signs in at Entra.
func (c *cloud) token(id, secret, resource string) string {
	c.t.Helper()
	res, err := c.PostForm("https://login.microsoftonline.com/"+tenant+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}, "scope": {resource + "/.default"},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	var out struct {
		Token string `json:"access_token"`
	}
	b, err := io.ReadAll(res.Body)
	if err != nil || json.Unmarshal(b, &out) != nil || out.Token == "" {
		c.t.Fatalf("sign in: %s %s %v", res.Status, b, err)
	}
	return out.Token
}

// send calls and returns the status and body.
func (c *cloud) send(method, where, token string, header map[string]string, body string) (int, string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, where, bytes.NewReader([]byte(body)))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("x-ms-version", "2021-12-02")
	for k, v := range header {
		r.Header.Set(k, v)
	}
	res, err := c.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// stateStore makes the storage account for terraform's state.
func (c *cloud) stateStore(group, account string) {
	c.t.Helper()
	management := c.token(strings.TrimPrefix(c.env[2], "ARM_CLIENT_ID="), strings.TrimPrefix(c.env[3], "ARM_CLIENT_SECRET="), "https://management.azure.com")
	group = "https://management.azure.com/subscriptions/00000000-0000-0000-0000-0000000000aa/resourceGroups/" + group
	account = group + "/providers/Microsoft.Storage/storageAccounts/" + account
	for _, made := range [][2]string{{group, `{"location":"westeurope"}`}, {account, `{"location":"westeurope","sku":{"name":"Standard_LRS"},"kind":"StorageV2"}`}, {account + "/blobServices/default/containers/tfstate", `{}`}} {
		if status, answer := c.send("PUT", made[0]+"?api-version=2023-05-01", management, map[string]string{"Content-Type": "application/json"}, made[1]); status >= http.StatusMultipleChoices {
			c.t.Fatalf("%s: %d %s", made[0], status, answer)
		}
	}
}

// TestTeamProject brings up what a team has in Azure and Databricks with the
// real terraform, uses it, changes it behind terraform's back and takes it down.
func TestTeamProject(t *testing.T) {
	t.Parallel()
	eachSource(t, testTeamProject)
}

func testTeamProject(t *testing.T, on setup) {
	s := servertest.Start(t, nil)
	p := newProject(t, s, on, teamProject)
	c := newCloud(t, s)
	p.env = append(without(p.env, "DATABRICKS_"), c.env...)
	p.run("init", "-no-color", "-input=false")
	p.run("validate", "-no-color")
	p.realOnes(terraform.StandIns...)
	p.apply()
	p.unchanged()

	// What was made works: the application's secret opens the lake and the workspace.
	out := p.outputs()
	id, secret := fmt.Sprint(out["client"]), fmt.Sprint(out["secret"])
	lake := c.token(id, secret, "https://storage.azure.com")
	blob := "https://stteamprod.blob.core.windows.net/bronze/day.csv"
	if status, body := c.send("PUT", blob, lake, map[string]string{"x-ms-blob-type": "BlockBlob"}, "a,b\n"); status != http.StatusCreated {
		t.Errorf("write to the lake: %d %s", status, body)
	}
	if status, body := c.send("GET", blob, lake, nil, ""); status != http.StatusOK || body != "a,b\n" {
		t.Errorf("read from the lake: %d %s", status, body)
	}
	who := c.token(id, secret, "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d")
	if status, body := c.send("GET", fmt.Sprintf("https://%v/api/2.0/preview/scim/v2/Me", out["workspace"]), who, nil, ""); status != http.StatusOK || !strings.Contains(body, id) {
		t.Errorf("sign in to the workspace: %d %s", status, body)
	}

	p.write(strings.NewReplacer(`team = "ml"`, `team = "platform"`, `value        = "hush"`, `value        = "hush hush"`, `days = 7`, `days = 9`, `"SELECT"]`, `"SELECT", "MODIFY"]`).Replace(teamProject))
	if code, plan := p.try("plan", "-detailed-exitcode", "-no-color", "-input=false"); code != 2 || !strings.Contains(plan, "0 to add, 4 to change, 0 to destroy") {
		t.Fatalf("exit %d, and the plan of a change is\n%s", code, plan)
	}
	p.apply()
	p.unchanged()

	// Deleted behind terraform's back, and changed.
	management := c.token(strings.TrimPrefix(c.env[2], "ARM_CLIENT_ID="), strings.TrimPrefix(c.env[3], "ARM_CLIENT_SECRET="), "https://management.azure.com")
	group := "https://management.azure.com/subscriptions/00000000-0000-0000-0000-0000000000aa/resourceGroups/rg-team-prod"
	if status, body := c.send("DELETE", group+"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-jobs?api-version=2023-01-31", management, nil, ""); status != http.StatusOK {
		t.Fatalf("delete an identity: %d %s", status, body)
	}
	if status, body := c.send("PATCH", group+"/providers/Microsoft.Storage/storageAccounts/stteamprod?api-version=2023-05-01", management, map[string]string{"Content-Type": "application/json"}, `{"properties":{"minimumTlsVersion":"TLS1_0"}}`); status != http.StatusOK {
		t.Fatalf("change an account: %d %s", status, body)
	}
	code, plan := p.try("plan", "-detailed-exitcode", "-no-color", "-input=false")
	if code != 2 || !strings.Contains(plan, "azurerm_user_assigned_identity.jobs will be created") || !strings.Contains(plan, `"TLS1_0" -> "TLS1_2"`) {
		t.Errorf("exit %d, and the plan after a change by hand is\n%s", code, plan)
	}
	p.apply()
	p.unchanged()
	for address, id := range map[string]string{
		"azurerm_storage_account.lake":      strings.TrimPrefix(group, "https://management.azure.com") + "/providers/Microsoft.Storage/storageAccounts/stteamprod",
		"azurerm_databricks_workspace.main": strings.TrimPrefix(group, "https://management.azure.com") + "/providers/Microsoft.Databricks/workspaces/dbw-team-prod",
	} {
		p.run("state", "rm", "-no-color", address)
		p.run("import", "-no-color", "-input=false", address, id)
	}
	p.run("destroy", "-auto-approve", "-no-color", "-input=false")
	if status, _ := c.send("GET", group+"?api-version=2023-07-01", management, nil, ""); status != http.StatusNotFound {
		t.Errorf("the resource group after destroy: %d", status)
	}
}

// TestRefused shows that what a stand-in does not know is refused by terraform
// with its file and line, and a wrong word by the stand-in.
func TestRefused(t *testing.T) {
	t.Parallel()
	eachEngine(t, testRefused)
}

func testRefused(t *testing.T, on setup) {
	s := servertest.Start(t, nil)
	for name, test := range map[string]struct{ text, want string }{
		"argument": {"provider \"azurerm\" {\n  features {}\n}\nresource \"azurerm_resource_group\" \"x\" {\n  name = \"x\"\n  location = \"westeurope\"\n  colour = \"red\"\n}\n", "on main.tf line 7"},
		"type":     {"provider \"azurerm\" {\n  features {}\n}\nresource \"azurerm_kubernetes_cluster\" \"x\" {}\n", "does not support resource type"},
		"word":     {"provider \"databricks\" {}\nresource \"databricks_volume\" \"x\" {\n  catalog_name = \"a\"\n  schema_name = \"b\"\n  name = \"c\"\n  volume_type = \"BIG\"\n}\n", "on main.tf line 6"},
		"one of":   {"provider \"databricks\" {}\nresource \"databricks_grant\" \"x\" {\n  principal = \"a\"\n  privileges = [\"SELECT\"]\n}\n", "One of these must be written"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProject(t, s, on, `terraform {
required_providers {
azurerm = { source = "hashicorp/azurerm" }
databricks = { source = "databricks/databricks" }
}
}
`)
			if err := os.Rename(filepath.Join(p.dir, "main.tf"), filepath.Join(p.dir, "versions.tf")); err != nil {
				t.Fatal(err)
			}
			p.write(test.text)
			p.run("init", "-no-color", "-input=false")
			code, out := p.try("validate", "-no-color")
			if code == 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), test.want) {
				t.Errorf("exit %d, want %q in\n%s", code, test.want, out)
			}
		})
	}
}

// without leaves out the variables with a prefix.
func without(env []string, prefix string) (out []string) {
	for _, e := range env {
		if !strings.HasPrefix(e, prefix) {
			out = append(out, e)
		}
	}
	return out
}

// TestNewProject brings up the infrastructure of a project that wherry init
// writes, with its state in a storage account of the installation.
func TestNewProject(t *testing.T) {
	t.Parallel()
	eachSource(t, testNewProject)
}

func testNewProject(t *testing.T, on setup) {
	s := servertest.Start(t, nil)
	p := newProject(t, s, on, "")
	if err := os.Remove(filepath.Join(p.dir, "main.tf")); err != nil {
		t.Fatal(err)
	}
	o := wherryproject.Options{Name: "churn", Region: "westeurope", Catalog: "churn", Repository: "wherry/churn", Email: "ada@example.com"}
	if _, err := wherryproject.Write(filepath.Join(p.dir, "churn"), o); err != nil {
		t.Fatal(err)
	}
	p.dir = filepath.Join(p.dir, "churn", "infra")
	c := newCloud(t, s)
	p.env = append(without(p.env, "DATABRICKS_"), c.env...)
	backend, err := os.ReadFile(filepath.Join(p.dir, "environments", "staging.backend.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`storage_account_name = "(.*)"`).FindStringSubmatch(string(backend))[1]
	c.stateStore("rg-churn-tfstate", name)
	p.run("init", "-no-color", "-input=false", "-backend-config=environments/staging.backend.hcl")
	p.realOnes(terraform.StandIns...)
	p.run("apply", "-auto-approve", "-no-color", "-input=false", "-var-file=environments/staging.tfvars")
	if code, out := p.try("plan", "-detailed-exitcode", "-no-color", "-input=false", "-var-file=environments/staging.tfvars"); code != 0 {
		t.Errorf("a second plan is not empty: exit %d\n%s", code, out)
	}
	state, err := os.ReadFile(filepath.Join(p.dir, "terraform.tfstate"))
	if err == nil {
		t.Errorf("the state is on disk, and not in the storage account: %s", state)
	}
	storage := c.token(strings.TrimPrefix(c.env[2], "ARM_CLIENT_ID="), strings.TrimPrefix(c.env[3], "ARM_CLIENT_SECRET="), "https://storage.azure.com")
	if status, body := c.send("GET", "https://"+name+".blob.core.windows.net/tfstate/staging.tfstate", storage, nil, ""); status != http.StatusOK || !strings.Contains(body, "azurerm_databricks_workspace") {
		t.Errorf("the state in the storage account: %d %.200s", status, body)
	}
	p.run("destroy", "-auto-approve", "-no-color", "-input=false", "-var-file=environments/staging.tfvars")
}
