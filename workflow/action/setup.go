package action

import (
	"archive/zip"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// versions of a program that this machine has, by path.
type installed struct {
	path, version string
}

func (c *call) versions(ctx context.Context, paths []string, argv ...string) (list []installed) {
	for _, p := range paths {
		text, err := ask(ctx, "", append([]string{p}, argv...)...)
		if err != nil {
			continue // it does not run: as good as not there
		}
		for word := range strings.FieldsSeq(text) {
			word = strings.Trim(strings.TrimPrefix(word, "v"), `"`)
			if word != "" && word[0] >= '0' && word[0] <= '9' {
				list = append(list, installed{p, word})
				break
			}
		}
	}
	slices.SortStableFunc(list, func(a, b installed) int { return compare(b.version, a.version) })
	return list
}

// compare orders dotted versions by their numbers.
func compare(a, b string) int {
	as, bs := numbers(a), numbers(b)
	for i := range max(len(as), len(bs)) {
		x, y := 0, 0
		if i < len(as) {
			x = as[i]
		}
		if i < len(bs) {
			y = bs[i]
		}
		if x != y {
			return x - y
		}
	}
	return 0
}

func numbers(version string) (list []int) {
	for part := range strings.FieldsFuncSeq(version, func(r rune) bool { return r == '.' || r == '_' || r == '+' || r == '-' }) {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		list = append(list, n)
	}
	return list
}

// spaced are operators with a space before their version.
var spaced = regexp.MustCompile(`([<>=~^!]+)\s+`)

// satisfies reports whether a version is what a workflow asks for: an exact
// version or its first parts, x for any, or comparisons, all of which must hold;
// of several with || between them, one must.
func satisfies(version, want string) bool {
	for either := range strings.SplitSeq(want, "||") {
		all := true
		for term := range strings.FieldsFuncSeq(spaced.ReplaceAllString(either, "$1"), func(r rune) bool { return r == ' ' || r == ',' }) {
			all = all && holds(version, term)
		}
		if all {
			return true
		}
	}
	return false
}

// holds is one comparison. The operators are those of npm's ranges, of
// Terraform's constraints (~>) and of Python's (~=, ==, !=).
func holds(version, term string) bool {
	if term == "*" || term == "x" || term == "latest" {
		return true
	}
	op := term[:len(term)-len(strings.TrimLeft(term, "<>=~^!"))]
	value := strings.TrimPrefix(term[len(op):], "v")
	n, have, want := compare(version, value), numbers(version), numbers(value)
	begins := slices.Equal(first(have, len(want)), want)
	switch op {
	case ">=":
		return n >= 0
	case ">":
		return n > 0
	case "<=":
		return n <= 0
	case "<":
		return n < 0
	case "!=":
		return !begins
	case "^":
		return n >= 0 && slices.Equal(first(have, 1), first(want, 1))
	case "~":
		return n >= 0 && slices.Equal(first(have, 2), first(want, 2))
	case "~>", "~=":
		keep := max(1, len(want)-1)
		return n >= 0 && slices.Equal(first(have, keep), first(want, keep))
	default:
		return begins
	}
}

func first(list []int, n int) []int { return list[:min(n, len(list))] }

// choose takes the newest version that is wanted, or says which there are.
func choose(what string, have []installed, want string) (installed, error) {
	for _, h := range have {
		if satisfies(h.version, want) {
			return h, nil
		}
	}
	var names []string
	for _, h := range have {
		names = append(names, h.version)
	}
	if len(names) == 0 {
		return installed{}, fmt.Errorf("there is no %s on this machine: install %s %s", what, what, want)
	}
	return installed{}, fmt.Errorf("%s %s is not on this machine, which has %s: install it, or ask for one of these", what, want, strings.Join(names, ", "))
}

// wanted is a version by an input, or else by a file that another names.
func (c *call) wanted(input, file string) (string, error) {
	if v := c.lines(input); len(v) > 0 {
		return v[0], nil // of several, the first is the default
	}
	name := c.input(file)
	if name == "" {
		return "", nil
	}
	b, err := os.ReadFile(filepath.Join(workspace(), name))
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	if strings.HasSuffix(name, ".toml") {
		for line := range strings.SplitSeq(string(b), "\n") {
			if key, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == "requires-python" {
				return strings.Trim(strings.TrimSpace(value), `"'`), nil
			}
		}
		return "", fmt.Errorf("%s: %s has no requires-python", file, name)
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return strings.TrimSpace(version), nil
}

// setupPython makes a fresh environment of the wanted Python, with pip and
// nothing else, as the action's own are.
func setupPython(ctx context.Context, c *call) error {
	want, err := c.wanted("python-version", "python-version-file")
	if err != nil {
		return err
	}
	python, err := choose("Python", c.pythons(ctx, want), want)
	if err != nil {
		return err
	}
	dir := filepath.Join(c.Dir, "tools", "Python", python.version)
	if _, err := os.Stat(filepath.Join(dir, "bin", "pip")); err != nil {
		if err := c.venv(ctx, python.path, dir); err != nil {
			return err
		}
	}
	bin := filepath.Join(dir, "bin")
	c.say("Successfully set up CPython (%s)", python.version)
	hit := ""
	if c.input("cache") != "" {
		if hit, err = c.pipCache(ctx, python.version); err != nil {
			return err
		}
	}
	if c.input("update-environment") != "false" {
		err = errors.Join(c.path(bin), c.env("pythonLocation", dir), c.env("Python_ROOT_DIR", dir), c.env("Python3_ROOT_DIR", dir), c.env("Python_VERSION", python.version))
	}
	return errors.Join(err, c.output("python-version", python.version), c.output("python-path", filepath.Join(bin, "python")), c.output("cache-hit", hit))
}

// pythons asks those interpreters for their version that may have the wanted
// one, or all if none may.
func (c *call) pythons(ctx context.Context, want string) []installed {
	likely := slices.DeleteFunc(slices.Clone(c.Pythons), func(p string) bool {
		exact := numbers(want)
		return len(exact) > 1 && filepath.Base(p) != fmt.Sprintf("python%d.%d", exact[0], exact[1])
	})
	if len(likely) == 0 {
		likely = c.Pythons
	}
	return c.versions(ctx, likely, "-I", "-S", "-c", "import sys; print('.'.join(map(str, sys.version_info[:3])))")
}

// venv makes an environment with the pip, and the setuptools, that came with
// the interpreter: what ensurepip does, without running pip for it.
func (c *call) venv(ctx context.Context, python, dir string) error {
	bundled, err := ask(ctx, "", python, "-c", "import ensurepip, os; print(os.path.join(os.path.dirname(ensurepip.__file__), '_bundled'))")
	wheels, _ := filepath.Glob(filepath.Join(bundled, "*.whl"))
	if err != nil || len(wheels) == 0 { // Debian's keeps them elsewhere
		return c.execute(ctx, "", python, "-m", "venv", dir)
	}
	if err := c.execute(ctx, "", python, "-m", "venv", "--without-pip", dir); err != nil {
		return err
	}
	site, _ := filepath.Glob(filepath.Join(dir, "lib", "python3*", "site-packages"))
	if len(site) != 1 {
		return fmt.Errorf("%s made no environment in %s", python, dir)
	}
	for _, w := range wheels {
		if err := unzip(w, site[0]); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(w), err)
		}
	}
	for _, name := range []string{"pip", "pip3"} {
		script := "#!" + filepath.Join(dir, "bin", "python") + "\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"
		if err := os.WriteFile(filepath.Join(dir, "bin", name), []byte(script), 0o755); err != nil { //nolint:gosec // a program
			return err
		}
	}
	return nil
}

// unzip writes what a wheel of the interpreter's own holds.
func unzip(wheel, dir string) error {
	z, err := zip.OpenReader(wheel)
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }()
	return os.CopyFS(dir, z)
}

// pipCache restores pip's cache by the files that say what is installed.
func (c *call) pipCache(ctx context.Context, version string) (hit string, err error) {
	if kind := c.input("cache"); kind != "pip" {
		c.warn("cache: %s is not supported: only pip is", kind)
		return "", nil
	}
	dir := os.Getenv("PIP_CACHE_DIR")
	if dir != "" && dir == c.PipCache {
		c.say("pip has its cache in %s", dir)
		return "", nil
	}
	patterns := c.lines("cache-dependency-path")
	if len(patterns) == 0 {
		patterns = []string{"**/requirements*.txt", "**/pyproject.toml"}
	}
	files, err := find(patterns, false)
	if err != nil {
		return "", err
	}
	if len(files) == 0 {
		return "", fmt.Errorf("cache: pip: no file matches %s", strings.Join(patterns, ", "))
	}
	h := sha256.New()
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		_, _ = h.Write(b)
	}
	prefix := "setup-python-Linux-" + version + "-pip-"
	key := prefix + hex.EncodeToString(h.Sum(nil))
	matched, err := c.restore(ctx, key, []string{prefix})
	if err == nil && matched != key {
		err = c.atEnd(later{Key: key, Paths: []string{cmp.Or(dir, "~/.cache/pip")}})
	}
	return strconv.FormatBool(matched == key), err
}

func setupJava(ctx context.Context, c *call) error {
	want, err := c.wanted("java-version", "java-version-file")
	if err != nil {
		return err
	}
	var programs []string
	for _, home := range c.Javas {
		programs = append(programs, filepath.Join(home, "bin", "javac"))
	}
	java, err := choose("JDK", c.versions(ctx, programs, "-version"), want)
	if err != nil {
		return err
	}
	home := filepath.Dir(filepath.Dir(java.path))
	major := strconv.Itoa(numbers(java.version)[0])
	c.say("Java %s at %s (%s asked for; the JDK of this machine is taken)", java.version, home, c.input("distribution"))
	return errors.Join(c.env("JAVA_HOME", home), c.env("JAVA_HOME_"+major+"_X64", home), c.path(filepath.Join(home, "bin")),
		c.output("distribution", c.input("distribution")), c.output("version", java.version), c.output("path", home), c.output("cache-hit", "false"))
}

func setupNode(ctx context.Context, c *call) error {
	want, err := c.wanted("node-version", "node-version-file")
	if err != nil {
		return err
	}
	if strings.HasPrefix(want, "lts") {
		want = ""
	}
	node, err := choose("Node.js", c.versions(ctx, programs(c.Node), "--version"), want)
	if err != nil {
		return err
	}
	return errors.Join(c.path(filepath.Dir(node.path)), c.output("node-version", "v"+node.version), c.output("cache-hit", "false"))
}

func programs(path string) []string {
	if path == "" {
		return nil
	}
	return []string{path}
}

func setupUV(ctx context.Context, c *call) error {
	uv, err := choose("uv", c.versions(ctx, programs(c.UV), "--version"), c.input("version"))
	if err != nil {
		return err
	}
	dir, err := c.link("uv", uv.path)
	if err != nil {
		return err
	}
	return errors.Join(c.path(dir), c.output("uv-version", uv.version), c.output("uv-path", uv.path), c.output("cache-hit", "false"))
}

// link makes a folder of the job's with one program in it, under a name.
func (c *call) link(name, program string) (dir string, err error) {
	dir = filepath.Join(c.Dir, "tools", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	link := filepath.Join(dir, name)
	_ = os.Remove(link) // of a step before
	return dir, os.Symlink(program, link)
}

// setupCLI puts the databricks command on the path: this program by that name.
func setupCLI(_ context.Context, c *call) error {
	dir, err := c.link("databricks", c.Exe)
	if err != nil {
		return err
	}
	c.say("The databricks command is wherry's own")
	return errors.Join(c.path(dir), c.output("version", c.input("version")))
}

func setupTerraform(ctx context.Context, c *call) error {
	return c.terraform(ctx, "terraform", c.Terraform, c.input("terraform_version"), c.flag("terraform_wrapper"))
}

func setupTofu(ctx context.Context, c *call) error {
	want := c.input("tofu_version")
	if c.input("tofu_version_file") != "" { // which the action lets win
		var err error
		if want, err = c.wanted("", "tofu_version_file"); err != nil {
			return err
		}
	}
	return c.terraform(ctx, "tofu", c.Tofu, want, c.flag("tofu_wrapper"))
}
