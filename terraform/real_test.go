package terraform_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/terraform"
)

const realProject = `
terraform {
  required_providers {
    databricks = { source = "databricks/databricks", version = "~> 1.100" }
  }
}
provider "databricks" {}

resource "databricks_group" "team" {
  display_name         = "Team"
  allow_cluster_create = true
}
resource "databricks_group" "nobody" { display_name = "Nobody" }
resource "databricks_user" "ada" {
  user_name        = "ada@example.com"
  workspace_access = true
}
resource "databricks_group_member" "ada" {
  group_id  = databricks_group.team.id
  member_id = databricks_user.ada.id
}
resource "databricks_service_principal" "runner" { display_name = "runner" }
data "databricks_service_principal" "runner" {
  application_id = databricks_service_principal.runner.application_id
}
resource "databricks_entitlements" "nobody" {
  group_id              = databricks_group.nobody.id
  databricks_sql_access = false
}
resource "databricks_mlflow_model" "m" { name = "m" }
resource "databricks_dbfs_file" "f" {
  content_base64 = base64encode("x")
  path           = "/tmp/x.txt"
}
resource "databricks_notification_destination" "slack" {
  display_name = "slack"
  config {
    slack { url = "https://hooks.slack.com/services/a/b/c" }
  }
}
resource "databricks_job" "j" {
  name = "j"
  task {
    task_key = "a_loop"
    for_each_task {
      inputs      = jsonencode([1, 2])
      concurrency = 2
      task {
        task_key        = "one"
        environment_key = "Default"
        notebook_task { notebook_path = "/Shared/x" }
      }
    }
  }
  task {
    task_key = "b_check"
    depends_on { task_key = "a_loop" }
    condition_task {
      left  = "1"
      op    = "EQUAL_TO"
      right = "1"
    }
  }
  task {
    task_key        = "c_wheel"
    environment_key = "Default"
    depends_on {
      task_key = "b_check"
      outcome  = "true"
    }
    python_wheel_task {
      package_name = "p"
      entry_point  = "main"
      parameters   = ["a"]
    }
  }
  environment {
    environment_key = "Default"
    spec {
      client       = "1"
      dependencies = ["numpy"]
    }
  }
  queue { enabled = true }
  run_as { service_principal_name = data.databricks_service_principal.runner.application_id }
  webhook_notifications {
    on_failure { id = databricks_notification_destination.slack.id }
  }
  notification_settings { no_alert_for_canceled_runs = true }
  health {
    rules {
      metric = "RUN_DURATION_SECONDS"
      op     = "GREATER_THAN"
      value  = 3600
    }
  }
}
`

// TestRealWorkspace applies with the real provider databricks what the stand-in
// does not have too, and shows that what wherry lacks is refused by its name.
func TestRealWorkspace(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, on setup) {
		if on.source = terraform.Locate(t.Context(), on.engine); !slices.Contains(on.source.Mirrored, "databricks/databricks") {
			t.Skipf("real provider not run: %s names no mirror that has databricks; CONTRIBUTING.md says how to build one", terraform.MirrorVariable)
		}
		p := newProject(t, servertest.Start(t, nil), on, realProject)
		p.run("init", "-no-color", "-input=false")
		p.realOnes("databricks/databricks")
		p.apply()
		p.unchanged()
		p.write(strings.NewReplacer(`allow_cluster_create = true`, `workspace_access = true`, `workspace_access = true`, `allow_cluster_create = true`, `concurrency = 2`, `concurrency = 1`).Replace(realProject))
		p.apply()
		p.unchanged()
		p.run("destroy", "-auto-approve", "-no-color", "-input=false")
		for feature, text := range map[string]string{
			"the SQL warehouse API":     `resource "databricks_sql_endpoint" "x" {` + "\n  name = \"x\"\n  cluster_size = \"2X-Small\"\n}\n",
			"cluster policies":          `resource "databricks_cluster_policy" "x" {` + "\n  name = \"x\"\n  definition = \"{}\"\n}\n",
			"Lakeflow pipelines":        `resource "databricks_pipeline" "x" { name = "x" }` + "\n",
			"Git folders":               `resource "databricks_repo" "x" { url = "https://github.com/x/y.git" }` + "\n",
			"git_source (tasks whose":   `resource "databricks_job" "x" {` + "\n  name = \"x\"\n  git_source {\n    url = \"https://github.com/x/y\"\n    provider = \"gitHub\"\n    branch = \"main\"\n  }\n}\n",
			"dashboards is not support": `resource "databricks_dashboard" "x" {` + "\n  display_name = \"x\"\n  warehouse_id = \"x\"\n  serialized_dashboard = \"{}\"\n  parent_path = \"/Shared\"\n}\n",
		} {
			head, _, _ := strings.Cut(realProject, "resource ")
			p.write(head + text)
			if code, out := p.try("apply", "-auto-approve", "-no-color", "-input=false"); code == 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), feature) {
				t.Errorf("exit %d, want %q in\n%s", code, feature, out)
			}
		}
	})
}
