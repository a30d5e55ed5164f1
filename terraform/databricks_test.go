package terraform_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/server/servertest"
)

const workspaceProject = `
terraform {
  required_providers {
    databricks = { source = "databricks/databricks", version = "~> 1.60" }
  }
}
provider "databricks" {}

data "databricks_current_user" "me" {}
data "databricks_current_metastore" "this" {}
data "databricks_spark_version" "lts" { long_term_support = true }
data "databricks_node_type" "small" { local_disk = true }
data "databricks_catalogs" "all" {}

resource "databricks_catalog" "main" {
  name       = "team"
  comment    = "Of the team"
  properties = { purpose = "test" }
  force_destroy = true
}
resource "databricks_schema" "features" {
  catalog_name = databricks_catalog.main.name
  name         = "features"
  comment      = "Features"
}
resource "databricks_volume" "raw" {
  catalog_name = databricks_catalog.main.name
  schema_name  = databricks_schema.features.name
  name         = "raw"
  volume_type  = "MANAGED"
}
resource "databricks_storage_credential" "lake" {
  name = "lake"
  azure_managed_identity {
    access_connector_id = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Databricks/accessConnectors/ac"
  }
}
resource "databricks_external_location" "lake" {
  name            = "lake"
  url             = "abfss://bronze@lake.dfs.core.windows.net/"
  credential_name = databricks_storage_credential.lake.name
}
resource "databricks_grants" "main" {
  catalog = databricks_catalog.main.name
  grant {
    principal  = "users"
    privileges = ["USE_CATALOG", "USE_SCHEMA", "SELECT"]
  }
  grant {
    principal  = databricks_service_principal.ci.application_id
    privileges = ["ALL_PRIVILEGES"]
  }
}
resource "databricks_grant" "schema" {
  schema     = databricks_schema.features.id
  principal  = "users"
  privileges = ["CREATE_TABLE"]
}
resource "databricks_registered_model" "m" {
  catalog_name = databricks_catalog.main.name
  schema_name  = databricks_schema.features.name
  name         = "churn"
}
resource "databricks_service_principal" "ci" {
  display_name = "ci"
}
resource "databricks_service_principal_secret" "ci" {
  service_principal_id = databricks_service_principal.ci.id
}
resource "databricks_user" "ada" {
  user_name = "ada@example.com"
}
resource "databricks_secret_scope" "s" { name = "keys" }
resource "databricks_secret" "k" {
  scope        = databricks_secret_scope.s.name
  key          = "password"
  string_value = "hush"
}
resource "databricks_secret_acl" "a" {
  scope      = databricks_secret_scope.s.name
  principal  = "users"
  permission = "READ"
}
resource "databricks_directory" "d" {
  path             = "/Shared/team"
  delete_recursive = true
}
resource "databricks_notebook" "n" {
  path   = "${databricks_directory.d.path}/prepare"
  source = "${path.module}/prepare.py"
}
resource "databricks_workspace_file" "f" {
  path           = "${databricks_directory.d.path}/settings.yml"
  content_base64 = base64encode("a: 1\n")
}
resource "databricks_job" "nightly" {
  name = "nightly"
  tags = { team = "ml" }
  task {
    task_key = "prepare"
    notebook_task {
      notebook_path   = databricks_notebook.n.path
      base_parameters = { day = "today" }
    }
    job_cluster_key = "c"
  }
  task {
    task_key = "train"
    depends_on { task_key = "prepare" }
    spark_python_task { python_file = "dbfs:/train.py" }
    job_cluster_key = "c"
    library {
      pypi { package = "lightgbm" }
    }
    timeout_seconds = 600
  }
  job_cluster {
    job_cluster_key = "c"
    new_cluster {
      spark_version = data.databricks_spark_version.lts.id
      node_type_id  = data.databricks_node_type.small.id
      num_workers   = 1
      spark_conf    = { "spark.sql.shuffle.partitions" = "4" }
    }
  }
  schedule {
    quartz_cron_expression = "0 0 1 * * ?"
    timezone_id            = "Europe/Amsterdam"
    pause_status           = "PAUSED"
  }
  email_notifications { on_failure = ["ada@example.com"] }
  parameter {
    name    = "env"
    default = "dev"
  }
}
resource "databricks_permissions" "nightly" {
  job_id = databricks_job.nightly.id
  access_control {
    group_name       = "users"
    permission_level = "CAN_VIEW"
  }
}
resource "databricks_cluster" "shared" {
  cluster_name            = "shared"
  spark_version           = data.databricks_spark_version.lts.id
  node_type_id            = data.databricks_node_type.small.id
  num_workers             = 0
  autotermination_minutes = 20
  no_wait                 = true
  is_pinned               = true
  spark_conf = {
    "spark.databricks.cluster.profile" = "singleNode"
    "spark.master"                     = "local[*]"
  }
  custom_tags = { ResourceClass = "SingleNode" }
}
resource "databricks_mlflow_experiment" "e" { name = "/Shared/churn" }
resource "databricks_token" "t" {
  comment          = "for a script"
  lifetime_seconds = 3600
}
resource "databricks_workspace_conf" "c" {
  custom_config = { enableIpAccessLists = "false" }
}
resource "databricks_metastore_assignment" "m" {
  workspace_id = 1
  metastore_id = data.databricks_current_metastore.this.id
}
output "me" { value = data.databricks_current_user.me.user_name }
output "job" { value = databricks_job.nightly.id }
output "token" {
  value     = databricks_token.t.token_value
  sensitive = true
}
output "volume" { value = databricks_volume.raw.volume_path }
`

// TestWorkspaceProject applies, changes and destroys what a team keeps in a
// workspace, with the real terraform.
func TestWorkspaceProject(t *testing.T) {
	t.Parallel()
	eachSource(t, testWorkspaceProject)
}

func testWorkspaceProject(t *testing.T, on setup) {
	s := servertest.Start(t, nil)
	p := newProject(t, s, on, workspaceProject)
	notebook := filepath.Join(p.dir, "prepare.py")
	if err := os.WriteFile(notebook, []byte("# Databricks notebook source\nprint(1)\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.run("init", "-no-color", "-input=false")
	if out := p.run("validate", "-no-color"); slices.Contains(on.source.StandIns, "databricks/databricks") && !strings.Contains(out, "overrides are in effect") {
		t.Errorf("terraform does not say that providers are overridden:\n%s", out)
	}
	p.realOnes("databricks/databricks")
	p.apply()
	p.unchanged()

	out := p.outputs()
	if out["me"] != "admin@localhost" || out["volume"] != "/Volumes/team/features/raw" {
		t.Errorf("outputs are %v", out)
	}
	token, _ := out["token"].(string)
	c := client.New(s.URL, token)
	var job struct {
		Settings wherry.JobSettings `json:"settings"`
	}
	if err := c.Do(t.Context(), "GET", "/api/2.2/jobs/get?job_id="+out["job"].(string), nil, &job); err != nil {
		t.Fatal(err)
	}
	if job.Settings.Name != "nightly" || len(job.Settings.Tasks) != 2 {
		t.Errorf("the job is %+v", job.Settings)
	}

	if err := os.WriteFile(notebook, []byte("# Databricks notebook source\nprint(2)\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.write(strings.NewReplacer(`"Of the team"`, `"Of the whole team"`, `timeout_seconds = 600`, `timeout_seconds = 900`, `"CREATE_TABLE"`, `"CREATE_TABLE", "MODIFY"`).Replace(workspaceProject))
	code, plan := p.try("plan", "-detailed-exitcode", "-no-color", "-input=false")
	if code != 2 || !strings.Contains(plan, "0 to add, 4 to change, 0 to destroy") {
		t.Fatalf("exit %d, and the plan of a change is\n%s", code, plan)
	}
	p.apply()
	p.unchanged()

	// Behind Terraform's back.
	if err := c.Do(t.Context(), "DELETE", "/api/2.1/unity-catalog/volumes/team.features.raw", nil, nil); err != nil {
		t.Fatal(err)
	}
	if code, plan := p.try("plan", "-detailed-exitcode", "-no-color", "-input=false"); code != 2 || !strings.Contains(plan, "databricks_volume.raw will be created") {
		t.Errorf("exit %d, and the plan after a volume was deleted is\n%s", code, plan)
	}
	p.apply()
	p.run("state", "rm", "-no-color", "databricks_schema.features")
	p.run("import", "-no-color", "-input=false", "databricks_schema.features", "team.features")
	p.unchanged()
	p.run("destroy", "-auto-approve", "-no-color", "-input=false")
	if code := wherry.CodeOf(client.New(s.URL, s.Token).Do(t.Context(), "GET", "/api/2.1/unity-catalog/catalogs/team", nil, nil)); code == "" {
		t.Error("the catalog is there after destroy")
	}
}
