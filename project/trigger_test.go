package project_test

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/workflow"
)

// TestTriggers: which of a new project's workflows an event starts, and to which
// environment their first job goes.
func TestTriggers(t *testing.T) {
	var workflows []*workflow.Workflow
	written := files(t, "my-project")
	for _, name := range slices.Sorted(maps.Keys(written)) {
		if !strings.HasPrefix(name, ".github/workflows/") {
			continue
		}
		w, problems := workflow.Parse(name, written[name])
		if w == nil || len(problems) > 0 {
			t.Fatal(problems)
		}
		workflows = append(workflows, w)
	}
	push := func(ref string, paths ...string) workflow.Event {
		return workflow.Event{Name: "push", Ref: ref, Paths: paths}
	}
	after := func(name, of, event, conclusion string) workflow.Event {
		return workflow.Event{
			Name: "workflow_run", Action: "completed", Ref: "refs/heads/main", HeadRef: of, Workflow: name,
			Payload: fmt.Appendf(nil, `{"workflow_run": {"conclusion": %q, "event": %q, "head_sha": "abc"}}`, conclusion, event),
		}
	}
	apply := func(ref, environment string) workflow.Event {
		return workflow.Event{Name: "workflow_dispatch", Ref: ref, Inputs: map[string]string{"environment": environment}, Payload: fmt.Appendf(nil, `{"inputs": {"environment": %q}}`, environment)}
	}
	const databricks, infra, test = "cd-deploy-databricks", "cd-deploy-infra", "ci-build-test"
	for name, tt := range map[string]struct {
		event workflow.Event
		want  []string
	}{
		"a release branch":                 {push("refs/heads/release/1.2"), []string{databricks + " to prod", test}},
		"one below it":                     {push("refs/heads/release/1.2/hotfix"), []string{databricks + " to prod", test}},
		"a release's tag":                  {push("refs/tags/v1.2.0"), []string{databricks + " to prod"}},
		"another tag":                      {push("refs/tags/nightly"), nil},
		"another branch":                   {push("refs/heads/topic"), []string{test}},
		"a branch whose name begins alike": {push("refs/heads/release-1.2"), []string{test}},
		"main":                             {push("refs/heads/main", "src/a.py"), []string{test}},
		"main, its infrastructure":         {push("refs/heads/main", "infra/main.tf"), []string{infra + " to staging", test}},
		"a branch's infrastructure":        {push("refs/heads/release/1.2", "infra/main.tf"), []string{databricks + " to prod", test}},
		"green tests of main":              {after(test, "main", "push", "success"), []string{databricks + " to staging"}},
		"red tests of main":                {after(test, "main", "push", "failure"), []string{databricks + " skipped"}},
		"tests of a pull request":          {after(test, "main", "pull_request", "success"), []string{databricks + " skipped"}},
		"green tests of a branch":          {after(test, "release/1.2", "push", "success"), nil},
		"applied infrastructure":           {after(infra, "main", "push", "success"), []string{databricks + " to staging"}},
		"infrastructure of prod, by hand":  {apply("refs/heads/release/1.2", "prod"), []string{infra + " to prod"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, w := range workflows {
				if w.Triggered(tt.event) {
					got = append(got, strings.TrimSuffix(path.Base(w.Path), ".yml")+first(t, w, tt.event))
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("starts %q, want %q", got, tt.want)
			}
		})
	}
}

// first tells where the first job of a run would go.
func first(t *testing.T, w *workflow.Workflow, e workflow.Event) string {
	t.Helper()
	r := &workflow.Run{Path: w.Path, Name: w.Name, Event: e}
	if err := r.Advance(w, 1); err != nil {
		t.Fatal(err)
	}
	switch j := r.Jobs[0]; {
	case j.Conclusion == workflow.Skipped:
		return " skipped"
	case j.State == workflow.Completed:
		return " ends: " + j.Message
	case j.Environment != "":
		return " to " + j.Environment
	}
	return ""
}
