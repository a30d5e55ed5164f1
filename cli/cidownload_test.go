package cli

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// packed is a tar of the headers, each file with its name as its text.
func packed(t *testing.T, list ...tar.Header) *bytes.Reader {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, h := range list {
		h.Mode = 0o644
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(h.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b.Bytes())
}

// TestDownloadStaysInside: whatever an artifact holds, nothing is written outside
// of the folder, nothing is overwritten, and of one that is refused nothing stays.
func TestDownloadStaysInside(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
	link := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	for name, tt := range map[string]struct {
		in    []tar.Header
		want  string // the error, "" for none
		files string // that are there afterwards, sorted
	}{
		"plain":              {[]tar.Header{file("b.txt"), file("a/b/c.txt"), link("a/l", "b/c.txt"), link("m", "a/l")}, "", "a/b/c.txt a/l b.txt m there.txt"},
		"up":                 {[]tar.Header{file("a.txt"), file("../evil.txt")}, "leads out of", "there.txt"},
		"rooted":             {[]tar.Header{file("/tmp/evil.txt")}, "leads out of", "there.txt"},
		"through a link":     {[]tar.Header{file("a.txt"), link("l", ".."), file("l/evil.txt")}, "escapes", "there.txt"},
		"through a new link": {[]tar.Header{link("l", "/"), file("l/tmp/evil.txt")}, "escapes", "there.txt"},
		"links that lead out": {
			[]tar.Header{file("a/d/x"), link("e", "/etc/passwd"), link("a/d/up", "../.."), link("o", "a/d/up/../evil.txt"), link("n", "nothing"), link("p", "e")}, "", "a/d/up a/d/x there.txt",
		},
		"exists":         {[]tar.Header{file("a.txt"), file("there.txt")}, "there.txt exists already, and is not overwritten", "there.txt"},
		"link on a file": {[]tar.Header{link("there.txt", "a")}, "exists already", "there.txt"},
		"twice":          {[]tar.Header{file("a.txt"), file("a.txt")}, "exists", "there.txt"},
		"a pipe":         {[]tar.Header{file("a.txt"), {Typeflag: tar.TypeFifo, Name: "p"}}, "neither a file", "there.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			outside := t.TempDir()
			dir := filepath.Join(outside, "in")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "there.txt"), []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			err = (&downloaded{Dir: dir}).write(t.Context(), root, packed(t, tt.in...))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if got := strings.Join(filesBelow(t, dir), " "); got != tt.files {
				t.Errorf("there is %s, want %s", got, tt.files)
			}
			if b, err := os.ReadFile(filepath.Join(dir, "there.txt")); err != nil || string(b) != "mine" {
				t.Errorf("there.txt is %q, %v", b, err)
			}
			if list, err := os.ReadDir(outside); err != nil || len(list) != 1 {
				t.Errorf("outside is %v, %v", list, err)
			}
		})
	}
}

func filesBelow(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		names = append(names, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}
