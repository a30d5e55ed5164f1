package deployments_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
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

// A job is never there without its permissions: they are stored with it, by a
// deploy and where drift makes a deleted one anew.
func TestPermissionsAreThereWithTheJob(t *testing.T) {
	s, dir, ctx := newSite(t), t.TempDir(), context.Background()
	write(t, dir, map[string]string{"databricks.yml": withExtras, "a.py": "a"})
	made := 0
	mux := s.mux
	check(t, s.service.Start(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r)
		if r.URL.Path == "/api/2.2/jobs/create" {
			made++
			if text := s.answer(fmt.Sprintf("/api/2.0/permissions/jobs/%d", made)); !strings.Contains(text, "CAN_VIEW") {
				t.Errorf("job %d is there without its permissions: %s", made, text)
			}
		}
	})))
	_, err := s.deploy(dir)
	check(t, err)
	check(t, s.client.Do(ctx, "POST", "/api/2.2/jobs/delete", map[string]any{"job_id": 1}, nil))
	s.revert(s.drift().Drift[0].ID)
	if got := s.drift(); made != 2 || got.Sync != "in sync" {
		t.Errorf("%d jobs were made, %s: %s", made, got.Sync, describe(got.Drift))
	}
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
