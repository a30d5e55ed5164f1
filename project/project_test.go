package project_test

import (
	"bytes"
	"flag"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/rhysd/actionlint"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/project"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// names are the shortest and the longest name, and the one people see first.
var names = []string{"my-project", "ab", "a-project-of-thirty-characters"}

func files(t *testing.T, name string) map[string][]byte {
	t.Helper()
	written, err := project.Options{Name: name}.Files()
	if err != nil {
		t.Fatal(err)
	}
	return written
}

func TestGolden(t *testing.T) {
	written := files(t, "my-project")
	for golden, got := range map[string][]byte{
		"files.txt":      []byte(strings.Join(slices.Sorted(maps.Keys(written)), "\n") + "\n"),
		"databricks.yml": written["databricks.yml"],
		"data.yml":       written["resources/data.yml"],
	} {
		name := filepath.Join("testdata", "golden", golden)
		if *update {
			if err := os.WriteFile(name, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not as before (go test -update rewrites it):\n%s", golden, got)
		}
	}
}

// TestPlain holds that a project is one of Databricks, Azure and GitHub alone,
// and that what must fit a line does with the longest name.
func TestPlain(t *testing.T) {
	for _, name := range names {
		for file, content := range files(t, name) {
			if bytes.Contains(bytes.ToLower(content), []byte("wherry")) {
				t.Errorf("%s names wherry", file)
			}
			if bytes.Contains(content, []byte("<%")) || bytes.Contains(content, []byte("%>")) {
				t.Errorf("%s is not filled in", file)
			}
			if !bytes.HasSuffix(content, []byte("\n")) || bytes.HasSuffix(content, []byte("\n\n")) {
				t.Errorf("%s does not end with one line feed", file)
			}
			for i, line := range strings.Split(string(content), "\n") {
				if strings.HasSuffix(file, ".py") && len(line) > 120 {
					t.Errorf("%s:%d has %d characters", file, i+1, len(line))
				}
				if strings.TrimRight(line, " \t") != line {
					t.Errorf("%s:%d ends with white space", file, i+1)
				}
			}
		}
	}
}

func TestBundle(t *testing.T) {
	for _, name := range names {
		dir := filepath.Join(t.TempDir(), name)
		if _, err := project.Write(dir, project.Options{Name: name}); err != nil {
			t.Fatal(err)
		}
		for _, target := range []string{"dev", "staging", "prod"} {
			b, err := bundle.Load(t.Context(), bundle.Options{Dir: dir, Target: target, Environ: func(string) string { return "" }})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range b.Problems.List() {
				t.Errorf("%s: %s", target, b.Problems.Format(p))
			}
		}
	}
}

func TestWorkflows(t *testing.T) {
	lint, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for file, content := range files(t, "my-project") {
		switch filepath.Ext(file) {
		case ".yml":
			var any map[string]any
			if err := yaml.Unmarshal(content, &any); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		if !strings.HasPrefix(file, ".github/workflows/") {
			continue
		}
		n++
		problems, err := lint.Lint(file, content, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Error(p)
		}
	}
	if n != 3 {
		t.Errorf("%d workflows", n)
	}
}

func TestTerraform(t *testing.T) {
	for _, name := range names {
		for file, content := range files(t, name) {
			if ext := filepath.Ext(file); ext != ".tf" && ext != ".tfvars" && ext != ".hcl" {
				continue
			}
			if _, problems := hclsyntax.ParseConfig(content, file, hcl.InitialPos); problems.HasErrors() {
				t.Error(problems)
			}
			if formatted := hclwrite.Format(content); !bytes.Equal(formatted, content) {
				t.Errorf("%s is to be formatted:\n%s", file, formatted)
			}
		}
	}
}

func TestPython(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "p")
	if _, err := project.Write(dir, project.Options{}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), environment.ForTest(t).Python, "testdata/check.py", dir).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestWriteRefusesWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	paths, err := project.Write(dir, project.Options{})
	if err != nil {
		t.Fatalf("a new repository is as good as an empty folder: %v", err)
	}
	for _, name := range paths {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := project.Write(dir, project.Options{}); wherry.CodeOf(err) != wherry.CodeAlreadyExists {
		t.Errorf("a folder with a project: %v", err)
	}
	missing := filepath.Join(t.TempDir(), "new")
	if _, err := project.Write(missing, project.Options{Name: "Not Good"}); wherry.CodeOf(err) != wherry.CodeInvalidParameter {
		t.Errorf("a bad name: %v", err)
	}
	if _, err := os.Stat(missing); !os.IsNotExist(err) {
		t.Errorf("an error left a folder: %v", err)
	}
}

// TestWriteLeavesNothingBehind makes a file stand where a folder must be made,
// after the folder was found empty: what was written goes away again.
func TestWriteLeavesNothingBehind(t *testing.T) {
	parent := t.TempDir()
	if err := os.WriteFile(filepath.Join(parent, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := project.Write(filepath.Join(parent, "file", "new"), project.Options{}); err == nil {
		t.Error("a project below a file")
	}
	if entries, _ := os.ReadDir(parent); len(entries) != 1 {
		t.Errorf("%d entries", len(entries))
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]string{
		"My Project":     "my-project",
		"churn_model.v2": "churn-model-v2",
		"2nd":            "nd",
		"--":             "my-project",
		"":               "my-project",
		"pandas":         "my-project",
		"Übung":          "bung",
		"x":              "my-project",
		"a very long name of a project that goes on": "a-very-long-name-of-a-project",
	} {
		if got := project.Name(text); got != want {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
	}
	for _, o := range []project.Options{
		{Name: "pandas"},
		{Name: "a--b"},
		{Name: "Ab"},
		{Name: "a"},
		{Name: "a;rm"},
		{Region: "west europe"},
		{Catalog: "a-b"},
		{Repository: "me"},
		{Repository: "me/a b"},
		{Email: "me"},
		{Email: "a@b\nc: d"},
		{Name: strings.Repeat("a", 31)},
	} {
		if _, err := o.Files(); wherry.CodeOf(err) != wherry.CodeInvalidParameter {
			t.Errorf("%+v: %v", o, err)
		}
	}
	long := project.Options{Name: names[2]}
	for _, environment := range []string{"staging", "prod", "tfstate"} {
		if account := long.Account(environment); len(account) > 24 || !strings.HasSuffix(account, environment) {
			t.Errorf("account %s", account)
		}
	}
}
