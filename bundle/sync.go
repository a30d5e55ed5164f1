package bundle

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/wherry-ml/wherry/bundle/config"
	"github.com/wherry-ml/wherry/state"
)

// File is one file to be deployed.
type File struct {
	Path  string // with slashes, relative to the workspace's file_path
	Local string // absolute
	Size  int64
	Exec  bool
}

// never are names that are not synchronised: they are of the tools, not of the
// project, and some change by themselves.
var never = []string{
	".git", ".databricks", ".wherry", "__pycache__", ".ipynb_checkpoints", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".DS_Store", "node_modules",
	"spark-warehouse", "metastore_db", "derby.log",
}

// SyncRoot is the local folder that file_path stands for: the bundle's root,
// or the nearest folder that holds all of sync.paths.
func (b *Bundle) SyncRoot() string {
	root := b.Root
	for _, p := range b.syncPaths() {
		for !within(root, p) && root != filepath.Dir(root) {
			root = filepath.Dir(root)
		}
	}
	return root
}

func (b *Bundle) syncPaths() []string {
	items := b.Config.Get("sync", "paths").List()
	if len(items) == 0 {
		return []string{b.Root}
	}
	var paths []string
	for _, item := range items {
		paths = append(paths, filepath.Join(b.Root, filepath.Dir(filepath.FromSlash(item.At.File)), filepath.FromSlash(item.Text())))
	}
	return paths
}

func within(root, p string) bool {
	rel, err := filepath.Rel(root, p)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// Files lists what is deployed: everything below sync.paths that .gitignore and
// sync.exclude leave, and what sync.include adds. Ignored folders are not
// walked.
func (b *Bundle) Files() ([]File, error) {
	if b.files != nil {
		return b.files, nil
	}
	root := b.SyncRoot()
	w := &walker{root: root, base: b.Root, seen: map[string]bool{}}
	for _, item := range b.Config.Get("sync", "exclude").List() {
		w.exclude = append(w.exclude, parseRule(item.Text(), b.Root))
	}
	w.rules = rulesAbove(root)
	for _, p := range b.syncPaths() {
		if _, err := os.Stat(p); err != nil {
			b.Problems.Errorf(b.Config.Get("sync", "paths").At, "sync.paths: there is no folder %s", p)
			continue
		}
		rules := w.rules
		if p != root {
			rules = append(slices.Clone(rules), rulesBetween(root, p)...)
		}
		if err := w.walk(p, rules); err != nil {
			return nil, err
		}
	}
	for _, item := range b.Config.Get("sync", "include").List() {
		if err := w.include(b, item); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(w.files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	b.files = w.files
	return b.files, nil
}

type walker struct {
	root, base string
	exclude    []rule
	rules      []rule
	seen       map[string]bool
	files      []File
}

func (w *walker) walk(dir string, rules []rule) error {
	if isVirtualEnv(dir) || state.Is(dir) { // a state directory holds tokens, and changes all the time
		return nil
	}
	if own := readRules(dir); len(own) > 0 && dir != w.root {
		rules = append(slices.Clone(rules), own...)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if slices.Contains(never, e.Name()) || ignored(rules, name, e.IsDir()) || ignored(w.exclude, name, e.IsDir()) {
			continue
		}
		if e.IsDir() {
			err = w.walk(name, rules)
		} else {
			err = w.add(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// add takes a regular file, or a link to one that stays below the root.
func (w *walker) add(name string) error {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || w.seen[name] {
		return nil // a dangling link, a socket: nothing to deploy
	}
	if real, err := filepath.EvalSymlinks(name); err != nil || !within(resolved(w.root), real) {
		return nil
	}
	rel, err := filepath.Rel(w.root, name)
	if err != nil {
		return err
	}
	w.seen[name] = true
	w.files = append(w.files, File{Path: filepath.ToSlash(rel), Local: name, Size: info.Size(), Exec: info.Mode()&0o100 != 0})
	return nil
}

func (w *walker) include(b *Bundle, item *config.Value) error {
	pattern := path.Clean(item.Text())
	if strings.HasPrefix(pattern, "../") || path.IsAbs(pattern) {
		b.Problems.Errorf(item.At, "sync.include: %q is outside of the bundle's folder", item.Text())
		return nil
	}
	found, err := doublestar.Glob(os.DirFS(b.Root), pattern)
	if err != nil {
		b.Problems.Errorf(item.At, "sync.include: %q is not a valid pattern", item.Text())
	}
	for _, rel := range found {
		err := filepath.WalkDir(filepath.Join(b.Root, rel), func(name string, e fs.DirEntry, err error) error {
			if err != nil || slices.Contains(never, e.Name()) || ignored(w.exclude, name, e.IsDir()) {
				if e != nil && e.IsDir() && err == nil {
					return filepath.SkipDir
				}
				return err
			}
			if e.IsDir() {
				return nil
			}
			return w.add(name)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func isVirtualEnv(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "pyvenv.cfg"))
	return err == nil
}

// rule is one line of a .gitignore.
type rule struct {
	dir     string // the folder the line speaks of
	glob    string
	negate  bool
	dirOnly bool
}

// parseRule reads one pattern in .gitignore's syntax.
func parseRule(line, dir string) rule {
	r := rule{dir: dir}
	line = strings.TrimRight(line, " \t\r\n")
	line, r.negate = strings.CutPrefix(line, "!")
	line = strings.TrimPrefix(line, "\\")
	line, r.dirOnly = strings.CutSuffix(line, "/")
	line = strings.TrimPrefix(line, "./")
	if trimmed := strings.TrimPrefix(line, "/"); trimmed != line || strings.Contains(line, "/") {
		line = trimmed
	} else if line != "" {
		line = "**/" + line
	}
	r.glob = line
	return r
}

// ignored says what the last rule that matches says.
func ignored(rules []rule, name string, isDir bool) bool {
	for _, r := range slices.Backward(rules) {
		if r.glob == "" || r.dirOnly && !isDir {
			continue
		}
		rel, err := filepath.Rel(r.dir, name)
		if err != nil || strings.HasPrefix(rel, "..") {
			continue
		}
		if ok, err := doublestar.Match(r.glob, filepath.ToSlash(rel)); ok && err == nil {
			return !r.negate
		}
	}
	return false
}

func readRules(dir string) []rule {
	src, err := os.ReadFile(filepath.Join(dir, ".gitignore"))
	if err != nil {
		return nil
	}
	return parseRules(string(src), dir)
}

func parseRules(src, dir string) (rules []rule) {
	for line := range strings.Lines(src) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
			rules = append(rules, parseRule(line, dir))
		}
	}
	return rules
}

// rulesAbove reads the .gitignore of dir and of the folders above it, up to the
// repository's root, and the repository's own exclude file.
func rulesAbove(dir string) (rules []rule) {
	top := dir
	for {
		if _, err := os.Stat(filepath.Join(top, ".git")); err == nil {
			break
		}
		if top == filepath.Dir(top) {
			return readRules(dir) // not in a repository
		}
		top = filepath.Dir(top)
	}
	if src, err := os.ReadFile(filepath.Join(top, ".git", "info", "exclude")); err == nil {
		rules = parseRules(string(src), top)
	}
	rules = append(rules, readRules(top)...)
	if top != dir {
		rules = append(rules, rulesBetween(top, dir)...)
		rules = append(rules, readRules(dir)...)
	}
	return rules
}

// rulesBetween reads the .gitignore files of the folders below top and above dir.
func rulesBetween(top, dir string) (rules []rule) {
	rel, err := filepath.Rel(top, dir)
	if err != nil {
		return nil
	}
	at := top
	parts := strings.Split(rel, string(filepath.Separator))
	for _, part := range parts[:len(parts)-1] {
		at = filepath.Join(at, part)
		rules = append(rules, readRules(at)...)
	}
	return rules
}
