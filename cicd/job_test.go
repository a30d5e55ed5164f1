package cicd_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/workflow"
)

// TestStored: jobs of a run hand files to each other, a later run finds the
// cache of its branch, a replaced artifact is the newer one, and test results in
// an artifact are told.
func TestStored(t *testing.T) {
	s := newSite(t, nil)
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
          printf '<testsuite name="unit" tests="2" failures="1"><testcase classname="c" name="good"/><testcase classname="c" name="bad"><failure message="no"/></testcase></testsuite>' > junit.xml
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
	s.says(first.ID, "a", "hit= \n", "Cache saved with key: one")
	s.says(first.ID, "b", "got second", "jobs: 403", "id-token: none")
	var again workflow.Run
	s.call("POST", "/api/wherry/ci/dispatch", map[string]any{"repo": "app", "workflow": "files"}, &again)
	s.ended(again.ID, workflow.Success)
	s.says(again.ID, "a", "hit=true kept")
	s.says(again.ID, "b", "another run: 403")
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

// TestFork: what a fork sends as a pull request is tested, and gets nothing
// that is not everybody's.
func TestFork(t *testing.T) {
	s := newSite(t, nil)
	base := s.repo("app", "")
	text := `name: check
on: pull_request
permissions: {id-token: write, contents: write}
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - run: echo "secret=[${{ secrets.KEY }}] id-token=[$ACTIONS_ID_TOKEN_REQUEST_URL] ${{ github.event_name }} ${{ github.base_ref }}"
`
	s.push(base, "check.yml", text)
	s.call("PUT", "/api/wherry/ci/values", map[string]any{"repo": "app", "name": "KEY", "value": "of-the-repo", "secret": true}, nil)
	s.write(base, "a.txt", "a")
	s.git(base, "push", "-q", "origin", "HEAD:topic")
	s.call("POST", "/api/wherry/repos/app/pulls", map[string]any{"title": "change", "base": "main", "head": "topic"}, nil)
	r := s.ended(s.begun("app", "check", "pull_request").ID, workflow.Success)
	if text := s.log(r.ID, "a"); !strings.Contains(text, "secret=[***] id-token=[http") || !strings.Contains(text, "pull_request main") {
		t.Errorf("a request of the repository itself: %s", text)
	}
	fork := s.repo("theirs", "app")
	s.git(fork, "pull", "-q", "origin", "main")
	s.write(fork, "b.txt", "b")
	s.git(fork, "push", "-q", "origin", "HEAD:idea")
	s.call("POST", "/api/wherry/repos/app/pulls", map[string]any{"title": "idea", "base": "main", "head": "theirs:idea"}, nil)
	var theirs *workflow.Run
	s.until("the run of the fork's request", func() bool {
		for _, x := range s.runs("app") {
			if x.Fork {
				theirs = x
			}
		}
		return theirs != nil
	})
	s.ended(theirs.ID, workflow.Success)
	s.says(theirs.ID, "a", "secret=[] id-token=[]")
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
