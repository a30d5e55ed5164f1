package environment

import (
	"archive/tar"
	"compress/gzip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
)

func TestSortRequirements(t *testing.T) {
	w, err := sortRequirements([]string{
		"", "# why", "pandas", "numpy>=2 # new", "uvicorn[standard] == 0.30; python_version > '3.8'", "zope.interface~=6.0", "a (>=1)",
		"b @ https://example.com/b-1-py3-none-any.whl#sha256=ab", "https://example.com/c-1-py3-none-any.whl", "d==1 --hash=sha256:ab --hash=sha256:cd",
		"--index-url https://u:p@example.com/simple", "--extra-index-url=http://127.0.0.1:8080/simple", "--no-index", "-c D_E.f == 2 --hash=sha256:ef",
	})
	if err != nil || len(w.packages) != 8 || w.packages[1] != "numpy>=2" || !slices.Equal(w.constraints, []string{"D_E.f == 2 --hash=sha256:ef"}) {
		t.Errorf("%q, %v", w, err)
	}
	for name, want := range map[string]string{"d==1": " --hash=sha256:ab --hash=sha256:cd", "d-e-f==2": " --hash=sha256:ef", "pandas==3": "", "D": " --hash=sha256:ab --hash=sha256:cd"} {
		if got := w.hashes(name); got != want {
			t.Errorf("hashes of %s: %q, want %q", name, got, want)
		}
	}
	if want := []string{"--index-url https://u:p@example.com/simple", "--extra-index-url http://127.0.0.1:8080/simple", "--no-index"}; !slices.Equal(w.sources, want) {
		t.Errorf("%q", w.sources)
	}
	for _, line := range []string{
		"-e /src", "-e .", "--editable=.", "-r /etc/passwd", "--requirement=x", "-c /etc/passwd", "-c ../x.txt", "-c -r x", "-c git+https://example.com/x", "-r/etc/passwd", "--no-binary evil", "--no-binary=:all:", "--only-binary x",
		"/src", "./src", "../x.whl", "src/x", "x.whl", "x-1.tar.gz", "X.ZIP", "~/x", "file:///etc/passwd", "evil @ file:///src", "evil@file:///src", "evil @ /src", "evil[x] @ ./src",
		"git+https://example.com/x", "evil @ git+https://example.com/x", "evil @", "@ https://example.com/x", "pandas -r /etc/passwd", "pandas\n-r /etc/passwd", "pandas\r-e .",
		"--index-url file:///etc", "--find-links /etc", "-f .", "--index-url https://example.com -r /etc/passwd", "--no-index x", "--index-url https://example.com/${HOME}",
		"x @ https://example.com/${HOME}", "pandas --config-settings=a=b", "--index-url", "-", "--",
	} {
		if _, err := sortRequirements([]string{line}); wherry.CodeOf(err) != wherry.CodeInvalidParameter {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// TestNothingIsBuilt: a package that must be built is refused, and its code does
// not run.
func TestNothingIsBuilt(t *testing.T) {
	e := ForTest(t)
	dir := t.TempDir()
	mark := filepath.Join(dir, "built")
	if err := writePackage(filepath.Join(dir, "evil-1.0.tar.gz"), map[string]string{
		"evil-1.0/setup.py": "open(" + `"` + mark + `"` + ", 'w')\nimport setuptools\nsetuptools.setup(name='evil', version='1.0')\n",
		"evil-1.0/PKG-INFO": "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n",
	}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("UV_NO_INDEX", "1")
	t.Setenv("UV_FIND_LINKS", dir)
	_, err := e.Overlay(t.Context(), []string{"evil"}, nil)
	if wherry.CodeOf(err) != wherry.CodeInvalidParameter || !strings.Contains(err.Error(), "evil") || !strings.Contains(err.Error(), "%pip") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the package's code ran")
	}
}

func writePackage(name string, files map[string]string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			return err
		}
		if _, err := w.Write([]byte(text)); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return z.Close()
}
