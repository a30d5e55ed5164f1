package cicd_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/workflow"
)

// TestApproval: an environment with reviewers holds a job; who started the run
// may not approve it where that is prevented; a rejected one fails.
func TestApproval(t *testing.T) {
	s := newSite(t, nil)
	dir := s.repo("app", "")
	s.call("PUT", "/api/wherry/environments/prod", map[string]any{"name": "prod", "reviewers": []string{"admins"}, "branches": []string{"main"}}, nil)
	s.call("PUT", "/api/wherry/ci/values", map[string]any{"environment": "prod", "name": "KEY", "value": "of-production", "secret": true}, nil)
	s.call("PUT", "/api/wherry/ci/values", map[string]any{"repo": "app", "name": "KEY", "value": "of-the-repo", "secret": true}, nil)
	deploy := `name: deploy
on: [push, workflow_dispatch]
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - run: test "${{ secrets.KEY }}" = of-the-repo
  deploy:
    needs: test
    environment: {name: prod, url: "https://example.com/${{ github.run_id }}"}
    runs-on: ubuntu-latest
    steps:
      - run: test "${{ secrets.KEY }}" = of-production
`
	s.push(dir, "deploy.yml", deploy)
	r := s.begun("app", "deploy", "push")
	s.waits(r.ID, workflow.Waiting)
	review := fmt.Sprintf("/api/wherry/ci/runs/%d/review", r.ID)
	s.denied(wherry.CodeInvalidParameter, "approved or rejected", "POST", review, map[string]any{"decision": "perhaps"})
	s.call("PUT", "/api/wherry/environments/prod", map[string]any{"name": "prod", "reviewers": []string{"admins"}, "prevent_self_review": true}, nil)
	s.denied(wherry.CodePermissionDenied, "wants another reviewer", "POST", review, map[string]any{"decision": "approved"})
	s.call("POST", "/api/2.0/preview/scim/v2/Users", map[string]any{"userName": "grace@example.com"}, nil)
	s.call("PUT", "/api/wherry/environments/prod", map[string]any{"name": "prod", "reviewers": []string{"grace@example.com"}}, nil)
	s.denied(wherry.CodePermissionDenied, "is no reviewer of prod", "POST", review, map[string]any{"decision": "approved"})
	s.call("PUT", "/api/wherry/environments/prod", map[string]any{"name": "prod", "reviewers": []string{"admins"}}, nil)
	s.call("POST", review, map[string]any{"decision": "approved", "reason": "the tests are green"}, nil)
	r = s.ended(r.ID, workflow.Success)
	if u := r.Jobs[1].EnvironmentURL; u != fmt.Sprintf("https://example.com/%d", r.ID) {
		t.Errorf("the environment's address is %q", u)
	}
	s.denied(wherry.CodeInvalidState, "", "POST", review, map[string]any{"decision": "rejected", "environment": "prod"})
	if n := s.count(`SELECT count(*) FROM event WHERE kind = 'ci.approval'`); n != 1 {
		t.Errorf("%d approvals are recorded", n)
	}

	var again workflow.Run
	s.call("POST", "/api/wherry/ci/dispatch", map[string]any{"repo": "app", "workflow": "deploy"}, &again)
	s.waits(again.ID, workflow.Waiting)
	s.call("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/review", again.ID), map[string]any{"decision": "rejected", "reason": "not on a Friday"}, nil)
	end := s.ended(again.ID, workflow.Failure)
	if m := end.Jobs[1].Message; !strings.Contains(m, "rejected the deployment to prod: not on a Friday") {
		t.Errorf("the job says %q", m)
	}

	s.git(dir, "push", "-q", "origin", "HEAD:topic") // a branch that may deploy: the environment allows all now
	s.call("PUT", "/api/wherry/environments/prod", map[string]any{"name": "prod", "branches": []string{"main"}}, nil)
	s.call("POST", "/api/wherry/ci/dispatch", map[string]any{"repo": "app", "workflow": "deploy.yml", "ref": "topic"}, &again)
	end = s.ended(again.ID, workflow.Failure)
	if m := end.Jobs[1].Message; !strings.Contains(m, "refs/heads/topic may not be deployed to prod") {
		t.Errorf("the job says %q", m)
	}

	s.call("PUT", "/api/wherry/environments/prod", map[string]any{"name": "prod", "wait_minutes": 60}, nil)
	s.call("POST", "/api/wherry/ci/dispatch", map[string]any{"repo": "app", "workflow": "deploy.yml"}, &again)
	s.waits(again.ID, workflow.Waiting)
	s.call("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/cancel", again.ID), nil, nil)
	s.ended(again.ID, workflow.Cancelled)
}

// TestEnds: a step that never ends is ended by its job's time, by a cancel, and
// by a newer run of a concurrency group.
func TestEnds(t *testing.T) {
	s := newSite(t, nil)
	dir := s.repo("app", "")
	const endless = "echo here\nsleep 600"
	s.push(dir,
		"late.yml", strings.Replace(job("late", "workflow_dispatch", endless), "    steps:", "    timeout-minutes: 0.03\n    steps:", 1),
		"cancel.yml", job("cancel", "workflow_dispatch", endless),
		"group.yml", "concurrency: {group: deploy, cancel-in-progress: true}\n"+job("group", "workflow_dispatch", endless),
		"queue.yml", "concurrency: queue\n"+job("queue", "workflow_dispatch", endless))
	start := func(name string) int64 {
		var r workflow.Run
		s.until(name+" is there", func() bool {
			return s.ask("POST", "/api/wherry/ci/dispatch", map[string]any{"repo": "app", "workflow": name}, &r) == nil
		})
		return r.ID
	}
	here := func(id int64) {
		s.Helper()
		s.until(fmt.Sprintf("the step of run %d", id), func() bool {
			r := s.run(id)
			return len(r.Jobs) > 0 && r.Jobs[0].ID != 0 && strings.Contains(s.log(id, "a"), "here\n")
		})
	}
	cancel := func(id int64) { s.Helper(); s.call("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/cancel", id), nil, nil) }

	late := start("late")
	r := s.ended(late, workflow.Failure)
	if r.Jobs[0].Conclusion != workflow.TimedOut || r.Jobs[0].Message != "the job exceeded its time of 0.03 minutes" {
		t.Errorf("%+v", r.Jobs[0])
	}
	id := start("cancel")
	here(id)
	cancel(id)
	s.ended(id, workflow.Cancelled)

	first := start("group")
	here(first)
	second := start("group")
	s.ended(first, workflow.Cancelled)
	here(second)
	cancel(second)
	s.ended(second, workflow.Cancelled)

	first = start("queue")
	here(first)
	second, third := start("queue"), start("queue")
	s.ended(second, workflow.Cancelled)
	if r := s.run(third); r.State != workflow.Queued {
		t.Errorf("the third is %s", r.State)
	}
	if r := s.run(first); r.State != workflow.Running {
		t.Errorf("the first is %s", r.State)
	}
	cancel(first)
	here(third)
	cancel(third)
	s.ended(third, workflow.Cancelled)
}
