package runner

import (
	"strings"
	"testing"
)

// TestStrategyOfAlias: a job that takes its steps from another's anchor has its
// own strategy in them, and the other keeps its own.
func TestStrategyOfAlias(t *testing.T) {
	const text = `jobs:
  a:
    steps: &steps
      - run: &echo echo ${{ strategy.job-total }}
      - run: *echo
  b:
    steps: *steps
`
	got, err := withStrategy([]byte(text), "b", map[string]any{"job-total": 3})
	if err != nil {
		t.Fatal(err)
	}
	a, b, _ := strings.Cut(string(got), "    b:\n")
	if strings.Contains(a, "fromJSON") || strings.Count(b, `fromJSON('{"job-total":3}').job-total`) != 2 {
		t.Errorf("%s", got)
	}
}
