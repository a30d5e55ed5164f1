package doctor

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/wherry-ml/wherry/bundle"
)

var update = flag.Bool("update", false, "rewrite the wanted outputs")

// Each archive is a project; its file WANT holds what is found, one a line.
func TestProject(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no archives", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			last := len(a.Files) - 1
			if a.Files[last].Name != "WANT" {
				t.Fatal("WANT is not the last file")
			}
			got, want := found(t, a.Files[:last]), string(a.Files[last].Data)
			if got == want {
				return
			}
			if !*update {
				t.Fatalf("got:\n%s\nwant:\n%s", got, want)
			}
			a.Files[last].Data = []byte(got)
			if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// found lists what is found in a project.
func found(t *testing.T, files []txtar.File) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := bundle.Load(t.Context(), bundle.Options{Dir: dir, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	findings, err := Project(b)
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&lines, "%s %s: %s", f.Class, f.At, f.Message)
		if f.Fix != "" {
			fmt.Fprintf(&lines, " → %s", f.Fix)
		}
		lines.WriteString("\n")
	}
	return lines.String()
}
