package environment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// minors are the Python versions that there are locks for, the best first.
var minors = []string{"3.13", "3.12", "3.11"}

// interpreter is a Python found on PATH.
type interpreter struct {
	Path       string `json:"executable"`
	Version    string `json:"version"`
	BasePrefix string `json:"base_prefix"`
	EnsurePip  bool   `json:"ensurepip"`
	Pip        bool   `json:"pip"`
}

const describe = `import sys, json, importlib.util as u
print(json.dumps({"executable": sys.executable, "version": "%d.%d" % sys.version_info[:2], "base_prefix": sys.base_prefix,
  "ensurepip": u.find_spec("ensurepip") is not None and u.find_spec("venv") is not None, "pip": u.find_spec("pip") is not None}))`

// inspect asks an executable what it is; ok is false if it is no Python that runs.
func inspect(ctx context.Context, name string) (p interpreter, ok bool) {
	path, err := exec.LookPath(name)
	if err != nil {
		return p, false
	}
	out, err := exec.CommandContext(ctx, path, "-I", "-c", describe).Output()
	if err != nil || json.Unmarshal(out, &p) != nil {
		return p, false // A version manager's shim without a version behind it, for example.
	}
	return p, true
}

// FindPython returns the path and minor version of the Python that set-up
// would use. The error says what to install.
func FindPython(ctx context.Context) (path, version string, err error) {
	p, err := findInterpreter(ctx)
	return p.Path, p.Version, err
}

func findInterpreter(ctx context.Context) (interpreter, error) {
	var seen []string
	for _, name := range []string{"python3", "python3.13", "python3.12", "python3.11"} {
		p, ok := inspect(ctx, name)
		if !ok {
			continue
		}
		for _, v := range minors {
			if p.Version == v {
				return p, nil
			}
		}
		seen = append(seen, name+" is "+p.Version)
	}
	found := "none was found on PATH"
	if len(seen) > 0 {
		found = strings.Join(seen, ", ")
	}
	return interpreter{}, advise("wherry needs Python 3.11, 3.12 or 3.13 on PATH; %s. On Debian or Ubuntu: apt install python3 python3-venv; then run `wherry setup` again", found)
}

func (w *work) findPython(ctx context.Context) error {
	p, err := findInterpreter(ctx)
	if err != nil {
		return err
	}
	w.base = p
	w.env.Version, w.env.BasePrefix = p.Version, p.BasePrefix
	w.uv, _ = exec.LookPath("uv")
	if w.uv != "" && exec.CommandContext(ctx, w.uv, "--version").Run() != nil {
		w.uv = ""
	}
	w.tools = toolEnv(ctx, w.cache, p)
	return nil
}

// toolEnv gives uv what pip is configured with (uv reads none of it) and keeps
// both tools' caches below ours.
func toolEnv(ctx context.Context, cache string, p interpreter) []string {
	config := pipConfig(ctx, p)
	env := []string{"PIP_DISABLE_PIP_VERSION_CHECK=1", "UV_NO_PROGRESS=1", "UV_PYTHON_DOWNLOADS=never", "UV_NO_CONFIG=1"}
	set := func(name, value string) {
		if value != "" && os.Getenv(name) == "" {
			env = append(env, name+"="+value)
		}
	}
	set("UV_CACHE_DIR", filepath.Join(cache, "uv"))
	set("PIP_CACHE_DIR", filepath.Join(cache, "pip"))
	set("UV_DEFAULT_INDEX", config["index-url"])
	set("UV_INDEX", config["extra-index-url"])
	set("UV_FIND_LINKS", strings.Join(reachable(strings.Fields(config["find-links"])), ","))
	set("UV_INSECURE_HOST", config["trusted-host"])
	set("UV_HTTP_TIMEOUT", config["default-timeout"])
	set("SSL_CERT_FILE", config["cert"])
	set("UV_INDEX_STRATEGY", "unsafe-best-match") // As pip does: hashes pin what is taken.
	if v := config["no-index"]; v == "true" || v == "1" {
		set("UV_NO_INDEX", "1")
	}
	return env
}

// PackageIndex is the URL of the package index that pip and uv use for this
// user: what UV_DEFAULT_INDEX, UV_INDEX_URL, PIP_INDEX_URL or pip's files say,
// else PyPI. It may hold a user and a password.
func PackageIndex(ctx context.Context) (string, error) {
	for _, name := range []string{"UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"} {
		if v := os.Getenv(name); v != "" {
			return v, nil
		}
	}
	p, err := findInterpreter(ctx)
	if err != nil {
		return "", err
	}
	if v := pipConfig(ctx, p)["index-url"]; v != "" {
		return v, nil
	}
	return "https://pypi.org/simple", nil
}

// reachable leaves out folders that do not exist: uv fails on them, pip does not.
func reachable(links []string) []string {
	var out []string
	for _, l := range links {
		if strings.Contains(l, "://") {
			out = append(out, l)
		} else if _, err := os.Stat(l); err == nil {
			out = append(out, l)
		}
	}
	return out
}

// pipConfig reads pip's settings from its files and its environment.
func pipConfig(ctx context.Context, p interpreter) map[string]string {
	config := map[string]string{}
	if p.Pip {
		out, _ := exec.CommandContext(ctx, p.Path, "-m", "pip", "config", "list").Output()
		for line := range strings.Lines(string(out)) {
			key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
			_, name, dotted := strings.Cut(key, ".")
			if ok && dotted && !strings.HasPrefix(key, ":env:") {
				config[name] = strings.ReplaceAll(strings.Trim(value, `'"`), `\n`, " ")
			}
		}
	}
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		if key, ok := strings.CutPrefix(name, "PIP_"); ok {
			config[strings.ReplaceAll(strings.ToLower(key), "_", "-")] = value
		}
	}
	return config
}

func (w *work) prefix() string { return filepath.Join(w.cache, "python", digest()) }

func (w *work) makePrefix(ctx context.Context) error {
	w.env.Prefix = w.prefix()
	w.env.Python = filepath.Join(w.env.Prefix, "bin", "python")
	if p, ok := inspect(ctx, w.env.Python); ok && p.Version == w.base.Version {
		return nil // A set-up that was interrupted got this far.
	}
	if err := os.RemoveAll(w.env.Prefix); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(w.env.Prefix), 0o755); err != nil {
		return err
	}
	switch {
	case w.uv != "":
		return w.tool(ctx, w.tools, w.uv, "venv", "--quiet", "--python", w.base.Path, w.env.Prefix)
	case w.base.EnsurePip:
		return w.tool(ctx, w.tools, w.base.Path, "-m", "venv", w.env.Prefix)
	case w.base.Pip:
		return w.makeBareVenv()
	}
	return advise("%s has neither venv nor pip, and there is no uv on PATH. On Debian or Ubuntu: apt install python%s-venv; then run `wherry setup` again", w.base.Path, w.base.Version)
}

// makeBareVenv writes what makes a folder a venv, for a Python without
// ensurepip (stock Debian); its own pip installs into it.
func (w *work) makeBareVenv() error {
	lib := filepath.Join(w.env.Prefix, "lib", "python"+w.base.Version, "site-packages")
	bin := filepath.Join(w.env.Prefix, "bin")
	for _, d := range []string{lib, bin} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	cfg := fmt.Sprintf("home = %s\ninclude-system-site-packages = false\nversion = %s\n", filepath.Dir(w.base.Path), w.base.Version)
	if err := os.WriteFile(filepath.Join(w.env.Prefix, "pyvenv.cfg"), []byte(cfg), 0o644); err != nil {
		return err
	}
	return errors.Join(os.Symlink(w.base.Path, w.env.Python), os.Symlink("python", filepath.Join(bin, "python3")))
}

func (w *work) sitePackages() string {
	return filepath.Join(w.env.Prefix, "lib", "python"+w.base.Version, "site-packages")
}

func (w *work) installPackages(ctx context.Context) error {
	w.env.SparkHome = filepath.Join(w.sitePackages(), "pyspark")
	lock, err := w.lock(w.base.Version + ".txt")
	if err != nil {
		return err
	}
	if w.uv != "" {
		if err := w.tool(ctx, w.tools, w.uv, "pip", "sync", "--python", w.env.Python, "--require-hashes", lock); err != nil {
			return err
		}
		// The packages are linked into the prefix: the cache need not keep what
		// can be downloaded, only pyspark's wheel, which was built.
		return w.tool(ctx, w.tools, w.uv, "cache", "prune", "--ci")
	}
	argv := []string{w.pip(), "-m", "pip", "install", "--progress-bar", "off", "--require-hashes", "--requirement", lock}
	if !w.base.EnsurePip {
		argv = append(argv, "--target", w.sitePackages(), "--upgrade")
	}
	return w.tool(ctx, w.tools, argv...)
}

// pip is the interpreter whose pip installs into the prefix.
func (w *work) pip() string {
	if w.base.EnsurePip {
		return w.env.Python
	}
	return w.base.Path
}

// lock writes an embedded lock where tools can read it.
func (w *work) lock(name string) (string, error) {
	data, err := locks.ReadFile("lock/" + name)
	if err != nil {
		return "", err
	}
	path := filepath.Join(w.cache, "lock-"+digest()+"-"+name)
	return path, os.WriteFile(path, data, 0o644)
}

// compile makes the byte code now: boxes see the prefix read-only.
func (w *work) compile(ctx context.Context) error {
	done := filepath.Join(w.env.Prefix, ".compiled")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	argv := []string{w.env.Python, "-m", "compileall", "-q", "-j", "0", "-x", `[/\\](tests|testing_data|lib2to3)[/\\]`, w.sitePackages()}
	// compileall fails on files that are no Python of this version, templates for example.
	if err := w.tool(ctx, nil, argv...); err != nil && ctx.Err() != nil {
		return err
	}
	return os.WriteFile(done, nil, 0o644)
}
