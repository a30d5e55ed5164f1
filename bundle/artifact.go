package bundle

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/wherry-ml/wherry/bundle/config"
)

// Artifact is a wheel or jar that is built before a deploy.
type Artifact struct {
	Name  string
	Type  string // "whl" or "jar"
	Dir   string // absolute: where the build command runs
	Build string // a shell command; "" builds a wheel with pip
	At    config.Pos
}

// library is a local wheel or jar that a task names.
type library struct {
	value   *config.Value
	pattern string // absolute, perhaps a glob
}

// Library is a built wheel or jar to upload.
type Library struct {
	Local  string // absolute
	Remote string // where it is deployed
	SHA256 string
	Size   int64
}

// readArtifacts reads the artifacts section. Without one, a Python project at
// the bundle's root is a wheel that tasks may name.
func (b *Bundle) readArtifacts() {
	for _, f := range b.Config.Get("artifacts").Entries() {
		a := Artifact{Name: f.Key, Type: or(f.Value.Get("type").Text(), "whl"), Build: f.Value.Get("build").Text(), At: f.At}
		dir := f.Value.Get("path")
		a.Dir = b.Root
		if dir != nil {
			a.Dir = filepath.Join(b.Root, filepath.Dir(filepath.FromSlash(dir.At.File)), filepath.FromSlash(dir.Text()))
		}
		if info, err := os.Stat(a.Dir); err != nil || !info.IsDir() {
			b.Problems.Errorf(cmp.Or(posOf(dir), f.At), "artifacts.%s: there is no folder %s", f.Key, dir.Text())
			continue
		}
		if a.Type == "whl" && a.Build == "" && !isPythonProject(a.Dir) {
			b.Problems.Errorf(f.At, "artifacts.%s: there is neither pyproject.toml nor setup.py in its folder, and no build command", f.Key)
			continue
		}
		if a.Type == "jar" && a.Build == "" {
			b.Problems.Errorf(f.At, "artifacts.%s: a jar needs a build command", f.Key)
			continue
		}
		b.Artifacts = append(b.Artifacts, a)
	}
	if len(b.Artifacts) == 0 && isPythonProject(b.Root) {
		b.Artifacts = append(b.Artifacts, Artifact{Name: "python_artifact", Type: "whl", Dir: b.Root})
	}
}

func posOf(v *config.Value) config.Pos {
	if v == nil {
		return config.Pos{}
	}
	return v.At
}

func isPythonProject(dir string) bool {
	for _, name := range []string{"pyproject.toml", "setup.py"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// built tells whether a build puts files where pattern looks.
func (b *Bundle) built(pattern string) bool {
	dir := filepath.Dir(pattern)
	return slices.ContainsFunc(b.Artifacts, func(a Artifact) bool { return within(a.Dir, dir) })
}

// BuildNeeded tells whether a task names a library of this bundle.
func (b *Bundle) BuildNeeded() bool { return len(b.libraries) > 0 }

// BuildLibraries builds the artifacts that tasks name, unless their sources are
// those of the last build, and writes into the configuration where the
// libraries will be. python is the interpreter that builds wheels; progress is
// told what is built.
func (b *Bundle) BuildLibraries(ctx context.Context, python string, progress func(string)) ([]Library, error) {
	if len(b.libraries) == 0 {
		return nil, nil
	}
	for _, a := range b.Artifacts {
		if slices.ContainsFunc(b.libraries, func(l library) bool { return within(a.Dir, filepath.Dir(l.pattern)) }) {
			if err := b.build(ctx, a, python, progress); err != nil {
				return nil, err
			}
		}
	}
	byPath := map[string]Library{}
	for _, l := range b.libraries {
		lib, err := b.findLibrary(l)
		if err != nil {
			return nil, err
		}
		l.value.Scalar = lib.Remote
		byPath[lib.Remote] = lib
	}
	all := make([]Library, 0, len(byPath))
	for _, lib := range byPath {
		all = append(all, lib)
	}
	slices.SortFunc(all, func(a, b Library) int { return strings.Compare(a.Remote, b.Remote) })
	return all, nil
}

// findLibrary takes the newest file of a glob: a build leaves older versions.
func (b *Bundle) findLibrary(l library) (lib Library, err error) {
	found, err := doublestar.FilepathGlob(l.pattern, doublestar.WithFilesOnly())
	if err != nil {
		return lib, err
	}
	var newest int64
	for _, name := range found {
		info, err := os.Stat(name)
		if err == nil && (lib.Local == "" || info.ModTime().UnixNano() > newest) {
			lib.Local, lib.Size, newest = name, info.Size(), info.ModTime().UnixNano()
		}
	}
	if lib.Local == "" {
		return lib, fmt.Errorf("%s: no file matches %s after the build", l.value.At, l.value.Text())
	}
	if lib.SHA256, err = fileDigest(lib.Local); err != nil {
		return lib, err
	}
	// By content: a run in flight keeps the wheel it started with, and a cluster
	// sees a changed one as another.
	lib.Remote = path.Join(b.Workspace.Artifacts, ".internal", lib.SHA256[:12], filepath.Base(lib.Local))
	return lib, nil
}

func fileDigest(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// build runs one artifact's build command, if its sources changed.
func (b *Bundle) build(ctx context.Context, a Artifact, python string, progress func(string)) error {
	digest, err := sourceDigest(a)
	if err != nil {
		return err
	}
	dist := filepath.Join(a.Dir, "dist")
	if b.lastBuild(a.Name) == digest && exists(dist, "*."+a.Type) {
		return nil
	}
	command := []string{"/bin/sh", "-c", a.Build}
	if a.Build == "" {
		command = wheelCommand(python, dist)
	}
	progress("building " + a.Name)
	var out bytes.Buffer
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Dir, c.Stdout, c.Stderr = a.Dir, &out, &out
	c.Env = os.Environ()
	if python != "" {
		c.Env = append(c.Env, "PATH="+filepath.Dir(python)+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: building %s failed (%s): %w\n%s", cmp.Or(a.At.String(), a.Dir), a.Name, strings.Join(command, " "), err, strings.TrimSpace(out.String()))
	}
	return b.noteBuild(a.Name, digest)
}

func wheelCommand(python, dist string) []string {
	if uv, err := exec.LookPath("uv"); err == nil {
		command := []string{uv, "build", "--wheel", "--quiet", "--out-dir", dist, "."}
		if python != "" {
			command = slices.Insert(command, 2, "--python", python)
		}
		return command
	}
	return []string{or(python, "python3"), "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", dist, "."}
}

func exists(dir, pattern string) bool {
	found, _ := filepath.Glob(filepath.Join(dir, pattern))
	return len(found) > 0
}

// sourceDigest is of all that a build may read: the folder without what builds
// and tools leave there.
func sourceDigest(a Artifact) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, a.Build)
	w := &walker{root: a.Dir, base: a.Dir, seen: map[string]bool{}}
	for _, name := range []string{"/dist", "/build", "*.egg-info"} {
		w.exclude = append(w.exclude, parseRule(name, a.Dir))
	}
	if err := w.walk(a.Dir, rulesAbove(a.Dir)); err != nil {
		return "", err
	}
	for _, f := range w.files {
		digest, err := fileDigest(f.Local)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, f.Path, digest)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// LocalDir is the folder beside the project where wherry keeps what it knows of
// it. It is ignored by Git through a file of its own.
const LocalDir = ".wherry"

func (b *Bundle) buildsFile() string { return filepath.Join(b.Root, LocalDir, "builds.json") }

func (b *Bundle) lastBuild(name string) string {
	builds := map[string]string{}
	src, err := os.ReadFile(b.buildsFile())
	if err == nil && json.Unmarshal(src, &builds) == nil {
		return builds[name]
	}
	return ""
}

func (b *Bundle) noteBuild(name, digest string) error {
	builds := map[string]string{}
	if src, err := os.ReadFile(b.buildsFile()); err == nil {
		_ = json.Unmarshal(src, &builds) // a broken file only costs a build
	}
	builds[name] = digest
	src, err := json.Marshal(builds)
	if err != nil {
		return err
	}
	return WriteLocal(b.Root, "builds.json", src)
}

// WriteLocal writes a file into LocalDir of a project, making the folder.
func WriteLocal(root, name string, data []byte) error {
	dir := filepath.Join(root, LocalDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	ignore := filepath.Join(dir, ".gitignore")
	if _, err := os.Stat(ignore); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(ignore, []byte("*\n"), 0o644); err != nil {
			return err
		}
	}
	tmp := filepath.Join(dir, name+".tmp")
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, name))
}
