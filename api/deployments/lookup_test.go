package deployments_test

import (
	"context"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
)

const lookingUp = `
bundle: {name: x}
variables:
  found: {lookup: {KIND: NAME}}
resources:
  jobs:
    one: {name: one, tasks: [{task_key: a, condition_task: {left: "${var.found}", op: EQUAL_TO, right: "1"}}]}
`

// TestLookups: a variable found by name has the id of the one that has it; none
// or two of them are told, and so is a kind that is not there.
func TestLookups(t *testing.T) {
	s, dir, ctx := newSite(t), t.TempDir(), context.Background()
	var metastore struct {
		ID   string `json:"metastore_id"`
		Name string `json:"name"`
	}
	check(t, s.client.Do(ctx, "GET", "/api/2.1/unity-catalog/metastore_summary", nil, &metastore))
	var job struct {
		ID wherry.Int64 `json:"job_id"`
	}
	check(t, s.client.Do(ctx, "POST", "/api/2.2/jobs/create", map[string]any{"name": "sought"}, &job))
	try := func(kind, name string) error {
		write(t, dir, map[string]string{"databricks.yml": strings.NewReplacer("KIND", kind, "NAME", name).Replace(lookingUp)})
		_, err := s.deploy(dir)
		return err
	}
	check(t, try("metastore", metastore.Name))
	if got := s.answer("/api/2.2/jobs/list?expand_tasks=true"); !strings.Contains(got, metastore.ID) {
		t.Errorf("the metastore's id %s is not in %s", metastore.ID, got)
	}
	check(t, try("job", "sought"))
	if err := try("job", "nowhere"); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
		t.Errorf("a name that no job has: %v", err)
	}
	if err := try("warehouse", "w"); wherry.CodeOf(err) != wherry.CodeNotImplemented || !strings.Contains(err.Error(), "warehouse") {
		t.Errorf("a kind that is not there: %v", err)
	}
	check(t, s.client.Do(ctx, "POST", "/api/2.2/jobs/create", map[string]any{"name": "sought"}, nil))
	if err := try("job", "sought"); wherry.CodeOf(err) != wherry.CodeInvalidParameter || !strings.Contains(err.Error(), "2 of the workspace's jobs") {
		t.Errorf("a name that two jobs have: %v", err)
	}
}
