package workflow_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/workflow"
)

func parse(t testing.TB, text string) *workflow.Workflow {
	t.Helper()
	w, problems := workflow.Parse(".github/workflows/ci.yml", []byte(text))
	if w == nil {
		t.Fatalf("parse: %v", problems)
	}
	return w
}

const jobs = "\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}}\n"

func TestTriggered(t *testing.T) {
	push := func(ref string, paths ...string) workflow.Event {
		return workflow.Event{Name: "push", Ref: ref, Paths: paths}
	}
	pull := func(base, action string, paths ...string) workflow.Event {
		return workflow.Event{Name: "pull_request", BaseRef: base, Action: action, Ref: "refs/pull/1/merge", Paths: paths}
	}
	for _, tt := range []struct {
		on    string
		event workflow.Event
		want  bool
	}{
		{"on: push", push("refs/heads/main"), true},
		{"on: push", push("refs/tags/v1"), true},
		{"on: [pull_request, push]", push("refs/heads/main"), true},
		{"on: pull_request", push("refs/heads/main"), false},
		{"on: {push: {branches: [main]}}", push("refs/heads/main"), true},
		{"on: {push: {branches: [main]}}", push("refs/heads/maine"), false},
		{"on: {push: {branches: [main]}}", push("refs/tags/main"), false},
		{"on: {push: {branches: ['release/**']}}", push("refs/heads/release/1/2"), true},
		{"on: {push: {branches: ['release/*']}}", push("refs/heads/release/1/2"), false},
		{"on: {push: {branches: ['**', '!wip/**']}}", push("refs/heads/wip/x"), false},
		{"on: {push: {branches-ignore: ['wip/**']}}", push("refs/heads/wip/x"), false},
		{"on: {push: {branches-ignore: ['wip/**']}}", push("refs/heads/x"), true},
		{"on: {push: {tags: ['v*']}}", push("refs/tags/v1.2.0"), true},
		{"on: {push: {tags: ['v*']}}", push("refs/heads/v1"), false},
		{"on: {push: {tags: ['v*'], branches: [main]}}", push("refs/heads/main"), true},
		{"on: {push: {paths: ['infra/**']}}", push("refs/heads/main", "src/a.py"), false},
		{"on: {push: {paths: ['infra/**']}}", push("refs/heads/main", "src/a.py", "infra/main.tf"), true},
		{"on: {push: {paths: ['infra/**']}}", push("refs/heads/new"), true}, // what changed is not known
		{"on: {push: {paths-ignore: ['docs/**']}}", push("refs/heads/main", "docs/a.md"), false},
		{"on: {push: {paths-ignore: ['docs/**']}}", push("refs/heads/main", "docs/a.md", "a.py"), true},
		{"on: {push: {paths: ['**', '!docs/**']}}", push("refs/heads/main", "docs/a.md"), false},
		{"on: {push: {paths: ['**', '!docs/**']}}", push("refs/heads/main", "docs/a.md", "src/a.py"), true},
		{"on: {push: {paths: ['docs/**', '!docs/**', 'docs/keep.md']}}", push("refs/heads/main", "docs/keep.md"), true},
		{"on: {push: {tags: ['v*', '!v*-rc*']}}", push("refs/tags/v1-rc1"), false},
		{"on: {push: {tags: ['v*', '!v*-rc*']}}", push("refs/tags/v1"), true},
		{"on: {push: {tags-ignore: ['v0*']}}", push("refs/tags/v0.1"), false},
		{"on: {push: {tags-ignore: ['v0*']}}", push("refs/heads/main"), false}, // a filter of tags only
		{"on: {push: {branches: [main], paths: ['infra/**']}}", push("refs/heads/topic", "infra/a"), false},
		{"on: {pull_request: {paths: ['infra/**']}}", pull("main", "opened", "src/a"), false},
		{"on: {pull_request: {paths: ['infra/**']}}", pull("main", "synchronize", "infra/a"), true},
		{"on: {pull_request: {branches-ignore: [main]}}", pull("main", "opened"), false},
		{"on: pull_request", pull("main", "opened"), true},
		{"on: pull_request", pull("main", "closed"), false},
		{"on: {pull_request: {types: [closed]}}", pull("main", "closed"), true},
		{"on: {pull_request: {branches: [main]}}", pull("dev", "opened"), false},
		{"on: {workflow_run: {workflows: [ci], types: [completed], branches: [main]}}", workflow.Event{Name: "workflow_run", Action: "completed", Workflow: "ci", HeadRef: "main"}, true},
		{"on: {workflow_run: {workflows: [ci], types: [completed], branches: [main]}}", workflow.Event{Name: "workflow_run", Action: "completed", Workflow: "ci", HeadRef: "x"}, false},
		{"on: {workflow_run: {workflows: [cd], types: [completed]}}", workflow.Event{Name: "workflow_run", Action: "completed", Workflow: "ci"}, false},
		{"on: {schedule: [{cron: '0 1 * * *'}]}", workflow.Event{Name: "schedule", Schedule: "0 1 * * *"}, true},
		{"on: {schedule: [{cron: '0 1 * * *'}]}", workflow.Event{Name: "schedule", Schedule: "0 2 * * *"}, false},
		{"on: workflow_dispatch", workflow.Event{Name: "workflow_dispatch"}, true},
	} {
		if got := parse(t, tt.on+jobs).Triggered(tt.event); got != tt.want {
			t.Errorf("%s, %+v: %t", tt.on, tt.event, got)
		}
	}
}

// TestInputs of workflow_dispatch: defaults, what is required, choices and types.
func TestInputs(t *testing.T) {
	w := parse(t, `on:
  workflow_dispatch:
    inputs:
      where: {type: choice, options: [dev, prod], default: dev}
      who: {type: string, required: true}
      dry: {type: boolean, default: false}
      n: {type: number}
`+jobs)
	for _, tt := range []struct {
		in   map[string]string
		want string // the error, "" for none
	}{
		{map[string]string{"who": "ada"}, ""},
		{map[string]string{"who": "ada", "where": "prod", "dry": "true", "n": "1.5"}, ""},
		{map[string]string{}, "who is required"},
		{map[string]string{"who": "ada", "where": "moon"}, `where can not be "moon": it is one of dev, prod`},
		{map[string]string{"who": "ada", "dry": "perhaps"}, `dry can not be "perhaps"`},
		{map[string]string{"who": "ada", "n": "many"}, `n can not be "many"`},
		{map[string]string{"who": "ada", "other": "x"}, `no input "other": there are dry, n, where, who`},
	} {
		err := w.CheckInputs(tt.in)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q", tt.in, err, tt.want)
		}
		if err == nil && (tt.in["where"] == "" || tt.in["dry"] == "") {
			t.Errorf("the defaults are missing: %v", tt.in)
		}
	}
}

func TestParseNamesThePlace(t *testing.T) {
	_, problems := workflow.Parse("x.yml", []byte("on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ nope( }}"))
	if len(problems) != 1 || problems[0].Line != 6 {
		t.Errorf("%v", problems)
	}
	for _, text := range []string{"on: push\njobs: {a: {runs-on: ubuntu-latest, steps: [{rnu: x}]}}", "on: [push", "", "jobs: 3", "on: push\njobs:\n  a: {runs-on: ubuntu-latest, steps: [{run: '${{ nothing.at.all }}'}]}", "on: push\njobs:\n  a: {if: contains(1), runs-on: ubuntu-latest, steps: [{run: x}]}"} {
		w, problems := workflow.Parse("x.yml", []byte(text))
		if w != nil || len(problems) == 0 || problems[0].Line == 0 || problems[0].Path != "x.yml" {
			t.Errorf("%q: %v", text, problems)
		}
	}
}

var machine = workflow.Machine{
	Action: func(name string) bool { return name == "actions/checkout" }, Actions: []string{"actions/checkout"},
	Shell: func(name string) bool { return name == "bash" || name == "sh" },
}

func TestCheck(t *testing.T) {
	files := workflow.Files{
		".github/actions/ok/action.yml":     []byte("name: ok\nruns: {using: composite, steps: [{uses: actions/checkout@v4}]}"),
		".github/actions/bad/action.yml":    []byte("name: bad\nruns: {using: composite, steps: [{uses: some/thing@v1}]}"),
		".github/actions/node/action.yml":   []byte("name: node\nruns: {using: node20, main: x.js}"),
		".github/actions/docker/action.yml": []byte("name: docker\nruns: {using: docker, image: Dockerfile}"),
		".github/workflows/called.yml":      []byte("on: workflow_call\njobs: {x: {runs-on: windows-latest, steps: [{run: 'true'}]}}"),
	}
	step := func(s string) string {
		return "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - " + s + "\n"
	}
	for _, tt := range []struct{ text, want string }{
		{step("run: echo"), ""},
		{step("uses: actions/checkout@v4"), ""},
		{step("uses: ./.github/actions/ok"), ""},
		{step("uses: some/thing@v1"), "ci.yml:6:15: the action some/thing is not built in"},
		{step("uses: ./.github/actions/bad"), "the action some/thing is not built in"},
		{step("uses: ./.github/actions/node"), "install Node.js"},
		{step("uses: ./.github/actions/docker"), "container engine"},
		{step("uses: ./.github/actions/none"), "there is no action.yml"},
		{step("uses: docker://alpine"), "container engine"},
		{step("run: echo\n        shell: pwsh"), `the shell "pwsh" is not here`},
		{"on: push\njobs: {a: {runs-on: windows-latest, steps: [{run: 'true'}]}}", `no runner here has the label "windows-latest"`},
		{"on: push\njobs: {a: {runs-on: ubuntu-latest, container: alpine, steps: [{run: 'true'}]}}", "runs in a container"},
		{"on: push\njobs: {a: {runs-on: ubuntu-latest, services: {db: {image: postgres}}, steps: [{run: 'true'}]}}", "needs services"},
		{"on: push\njobs: {a: {uses: ./.github/workflows/called.yml}}", "windows-latest"},
		{"on: push\njobs: {a: {uses: o/r/.github/workflows/x.yml@v1}}", "another repository"},
		{"on: push\njobs: {a: {uses: ./.github/workflows/none.yml}}", "there is no workflow"},
		{"on: push\njobs: {a: {needs: b, runs-on: ubuntu-latest, steps: [{run: 'true'}]}}", "b"},
	} {
		refused, _ := parse(t, tt.text).Check(files, machine, nil)
		var all []string
		for _, p := range refused {
			all = append(all, p.String())
		}
		got := strings.Join(all, "\n")
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s\n got %s\nwant %s", tt.text, got, tt.want)
		}
	}
}

// play runs a workflow to its end: each job ends as the function says.
func play(t testing.TB, r *workflow.Run, w *workflow.Workflow, do func(*workflow.Job) string) map[string]string {
	t.Helper()
	if err := w.Open(r); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := r.Advance(w, 1); err != nil {
			t.Fatal(err)
		}
		if r.State == workflow.Completed {
			break
		}
		for _, j := range r.Jobs {
			if j.State == workflow.Waiting {
				j.State = workflow.Queued
			}
		}
		for _, j := range r.Startable() {
			j.State = workflow.Running
			conclusion, outputs, _ := strings.Cut(do(j), " ")
			j.State, j.Conclusion = workflow.Completed, conclusion
			if k, v, ok := strings.Cut(outputs, "="); ok {
				j.Outputs = map[string]string{k: v}
			}
		}
	}
	got := map[string]string{"run": r.Conclusion}
	for _, j := range r.Jobs {
		got[j.Name] = j.Conclusion
	}
	return got
}

func TestAdvance(t *testing.T) {
	const tail = ", runs-on: ubuntu-latest, steps: [{run: 'true'}]}"
	for _, tt := range []struct {
		name, text string
		fail       []string
		want       map[string]string
	}{
		{"chain", "a: {name: a" + tail + "\n  b: {needs: a" + tail, nil, map[string]string{"a": "success", "b": "success", "run": "success"}},
		{"skipped after a failure", "a: {name: a" + tail + "\n  b: {needs: a" + tail + "\n  c: {needs: b" + tail, []string{"a"}, map[string]string{"a": "failure", "b": "skipped", "c": "skipped", "run": "failure"}},
		{
			"always and failure()", "a: {name: a" + tail + "\n  b: {needs: a, if: always()" + tail + "\n  c: {needs: a, if: 'failure()'" + tail + "\n  d: {needs: a, if: \"${{ needs.a.result == 'failure' && always() }}\"" + tail,
			[]string{"a"},
			map[string]string{"a": "failure", "b": "success", "c": "success", "d": "success", "run": "failure"},
		},
		{"condition on the ref", "a: {if: \"github.ref == 'refs/heads/main'\"" + tail + "\n  b: {if: \"startsWith(github.ref, 'refs/tags/')\"" + tail, nil, map[string]string{"a": "success", "b": "skipped", "run": "success"}},
		{"nothing to do", "a: {if: \"github.ref == 'refs/heads/dev'\"" + tail + "\n  b: {needs: a" + tail, nil, map[string]string{"a": "skipped", "b": "skipped", "run": "skipped"}},
		{
			"skipped at once", "a: {if: false" + tail + "\n  b: {needs: a, if: \"always() && needs.a.result != 'skipped'\"" + tail + "\n  c: {needs: a, if: \"always() && contains(needs.*.result, 'skipped')\"" + tail, nil,
			map[string]string{"a": "skipped", "b": "skipped", "c": "success", "run": "success"},
		},
		{
			"failed at once", "m: {strategy: {matrix: {v: \"${{ fromJSON('no json') }}\"}}" + tail + "\n  tell: {needs: m, if: failure()" + tail, nil,
			map[string]string{"m": "failure", "tell": "success", "run": "failure"},
		},
		{"matrix", "a: {strategy: {matrix: {os: [x, y], v: [1]}}" + tail, nil, map[string]string{"a (x, 1)": "success", "a (y, 1)": "success", "run": "success"}},
		{"continue-on-error", "a: {continue-on-error: true" + tail + "\n  b: {needs: a" + tail, []string{"a"}, map[string]string{"a": "failure", "b": "success", "run": "success"}},
		{"matrix of an output", "a: {outputs: {list: x}, name: a" + tail + "\n  b: {needs: a, strategy: {matrix: {v: \"${{ fromJSON(needs.a.outputs.list) }}\"}}" + tail, nil, map[string]string{"a": "success", "b (3)": "success", "b (4)": "success", "run": "success"}},
		{"fail-fast", "a: {strategy: {max-parallel: 1, matrix: {v: [1, 2]}}" + tail, []string{"a (1)"}, map[string]string{"a (1)": "failure", "a (2)": "cancelled", "run": "failure"}},
		{"no fail-fast", "a: {strategy: {fail-fast: false, max-parallel: 1, matrix: {v: [1, 2]}}" + tail, []string{"a (1)"}, map[string]string{"a (1)": "failure", "a (2)": "success", "run": "failure"}},
		{"fail-fast by expression", "a: {strategy: {fail-fast: \"${{ github.ref != 'refs/heads/main' }}\", max-parallel: \"${{ fromJSON('1') }}\", matrix: {v: [1, 2]}}" + tail, []string{"a (1)"}, map[string]string{"a (1)": "failure", "a (2)": "success", "run": "failure"}},
		{
			"the order of a matrix", "a: {name: \"${{ strategy.job-index }} of ${{ strategy.job-total }}, ${{ strategy.max-parallel }} ${{ strategy.fail-fast }}: ${{ matrix.v }}${{ matrix.w }}\", strategy: {matrix: {v: [z, a], w: [2, 1], exclude: [{v: a, w: 2}], include: [{v: b}]}}" + tail, nil,
			map[string]string{"0 of 4, 4 true: z2": "success", "1 of 4, 4 true: z1": "success", "2 of 4, 4 true: a1": "success", "3 of 4, 4 true: b": "success", "run": "success"},
		},
		{"environment", "a: {environment: prod" + tail, nil, map[string]string{"a": "success", "run": "success"}},
		{"runner by expression", "a: {strategy: {matrix: {os: [windows-latest]}}, runs-on: '${{ matrix.os }}', steps: [{run: 'true'}]}", nil, map[string]string{"a (windows-latest)": "failure", "run": "failure"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := parse(t, "on: push\njobs:\n  "+tt.text+"\n")
			r := &workflow.Run{ID: 1, Event: workflow.Event{Name: "push", Ref: "refs/heads/main"}}
			got := play(t, r, w, func(j *workflow.Job) string {
				if slices.Contains(tt.fail, j.Name) {
					return "failure"
				}
				return "success list=[3, 4]"
			})
			if !maps.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	w := parse(t, `
on: push
concurrency: {group: "deploy-${{ github.ref }}", cancel-in-progress: true}
jobs:
  a: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}
  b: {needs: a, runs-on: ubuntu-latest, steps: [{run: 'true'}]}
  c: {needs: a, if: always(), runs-on: ubuntu-latest, steps: [{run: 'true'}]}
`)
	r := &workflow.Run{ID: 1, Event: workflow.Event{Name: "push", Ref: "refs/heads/main"}}
	got := play(t, r, w, func(j *workflow.Job) string {
		if j.Key == "a" {
			r.Cancel = true
			return "cancelled"
		}
		return "success"
	})
	if r.Group != "deploy-refs/heads/main" || !r.CancelInProgress {
		t.Errorf("group %q", r.Group)
	}
	want := map[string]string{"a": "cancelled", "b": "skipped", "c": "success", "run": "cancelled"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestCancelBeforeItBegan: a run that waited for its turn starts nothing.
func TestCancelBeforeItBegan(t *testing.T) {
	w := parse(t, "on: push"+jobs)
	r := &workflow.Run{ID: 1, Cancel: true, Event: workflow.Event{Name: "push", Ref: "refs/heads/main"}}
	got := play(t, r, w, func(*workflow.Job) string { return "success" })
	if want := (map[string]string{"a": "cancelled", "run": "cancelled"}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("on: push" + jobs)
	f.Add("on: {push: {branches: ['[a']}}" + jobs)
	f.Add("on: push\njobs: {a: {strategy: {matrix: {include: [1]}}, runs-on: x, steps: [{run: '${{ }}'}]}}")
	f.Fuzz(func(t *testing.T, text string) {
		w, _ := workflow.Parse("x.yml", []byte(text))
		if w == nil {
			return
		}
		w.Check(nil, machine, nil)
		w.Triggered(workflow.Event{Name: "push", Ref: "refs/heads/main", Paths: []string{"a"}})
		r := &workflow.Run{Event: workflow.Event{Name: "push"}}
		if w.Open(r) == nil {
			_ = r.Advance(w, 1)
		}
	})
}
