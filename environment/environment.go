// Package environment makes and finds what tasks run on: a Python interpreter
// with locked packages, Spark's extra jars, and a Java. All of it is per user,
// below the cache directory, named by content.
package environment

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/wherry-ml/wherry/python"
)

//go:embed lock
var locks embed.FS

// Environment is a complete runtime. All paths are absolute.
type Environment struct {
	Python     string   `json:"python"`      // the interpreter tasks run on
	Version    string   `json:"version"`     // its minor version, "3.11"
	Prefix     string   `json:"prefix"`      // where its packages are
	BasePrefix string   `json:"base_prefix"` // the installation it comes from
	SparkHome  string   `json:"spark_home"`  // the folder of package pyspark
	JarDir     string   `json:"jar_dir"`
	Jars       []string `json:"jars"` // beside SparkHome/jars, in class path order
	JavaHome   string   `json:"java_home"`
	JavaMajor  int      `json:"java_major"` // 17 or 21
	// PythonPath is the folder of package wherry_runtime, for PYTHONPATH.
	PythonPath string `json:"-"`
	// Digest names this environment's content.
	Digest string `json:"digest"`
}

// ErrMissing is returned by Open when set-up has not been run.
var ErrMissing = errors.New("the runtime has not been set up: run `wherry setup`")

// CacheDir is where runtimes are: $XDG_CACHE_HOME/wherry, else ~/.cache/wherry.
func CacheDir() (string, error) {
	if d := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "wherry"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no XDG_CACHE_HOME and no home directory: %w", err)
	}
	return filepath.Join(home, ".cache", "wherry"), nil
}

// Open returns the environment that set-up made, or ErrMissing. It takes a few
// milliseconds.
func Open() (*Environment, error) {
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(readyFile(cache))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	if err != nil {
		return nil, err
	}
	e := &Environment{}
	if err := json.Unmarshal(data, e); err != nil {
		return nil, ErrMissing
	}
	if !e.whole() {
		return nil, ErrMissing // The system's Python or Java went away since.
	}
	return e, e.unpack(cache)
}

// whole tells whether everything that the environment names is still there.
func (e *Environment) whole() bool {
	files := append([]string{e.Python, filepath.Join(e.JavaHome, "bin", "java"), filepath.Join(e.SparkHome, "jars")}, e.Jars...)
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			return false
		}
	}
	return true
}

// unpack writes this binary's wherry_runtime and compiles it: boxes see the
// folder read-only.
func (e *Environment) unpack(cache string) error {
	dir := filepath.Join(cache, "runtime", e.Version)
	_, err := os.Stat(filepath.Join(dir, python.Digest()))
	fresh := err != nil
	e.PythonPath, err = python.Unpack(dir)
	if err != nil {
		return fmt.Errorf("unpack the Python runtime: %w", err)
	}
	if fresh {
		// Without it tasks start slower, no more.
		_ = exec.Command(e.Python, "-m", "compileall", "-q", e.PythonPath).Run()
	}
	return nil
}

// Paths lists the folders that a box must see, read-only.
func (e *Environment) Paths() []string {
	cache, err := CacheDir()
	paths := []string{e.Prefix, e.BasePrefix, e.PythonPath, e.JarDir, e.JavaHome}
	if err == nil {
		paths = append(paths, filepath.Join(cache, "overlay"), filepath.Join(cache, "cds"))
	}
	return paths
}

// CDS is the folder for Spark's AppCDS archives of this environment: they
// depend on the Java, the class path and nothing else.
func (e *Environment) CDS() (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "cds", e.Digest)
	return dir, os.MkdirAll(dir, 0o755)
}

// digest names what set-up would make: it changes with any lock.
var digest = sync.OnceValue(func() string {
	h := sha256.New()
	fmt.Fprintln(h, layout, runtime.GOOS, runtime.GOARCH)
	_ = fs.WalkDir(locks, "lock", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".in") {
			return err
		}
		data, err := locks.ReadFile(path)
		h.Write(data)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:12]
})

// layout is raised when set-up makes something else of the same locks.
const layout = 1

func readyFile(cache string) string { return filepath.Join(cache, "ready-"+digest()+".json") }

// jar is one line of lock/jars.txt.
type jar struct{ org, name, version, sha256 string }

func (j jar) file() string { return j.name + "-" + j.version + ".jar" }

func lockedJars() []jar {
	data, _ := locks.ReadFile("lock/jars.txt")
	var jars []jar
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 4 && f[0] != "#" {
			jars = append(jars, jar{f[0], f[1], f[2], f[3]})
		}
	}
	return jars
}
