package bundle_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/wherry-ml/wherry/bundle"
)

var update = flag.Bool("update", false, "rewrite the wanted outputs")

// Each archive is a project; its comment holds "key: value" options, its file
// WANT what loading it must give.
func TestLoad(t *testing.T) {
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
			dir, want := unpack(t, a)
			b, err := bundle.Load(context.Background(), options(t, dir, string(a.Comment)))
			if err != nil {
				t.Fatal(err)
			}
			got := describe(t, b, strings.Contains(string(a.Comment), "show: files"))
			if got == want {
				return
			}
			if !*update {
				t.Fatalf("got:\n%s\nwant:\n%s", got, want)
			}
			for i := range a.Files {
				if a.Files[i].Name == "WANT" {
					a.Files[i].Data = []byte(got)
				}
			}
			if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func unpack(t *testing.T, a *txtar.Archive) (dir, want string) {
	t.Helper()
	dir = t.TempDir()
	for _, f := range a.Files {
		if f.Name == "WANT" {
			want = string(f.Data)
			continue
		}
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, want
}

func options(t *testing.T, dir, comment string) bundle.Options {
	t.Helper()
	opts := bundle.Options{Dir: dir, Vars: map[string]string{}, User: "ada.lovelace@example.com"}
	env := map[string]string{}
	opts.Environ = func(key string) string { return env[key] }
	for line := range strings.Lines(comment) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "target":
			opts.Target = value
		case "var":
			name, v, _ := strings.Cut(value, "=")
			opts.Vars[name] = v
		case "env":
			name, v, _ := strings.Cut(value, "=")
			env[name] = v
		case "git":
			gitInit(t, dir, value)
		case "force":
			opts.Force = true
		case "namespace":
			opts.Namespace = value
		case "cluster":
			opts.ClusterID = value
		}
	}
	return opts
}

func gitInit(t *testing.T, dir, branch string) {
	t.Helper()
	for _, args := range [][]string{
		{"init", "-q", "-b", branch},
		{"remote", "add", "origin", "https://ada:secret@git.example.com/x.git"},
		{"add", "-A"},
		{"-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "-q", "-m", "first"},
	} {
		c := exec.Command("git", args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
}

func describe(t *testing.T, b *bundle.Bundle, withFiles bool) string {
	t.Helper()
	var out strings.Builder
	for _, p := range b.Problems.List() {
		out.WriteString(b.Problems.Format(p))
	}
	if b.Problems.Failed() {
		return out.String()
	}
	show := map[string]any{"target": b.Target, "mode": b.Mode, "workspace": b.Workspace, "resources": b.Config.Get("resources").Plain()}
	if v := b.Config.Get("permissions"); v != nil {
		show["permissions"] = v.Plain()
	}
	text, err := json.MarshalIndent(show, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	out.WriteString("\n")
	if withFiles {
		files, err := b.Files()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			fmt.Fprintln(&out, f.Path)
		}
	}
	return out.String()
}

func TestGitInfoHasNoPasswordAndTellsDirt(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "databricks.yml"), []byte("bundle: {name: x}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	gitInit(t, dir, "main")
	load := func() bundle.Git {
		b, err := bundle.Load(context.Background(), bundle.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return b.Git
	}
	g := load()
	if g.Branch != "main" || len(g.Commit) != 40 || g.OriginURL != "https://git.example.com/x.git" || g.Author != "Ada <ada@example.com>" || g.Message != "first" || g.Dirty {
		t.Errorf("%+v", g)
	}
	if err := os.WriteFile(filepath.Join(dir, "new.py"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if !load().Dirty {
		t.Error("a new file is not told as dirt")
	}
}
