package cicd_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/workflow"
)

// TestGrace: the step of a cancelled or late job is interrupted and may tidy up,
// steps whose condition asks for it run yet, and one that never ends is ended
// when the grace is over.
func TestGrace(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.CIGrace = 20 * time.Second })
	dir := s.repo("app", "")
	const tidy = "\n      - run: echo never | tr a-z A-Z\n" +
		"      - if: cancelled()\n        run: echo \"the job is ${{ job.status }}\"\n" +
		"      - if: always()\n        run: echo tidied up\n" +
		"      - if: failure()\n        run: echo failed | tr a-z A-Z\n"
	const trap = "trap 'echo interrupted; exit 1' INT\necho here\nsleep 600 & wait"
	late := strings.Replace(job("late", "workflow_dispatch", trap)+tidy[1:], "    steps:", "    timeout-minutes: 0.05\n    steps:", 1)
	s.push(dir,
		"cancel.yml", job("cancel", "workflow_dispatch", trap)+tidy[1:],
		"late.yml", late,
		"kept.yml", job("kept", "workflow_dispatch", "true")+"      - if: always()\n        run: echo here; sleep 2; echo went on\n")

	id := s.dispatch("app", "cancel")
	s.until("the step", func() bool { return strings.Contains(s.jobLog(id, "a"), "here\n") })
	s.call("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/cancel", id), nil, nil)
	r := s.ended(id, workflow.Cancelled)
	s.says(id, "a", "interrupted\n", "the job is cancelled\n", "tidied up\n")
	if text := s.log(id, "a"); strings.Contains(text, "NEVER") || strings.Contains(text, "FAILED") {
		t.Errorf("a step ran that waits for something else:\n%s", text)
	}
	if c := conclusions(r.Jobs[0]); c != "cancelled skipped success success skipped" {
		t.Errorf("the steps are %s", c)
	}

	id = s.dispatch("app", "late")
	r = s.ended(id, workflow.Failure)
	s.says(id, "a", "interrupted\n", "tidied up\n")
	if r.Jobs[0].Conclusion != workflow.TimedOut {
		t.Errorf("the late job is %s", r.Jobs[0].Conclusion)
	}

	id = s.dispatch("app", "kept")
	s.until("the step", func() bool { return strings.Contains(s.jobLog(id, "a"), "here\n") })
	s.call("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/cancel", id), nil, nil)
	s.ended(id, workflow.Cancelled)
	s.says(id, "a", "went on\n")
	if n := s.count(`SELECT count(*) FROM event WHERE kind = 'ci.run.cancelled' AND actor = 'admin@localhost'`); n != 2 {
		t.Errorf("%d cancellations are on record", n)
	}
}

// TestGraceIsOver: what goes on after its grace is killed, however many signals
// it ignores.
func TestGraceIsOver(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.CIGrace = 2 * time.Second })
	dir := s.repo("app", "")
	s.push(dir,
		"stuck.yml", job("stuck", "workflow_dispatch", "echo here\nsleep 600")+"      - if: always()\n        run: echo stuck; sleep 600\n",
		"deaf.yml", job("deaf", "workflow_dispatch", "trap '' INT TERM HUP\necho here\nwhile :; do sleep 1; done"))
	for _, name := range []string{"stuck", "deaf"} {
		id := s.dispatch("app", name)
		s.until("the step", func() bool { return strings.Contains(s.jobLog(id, "a"), "here\n") })
		s.call("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/cancel", id), nil, nil)
		s.ended(id, workflow.Cancelled)
		if name == "stuck" {
			s.says(id, "a", "stuck\n")
		}
	}
}

func conclusions(j *workflow.Job) string {
	var list []string
	for _, st := range j.Steps {
		list = append(list, st.Conclusion)
	}
	return strings.Join(list, " ")
}

// dispatch starts a workflow by hand, once the server has its file.
func (s *site) dispatch(repo, name string) int64 {
	s.Helper()
	var r workflow.Run
	s.call("POST", "/api/wherry/ci/dispatch", map[string]any{"repo": repo, "workflow": name}, &r)
	return r.ID
}

// jobLog is what a job has written, "" before it has begun.
func (s *site) jobLog(id int64, job string) string {
	s.Helper()
	if r := s.run(id); len(r.Jobs) == 0 || r.Jobs[0].ID == 0 {
		return ""
	}
	return s.log(id, job)
}
