//go:build linux

package cicd_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/demo"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/story/site"
	"github.com/wherry-ml/wherry/workflow"
)

// story is a server that the demo has taken to production, and the project.
type story struct {
	*site.Site
	client *client.Client
	dir    string // the project
}

// TestDelivery: the demo goes to its end, and afterwards a commit of each broken
// kind turns red at its own step, and leaves production as it was.
func TestDelivery(t *testing.T) {
	if os.Getenv("WHERRY_TEST_STORY") == "" {
		t.Skip("takes half an hour: runs where WHERRY_TEST_STORY is set")
	}
	s := &story{Site: site.New(t, 1)}
	delivery := state.Dir(s.Dir.Path("delivery"))
	defer func() {
		down := s.Start("down", "--state", string(delivery))
		<-down.Ended
		s.Until("the agents end", func() bool { return len(s.Agents(delivery)) == 0 })
	}()
	var report demo.DeliveryReport
	s.JSON(s.Start("demo", "--cicd", "--serve", "--state", string(s.Dir), "--json"), &report)
	for _, step := range report.Steps {
		t.Logf("%-70s %6.1f s  %s  %s", step.Name, step.Seconds, step.Tool, step.Fallback)
		if !step.Done || step.Tool == "" {
			t.Errorf("%+v", step)
		}
		if step.Fallback != "" {
			t.Logf("NOT SHOWN by this step: %s", step.Fallback)
		}
		if os.Getenv("WHERRY_TERRAFORM_MIRROR") != "" && strings.HasPrefix(step.Name, "infrastructure") && !strings.Contains(step.Tool, "real hashicorp/azurerm") {
			t.Errorf("there is a mirror, and %s", step.Fallback)
		}
	}
	var err error
	if s.client, _, err = client.Local(s.Ctx, delivery); err != nil {
		t.Fatal(err)
	}
	s.dir = delivery.Path("demo", "my-project")

	t.Run("lint", func(t *testing.T) {
		s.red(t, "Lint", "F401", s.commit("lint", "src/my_project/unused.py", "\"\"\"Nobody reads this.\"\"\"\n\nimport os\n"))
	})
	t.Run("test", func(t *testing.T) {
		r := s.red(t, "Test", "1 failed", s.commit("test", "tests/test_broken.py", "def test_broken():\n    assert 1 + 1 == 3\n"))
		if log := s.log(t, r); !strings.Contains(log, "assert (1 + 1) == 3") {
			t.Errorf("the log does not show what failed:\n%s", tail(log))
		}
	})
	t.Run("notebook", func(t *testing.T) {
		s.red(t, "Execute the notebooks", "broken on purpose", s.commit("notebook", "notebooks/00_broken.ipynb", brokenNotebook))
	})
	t.Run("plan", func(t *testing.T) {
		s.commit("plan", "infra/broken.tf", "data \"azurerm_resource_group\" \"none\" {\n  name = \"rg-none\"\n}\n")
		r := &workflow.Run{}
		s.call("POST", "/api/wherry/ci/dispatch", map[string]any{"repo": "my-project", "workflow": "cd-deploy-infra", "ref": "plan", "inputs": map[string]string{"environment": "staging"}}, r)
		s.turnsRed(t, "Plan", "rg-none", r.ID)
		tests := s.started("ci-build-test", "refs/heads/plan") // which finds nothing, and nobody waits for
		s.call("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/cancel", tests), map[string]any{}, nil)
		s.ended(tests)
	})
	t.Run("verification", s.verification)
	t.Run("approval", s.approval)
}

const brokenNotebook = `{
 "cells": [{"cell_type": "code", "execution_count": null, "id": "a", "metadata": {}, "outputs": [], "source": ["raise ValueError(\"broken on purpose\")"]}],
 "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}},
 "nbformat": 4,
 "nbformat_minor": 5
}
`

// verification releases a smoke test that fails: the gate brings the version
// before back.
func (s *story) verification(t *testing.T) {
	before := s.deployed()
	name := filepath.Join(s.dir, "notebooks", "05_smoke_test.ipynb")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	doc["cells"] = append(doc["cells"].([]any), map[string]any{
		"cell_type": "code", "execution_count": nil, "id": "broken", "metadata": map[string]any{}, "outputs": []any{}, "source": []string{"raise ValueError(\"not verified on purpose\")"},
	})
	if b, err = json.MarshalIndent(doc, "", " "); err != nil {
		t.Fatal(err)
	}
	sha := s.release("v1.3.0", "notebooks/05_smoke_test.ipynb", string(b))
	id := s.started("cd-deploy-databricks", "refs/tags/v1.3.0")
	s.decide(id, "approved")
	s.turnsRed(t, "Verify", "not verified on purpose", id)
	s.Until("the version before is back", func() bool {
		now := s.deployed()
		return now.Version > before.Version+1 && now.Commit == before.Commit && now.Commit != sha
	})
}

// approval releases without one: nothing is deployed while it waits, and
// nothing after it was refused.
func (s *story) approval(t *testing.T) {
	before := s.deployed()
	s.release("v1.4.0", "NOTES.md", "# 1.4.0\n")
	id := s.started("cd-deploy-databricks", "refs/tags/v1.4.0")
	s.decide(id, "rejected")
	r := s.ended(id)
	if r.Conclusion != workflow.Failure || !slices.ContainsFunc(r.Jobs, func(j *workflow.Job) bool {
		return j.Key == "deploy" && j.Conclusion == workflow.Failure && len(j.Steps) == 0
	}) {
		t.Errorf("refused: %s %s", r.Conclusion, describe(r))
	}
	if now := s.deployed(); now != before {
		t.Errorf("prod has %+v, had %+v", now, before)
	}
}

// deployment is what prod has.
type deployment struct {
	Version int64  `json:"version"`
	Commit  string `json:"commit"`
}

func (s *story) deployed() deployment {
	s.T.Helper()
	var e struct {
		Deployed []deployment `json:"deployed"`
	}
	s.call("GET", "/api/wherry/environments/prod", nil, &e)
	if len(e.Deployed) != 1 {
		s.T.Fatalf("prod: %+v", e)
	}
	return e.Deployed[0]
}

func (s *story) call(method, path string, in, out any) {
	s.T.Helper()
	if err := s.client.Do(s.Ctx, method, path, in, out); err != nil {
		s.T.Fatalf("%s %s: %v", method, path, err)
	}
}

func (s *story) git(args ...string) string {
	s.T.Helper()
	out, err := exec.CommandContext(s.Ctx, "git", append([]string{"-C", s.dir, "-c", "user.name=Ada", "-c", "user.email=ada@example.com"}, args...)...).CombinedOutput()
	if err != nil {
		s.T.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (s *story) write(name, text string) string {
	s.T.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.T.Fatal(err)
	}
	s.git("add", "--all")
	s.git("commit", "--quiet", "--message", "A commit that breaks: "+name)
	return s.git("rev-parse", "HEAD")
}

// commit pushes a branch of v1.2.0 with one more file, and returns the branch.
func (s *story) commit(branch, name, text string) string {
	s.T.Helper()
	s.git("checkout", "--quiet", "-B", branch, "v1.2.0")
	s.write(name, text)
	s.git("push", "--quiet", "origin", branch)
	return branch
}

// release pushes a tag of v1.2.0 with one file changed, and returns its commit.
func (s *story) release(tag, name, text string) string {
	s.T.Helper()
	s.git("checkout", "--quiet", "--detach", "v1.2.0")
	sha := s.write(name, text)
	s.git("tag", tag)
	s.git("push", "--quiet", "origin", tag)
	return sha
}

// started is the run of a workflow that a push to a ref started.
func (s *story) started(name, ref string) (id int64) {
	s.T.Helper()
	s.Until(name+" of "+ref+" starts", func() bool {
		var list struct {
			Runs []workflow.Run `json:"runs"`
		}
		s.call("GET", "/api/wherry/ci/runs?repo=my-project", nil, &list)
		for _, r := range list.Runs {
			if r.Name == name && r.Event.Ref == ref && r.Event.Name == "push" {
				id = r.ID
			}
		}
		return id != 0
	})
	return id
}

// decide says yes or no to what a run waits for.
func (s *story) decide(id int64, decision string) {
	s.T.Helper()
	s.Until("the run waits for an approval", func() bool {
		r := &workflow.Run{}
		s.call("GET", fmt.Sprintf("/api/wherry/ci/runs/%d", id), nil, r)
		return slices.ContainsFunc(r.Jobs, func(j *workflow.Job) bool {
			return j.State == workflow.Waiting && j.Environment == "prod" && !j.Approved
		})
	})
	s.call("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/review", id), map[string]any{"environment": "prod", "decision": decision, "reason": "a test"}, nil)
}

func (s *story) ended(id int64) *workflow.Run {
	s.T.Helper()
	r := &workflow.Run{}
	s.Until("the run ends", func() bool {
		s.call("GET", fmt.Sprintf("/api/wherry/ci/runs/%d", id), nil, r)
		return r.State == workflow.Completed
	})
	return r
}

// red is the run of ci-build-test of a branch, which must fail.
func (s *story) red(t *testing.T, step, words, branch string) *workflow.Run {
	t.Helper()
	r := s.turnsRed(t, step, words, s.started("ci-build-test", "refs/heads/"+branch))
	var statuses struct {
		Statuses []struct {
			Context string `json:"context"`
			State   string `json:"state"`
		} `json:"statuses"`
	}
	s.call("GET", "/api/wherry/repos/my-project/commits/"+r.Event.SHA+"/statuses", nil, &statuses)
	if len(statuses.Statuses) != 1 || statuses.Statuses[0].State != "failure" {
		t.Errorf("the commit's status: %+v", statuses)
	}
	return r
}

// turnsRed waits for a run that fails at one step, whose log says why.
func (s *story) turnsRed(t *testing.T, step, words string, id int64) *workflow.Run {
	t.Helper()
	r := s.ended(id)
	var failed []string
	for _, j := range r.Jobs {
		for _, x := range j.Steps {
			if x.Conclusion == workflow.Failure {
				failed = append(failed, x.Name)
			}
		}
	}
	if r.Conclusion != workflow.Failure || len(failed) == 0 || failed[0] != step {
		t.Errorf("%s, failed at %v, want %q\n%s", r.Conclusion, failed, step, tail(s.log(t, r)))
	} else if log := s.log(t, r); !strings.Contains(log, words) {
		t.Errorf("the log does not say %q:\n%s", words, tail(log))
	}
	return r
}

func (s *story) log(t *testing.T, r *workflow.Run) string {
	t.Helper()
	var b strings.Builder
	for _, j := range r.Jobs {
		if j.TaskRun == 0 {
			continue
		}
		res, err := s.client.Send(s.Ctx, "GET", fmt.Sprintf("/api/wherry/ci/runs/%d/jobs/%d/log", r.ID, j.ID), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(&b, res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func tail(log string) string { return log[max(0, len(log)-4000):] }

func describe(r *workflow.Run) string {
	b, err := json.Marshal(r.Jobs)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
