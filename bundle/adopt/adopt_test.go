package adopt_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/adopt"
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
		path := strings.NewReplacer("[a]", "[0]", "[b]", "[1]").Replace("resources." + f.Resource + "." + f.Path)
		got, _ := json.Marshal(b.Config.Lookup(path).Plain())
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
