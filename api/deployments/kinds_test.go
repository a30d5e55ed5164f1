package deployments_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/api/deployments"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server/servertest"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

const everyKind = `
bundle: {name: kinds}
resources:
  catalogs:
    cat: {name: drift_lab, comment: ours, grants: [{principal: users, privileges: [USE_CATALOG]}]}
  schemas:
    sch: {catalog_name: "${resources.catalogs.cat.name}", name: facts, comment: ours}
  volumes:
    vol: {catalog_name: "${resources.catalogs.cat.name}", schema_name: "${resources.schemas.sch.name}", name: files, comment: ours}
  registered_models:
    reg: {catalog_name: "${resources.catalogs.cat.name}", schema_name: "${resources.schemas.sch.name}", name: churn, comment: ours, grants: [{principal: users, privileges: [EXECUTE]}]}
  external_locations:
    loc: {name: drift_raw, url: "abfss://raw@drift.dfs.core.windows.net/a", credential_name: drift_cred}
  models:
    mod: {name: drift_model, description: ours, tags: [{key: team, value: a}], permissions: [{group_name: users, level: CAN_VIEW}]}
  experiments:
    exp: {name: /Users/drift_exp, tags: [{key: team, value: a}], permissions: [{group_name: users, level: CAN_VIEW}]}
  clusters:
    clu: {cluster_name: drift_small, spark_version: 17.3.x-scala2.13, node_type_id: Standard_DS3_v2, num_workers: 0, permissions: [{group_name: users, level: CAN_VIEW}]}
  secret_scopes:
    sec: {name: drift_scope, permissions: [{group_name: users, level: WRITE}]}
  jobs:
    job: {name: drift_job, max_concurrent_runs: 1, tasks: [{task_key: a, spark_python_task: {python_file: a.py}}], permissions: [{group_name: users, level: CAN_VIEW}]}
`

// Of every kind that a bundle deploys: someone's change by the kind's own API is
// noted with who made it before anyone compares, is drift, and is taken back.
func TestDriftOfEveryKind(t *testing.T) {
	environment.ForTest(t)
	server := servertest.Start(t, nil)
	ctx, c := context.Background(), client.New(server.URL, server.Token)
	do := func(method, path string, body any) {
		t.Helper()
		if err := c.Do(ctx, method, path, body, nil); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	type m = map[string]any
	const uc = "/api/2.1/unity-catalog/"
	do("POST", uc+"storage-credentials", m{"name": "drift_cred", "azure_managed_identity": m{"access_connector_id": "/subscriptions/x"}})
	dir := t.TempDir()
	write(t, dir, map[string]string{"databricks.yml": everyKind, "a.py": "a"})
	b, err := bundle.Load(ctx, bundle.Options{Dir: dir})
	check(t, err)
	report, err := deploy.Deploy(ctx, c, b, deploy.Options{StandIns: true})
	check(t, err)
	ids := map[string]string{}
	for _, change := range report.Resources {
		ids[change.Key] = change.ID
	}
	look := func() deployments.Synced {
		t.Helper()
		var out deployments.DriftReport
		check(t, c.Do(ctx, "GET", "/api/wherry/drift", nil, &out))
		if len(out.Deployments) != 1 {
			t.Fatalf("%+v", out)
		}
		return out.Deployments[0]
	}
	if got := look(); got.Sync != deployments.InSync {
		t.Fatalf("after the deploy: %s", describe(got.Drift))
	}
	acl := func(level string) m {
		return m{"access_control_list": []m{{"group_name": "users", "permission_level": level}}}
	}
	share := m{"access_control_list": []m{{"user_name": "eve", "permission_level": "CAN_MANAGE"}}}
	grant := func(privilege string) m {
		return m{"changes": []m{{"principal": "eve", "add": []string{privilege}}}}
	}
	cluster := m{"cluster_id": ids["clusters.clu"], "cluster_name": "drift_small", "spark_version": "17.3.x-scala2.13", "node_type_id": "Standard_DS3_v2", "num_workers": 0}
	cluster["spark_conf"] = m{"spark.theirs": "1"}
	for _, tc := range []struct {
		resource, method, path string
		body                   m
		want                   string
	}{
		{"catalogs.cat", "PATCH", uc + "catalogs/drift_lab", m{"comment": "theirs"}, "comment: ours → theirs"},
		{"catalogs.cat.grants", "PATCH", uc + "permissions/catalog/Drift_Lab", grant("USE_CATALOG"), "eve: <nil> → [USE_CATALOG]"},
		{"schemas.sch", "PATCH", uc + "schemas/drift_lab.facts", m{"comment": "theirs"}, "comment: ours → theirs"},
		{"volumes.vol", "PATCH", uc + "volumes/drift_lab.facts.files", m{"comment": "theirs"}, "comment: ours → theirs"},
		{"registered_models.reg", "PATCH", uc + "models/drift_lab.facts.churn", m{"comment": "theirs"}, "comment: ours → theirs"},
		{"registered_models.reg.grants", "PATCH", uc + "permissions/function/drift_lab.facts.churn", grant("EXECUTE"), "eve: <nil> → [EXECUTE]"},
		{"external_locations.loc", "PATCH", uc + "external-locations/drift_raw", m{"read_only": true}, "read_only: <nil> → true"},
		{"external_locations.loc", "PATCH", uc + "external-locations/drift_raw", m{"url": "abfss://raw@drift.dfs.core.windows.net/b"}, "url: abfss://raw@drift.dfs.core.windows.net/a → "},
		{"models.mod", "PATCH", "/api/2.0/mlflow/registered-models/update", m{"name": "drift_model", "description": "theirs"}, "description: ours → theirs"},
		{"models.mod", "POST", "/api/2.0/mlflow/registered-models/set-tag", m{"name": "drift_model", "key": "team", "value": "b"}, "a → b"},
		{"models.mod.permissions", "PATCH", "/api/2.0/permissions/registered-models/drift_model", acl("CAN_MANAGE"), "→ CAN_MANAGE"},
		{"experiments.exp", "POST", "/api/2.0/mlflow/experiments/set-experiment-tag", m{"experiment_id": ids["experiments.exp"], "key": "team", "value": "b"}, "a → b"},
		{"experiments.exp.permissions", "PATCH", "/api/2.0/permissions/experiments/" + ids["experiments.exp"], acl("CAN_MANAGE"), "→ CAN_MANAGE"},
		{"clusters.clu", "POST", "/api/2.1/clusters/edit", cluster, "spark_conf"},
		{"clusters.clu.permissions", "PATCH", "/api/2.0/permissions/clusters/" + ids["clusters.clu"], acl("CAN_MANAGE"), "→ CAN_MANAGE"},
		{"secret_scopes.sec.permissions", "POST", "/api/2.0/secrets/acls/put", m{"scope": "drift_scope", "principal": "eve", "permission": "READ"}, "eve: <nil> → READ"},
		{"jobs.job", "POST", "/api/2.2/jobs/update", m{"job_id": ids["jobs.job"], "new_settings": m{"max_concurrent_runs": 5}}, "max_concurrent_runs: 1 → 5"},
		{"jobs.job.permissions", "PATCH", "/api/2.0/permissions/jobs/" + ids["jobs.job"], acl("CAN_MANAGE"), "→ CAN_MANAGE"},
		{"jobs.job.permissions", "PATCH", "/api/2.0/permissions/jobs/" + ids["jobs.job"], share, "user_name eve: <nil> → CAN_MANAGE"},
		{"clusters.clu", "POST", "/api/2.1/clusters/permanent-delete", m{"cluster_id": ids["clusters.clu"]}, "clusters.clu deleted"},
		{"models.mod", "DELETE", "/api/2.0/mlflow/registered-models/delete", m{"name": "drift_model"}, "models.mod deleted"},
		{"secret_scopes.sec", "POST", "/api/2.0/secrets/scopes/delete", m{"scope": "drift_scope"}, "secret_scopes.sec deleted"},
		{"volumes.vol", "DELETE", uc + "volumes/drift_lab.facts.files", nil, "volumes.vol deleted"},
	} {
		what := tc.resource + " by " + tc.method + " " + tc.path
		do(tc.method, tc.path, tc.body)
		got := look()
		text := describe(got.Drift)
		if len(got.Drift) != 1 || got.Drift[0].Resource != tc.resource || !strings.Contains(text, tc.want) {
			t.Fatalf("%s: %s\nwant %q", what, text, tc.want)
		}
		if d := got.Drift[0]; d.Actor != "admin@localhost" {
			t.Errorf("%s: the change was not noted as it was made: by %q", what, d.Actor)
		}
		do("POST", fmt.Sprintf("/api/wherry/drift/%d/revert", int64(got.Drift[0].ID)), m{})
		if got := look(); got.Sync != deployments.InSync {
			t.Fatalf("%s: after the revert: %s", what, describe(got.Drift))
		}
	}
}
