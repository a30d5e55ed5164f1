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
	got, err := withContexts([]byte(text), "b", map[string]any{"job-total": 3})
	if err != nil {
		t.Fatal(err)
	}
	a, b, _ := strings.Cut(string(got), "    b:\n")
	if strings.Contains(a, "fromJSON") || strings.Count(b, `fromJSON('{"job-total":3}').job-total`) != 2 {
		t.Errorf("%s", got)
	}
}

// TestRunnerContext: what the engine's runner context lacks is there, and only
// where it is meant.
func TestRunnerContext(t *testing.T) {
	const text = `jobs:
  a:
    steps:
      - run: echo ${{ runner.environment }} ${{ runner.name }} ${{ runner.os }} ${{ 'runner.name' }} ${{ env.runner.name }} runner.name
      - if: runner.environment == 'self-hosted'
`
	got, err := withContexts([]byte(text), "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"${{ 'self-hosted' }} ${{ 'wherry' }} ${{ runner.os }} ${{ 'runner.name' }} ${{ env.runner.name }} runner.name", "if: '''self-hosted'' == ''self-hosted'''",
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%s\nhas no %s", got, want)
		}
	}
}
