package cicd_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/workflow"
)

// mortal is a site whose server can be killed.
type mortal struct {
	*site
	process *servertest.Mortal
}

// written waits until an agent has words in what a job wrote, whether a server
// has them or not.
func (m *mortal) written(words string) {
	m.Helper()
	m.until("an agent has "+words, func() bool {
		found := false
		_ = filepath.WalkDir(m.State.Path("agents"), func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && strings.HasSuffix(name, ".out") {
				b, _ := os.ReadFile(name) // it may be gone by now
				found = found || bytes.Contains(b, []byte(words))
			}
			return nil
		})
		return found
	})
}

// long is a workflow that goes on while there is no server, and whose steps
// wait for the server to be killed and to come back.
const long = `name: long
on: push
env:
  UP: curl -s -m 2 -o /dev/null $GITHUB_SERVER_URL/health
jobs:
  a:
    runs-on: ubuntu-latest
    outputs: {n: "${{ steps.lines.outputs.n }}"}
    steps:
      - uses: actions/checkout@v4
      - id: lines
        run: |
          for i in $(seq 1 400); do echo "line $i"; done
          while eval $UP; do sleep 0.02; done
          for i in $(seq 401 800); do echo "line $i"; done
          echo "n=800" >> "$GITHUB_OUTPUT"
      - run: |
          echo "begun without a server"
          until eval $UP; do sleep 0.02; done
      - run: |
          url=$GITHUB_SERVER_URL/api/wherry/ci/runs/$GITHUB_RUN_ID/artifacts
          { head -c 1000000 /dev/zero; while eval $UP; do sleep 0.02; done; } |
            curl -s -m 60 -T - -H "Authorization: Bearer $ACTIONS_RUNTIME_TOKEN" $url/half || echo "the upload broke off"
          seq 1 100000 > whole.txt
      - {uses: actions/upload-artifact@v4, with: {name: whole, path: whole.txt}}
      - run: echo "the end of a"
  deploy:
    needs: a
    environment: prod
    runs-on: ubuntu-latest
    steps:
      - {uses: actions/download-artifact@v4, with: {name: whole}}
      - run: seq 1 100000 | cmp - whole.txt && echo "deployed ${{ needs.a.outputs.n }}"
`

// TestServerKilled kills the server with SIGKILL while a step writes, so that
// the next begins without one, while an artifact comes in, and while a job
// waits for its approval: nothing is lost and nothing is done twice.
func TestServerKilled(t *testing.T) {
	m := &mortal{site: outside(t), process: servertest.StartMortal(t)}
	m.Server = m.process.Server
	m.call("PUT", "/api/wherry/environments/prod", map[string]any{"name": "prod", "reviewers": []string{"admins"}}, nil)
	dir := m.repo("app", "")
	m.push(dir, "long.yml", long)
	id := m.begun("app", "long", "push").ID
	at := m.URL

	m.until("lines", func() bool { return len(m.run(id).Jobs) > 0 && strings.Contains(m.log(id, "a"), "line 400\n") })
	m.process.Kill()
	m.written("begun without a server")
	m.process.Start()
	if m.URL != at {
		t.Fatalf("the server is at %s, and was at %s", m.URL, at)
	}
	m.until("half an artifact", func() bool { return len(m.uploads()) == 1 })
	m.process.Kill()
	m.written("the upload broke off")
	m.process.Start()
	m.waits(id, workflow.Waiting)
	m.process.Kill()
	m.process.Start()
	m.waits(id, workflow.Waiting)
	m.call("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/review", id), map[string]any{"decision": "approved"}, nil)
	m.whole(m.ended(id, workflow.Success))
}

// uploads are artifacts that are on their way, and have begun.
func (m *mortal) uploads() (names []string) {
	list, err := filepath.Glob(m.State.Path("ci", "stored", ".upload-*"))
	if err != nil {
		m.Fatal(err)
	}
	return slices.DeleteFunc(list, func(name string) bool {
		info, err := os.Stat(name)
		return err != nil || info.Size() == 0
	})
}

// whole checks the run of long.
func (m *mortal) whole(r *workflow.Run) {
	m.Helper()
	var want strings.Builder
	for i := range 800 {
		fmt.Fprintf(&want, "line %d\n", i+1)
	}
	log := m.log(r.ID, "a")
	if lines := regexp.MustCompile(`(?m)^line \d+\n`).FindAllString(log, -1); strings.Join(lines, "") != want.String() {
		m.Errorf("the lines are not all there once, in order:\n%s", log)
	}
	for _, words := range []string{"begun without a server\n", "the upload broke off\n", "the end of a\n"} {
		if n := strings.Count(log, words); n != 1 {
			m.Errorf("%d times %q:\n%s", n, words, log)
		}
	}
	m.says(r.ID, "deploy", "deployed 800\n")
	for _, j := range r.Jobs {
		for _, step := range j.Steps {
			if step.Conclusion != workflow.Success {
				m.Errorf("%s of %s: %s", step.Name, j.Name, step.Conclusion)
			}
		}
	}
	var shown struct{ Artifacts []struct{ Name string } }
	m.call("GET", fmt.Sprintf("/api/wherry/ci/runs/%d", r.ID), nil, &shown)
	if len(shown.Artifacts) != 1 || shown.Artifacts[0].Name != "whole" || len(m.uploads()) != 0 {
		m.Errorf("the artifacts are %v, and %v on their way", shown.Artifacts, m.uploads())
	}
	for query, n := range map[string]int{
		`SELECT count(*) FROM ci_run`: 1, `SELECT count(*) FROM ci_job`: 2, `SELECT count(*) FROM job_run WHERE run_type = 'CI_RUN'`: 2,
		`SELECT count(*) FROM event WHERE kind = 'ci.job.finished'`: 2, `SELECT count(*) FROM event WHERE kind = 'ci.run.finished'`: 1,
		`SELECT count(*) FROM event WHERE kind = 'ci.approval'`: 1, `SELECT count(*) FROM event WHERE kind = 'ci.artifact'`: 1,
	} {
		if got := m.count(query); got != n {
			m.Errorf("%s: %d, want %d", query, got, n)
		}
	}
}
