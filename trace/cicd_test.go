package trace

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
	graph "github.com/wherry-ml/wherry/store/trace"
)

func by(actor string, e wherry.Event) wherry.Event {
	e.Actor = actor
	return e
}

// deliver emits what a push to main leads to: tests in one workflow, an
// approved deploy in another, a verification, a training and a prediction.
func deliver(t *testing.T, db *store.DB) {
	t.Helper()
	const sha = "c0ffee1"
	run := func(id int, workflow string) map[string]any {
		return map[string]any{
			"run_id": id, "attempt": 1, "repo": "shop", "workflow": workflow, "event": "push", "ref": "refs/heads/main", "sha": sha,
			"author": "Ada", "message": "Better features",
		}
	}
	emit(t, db,
		by("ada", event(wherry.EventRefUpdated, "shop:refs/heads/main", 0, map[string]any{"repo": "shop", "push_id": 1, "ref": "refs/heads/main", "old": "0", "new": sha})),
		by("ada", event(wherry.EventCIRunStarted, "17/1", 0, run(17, "ci-build-test"))),
		event(wherry.EventCITest, "17/1", 0, map[string]any{"run_id": 17, "attempt": 1, "job": "test", "digest": "d1", "suites": []any{map[string]any{"name": "unit", "tests": 42, "failures": 0, "skipped": 2}}}),
		event(wherry.EventCIJobFinished, "17/1", 0, map[string]any{"run_id": 17, "attempt": 1, "job": "test", "result": "success", "log_digest": "l1"}),
		event(wherry.EventCIArtifact, "17/1", 0, map[string]any{"run_id": "17", "attempt": 1, "job": "test", "name": "report", "sha256": "a1"}),
		by("ada", event(wherry.EventCIRunStarted, "18/1", 0, run(18, "cd-deploy"))),
		by("bob", event(wherry.EventCIApproval, "18/1", 0, map[string]any{"run_id": 18, "attempt": 1, "environment": "prod", "jobs": []string{"deploy"}, "decision": "approved", "by": "bob"})),
		event(wherry.EventInfraApplied, "infra@3", 0, map[string]any{"workspace": "infra", "run_id": 18, "attempt": 1, "plan_digest": "p1", "serial": 3, "commit": sha}),
		event(wherry.EventDeployment, "d/4", 0, map[string]any{"deployment_id": "d", "version": 4, "commit": sha, "author": "Ada", "tree_digest": "t4", "ci_run": "18/1/deploy"}),
		event(wherry.EventRunStarted, "30", 0, map[string]any{"job_id": 2, "deployment_id": "d", "version": 4}),
		event(wherry.EventVerified, "d/4", 0, map[string]any{"deployment_id": "d", "version": 4, "environment": "prod", "job_run_id": 30, "result": "success"}),
		event(wherry.EventRunStarted, "40", 0, map[string]any{"job_id": 1, "deployment_id": "d", "version": 4}),
		event(wherry.EventTaskStarted, "41", 0, map[string]any{"job_run_id": 40, "task_key": "train"}),
		event(wherry.EventMLflowRun, "m1", 41, map[string]any{}),
		event(wherry.EventModelVersion, "main.s.m/5", 41, map[string]any{"name": "main.s.m", "version": "5", "mlflow_run_id": "m1"}),
		event(wherry.EventTaskStarted, "42", 0, map[string]any{"job_run_id": 40, "task_key": "predict"}),
		event(wherry.EventModelRead, "main.s.m/5", 42, map[string]any{"name": "main.s.m", "version": "5"}),
		event(wherry.EventTaskFinished, "42", 0, map[string]any{"job_run_id": 40, "task_key": "predict"}),
		by("eve", event(wherry.EventDriftFound, "9", 0, map[string]any{"drift_id": 9, "deployment_id": "d", "version": 4, "resource": "jobs.nightly", "digest": "x"})),
		event(wherry.EventDeployment, "d/5", 0, map[string]any{"deployment_id": "d", "version": 5, "commit": sha, "ci_run": "99/1/made-up", "restores": 4}),
	)
}

// TestFromPredictionToApprover: a row of predictions leads back to the model,
// its training, the deployment, who approved it, the workflow run, the tests
// and the commit; the commit leads forward to all that it touched.
func TestFromPredictionToApprover(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		predictions := fstest.MapFS{}
		name, file := commitBy(0, "f0.parquet", 42)
		predictions[name] = file
		s := New(db, tables(map[string]fs.FS{"predictions": predictions}))
		deliver(t, db)
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		back, err := s.Back(t.Context(), 1, graph.Ref{Kind: graph.TableVersion, Key: "id-predictions@0"})
		if err != nil {
			t.Fatal(err)
		}
		got := lines(back)
		for _, want := range []string{
			"model_version main.s.m/5 -predicted-> task_run 42", "mlflow_run m1 -registered_as-> model_version main.s.m/5", "task_run 41 -trained-> mlflow_run m1",
			"deployment d/4 -ran_as-> job_run 40", "ci_job 18/1/deploy -deployed_as-> deployment d/4", "approval 18/1/prod -approved_by-> ci_job 18/1/deploy",
			"workflow_run 18/1 -ran_as-> ci_job 18/1/deploy", "ref_event shop:refs/heads/main@c0ffee1 -triggered-> workflow_run 18/1",
			"commit c0ffee1 -deployed_as-> deployment d/4", "test_results 17/1/test -tested_by-> commit c0ffee1", "verification d/4 -verified_by-> deployment d/4",
			"job_run 30 -proved-> verification d/4", "commit c0ffee1 -checked_out-> workflow_run 17/1",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("the prediction does not lead to\n%s\nbut to\n%s", want, got)
			}
		}
		approver := ""
		for _, n := range back.Nodes {
			var p struct{ Decision string }
			if n.Kind == graph.Approval && json.Unmarshal(n.Payload, &p) == nil && p.Decision == "approved" {
				approver = n.Actor
			}
		}
		if approver != "bob" {
			t.Errorf("approved by %q", approver)
		}
		forward, err := s.Forward(t.Context(), 1, graph.Ref{Kind: graph.Commit, Key: "c0ff"})
		if err != nil {
			t.Fatal(err)
		}
		got = lines(forward)
		for _, want := range []string{
			"infra_apply infra@3", "artifact a1", "table_version id-predictions@0", "model_version main.s.m/5", "drift_event 9", "deployment d/4 -restored_as-> deployment d/5",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("the commit does not lead to %s but to\n%s", want, got)
			}
		}
		if strings.Contains(got, "99/1") {
			t.Error("a workflow run that nobody told of is in the graph")
		}
	})
}
