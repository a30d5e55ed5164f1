package cicd_test

import (
	"testing"

	"github.com/wherry-ml/wherry/workflow"
)

// TestNoTerminal: a program that would ask somebody finds nobody to ask, as on
// GitHub.
func TestNoTerminal(t *testing.T) {
	s := newSite(t, nil)
	s.push(s.repo("app", ""), "ask.yml", job("ask", "push", "(exec < /dev/tty) 2>/dev/null && echo 'a terminal' || echo 'no terminal'"))
	r := s.ended(s.begun("app", "ask", "push").ID, workflow.Success)
	s.says(r.ID, "a", "no terminal\n")
}
