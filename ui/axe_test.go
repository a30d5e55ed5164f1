package ui_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// axe-core (MPL-2.0) is fetched by npm when a test first needs it, and kept in
// the user's cache; it is no part of wherry.
const (
	axePackage = "axe-core@4.14.1"
	axeSum     = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c" // of axe.min.js
)

// axe returns axe-core's source, and why there is none.
func axe(t *testing.T) (source []byte, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	name := filepath.Join(cache, "wherry-test", axePackage+".min.js")
	if source, err := os.ReadFile(name); err == nil && sum(source) == axeSum {
		return source, nil
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	pack := exec.CommandContext(ctx, "npm", "pack", axePackage, "--pack-destination", dir)
	pack.Dir = dir
	if out, err := pack.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("npm pack %s: %w\n%s", axePackage, err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("npm pack left %v: %w", found, err)
	}
	if source, err = unpack(found[0], "package/axe.min.js"); err != nil {
		return nil, err
	}
	if got := sum(source); got != axeSum {
		t.Fatalf("axe.min.js of %s has the sum %s", axePackage, got)
	}
	return source, errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, source, 0o600))
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// unpack reads one file of an archive.
func unpack(archive, name string) ([]byte, error) {
	b, err := os.ReadFile(archive)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			return nil, fmt.Errorf("%s in %s: %w", name, archive, err)
		}
		if h.Name == name {
			return io.ReadAll(r)
		}
	}
}

// accessible has axe-core look at the page; what it finds serious or critical
// is an error. Outputs of notebooks in frames are not ours to judge.
func (w *window) accessible(name string) {
	w.Helper()
	if w.axe == "" {
		return
	}
	if !do(w, chromedp.Evaluate[bool]("!!window.axe")) {
		w.eval(w.axe)
	}
	const look = `axe.run(document, {resultTypes: ["violations"], iframes: false}).then(r => r.violations
		.filter(v => v.impact === "serious" || v.impact === "critical")
		.map(v => v.id + ": " + v.help + "\n" + v.nodes.slice(0, 4).map(n => "  " + n.html.slice(0, 200) + "\n    " + n.failureSummary.replace(/\s+/g, " ")).join("\n")).join("\n"))`
	if found := do(w, chromedp.Evaluate[string](look, chromedp.EvalAwaitPromise)); found != "" {
		w.Errorf("%s: axe-core finds:\n%s", name, found)
	}
}

// TestBrowserAxe shows that the checks of accessibility can fail: axe-core sees
// a picture without a text.
func TestBrowserAxe(t *testing.T) {
	w := chromium(t)
	if w.axe == "" {
		t.Skip("axe-core is not here (it is fetched by npm)")
	}
	do(w, chromedp.Navigate(`data:text/html,<html lang="en"><title>t</title><main><h1>t</h1><img src="data:,"></main>`))
	w.eval(w.axe)
	found := do(w, chromedp.Evaluate[string](`axe.run().then(r => r.violations.map(v => v.id + " " + v.impact).join(", "))`, chromedp.EvalAwaitPromise))
	if found != "image-alt critical" {
		t.Errorf("axe-core finds %q", found)
	}
}
