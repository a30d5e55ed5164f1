package cicd_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/workflow"
)

// TestPush: a push starts what its filters say; the commit's status follows, a
// failing step is named, its author is written to, and a file with mistakes
// holds nothing up.
func TestPush(t *testing.T) {
	t.Setenv("OF_THE_SERVER", "not-for-steps")
	s := newSite(t, nil)
	dir := s.repo("app", "")
	s.call("PUT", "/api/wherry/ci/values", map[string]any{"repo": "app", "name": "TOKEN", "value": "very-hidden", "secret": true}, nil)
	sha := s.push(dir,
		"good.yml", job("good", "{push: {branches: [main]}}", "env\necho \"token ${{ secrets.TOKEN }}\"\ncat /proc/self/environ /proc/$PPID/environ | tr '\\0' '\\n'"),
		"bad.yml", job("bad", "push", "echo first", "exit 3", "echo never"),
		"other.yml", job("other", "{push: {branches: ['release/**']}}", "true"),
		"paths.yml", job("paths", "{push: {paths: ['infra/**']}}", "true"),
		"wrong.yml", "name: wrong\non: push\njobs:\n  a:\n    runs-on: windows-latest\n    steps:\n      - run: true\n",
		"yaml.yml", "on: [push\n")
	good, bad := s.begun("app", "good", "push"), s.begun("app", "bad", "push")
	s.ended(good.ID, workflow.Success)
	bad = s.ended(bad.ID, workflow.Failure)
	if m := bad.Jobs[0].Message; m != "the step failed: Run exit 3" {
		t.Errorf("the job says %q", m)
	}
	s.says(good.ID, "a", "token ***", "GITHUB_SHA="+sha)
	for _, secret := range []string{"very-hidden", "not-for-steps", s.Token} {
		if strings.Contains(s.log(good.ID, "a"), secret) {
			t.Errorf("the log shows %s", secret)
		}
	}
	s.says(bad.ID, "a", "Process completed with exit code 3.")
	if text := s.log(bad.ID, "a"); strings.Contains(text, "never\n") {
		t.Error(text)
	}
	names := map[string]string{}
	for _, r := range s.runs("app") {
		names[r.Name] = r.Conclusion + " " + r.Message
	}
	if len(names) != 4 && len(names) != 5 { // paths are not known for a new branch
		t.Errorf("the runs are %v", names)
	}
	if !strings.Contains(names["wrong"], `wrong.yml:5:14: no runner here has the label "windows-latest"`) {
		t.Errorf("the runs are %v", names)
	}
	if _, ok := names["other"]; ok {
		t.Error("a workflow of another branch ran")
	}
	status := s.statuses("app", sha)
	for _, want := range []string{"good success success", "bad failure a: the step failed: Run exit 3", "wrong error startup_failure"} {
		if !strings.Contains(status, want) {
			t.Errorf("the commit has not %q:\n%s", want, status)
		}
	}
	if n := s.count(`SELECT count(*) FROM notification WHERE dedup_key LIKE $1`, fmt.Sprintf("ci/%d/1%%", bad.ID)); n != 1 {
		t.Errorf("%d messages to the author, want 1", n)
	}
	if n := s.count(`SELECT count(*) FROM notification WHERE dedup_key LIKE $1`, fmt.Sprintf("ci/%d/%%", good.ID)); n != 0 {
		t.Errorf("%d messages of a run that went well", n)
	}
	sha = s.push(dir, "infra/main.tf", "x")
	s.until("the run by its path", func() bool {
		return s.count(`SELECT count(*) FROM ci_run WHERE sha = $1 AND path LIKE '%paths.yml'`, sha) == 1
	})
	s.ended(s.begun("app", "paths", "push").ID, workflow.Success)
	if n := s.count(`SELECT count(*) FROM ci_run WHERE doc LIKE '%"paths":%'`); n != 0 {
		t.Errorf("%d runs keep what changed", n)
	}
}

// TestRerun: the jobs that went well stay as they are when the failed ones run
// again, which know their outputs.
func TestRerun(t *testing.T) {
	s := newSite(t, nil)
	dir := s.repo("app", "")
	s.push(dir, "ci.yml", `name: ci
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    outputs: {n: "${{ steps.n.outputs.n }}"}
    steps:
      - id: n
        run: echo "n=$GITHUB_RUN_ATTEMPT" >> "$GITHUB_OUTPUT"
  two:
    needs: one
    runs-on: ubuntu-latest
    steps:
      - run: echo "attempt $GITHUB_RUN_ATTEMPT after ${{ needs.one.outputs.n }}"; test "$GITHUB_RUN_ATTEMPT" = 2
`)
	r := s.ended(s.begun("app", "ci", "push").ID, workflow.Failure)
	one := r.Jobs[0].ID
	s.until("the run is settled", func() bool {
		return s.ask("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/rerun", r.ID), map[string]any{"failed": true}, nil) == nil
	})
	r = s.ended(r.ID, workflow.Success)
	s.says(r.ID, "two", "attempt 2 after 1")
	if r.Attempt != 2 || len(r.Jobs) != 2 || r.Jobs[0].ID != one {
		t.Errorf("attempt %d has the jobs %+v", r.Attempt, r.Jobs)
	}
}

// TestValuesAreOnRecord: who set and deleted a secret is, and its value is not.
func TestValuesAreOnRecord(t *testing.T) {
	s := newSite(t, nil)
	s.call("PUT", "/api/wherry/environments/prod", map[string]any{"name": "prod"}, nil)
	key := map[string]any{"environment": "prod", "name": "KEY", "value": "very-hidden", "secret": true}
	s.call("PUT", "/api/wherry/ci/values", key, nil)
	s.call("DELETE", "/api/wherry/ci/values", key, nil)
	for action, payload := range map[string]string{"set": `{"action":"set","name":"KEY","scope":"environment:prod","secret":true}`, "deleted": `{"action":"deleted","name":"KEY","scope":"environment:prod","secret":true}`} {
		if n := s.count(`SELECT count(*) FROM event WHERE kind = 'ci.value' AND actor = 'admin@localhost' AND payload = $1`, payload); n != 1 {
			t.Errorf("%d events tell that it was %s", n, action)
		}
	}
}
