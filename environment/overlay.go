package environment

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
)

// Overlay returns a folder that holds what requirements (lines as in a
// requirements file; after -c comes a line of a constraints file) and wheels
// (paths) need beyond the environment's own
// packages; "" if that is nothing. The same content gives the same folder. Only
// wheels are installed: to build a package is to run its code. A requirement
// that cannot be met is a *wherry.Error with the resolver's words.
func (e *Environment) Overlay(ctx context.Context, requirements, wheels []string) (string, error) {
	if len(requirements)+len(wheels) == 0 {
		return "", nil
	}
	want, err := sortRequirements(requirements)
	if err != nil {
		return "", err
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	name, err := e.overlayName(requirements, wheels)
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "overlay")
	target := filepath.Join(root, name)
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(root, ".make-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	if err := e.fillOverlay(ctx, temp, want, wheels); err != nil {
		return "", err
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(temp, target); err != nil {
		if _, serr := os.Stat(target); serr != nil {
			return "", err
		}
	}
	return target, nil
}

// overlayName is the content hash: of the wheels their bytes, since a bundle
// builds the same version again and again.
func (e *Environment) overlayName(requirements, wheels []string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, e.Digest, e.Version)
	for _, r := range slices.Sorted(slices.Values(requirements)) {
		fmt.Fprintf(h, "%q\n", r)
	}
	for _, w := range slices.Sorted(slices.Values(wheels)) {
		f, err := os.Open(w)
		if err != nil {
			return "", wherry.Errorf(wherry.CodeInvalidParameter, "library %s: %v", w, err)
		}
		fmt.Fprintf(h, "%q\n", filepath.Base(w))
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:24], nil
}

// planned matches a line of uv's dry run: what it would add, as name==version
// or name @ URL.
var planned = regexp.MustCompile(`(?m)^ *\+ ([^=\s]+(?:==\S+| @ \S+))`)

func (e *Environment) fillOverlay(ctx context.Context, dir string, want wanted, wheels []string) error {
	list, constraints := filepath.Join(dir, "requirements.txt"), filepath.Join(dir, "constraints.txt")
	defer os.Remove(list)
	defer os.Remove(constraints)
	write := func(name string, lines ...string) error {
		return os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
	}
	err := write(list, slices.Concat(want.sources, want.packages)...)
	if err == nil {
		err = write(constraints, want.constraints...)
	}
	if err != nil {
		return err
	}
	// The dry run is against the environment, so that what it has already is
	// not installed again: a second pandas would hide the one that is loaded.
	plan, err := e.uv(ctx, append([]string{"pip", "install", "--dry-run", "--no-build", "--python", e.Python, "--requirement", list, "--constraint", constraints}, wheels...)...)
	if err != nil {
		return err
	}
	found := planned.FindAllStringSubmatch(string(plan), -1)
	if len(found) == 0 {
		return nil
	}
	packages := slices.Clone(want.sources)
	for _, m := range found {
		packages = append(packages, m[1]+want.hashes(m[1]))
	}
	if err := write(list, packages...); err != nil {
		return err
	}
	_, err = e.uv(ctx, "pip", "install", "--no-build", "--no-deps", "--compile-bytecode", "--python", e.Python, "--target", dir, "--requirement", list)
	return err
}

// uv runs the environment's own uv.
func (e *Environment) uv(ctx context.Context, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, filepath.Join(e.Prefix, "bin", "uv"), args...)
	c.Env = append(os.Environ(), e.ToolEnv(ctx)...)
	out, err := c.CombinedOutput()
	if err != nil {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "libraries could not be installed (of a package without a wheel, build one, or install it with %%pip in a notebook): %s", bytes.TrimSpace(out))
	}
	return out, nil
}

// ToolEnv is the environment that uv and pip need to find packages where the
// user's pip finds them, for the host and for boxes.
func (e *Environment) ToolEnv(ctx context.Context) []string {
	cache, err := CacheDir()
	if err != nil {
		return nil
	}
	return toolEnv(ctx, cache, interpreter{Path: e.Python, Pip: true})
}
