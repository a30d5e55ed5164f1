package cicd_test

import (
	"archive/tar"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/workflow"
)

// TestStored: jobs of a run hand files to each other, a later run finds the
// cache of its branch, one that is too large is refused, a replaced artifact is the newer one, and test results in
// an artifact are told.
func TestStored(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.CIRetention.CacheBytes = 20000 })
	dir := s.repo("app", "")
	s.push(dir, "files.yml", `name: files
on: [push, workflow_dispatch]
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - id: c
        uses: actions/cache@v4
        with: {path: ~/.cache/app, key: one}
      - run: |
          echo "hit=${{ steps.c.outputs.cache-hit }} $(cat ~/.cache/app/x 2>/dev/null)"
          mkdir -p ~/.cache/app; echo kept > ~/.cache/app/x
          echo first > out.txt
          printf '<testsuite name="unit" tests="2" failures="1" time="NaN"><testcase classname="c" name="good"/><testcase classname="c" name="bad"><failure message="no"/></testcase></testsuite>' > junit.xml
      - {uses: actions/cache@v4, with: {path: ~/.cache/large, key: large}}
      - run: head -c 40000 /dev/urandom > ~/.cache/large
      - {uses: actions/upload-artifact@v4, with: {name: out, path: "*.txt"}}
      - run: echo second > out.txt
      - {uses: actions/upload-artifact@v4, with: {name: out, path: "*.txt", overwrite: true}}
      - {uses: actions/upload-artifact@v4, with: {name: results, path: junit.xml}}
  b:
    needs: a
    runs-on: ubuntu-latest
    steps:
      - {uses: actions/download-artifact@v4, with: {name: out, path: got}}
      - run: echo "got $(cat got/out.txt)"
      - run: |
          code=$(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $ACTIONS_RUNTIME_TOKEN" "$GITHUB_SERVER_URL/api/wherry/ci/runs/$((GITHUB_RUN_ID - 1))/artifacts/out")
          jobs=$(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $ACTIONS_RUNTIME_TOKEN" "$GITHUB_SERVER_URL/api/2.2/jobs/list")
          echo "another run: $code, jobs: $jobs, id-token: ${ACTIONS_ID_TOKEN_REQUEST_URL:-none}"
`)
	first := s.ended(s.begun("app", "files", "push").ID, workflow.Success)
	s.says(first.ID, "a", "hit= \n", "Cache saved with key: one", "Failed to save: ", `has more than 20000 bytes`)
	s.says(first.ID, "b", "got second", "jobs: 403", "id-token: none")
	var again workflow.Run
	s.call("POST", "/api/wherry/ci/dispatch", map[string]any{"repo": "app", "workflow": "files"}, &again)
	s.ended(again.ID, workflow.Success)
	s.says(again.ID, "a", "hit=true kept")
	s.says(again.ID, "b", "another run: 403")
	log := fmt.Sprintf("/api/wherry/ci/runs/%d/jobs/a/log?offset=", again.ID)
	for _, offset := range []string{"-1", "soon", "9223372036854775808"} {
		s.denied(wherry.CodeInvalidParameter, "offset is a number of bytes", "GET", log+offset, nil)
	}
	if n := s.count(`SELECT count(*) FROM event WHERE kind = 'ci.test' AND payload LIKE '%c::bad%'`); n != 2 {
		t.Errorf("%d reports of tests are told", n)
	}
}

// TestIDToken: a job with the permission tells who it is, and Entra takes its
// word where a federated credential names it.
func TestIDToken(t *testing.T) {
	s := newSite(t, nil)
	dir := s.repo("app", "")
	s.push(dir, "who.yml", `name: who
on: push
permissions: {id-token: write}
jobs:
  a:
    runs-on: ubuntu-latest
    environment: prod
    steps:
      - run: |
          token=$(curl -s -H "Authorization: Bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=me" | sed 's/.*"value":"\([^"]*\)".*/\1/')
          echo "$token" | cut -d. -f2 | tr '_-' '/+' | sed 's/$/===/' | base64 -d 2>/dev/null || true
`)
	r := s.ended(s.begun("app", "who", "push").ID, workflow.Success)
	s.says(r.ID, "a", `"aud":"me"`, `"sub":"repo:wherry/app:environment:prod"`, fmt.Sprintf(`"run_id":"%d"`, r.ID), `"iss":"https://token.actions.githubusercontent.com"`)
}

// TestWorkflowRun: the end of a workflow starts another, of the default branch,
// which knows how the first ended.
func TestWorkflowRun(t *testing.T) {
	s := newSite(t, nil)
	dir := s.repo("app", "")
	s.push(dir, "first.yml", job("first", "push", "true"), "second.yml",
		job("second", "{workflow_run: {workflows: [first], types: [completed], branches: [main]}}", `echo "${{ github.event.workflow_run.conclusion }} ${{ github.event.workflow_run.head_branch }} ${{ github.ref }}"`))
	s.ended(s.begun("app", "first", "push").ID, workflow.Success)
	r := s.ended(s.begun("app", "second", "workflow_run").ID, workflow.Success)
	s.says(r.ID, "a", "success main refs/heads/main")
}

// TestProof: a deployment names the job that made it, whoever it signed in as;
// what others say of themselves is not believed, nor a proof whose job has ended.
func TestProof(t *testing.T) {
	s := newSite(t, nil)
	dir := s.repo("app", "")
	s.call("PUT", "/api/wherry/ci/values", map[string]any{"repo": "app", "name": "ADMIN", "value": s.Token, "secret": true}, nil)
	const root = "/Workspace/Users/admin@localhost/"
	body := func(name string) string {
		at := root + name
		return fmt.Sprintf(`{"bundle": %q, "target": "dev", "root_path": %q, "file_path": %q, "artifact_path": %q, "state_path": %q}`, name, at, at+"/files", at+"/artifacts", at+"/state")
	}
	deploy := func(name, proof string) string {
		return `curl -sf -o /dev/null -H "Authorization: Bearer ${{ secrets.ADMIN }}" -H 'Content-Type: application/json' -H "X-Wherry-Ci-Run: ` + proof + `" -d '` + body(name) + `' "$GITHUB_SERVER_URL/api/wherry/deployments/deploy"`
	}
	s.push(dir, "deploy.yml", job("deploy", "push",
		deploy("honest", "$WHERRY_CI_RUN"), deploy("liar", "$GITHUB_RUN_ID/1/a"), deploy("forger", "${WHERRY_CI_RUN%????}AAAA"),
		`echo "shown: $WHERRY_CI_RUN"; echo "$WHERRY_CI_RUN" > proof.txt`)+"      - {uses: actions/upload-artifact@v4, with: {name: proof, path: proof.txt}}\n")
	r := s.ended(s.begun("app", "deploy", "push").ID, workflow.Success)
	s.says(r.ID, "a", "shown: ***\n")
	proof := s.artifact(r.ID, "proof", "proof.txt")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api/wherry/deployments/deploy", strings.NewReader(body("late")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Token)
	req.Header.Set("X-Wherry-Ci-Run", strings.TrimSpace(proof))
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.Body.Close() != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", res, err)
	}
	for name, n := range map[string]int{"honest": 1, "liar": 0, "forger": 0, "late": 0} {
		said := fmt.Sprintf(`%%"ci_run":"%d/1/a"%%`, r.ID)
		if got := s.count(`SELECT count(*) FROM event WHERE kind = 'deployment.completed' AND payload LIKE $1 AND payload LIKE $2`, `%"bundle":"`+name+`"%`, said); got != n {
			t.Errorf("%d deployments of %s name the job, want %d", got, name, n)
		}
		if got := s.count(`SELECT count(*) FROM event WHERE kind = 'deployment.completed' AND payload LIKE $1`, `%"bundle":"`+name+`"%`); got != 1 {
			t.Errorf("%d deployments of %s", got, name)
		}
	}
}

// artifact reads one file of an artifact.
func (s *site) artifact(run int64, name, file string) string {
	s.Helper()
	res, err := client.New(s.URL, s.Token).Send(s.Context(), http.MethodGet, fmt.Sprintf("/api/wherry/ci/runs/%d/artifacts/%s", run, name), nil, -1)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	z, err := zstd.NewReader(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	defer z.Close()
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err != nil {
			s.Fatalf("%s of %s: %v", file, name, err)
		}
		if h.Name == file {
			b, err := io.ReadAll(t)
			if err != nil {
				s.Fatal(err)
			}
			return string(b)
		}
	}
}

// TestGitHubToken: a job's token reaches GitHub's API as far as the job's
// permissions go, for its own repository.
func TestGitHubToken(t *testing.T) {
	s := newSite(t, nil)
	dir := s.repo("app", "")
	s.repo("other", "")
	const ask = `ask() { echo "$1 $2: $(curl -s -o answer -w '%{http_code}' -X $1 -H "Authorization: Bearer ${{ github.token }}" -d "$3" "$GITHUB_API_URL$2") $(cat answer)"; }
ask POST /repos/$GITHUB_REPOSITORY/statuses/$GITHUB_SHA '{"state": "success", "context": "mine"}'
ask GET /repos/$GITHUB_REPOSITORY/commits/$GITHUB_SHA/status
ask GET /repos/$GITHUB_REPOSITORY/pulls
ask GET /repos/wherry/other/commits/main/status
ask GET /repos/$GITHUB_REPOSITORY/releases
ask GET /user`
	s.push(dir, "may.yml", "permissions: {statuses: write}\n"+job("may", "push", ask), "reads.yml", "permissions: {statuses: read}\n"+job("reads", "push", ask), "none.yml", job("none", "push", ask))
	may, reads, none := s.begun("app", "may", "push"), s.begun("app", "reads", "push"), s.begun("app", "none", "push")
	for _, r := range []*workflow.Run{may, reads, none} {
		s.ended(r.ID, workflow.Success)
		s.says(r.ID, "a", "/pulls: 403", "/other/commits/main/status: 403", "/releases: 501", "GET /api/v3/repos/wherry/app/releases is not supported", "GET /user: 501")
	}
	s.says(may.ID, "a", ": 201 {", "/status: 200 {")
	s.says(reads.ID, "a", ": 403 {\"documentation_url\"", "permissions: statuses: write", "/status: 200 {")
	s.says(none.ID, "a", "permissions: statuses: write", "permissions: statuses: read")
}

// TestOneName: jobs of a matrix that have one name are jobs of their own in the
// trace, each with its results.
func TestOneName(t *testing.T) {
	s := newSite(t, nil)
	dir := s.repo("app", "")
	s.call("PUT", "/api/wherry/environments/twin", map[string]any{"name": "twin", "reviewers": []string{"admins"}}, nil)
	s.push(dir, "twins.yml", `name: twins
on: push
jobs:
  test:
    name: "Tests${{ matrix.failures && '' || '' }}"
    environment: twin
    strategy: {matrix: {failures: [0, 1]}}
    runs-on: ubuntu-latest
    steps:
      - run: printf '<testsuite name="unit" tests="1" failures="${{ matrix.failures }}"><testcase classname="c" name="n${{ matrix.failures }}"/></testsuite>' > junit.xml
      - {uses: actions/upload-artifact@v4, with: {name: "results-${{ matrix.failures }}", path: junit.xml}}
`)
	id := s.begun("app", "twins", "push").ID
	s.waits(id, workflow.Waiting)
	s.call("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/review", id), map[string]any{"decision": "approved"}, nil)
	r := s.ended(id, workflow.Success)
	if r.Jobs[0].Name != "Tests" || r.Jobs[1].Name != "Tests" {
		t.Fatalf("the jobs are %s and %s", r.Jobs[0].Name, r.Jobs[1].Name)
	}
	s.until("the trace has both", func() bool {
		both := true
		for i := range 2 {
			key := fmt.Sprintf("%d/1/test/%d", id, i+1)
			both = both &&
				s.count(`SELECT count(*) FROM trace_node WHERE kind = 'ci_job' AND key = $1 AND payload LIKE '%"name":"Tests"%'`, key) == 1 &&
				s.count(`SELECT count(*) FROM trace_node WHERE kind = 'test_results' AND key = $1 AND payload LIKE $2`, key, fmt.Sprintf(`%%"failures":%d%%`, i)) == 1 &&
				s.count(`SELECT count(*) FROM trace_edge WHERE rel = 'approved_by' AND dst_key = $1`, key) == 1
		}
		return both
	})
	if n := s.count(`SELECT count(*) FROM trace_node WHERE kind IN ('ci_job', 'test_results')`); n != 4 {
		t.Errorf("%d nodes are there", n)
	}
}
