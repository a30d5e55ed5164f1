package blob_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/blob"
)

func FuzzClean(f *testing.F) {
	for _, p := range []string{"/a/b", "a//b/", "..", "a/../b", "./a", "a\x00", ".wherry-staging/x", "/", "", "\xff", "…"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		name, err := blob.Clean(p)
		if err != nil {
			if wherry.CodeOf(err) != wherry.CodeInvalidParameter {
				t.Errorf("%q: %v", p, err)
			}
			return
		}
		if !fs.ValidPath(name) || !filepath.IsLocal(name) || strings.ContainsRune(name, 0) {
			t.Errorf("%q became %q", p, name)
		}
		if again, err := blob.Clean(name); name != "." && (again != name || err != nil) {
			t.Errorf("%q again became %q, %v", name, again, err)
		}
	})
}

func open(t *testing.T) (*blob.Dir, string) {
	t.Helper()
	dir := t.TempDir()
	d, err := blob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d, dir
}

// failing gives some bytes, then an error, as a client that goes away.
type failing struct{ left int }

func (f *failing) Read(b []byte) (int, error) {
	if f.left == 0 {
		return 0, errors.New("gone")
	}
	n := min(f.left, len(b))
	f.left -= n
	return n, nil
}

func TestPutIsWholeOrNothing(t *testing.T) {
	t.Parallel()
	d, dir := open(t)
	if err := d.Put("x", strings.NewReader("one"), false); err != nil {
		t.Fatal(err)
	}
	if err := d.Put("x", strings.NewReader("two"), false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("without overwrite: %v", err)
	}
	if err := d.Put("x", &failing{1 << 20}, true); err == nil {
		t.Error("a read error was lost")
	}
	if b, err := os.ReadFile(dir + "/x"); string(b) != "one" || err != nil {
		t.Errorf("x is now %q, %v", b, err)
	}
	if err := d.Put("none/x", strings.NewReader("x"), true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a parent: %v", err)
	}
	left, err := os.ReadDir(dir + "/.wherry-staging")
	if len(left) != 0 || err != nil {
		t.Errorf("left behind: %v %v", left, err)
	}
	info, err := os.Stat(dir + "/x")
	if err != nil || info.Mode().Perm() != blob.FileMode {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	d, dir := open(t)
	s, err := d.Stage()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(s, "half"); err != nil {
		t.Fatal(err)
	}
	if list, err := d.List("."); len(list) != 0 || err != nil {
		t.Errorf("a half-written file is listed: %v %v", list, err)
	}
	if err := d.Sweep(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestLinksDoNotLeadOut(t *testing.T) {
	t.Parallel()
	d, dir := open(t)
	out := t.TempDir()
	for from, to := range map[string]string{"out": out, "in": "real", "loop": "loop", "dangling": "nothing"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.MakeAll("real/sub"); err != nil {
		t.Fatal(err)
	}
	list, err := d.List(".")
	if err != nil || len(list) != 2 || list[0].Name() != "in" || !list[0].IsDir() || list[1].Name() != "real" {
		t.Errorf("listed %v %v", list, err)
	}
	for _, name := range []string{"out/x", "out"} {
		if err := d.MakeAll(name + "/y"); wherry.CodeOf(blob.Error(err, name)) != wherry.CodeInvalidParameter {
			t.Errorf("make %s: %v", name, err)
		}
	}
	if err := d.Put("out/x", strings.NewReader("x"), true); wherry.CodeOf(blob.Error(err, "x")) != wherry.CodeInvalidParameter {
		t.Errorf("put: %v", err)
	}
	if left, _ := os.ReadDir(out); len(left) != 0 {
		t.Errorf("outside there is %v", left)
	}
}
