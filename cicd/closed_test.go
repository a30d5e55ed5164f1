package cicd_test

import (
	"testing"

	"github.com/wherry-ml/wherry/workflow"
)

// TestClosedPullRequest: a workflow of closed pull requests runs for one that was
// merged and for one that was not, and knows which.
func TestClosedPullRequest(t *testing.T) {
	s := newSite(t, nil)
	dir := s.repo("app", "")
	s.push(dir, "tidy.yml", job("tidy", "{pull_request: {types: [closed]}}", `echo "#${{ github.event.number }} of ${{ github.head_ref }}: ${{ github.event.action }}, merged ${{ github.event.pull_request.merged }}"`))
	for i, branch := range []string{"left", "taken"} {
		s.git(dir, "checkout", "-q", "-b", branch, "origin/main")
		s.write(dir, branch+".txt", branch)
		s.git(dir, "push", "-q", "origin", branch)
		s.call("POST", "/api/wherry/repos/app/pulls", map[string]any{"head": branch}, nil)
		how, said := []string{"close", "merge"}[i], []string{"#1 of left: closed, merged false\n", "#2 of taken: closed, merged true\n"}[i]
		s.call("POST", "/api/wherry/repos/app/pulls/"+[]string{"1", "2"}[i]+"/"+how, map[string]any{}, nil)
		s.until("the run of "+branch, func() bool { return len(s.runs("app")) == i+1 })
		s.says(s.ended(s.runs("app")[0].ID, workflow.Success).ID, "a", said)
	}
}
