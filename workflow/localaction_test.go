package workflow_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/wherry-ml/wherry/workflow"
)

// TestMissingAction: a local action that is nowhere in the tree is refused where
// no step before can have made it, and warned of where one may have.
func TestMissingAction(t *testing.T) {
	tree := fstest.MapFS{
		"tools/ok/action.yaml":    {Data: []byte("name: ok\nruns: {using: composite, steps: [{uses: actions/checkout@v4}]}")},
		"tools/makes/action.yml":  {Data: []byte("name: makes\nruns: {using: composite, steps: [{run: make, shell: bash}]}")},
		"tools/nested/action.yml": {Data: []byte("name: nested\nruns: {using: composite, steps: [{uses: ./missing}]}")},
	}
	const (
		refuse = "refused: there is no action.yml in ./missing"
		warn   = "warned: there is no action.yml in ./missing"
	)
	for _, tt := range []struct{ steps, want string }{
		{"{uses: ./missing}", refuse},
		{"{uses: actions/checkout@v4}, {uses: ./missing}", refuse},
		{"{uses: actions/checkout@v4}, {uses: actions/setup-python@v5, with: {python-version: '3.12'}}, {uses: ./missing}", refuse},
		{"{uses: ./tools/ok}, {uses: ./missing}", refuse},
		{"{uses: ./tools/nested}", refuse},
		{"{uses: actions/checkout@v4, with: {path: other}}, {uses: ./missing}", refuse},
		{"{uses: ./missing, if: github.ref == 'x'}", warn},
		{"{run: make}, {uses: ./missing}", warn},
		{"{uses: ./tools/makes}, {uses: ./missing}", warn},
		{"{run: make}, {uses: ./tools/nested}", warn},
		{"{uses: actions/checkout@v4, with: {repository: o/r}}, {uses: ./missing}", warn},
		{"{uses: actions/checkout@v4, with: {repository: o/r, path: ./missing}}, {uses: ./missing}", ""},
		{"{uses: actions/checkout@v4, with: {repository: o/r, path: other}}, {uses: ./other/missing}", ""},
		{"{uses: ./tools/ok}", ""},
		{"{uses: ./../missing}", ""},
	} {
		text := "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps: [" + tt.steps + "]\n"
		m := machine
		m.Action = func(name string) bool { return strings.HasPrefix(name, "actions/") }
		refused, warned := parse(t, text).Check(nil, m, tree)
		var got []string
		for _, p := range refused {
			got = append(got, "refused: "+p.Message)
		}
		for _, p := range warned {
			got = append(got, "warned: "+p.Message)
		}
		if (tt.want == "") != (len(got) == 0) || !strings.HasPrefix(strings.Join(got, "\n"), tt.want) {
			t.Errorf("%s: %q, want %q", tt.steps, got, tt.want)
		}
		if refused, _ := parse(t, text).Check(nil, m, nil); len(refused) > 0 {
			t.Errorf("%s: refused where the tree is not known: %v", tt.steps, refused)
		}
	}
	refused, _ := parse(t, "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: ./missing\n").Check(workflow.Files{}, machine, tree)
	if len(refused) != 1 || refused[0].Line != 6 || refused[0].Column != 15 || !strings.Contains(refused[0].Hint, "commit it there") {
		t.Errorf("%+v", refused)
	}
}
