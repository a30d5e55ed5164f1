package cicd_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/workflow"
)

// check is what a fork's pull request runs: it asks for all that it must not
// have, and each answer is a line.
const check = `name: check
on: [pull_request, push]
permissions: {id-token: write, contents: write, statuses: write}
concurrency: {group: deploy, cancel-in-progress: true}
jobs:
  a:
    runs-on: ubuntu-latest
    environment: staging
    env: {KEY: "${{ secrets.KEY }}", ALL: "${{ toJSON(secrets) }}"}
    steps:
      - uses: actions/checkout@v4
      - run: |
          ask() { curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $ACTIONS_RUNTIME_TOKEN" -H 'Content-Type: application/json' "$GITHUB_SERVER_URL$1" "${@:2}"; }
          echo "secret=[$KEY] all=$(echo "$ALL" | grep -c KEY) id-token=[$ACTIONS_ID_TOKEN_REQUEST_URL] ${{ github.event_name }} ${{ github.base_ref }}"
          echo "id-token: $(ask /api/wherry/ci/id-token)"
          echo "secrets: $(ask /api/wherry/ci/values)"
          echo "an apply: $(ask /api/wherry/ci/infra -d '{"source": "infra"}')"
          echo "a status: $(ask /api/v3/repos/wherry/app/statuses/$GITHUB_SHA -d '{"state": "success", "context": "ci"}')"
          echo "its own approval: $(ask /api/wherry/ci/runs/$GITHUB_RUN_ID/review -d '{"decision": "approved"}')"
          echo "a run: $(ask /api/wherry/ci/dispatch -d '{"repo": "app", "workflow": "check"}')"
          git push -q origin HEAD:refs/heads/evil 2>&1 || echo "it may not push"
          for r in app theirs another; do git -c http.extraHeader="Authorization: Bearer $ACTIONS_RUNTIME_TOKEN" ls-remote -q $GITHUB_SERVER_URL/git/$r.git >/dev/null 2>&1 && echo "it may read $r"; done
          true
        shell: bash
      - {uses: actions/cache/restore@v4, with: {key: shared, path: poison}}
      - run: test -e poison && echo "poisoned" || echo "clean"; mkdir -p poison; echo x > poison/x
      - {uses: actions/cache/save@v4, with: {key: shared, path: poison}}
`

// after runs at the end of check, with the code of the default branch.
const after = `name: after
on: {workflow_run: {workflows: [check], types: [completed]}}
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - run: mkdir -p poison; echo x > poison/x; echo "secret=[${{ secrets.KEY }}]"
      - {uses: actions/cache/save@v4, with: {key: "shared", path: poison}}
`

// TestFork: what a fork sends as a pull request is tested, and gets nothing
// that is not everybody's: no secret, no token that writes, no caches of others
// to write to, and no way into another's concurrency group.
func TestFork(t *testing.T) {
	s := newSite(t, nil)
	base := s.repo("app", "")
	sha := s.write(base, "a.txt", "a")
	s.git(base, "push", "-q", "origin", "HEAD:main")
	s.call("PUT", "/api/wherry/ci/values", map[string]any{"repo": "app", "name": "KEY", "value": "of-the-repo", "secret": true}, nil)
	s.call("PUT", "/api/wherry/environments/staging", map[string]any{"name": "staging"}, nil)
	s.call("PUT", "/api/wherry/ci/values", map[string]any{"environment": "staging", "name": "KEY_OF_STAGING", "value": "of-staging", "secret": true}, nil)
	s.git(s.repo("another", "app"), "fetch", "-q", "origin")
	fork := s.repo("theirs", "app")
	s.git(fork, "pull", "-q", "origin", "main")
	s.write(fork, "check.yml", check)
	s.git(fork, "push", "-q", "origin", "HEAD:idea")
	s.push(base, "after.yml", after, "deploy.yml", "concurrency: deploy\n"+job("deploy", "workflow_dispatch", "echo here\nsleep 600"))
	var deploy workflow.Run
	s.call("POST", "/api/wherry/ci/dispatch", map[string]any{"repo": "app", "workflow": "deploy"}, &deploy)
	s.waits(deploy.ID, workflow.Running)

	s.call("POST", "/api/wherry/repos/app/pulls", map[string]any{"title": "idea", "base": "main", "head": "theirs:idea"}, nil)
	theirs := s.ended(s.begun("app", "check", "pull_request").ID, workflow.Success)
	if !theirs.Fork {
		t.Error("nobody knows that it is of a fork")
	}
	s.says(theirs.ID, "a", "secret=[] all=0 id-token=[] pull_request main\n", "id-token: 403\n", "secrets: 403\n", "an apply: 403\n", "a status: 403\n",
		"its own approval: 4", "a run: 403\n", "it may not push\n", "it may read app\nit may read theirs\n", "clean\n", "Cache saved with key: shared\n")
	if text := s.log(theirs.ID, "a"); strings.Contains(text, "it may read another") {
		t.Error(text)
	}
	s.says(s.begun("theirs", "check", "push").ID, "a", "all=0 ") // of an environment, which belongs to no fork
	next := s.ended(s.begun("app", "after", "workflow_run").ID, workflow.Success)
	s.says(next.ID, "a", "secret=[]\n", "Failed to save: the server answers 403")
	if r := s.run(deploy.ID); r.State != workflow.Running || r.Cancel {
		t.Errorf("the deployment is %s, cancelled: %t", r.State, r.Cancel)
	}
	if refs := s.git(base, "ls-remote", "origin", "refs/heads/evil"); refs != "" {
		t.Errorf("it pushed %s", refs)
	}
	for _, ref := range []string{"refs/pull/1/head", "refs/pull/1/merge", sha} { // by hand it would be no fork's
		s.denied(wherry.CodeDoesNotExist, "no branch or tag", "POST", "/api/wherry/ci/dispatch", map[string]any{"repo": "app", "workflow": "check", "ref": ref})
	}
	s.call("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/cancel", deploy.ID), nil, nil)
	s.ended(deploy.ID, workflow.Cancelled)

	// The same of the repository itself gets what it asks for, and the branch's
	// cache is not the fork's.
	s.git(base, "fetch", "-q", strings.Replace(s.git(base, "remote", "get-url", "origin"), "app.git", "theirs.git", 1), "idea")
	s.git(base, "checkout", "-q", "FETCH_HEAD", "--", ".github")
	own := s.push(base, "b.txt", "b")
	r := s.ended(s.begun("app", "check", "push").ID, workflow.Success)
	s.says(r.ID, "a", "secret=[***] all=2 id-token=[http", "id-token: 200\n", "secrets: 403\n", "clean\n")
	if refs := s.git(base, "ls-remote", "origin", "refs/heads/evil"); !strings.HasPrefix(refs, own) {
		t.Errorf("with contents: write it pushed %q", refs)
	}
	for _, r := range s.runs("app") {
		if r.Event.Ref == "refs/heads/evil" {
			t.Errorf("what a job pushed started %s", r.Name)
		}
	}
}
