package bundle

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wherry-ml/wherry/bundle/config"
)

// Whatever a file holds, loading it ends, without a panic.
func FuzzLoad(f *testing.F) {
	archives, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range archives {
		if b, err := os.ReadFile(name); err == nil {
			f.Add(b)
		}
	}
	f.Add([]byte("bundle: {name: x}\nvariables: {a: {default: '${var.a.b}'}}\nresources: {jobs: {j: {tasks: [1, {task_key: x, depends_on: {}}], job_clusters: '${var.a}'}}}\n"))
	f.Add([]byte("bundle: a\nresources: [1]\ntargets: {t: 1}\nworkspace: []\nsync: {paths: [../..]}\nartifacts: {x: 1}"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, src []byte) {
		root := filepath.Join(dir, "p")
		if err := os.MkdirAll(root, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "databricks.yml"), src, 0o644); err != nil {
			t.Fatal(err)
		}
		b := &Bundle{Root: root, File: "databricks.yml", User: LocalUser, Problems: &config.Problems{}, used: map[string]config.Pos{}, opts: Options{Environ: func(string) string { return "" }}}
		b.load()
		for _, p := range b.Problems.List() {
			b.Problems.Format(p)
		}
	})
}
