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
	"slices"
	"strconv"
	"strings"
)

// setupPython makes a fresh environment of each wanted Python; the last is the
// one that python is.
func setupPython(ctx context.Context, c *call) error {
	list, err := c.wanted("python-version", "python-version-file", ".python-version")
	for _, want := range list {
		if err = c.python(ctx, want); err != nil {
			break
		}
	}
	return err
}

// python makes one environment, with pip and nothing else, as the action's own are.
func (c *call) python(ctx context.Context, want string) error {
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
	if err := c.buildWheels(dir); err != nil {
		return err
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
		err = errors.Join(c.path(bin), c.env("pythonLocation", dir), c.env("Python_ROOT_DIR", dir), c.env("Python2_ROOT_DIR", dir), c.env("Python3_ROOT_DIR", dir),
			c.env("PKG_CONFIG_PATH", filepath.Join(dir, "lib", "pkgconfig")))
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

// buildWheels has a pip before 23.1, such as Debian's, make a wheel of what comes
// as source only, as later ones do by themselves: without a package wheel it
// installs by setup.py instead, and keeps nothing in its cache.
func (c *call) buildWheels(venv string) error {
	pips, err := filepath.Glob(filepath.Join(venv, "lib", "python3*", "site-packages", "pip-*.dist-info"))
	if err != nil || len(pips) == 0 {
		return err
	}
	version := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(pips[0]), "pip-"), ".dist-info")
	if slices.Compare(numbers(version), []int{23, 1}) >= 0 {
		return nil
	}
	return c.env("PIP_USE_PEP517", "1")
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

// setupJava takes a JDK of each wanted version; the last is the one that java is.
func setupJava(ctx context.Context, c *call) error {
	list, err := c.wanted("java-version", "java-version-file")
	for _, want := range list {
		if err = c.java(ctx, want); err != nil {
			break
		}
	}
	c.noCache("cache")
	return err
}

func (c *call) java(ctx context.Context, want string) error {
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

// noCache warns where a cache is asked for that is not kept.
func (c *call) noCache(input string) {
	if kind := c.input(input); kind != "" && kind != "false" && kind != "auto" {
		c.warn("%s: %s is not supported: only pip is, of setup-python", input, kind)
	}
}

// longTerm are the major versions of Node.js by the names of their releases with
// long-term support.
var longTerm = map[string]string{"lts/*": "", "lts": "", "lts/gallium": "16", "lts/hydrogen": "18", "lts/iron": "20", "lts/jod": "22", "lts/krypton": "24", "node": "", "current": "", "latest": ""}

// setupNode puts node, and what came with it, on the path: they alone, for other
// programs lie in their folder.
func setupNode(ctx context.Context, c *call) error {
	list, err := c.wanted("node-version", "node-version-file")
	if err != nil {
		return err
	}
	want := list[0]
	if v, ok := longTerm[strings.ToLower(want)]; ok {
		want = v
	}
	node, err := choose("Node.js", c.versions(ctx, programs(c.Node), "--version"), want)
	if err != nil {
		return err
	}
	dir, err := c.link("node", node.path)
	for _, name := range []string{"npm", "npx", "corepack"} {
		if err == nil {
			_, err = c.linkAs("node", name, filepath.Join(filepath.Dir(node.path), name))
		}
	}
	c.noCache("cache")
	return errors.Join(err, c.path(dir), c.output("node-version", "v"+node.version), c.output("cache-hit", "false"))
}

func programs(path string) []string {
	if path == "" {
		return nil
	}
	return []string{path}
}

// setupUV puts uv on the path; python-version is what uv takes then, and
// activate-environment makes an environment that the next steps are in.
func setupUV(ctx context.Context, c *call) error {
	uv, err := choose("uv", c.versions(ctx, programs(c.UV), "--version"), c.input("version"))
	if err != nil {
		return err
	}
	dir, err := c.link("uv", uv.path)
	if err == nil {
		_, err = c.linkAs("uv", "uvx", filepath.Join(filepath.Dir(uv.path), "uvx"))
	}
	if err != nil {
		return err
	}
	c.noCache("enable-cache")
	python, program := c.input("python-version"), ""
	if python != "" { // uv would fetch one that is in no usual place
		have, err := choose("Python", c.pythons(ctx, python), python)
		if err != nil {
			return err
		}
		program = have.path
		if err := c.env("UV_PYTHON", program); err != nil {
			return err
		}
	}
	if err == nil && c.flag("activate-environment") {
		venv := filepath.Join(workspace(), c.input("working-directory"), ".venv")
		argv := []string{uv.path, "venv", venv}
		if program != "" {
			argv = append(argv, "--python", program)
		}
		if err = os.Setenv("UV_VENV_CLEAR", "1"); err == nil { // one that is there is made anew
			err = c.execute(ctx, workspace(), argv...)
		}
		if err == nil {
			err = errors.Join(c.env("VIRTUAL_ENV", venv), c.path(filepath.Join(venv, "bin")), c.output("venv", venv))
		}
	}
	return errors.Join(err, c.path(dir), c.output("uv-version", uv.version), c.output("uv-path", filepath.Join(dir, "uv")), c.output("uvx-path", filepath.Join(dir, "uvx")),
		c.output("python-version", python), c.output("cache-hit", "false"))
}

// link makes a folder of the job's with one program in it, under a name.
func (c *call) link(name, program string) (dir string, err error) {
	return c.linkAs(name, name, program)
}

// linkAs puts a program into the folder of another; one that is not there is
// left out.
func (c *call) linkAs(folder, name, program string) (dir string, err error) {
	dir = filepath.Join(c.Dir, "tools", folder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	link := filepath.Join(dir, name)
	_ = os.Remove(link) // of a step before
	if _, err := os.Stat(program); errors.Is(err, os.ErrNotExist) {
		return dir, nil
	}
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
	if err := c.terraformToken(); err != nil {
		return err
	}
	return c.terraform(ctx, "terraform", c.Terraform, c.input("terraform_version"), c.flag("terraform_wrapper"))
}

func setupTofu(ctx context.Context, c *call) error {
	if err := c.terraformToken(); err != nil {
		return err
	}
	want := c.input("tofu_version")
	if c.input("tofu_version_file") != "" { // which the action lets win
		list, err := c.wanted("", "tofu_version_file")
		if err != nil {
			return err
		}
		want = list[0]
	}
	return c.terraform(ctx, "tofu", c.Tofu, want, c.flag("tofu_wrapper"))
}

// terraformToken is for a registry or backend that asks who calls.
func (c *call) terraformToken() error {
	token := c.input("cli_config_credentials_token")
	if token == "" {
		return nil
	}
	host := cmp.Or(c.input("cli_config_credentials_hostname"), "app.terraform.io")
	return c.env("TF_TOKEN_"+strings.NewReplacer(".", "_", "-", "__").Replace(host), token)
}
