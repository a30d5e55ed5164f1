package wherry_test

import (
	"bufio"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const module = "github.com/wherry-ml/wherry"

// layers lists the packages from the ground up: a package imports only those
// of layers below its own. "x/..." stands for everything below x.
var layers = [][]string{
	{"."},
	{"state", "blob", "delta", "cron", "notebook", "sandbox", "python", "jvm", "examples", "project", "agent/protocol", "workflow"},
	{"store", "environment", "bundle/config"},
	{"auth", "store/environments", "store/notify"},
	{"store/drift"}, // drift is noted in the transactions of the other stores, and told of
	{"store/...", "store/storetest", "spark", "client", "bundle/deployment", "bundle/schema", "bundle/source"},
	{"terraform/provider"},
	{"terraform/azure"},
	{"terraform/..."},
	{"terraform"},
	{"egress", "task", "workflow/action", "bundle", "bundle/run", "client/signin"},
	{"agent", "api", "trace", "workflow/runner", "notify", "bundle/deploy", "bundle/adopt"},
	{"cluster", "scheduler", "workflow/local", "trigger", "verification", "trace/rows", "trace/provenance", "cicd/git"},
	{"api/...", "cicd"},
	{"ui"},
	{"server"},
	{"server/servertest", "demo", "doctor", "story/site", "cli/databricks"},
	{"cli"},
	{"cmd/...", "bench", "environment/worker", "story/..."},
}

// sameLayer are imports within a layer that are meant.
var sameLayer = map[string][]string{
	"store/mlflow":   {"store/mlflow/filter"},
	"store/jobs":     {"store/deployments"}, // a run names the deployment that its job came from
	"api/mlflow":     {"api/mlflow/graphql"},
	"api/azure":      {"api/storage"}, // an account of the management API is one of the endpoint
	"bundle/source":  {"notebook"},
	"agent/protocol": {"sandbox"},
}

func layerOf(pkg string) int {
	best, depth := -1, -1
	for i, layer := range layers {
		for _, name := range layer {
			prefix, all := strings.CutSuffix(name, "/...")
			if (name == pkg || all && strings.HasPrefix(pkg, prefix+"/")) && len(name) > depth {
				best, depth = i, len(name)
				if name == pkg {
					depth = 1000
				}
			}
		}
	}
	return best
}

func packages(t *testing.T) (dirs []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if base := d.Name(); base != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules") {
			return fs.SkipDir
		}
		if found, _ := filepath.Glob(filepath.Join(name, "*.go")); len(found) > 0 {
			dirs = append(dirs, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

func TestImportsPointDown(t *testing.T) {
	for _, dir := range packages(t) {
		p, err := build.ImportDir(dir, 0)
		if err != nil {
			continue // only tests, or another system's files
		}
		own := layerOf(dir)
		if own < 0 {
			t.Errorf("%s is in no layer: add it to the list", dir)
			continue
		}
		for _, imported := range p.Imports {
			name, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			name = strings.TrimPrefix(name, "/")
			if name == "" {
				name = "."
			}
			allowed := false
			for _, same := range sameLayer[dir] {
				allowed = allowed || same == name
			}
			if layerOf(name) >= own && !allowed {
				t.Errorf("%s imports %s, which is not below it", dir, name)
			}
		}
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	for _, dir := range packages(t) {
		p, err := build.ImportDir(dir, 0)
		if err == nil && p.Doc == "" {
			t.Errorf("%s has no package comment", dir)
		}
		switch path.Base(dir) {
		case "util", "utils", "common", "helper", "helpers", "misc", "shared", "lib", "pkg", "models", "types":
			t.Errorf("%s is a drawer: name what it holds", dir)
		}
	}
}

// TestSizes holds the limits that keep a file and a function readable: 500 and
// 60 lines. Tests' tables are exempt.
func TestSizes(t *testing.T) {
	for _, dir := range packages(t) {
		files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
		for _, name := range files {
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(src), "\n"); n > 500 {
				t.Errorf("%s has %d lines", name, n)
			}
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, name, src, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok {
					continue
				}
				if n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1; n > 60 && !isTable(fn) {
					t.Errorf("%s: func %s has %d lines", set.Position(fn.Pos()), fn.Name.Name, n)
				}
				if fn.Name.Name == "init" && fn.Recv == nil {
					t.Errorf("%s: func init", set.Position(fn.Pos()))
				}
			}
		}
	}
}

// isTable tells functions that are one list or one flat switch.
func isTable(fn *ast.FuncDecl) bool {
	if fn.Name.Name == "Routes" || strings.HasSuffix(fn.Name.Name, "Routes") {
		return true
	}
	for _, s := range fn.Body.List {
		switch s.(type) {
		case *ast.SwitchStmt, *ast.TypeSwitchStmt:
			return true
		}
	}
	return false
}

// TestDependencies compares go.mod with docs/dependencies.md, and refuses
// replace directives.
func TestDependencies(t *testing.T) {
	mod, err := os.Open("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	defer mod.Close()
	reasons, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	require := regexp.MustCompile(`^\s*(?:require )?(\S+\.\S+/?\S*) v\S+$`)
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| (\S+) \| \S`).FindAllStringSubmatch(string(reasons), -1) {
		listed[m[1]] = true
	}
	lines := bufio.NewScanner(mod)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "replace") {
			t.Errorf("go.mod: %s", line)
		}
		m := require.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if !listed[m[1]] {
			t.Errorf("docs/dependencies.md gives no reason for %s", m[1])
		}
		delete(listed, m[1])
	}
	delete(listed, "module")
	for name := range listed {
		t.Errorf("docs/dependencies.md lists %s, which go.mod does not", name)
	}
}
