package deployments_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
)

const withExtras = `
bundle: {name: x}
resources:
  schemas:
    s: {catalog_name: lab, name: made, grants: [{principal: users, privileges: [SELECT]}]}
  jobs:
    one: {name: one, tasks: [{task_key: a, spark_python_task: {python_file: a.py}}], permissions: [{group_name: users, level: CAN_VIEW}]}
`

// answer is an answer of the API as text.
func (s *site) answer(path string) string {
	s.t.Helper()
	var out json.RawMessage
	check(s.t, s.client.Do(context.Background(), "GET", path, nil, &out))
	return string(out)
}

func TestFailedDeployTakesPermissionsAndGrantsBack(t *testing.T) {
	s, dir := newSite(t), t.TempDir()
	write(t, dir, map[string]string{"databricks.yml": withExtras, "a.py": "a"})
	r, err := s.deploy(dir)
	check(t, err)
	permissions, grants := "", "/api/2.1/unity-catalog/permissions/schema/lab.made"
	for _, change := range r.Resources {
		if change.Key == "jobs.one" {
			permissions = "/api/2.0/permissions/jobs/" + change.ID
		}
	}
	before := []string{s.answer(permissions), s.answer(grants)}
	if !strings.Contains(before[0], "CAN_VIEW") || !strings.Contains(before[1], "SELECT") {
		t.Fatalf("stored: %s", before)
	}
	changed := strings.NewReplacer("CAN_VIEW", "CAN_RUN", "[SELECT]", "[MODIFY]").Replace(withExtras)
	write(t, dir, map[string]string{"databricks.yml": changed + `
    zoo: {name: zoo, schedule: {quartz_cron_expression: "* * * * * ?", timezone_id: UTC}, tasks: [{task_key: a, spark_python_task: {python_file: a.py}}]}
`})
	if _, err := s.deploy(dir); err == nil {
		t.Fatal("a schedule that is none was deployed")
	}
	if after := []string{s.answer(permissions), s.answer(grants)}; after[0] != before[0] || after[1] != before[1] {
		t.Errorf("after a failed deploy:\n%s\nbefore:\n%s", after, before)
	}
	write(t, dir, map[string]string{"databricks.yml": changed})
	if _, err := s.deploy(dir); err != nil {
		t.Fatal(err)
	}
	if got := s.answer(permissions); !strings.Contains(got, "CAN_MANAGE_RUN") || strings.Contains(got, "CAN_VIEW") {
		t.Errorf("permissions %s", got)
	}
	if got := s.answer(grants); !strings.Contains(got, "MODIFY") || strings.Contains(got, "SELECT") {
		t.Errorf("grants %s", got)
	}
}
