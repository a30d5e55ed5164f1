package cicd_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/workflow"
)

// TestTurns: a run that is started again takes its turn in its concurrency
// group by when that was, also if only what failed is; of jobs whose environment
// lets everybody through one more waits, and the older of two ends.
func TestTurns(t *testing.T) {
	s := newSite(t, nil)
	dir := s.repo("app", "")
	s.call("PUT", "/api/wherry/environments/open", map[string]any{"name": "open"}, nil)
	const two = `name: two
on: workflow_dispatch
concurrency: two
jobs:
  a:
    runs-on: ubuntu-latest
    steps: [{run: "true"}]
  b:
    needs: a
    runs-on: ubuntu-latest
    steps: [{run: "echo here; sleep 600"}]
`
	const deploy = `name: deploy
on: workflow_dispatch
jobs:
  a:
    runs-on: ubuntu-latest
    environment: open
    concurrency: deploy
    steps: [{run: "echo here; sleep 600"}]
`
	s.push(dir, "two.yml", two, "deploy.yml", deploy)
	start := func(name string) (id int64) {
		s.until(name+" is there", func() bool {
			var r workflow.Run
			err := s.ask("POST", "/api/wherry/ci/dispatch", map[string]any{"repo": "app", "workflow": name}, &r)
			id = r.ID
			return err == nil
		})
		return id
	}
	here := func(id int64, key string) {
		s.Helper()
		s.until(fmt.Sprintf("the step of run %d", id), func() bool {
			for _, j := range s.run(id).Jobs {
				if j.Key == key && j.TaskRun != 0 && j.State == workflow.Running {
					return strings.Contains(s.log(id, key), "here\n")
				}
			}
			return false
		})
	}
	cancel := func(id int64) {
		s.Helper()
		s.call("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/cancel", id), nil, nil)
		s.ended(id, workflow.Cancelled)
	}

	first := start("two")
	here(first, "b")
	cancel(first)
	second := start("two")
	here(second, "b")
	s.until("the first can be started again", func() bool {
		return s.ask("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/rerun", first), map[string]any{"failed": true}, nil) == nil
	})
	third := start("two")
	s.ended(first, workflow.Cancelled) // the third came after it was started again
	if r := s.run(second); r.State != workflow.Running {
		t.Errorf("the second is %s %s", r.State, r.Conclusion)
	}
	cancel(second)
	here(third, "b")
	cancel(third)

	first = start("deploy")
	here(first, "a")
	second = start("deploy")
	s.waits(second, workflow.Waiting)
	third = start("deploy")
	s.ended(second, workflow.Cancelled)
	cancel(first)
	here(third, "a")
	cancel(third)
}

// TestJobIsOvertaken: with cancel-in-progress the job of a newer run ends the one
// that runs in its group, and no other job of its run.
func TestJobIsOvertaken(t *testing.T) {
	s := newSite(t, nil)
	dir := s.repo("app", "")
	s.push(dir, "deploy.yml", `name: deploy
on: workflow_dispatch
jobs:
  build:
    runs-on: ubuntu-latest
    steps: [{run: "true"}]
  deploy:
    runs-on: ubuntu-latest
    concurrency: {group: "deploy-${{ github.ref_name }}", cancel-in-progress: true}
    steps: [{run: "[ $GITHUB_RUN_NUMBER -gt 1 ] || { echo here; sleep 600; }"}]
`)
	start := func() (id int64) {
		s.until("the workflow is there", func() bool {
			var r workflow.Run
			err := s.ask("POST", "/api/wherry/ci/dispatch", map[string]any{"repo": "app", "workflow": "deploy"}, &r)
			id = r.ID
			return err == nil
		})
		return id
	}
	first := start()
	s.until("the first deploys", func() bool {
		for _, j := range s.run(first).Jobs {
			if j.Key == "deploy" && j.TaskRun != 0 && j.State == workflow.Running {
				return strings.Contains(s.log(first, "deploy"), "here\n")
			}
		}
		return false
	})
	s.ended(start(), workflow.Success)
	for _, j := range s.ended(first, workflow.Cancelled).Jobs {
		if want := map[string]string{"build": workflow.Success, "deploy": workflow.Cancelled}[j.Key]; want != "" && j.Conclusion != want {
			t.Errorf("%s: %s, want %s", j.Name, j.Conclusion, want)
		}
	}
}
