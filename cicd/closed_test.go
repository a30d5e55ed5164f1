package cicd_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/workflow"
	"github.com/wherry-ml/wherry/workflow/action"
)

// TestClosedPullRequest: a workflow of closed pull requests runs for one that was
// merged, on the branch that has it now, and for one that was not, and knows which.
func TestClosedPullRequest(t *testing.T) {
	s := newSite(t, nil)
	dir := s.repo("app", "")
	s.push(dir, "tidy.yml", job("tidy", "{pull_request: {types: [closed]}}",
		`echo "#${{ github.event.number }} of ${{ github.head_ref }}: ${{ github.event.action }}, ${{ github.event.pull_request.state }}, merged ${{ github.event.pull_request.merged }}"`,
		`echo "at $GITHUB_REF $GITHUB_SHA ${{ github.event.pull_request.merge_commit_sha == github.sha }}"`))
	for i, pull := range []struct{ branch, end, says, at string }{
		{"left", "close", "#1 of left: closed, closed, merged false\n", "at refs/pull/1/merge HEAD false\n"},
		{"taken", "merge", "#2 of taken: closed, closed, merged true\n", "at refs/heads/main MAIN true\n"},
	} {
		s.git(dir, "checkout", "-q", "-b", pull.branch, "origin/main")
		head := s.write(dir, pull.branch+".txt", pull.branch)
		s.git(dir, "push", "-q", "origin", pull.branch)
		s.call("POST", "/api/wherry/repos/app/pulls", map[string]any{"head": pull.branch, "title": "What is " + pull.branch}, nil)
		s.call("POST", fmt.Sprintf("/api/wherry/repos/app/pulls/%d/%s", i+1, pull.end), map[string]any{}, nil)
		s.until("the run of "+pull.branch, func() bool { return len(s.runs("app")) == i+1 })
		if title := s.runs("app")[0].Title; title != "What is "+pull.branch {
			t.Errorf("the run of %s is titled %q", pull.branch, title)
		}
		main, _, _ := strings.Cut(s.git(dir, "ls-remote", "origin", "refs/heads/main"), "\t")
		s.says(s.ended(s.runs("app")[0].ID, workflow.Success).ID, "a", pull.says, strings.NewReplacer("HEAD", head, "MAIN", main).Replace(pull.at))
	}
}

// TestComments: a job comments on its pull request with its token, by
// github-script where there is node, where its permissions say so.
func TestComments(t *testing.T) {
	node := action.Detect().Node != ""
	s := newSite(t, nil)
	dir := s.repo("app", "")
	const comment = `code=$(curl -s -o answer -w '%{http_code}' -H "Authorization: Bearer ${{ github.token }}" -d '{"body": "by curl"}' "$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/issues/${{ github.event.number }}/comments")
echo "commented: $code $(cat answer)"`
	says := "permissions: {pull-requests: write}\n" + job("says", "pull_request", comment)
	if node {
		says += `      - uses: actions/github-script@v7
        with:
          script: |
            const at = { ...context.repo, issue_number: context.issue.number }
            const { data } = await github.rest.issues.createComment({ ...at, body: 'by a script' })
            await github.rest.issues.updateComment({ ...context.repo, comment_id: data.id, body: 'by a script, changed' })
            const all = await github.paginate(github.rest.issues.listComments, at)
            console.log('comments: ' + all.map((c) => c.body).join(' | '))
`
	}
	s.push(dir, "says.yml", says, "mute.yml", "permissions: {pull-requests: read}\n"+job("mute", "pull_request", comment))
	s.git(dir, "checkout", "-q", "-b", "idea")
	s.write(dir, "b.txt", "b")
	s.git(dir, "push", "-q", "origin", "idea")
	s.call("POST", "/api/wherry/repos/app/pulls", map[string]any{"head": "idea", "title": "Talk\nof it"}, nil)
	r, mute := s.begun("app", "says", "pull_request"), s.begun("app", "mute", "pull_request")
	if r.Title != "Talk of it" {
		t.Errorf("the run is titled %q", r.Title)
	}
	s.ended(r.ID, workflow.Success)
	s.says(r.ID, "a", "commented: 201 {", `"body":"by curl"`)
	s.ended(mute.ID, workflow.Success)
	s.says(mute.ID, "a", "commented: 403 {", "give the job a permissions: pull-requests: write")
	want := []string{"by curl"}
	if node {
		s.says(r.ID, "a", "comments: by curl | by a script, changed\n")
		want = append(want, "by a script, changed")
	}
	var pull struct{ Comments []struct{ Body string } }
	s.call("GET", "/api/wherry/repos/app/pulls/1", nil, &pull)
	if got := fmt.Sprint(pull.Comments); got != "[{"+strings.Join(want, "} {")+"}]" {
		t.Errorf("the comments are %s", got)
	}
}
