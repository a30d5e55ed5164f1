package adopt_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/adopt"
	"github.com/wherry-ml/wherry/bundle/config"
)

var update = flag.Bool("update", false, "rewrite the wanted patches")

// TestAdopt compares patches with goldens, and reads the patched bundle again.
func TestAdopt(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		var fields []adopt.Field
		want := ""
		for _, f := range a.Files {
			switch f.Name {
			case "want":
				want = string(f.Data)
			case "fields.json":
				if err := json.Unmarshal(f.Data, &fields); err != nil {
					t.Fatal(err)
				}
			default:
				if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		got := patch(t, dir, fields)
		if *update {
			a.Files[len(a.Files)-1].Data = []byte(got)
			if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}

// patch writes the patch, checks that the bundle now says what it should, and
// describes it.
func patch(t *testing.T, dir string, fields []adopt.Field) string {
	t.Helper()
	p, err := adopt.Make(dir, load(t, dir).Config, fields)
	if err != nil {
		t.Fatal(err)
	}
	out := string(p.Diff())
	for _, l := range p.Left {
		out += fmt.Sprintf("left: %s %s: %s\n", l.Resource, l.Path, l.Why)
	}
	if err := p.Write(); err != nil {
		t.Fatal(err)
	}
	b := load(t, dir)
	for _, f := range p.Adopted {
		got, _ := json.Marshal(said(b.Config.Get("resources"), f.Resource+"."+f.Path))
		if want, _ := json.Marshal(f.After); string(got) != string(want) {
			t.Errorf("%s %s is %s, want %s", f.Resource, f.Path, got, want)
		}
	}
	return out
}

func load(t *testing.T, dir string) *bundle.Bundle {
	t.Helper()
	b, err := bundle.Load(context.Background(), bundle.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range b.Problems.List() {
		t.Error(b.Problems.Format(p))
	}
	return b
}

// step is a key, or an item of a list by its name.
var step = regexp.MustCompile(`^\.?([^.\[]+)|^\[([^\]]*)\]`)

// said is what the bundle says at a path; nil for nothing.
func said(v *config.Value, path string) any {
	for path != "" && v != nil {
		m := step.FindStringSubmatch(path)
		path = path[len(m[0]):]
		if m[1] != "" {
			v = v.Get(m[1])
			continue
		}
		i := slices.IndexFunc(v.List(), func(item *config.Value) bool {
			return item.Get("task_key").Text() == m[2] || item.Get("name").Text() == m[2]
		})
		if i < 0 {
			return nil
		}
		v = v.List()[i]
	}
	if v == nil {
		return nil
	}
	return v.Plain()
}

// FuzzAdopt adopts into YAML of any shape: what is written is YAML still, and
// says what was adopted.
func FuzzAdopt(f *testing.F) {
	for _, tasks := range []string{
		"\n      - task_key: a\n      - {task_key: b}\n", " [{task_key: a}, {task_key: b}]\n", "\n        -   task_key: a\n            x: |\n             # no comment\n\n        - task_key: b", " [\n {task_key: a},\n ]\n",
		"\n      -\n        task_key: a\n      # c\n      - task_key: 'b'\n      x: [a, \"]\", 'it''s'] # d\n", "\n      - &x\n        task_key: a\n      - *x\n",
	} {
		f.Add(tasks, "a, b")
	}
	f.Fuzz(func(t *testing.T, tasks, value string) {
		dir := t.TempDir()
		name := filepath.Join(dir, "databricks.yml")
		text := "resources:\n  jobs:\n    j:\n      name: j\n      tasks:" + tasks
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		problems := &config.Problems{}
		v := config.Parse("databricks.yml", []byte(text), problems)
		if len(problems.List()) > 0 || v.Get("resources").Get("jobs").Get("j").Get("tasks") == nil {
			return // no bundle
		}
		after := map[string]any{"task_key": "z", "notebook_path": value}
		p, err := adopt.Make(dir, v, []adopt.Field{
			{Resource: "jobs.j", Path: "tasks[z]", After: after},
			{Resource: "jobs.j", Path: "tasks[a]", Before: map[string]any{"task_key": "a"}},
			{Resource: "jobs.j", Path: "tasks[b].on", After: []any{value}},
			{Resource: "jobs.j", Path: "x", Before: []any{"a", "]", "it's"}, After: []any{value}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Write(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		problems = &config.Problems{}
		v = config.Parse("databricks.yml", b, problems)
		if len(problems.List()) > 0 {
			t.Fatalf("%q became %q: %v", text, b, problems.List())
		}
		for _, a := range p.Adopted {
			got, _ := json.Marshal(said(v.Get("resources"), a.Resource+"."+a.Path))
			if want, _ := json.Marshal(a.After); string(got) != string(want) {
				t.Errorf("%q became %q: %s is %s, want %s", text, b, a.Path, got, want)
			}
		}
	})
}
