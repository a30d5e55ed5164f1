package cli

import (
	"testing"

	graph "github.com/wherry-ml/wherry/store/trace"
)

// A deployment of a tree with changes says that the commit is not all of it.
func TestDeploymentTitle(t *testing.T) {
	for _, c := range []struct{ payload, want string }{
		{`{"bundle": "b", "target": "dev", "commit": "c1", "dirty_digest": ""}`, "deployment d/1 of b to dev by me"},
		{`{"bundle": "b", "target": "dev", "commit": "c1", "dirty_digest": "sha256:1"}`, "deployment d/1 of b to dev by me with changes that are in no commit"},
		{`{"bundle": "b", "target": "dev", "commit": "", "dirty_digest": "sha256:1"}`, "deployment d/1 of b to dev by me"},
	} {
		n := &graph.Node{Ref: graph.Ref{Kind: graph.Deployment, Key: "d/1"}, Actor: "me", Payload: []byte(c.payload)}
		if got := title(n); got != c.want {
			t.Errorf("%s: %q", c.payload, got)
		}
	}
}

// What happens between a push and a deployment is named in a few words.
func TestWorkflowTitles(t *testing.T) {
	for _, c := range []struct{ kind, key, payload, want string }{
		{graph.RefEvent, "shop:refs/heads/main@c0ffee", `{}`, "push to shop main by me"},
		{graph.WorkflowRun, "17/1", `{"run_id": 17, "workflow": "ci", "event": "push", "ref": "refs/tags/v1"}`, "workflow run 17 ci on push v1 by me"},
		{graph.WorkflowRun, "17/2", `{}`, "workflow run 17 attempt 2 by me"},
		{graph.CIJob, "17/1/test (3.12)", `{"result": "success"}`, "workflow job test (3.12) success"},
		{graph.CIJob, "17/1/test/2", `{"name": "test (3.13)", "result": "failure"}`, "workflow job test (3.13) failure"},
		{graph.TestResults, "17/1/test", `{"job": "test", "suites": [{"tests": 40, "failures": 1}, {"tests": 3, "skipped": 2}]}`, "tests of test: 40 passed, 1 failed, 2 skipped"},
		{graph.TestResults, "17/1/test", `{"job": "test", "suites": [{"tests": 1}], "left_out": "what is beyond 1 suites"}`, "tests of test: 1 passed, 0 failed, 0 skipped; left out: what is beyond 1 suites"},
		{graph.Approval, "17/1/prod", `{"environment": "prod", "decision": "approved", "reason": "smoke is green"}`, "approved for prod by me: smoke is green"},
		{graph.InfraApply, "infra@3", `{"workspace": "infra", "serial": 3}`, "terraform apply of infra serial 3 by me"},
		{graph.Verification, "d/4", `{"environment": "prod", "result": "failed", "rolled_back_to": 3}`, "verification in prod: failed, rolled back to version 3"},
		{graph.Drift, "9", `{"resource": "jobs.nightly", "kind": "changed"}`, "drift of jobs.nightly: changed by me"},
	} {
		n := &graph.Node{Ref: graph.Ref{Kind: c.kind, Key: c.key}, Actor: "me", Payload: []byte(c.payload)}
		if got := title(n); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.kind, c.key, got, c.want)
		}
	}
}
