package action

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

func TestSatisfies(t *testing.T) {
	for _, tt := range []struct {
		version, want string
		ok            bool
	}{
		{"3.11.4", "3.11", true},
		{"3.11.4", "3", true},
		{"3.11.4", "3.1", false}, // 1 is not the beginning of 11
		{"3.1.4", "3.11", false},
		{"3.11.4", "3.11.4", true},
		{"3.11.4", "3.11.5", false},
		{"3.11.4", "3.x", true},
		{"3.11.4", "3.11.x", true},
		{"3.11.4", "3.11.*", true},
		{"3.11.4", "", true},
		{"3.11.4", "latest", true},
		{"3.11.4", ">=3.10", true},
		{"3.11.4", ">=3.10,<3.12", true},
		{"3.12.1", ">=3.10,<3.12", false},
		{"3.11.4", ">= 3.10", true},
		{"3.11.4", ">= 3.10 < 3.11", false},
		{"3.11.4", "==3.11.*", true},
		{"3.11.4", "!=3.11.4", false},
		{"3.11.5", "!=3.11.4", true},
		{"3.11.4", "~3.11.2", true},
		{"3.12.0", "~3.11.2", false},
		{"3.12.0", "~3.11", false},
		{"3.12.0", "~=3.11", true},
		{"3.12.0", "~=3.11.2", false},
		{"3.12.0", "3.10 || 3.12", true},
		{"3.11.0", "3.10 || 3.12", false},
		{"1.9.8", "~> 1.5", true},
		{"1.9.8", "~> 1.5.0", false},
		{"1.9.8", "^1.2.0", true},
		{"2.0.0", "^1.2.0", false},
		{"17.0.9", "17", true},
		{"1.9.8", "v1.9.8", true},
		{"3.12.1", "3.12-dev", true},
		{"21.0.2", "21-ea", true},
		{"3.11.4", "pypy3.11", false},
		{"3.13.0", "3.13t", false},
		{"3.13.0", "three", false},
	} {
		if got := satisfies(tt.version, tt.want); got != tt.ok {
			t.Errorf("%s for %q: %t", tt.version, tt.want, got)
		}
	}
}

// TestVersionIn: a tool's version is read from the files that projects keep.
func TestVersionIn(t *testing.T) {
	for _, tt := range []struct{ name, text, tool, want string }{
		{".python-version", "# ours\n3.11.4\n3.10\n", "python", "3.11.4"},
		{"pyproject.toml", "[project]\nname = \"x\"\nrequires-python = \">=3.10\"\n", "python", ">=3.10"},
		{".tool-versions", "nodejs 20.1.0\npython 3.12.1 3.11\njava temurin-17.0.10+7\n", "python", "3.12.1"},
		{".tool-versions", "nodejs 20.1.0\n", "node", "20.1.0"},
		{".tool-versions", "java temurin-17.0.10+7\n", "java", "17.0.10+7"},
		{"package.json", `{"engines": {"node": ">=18"}}`, "node", ">=18"},
		{"package.json", `{"engines": {"node": ">=18"}, "volta": {"node": "20.1.0"}}`, "node", "20.1.0"},
		{".nvmrc", "v20.11\n", "node", "v20.11"},
	} {
		if got, err := versionIn(tt.name, tt.text, tt.tool); err != nil || got != tt.want {
			t.Errorf("%s of %s: %q %v, want %q", tt.tool, tt.name, got, err, tt.want)
		}
	}
	for _, tt := range []struct{ name, text, tool string }{{".tool-versions", "nodejs 20\n", "python"}, {"pyproject.toml", "", "python"}, {".nvmrc", "\n", "node"}, {"package.json", "{", "node"}} {
		if got, err := versionIn(tt.name, tt.text, tt.tool); err == nil {
			t.Errorf("%s of %s: %q", tt.tool, tt.name, got)
		}
	}
}

func FuzzSatisfies(f *testing.F) {
	f.Add("3.11.4", ">=3.10,<3.12")
	f.Add("1", "~> 1")
	f.Add("", "^")
	f.Fuzz(func(_ *testing.T, version, want string) { satisfies(version, want) })
}

func TestChooseNamesThoseThatAreThere(t *testing.T) {
	have := []installed{{"/b", "3.12.1"}, {"/a", "3.11.4"}}
	if got, err := choose("Python", have, "3.11"); err != nil || got.path != "/a" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := choose("Python", have, ""); err != nil || got.path != "/b" {
		t.Errorf("%v, %v: not the newest", got, err)
	}
	if _, err := choose("Python", have, "3.10"); err == nil || !strings.Contains(err.Error(), "which has 3.12.1, 3.11.4") {
		t.Error(err)
	}
	if _, err := choose("JDK", nil, "17"); err == nil || !strings.Contains(err.Error(), "there is no JDK") {
		t.Error(err)
	}
}

// space makes a workspace with files.
func space(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("GITHUB_WORKSPACE", dir)
	t.Setenv("HOME", filepath.Join(dir, "home"))
	for _, f := range files {
		name := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFind(t *testing.T) {
	dir := space(t, "a.txt", "out/b.txt", "out/sub/c.txt", "out/sub/d.log", "out/.hidden", "out/.git/x", "home/.cache/pip/w")
	for _, tt := range []struct {
		patterns []string
		hidden   bool
		want     string
	}{
		{[]string{"out"}, false, "out/b.txt out/sub/c.txt out/sub/d.log"},
		{[]string{"out/"}, true, "out/.git/x out/.hidden out/b.txt out/sub/c.txt out/sub/d.log"},
		{[]string{"**/*.txt"}, false, "a.txt out/b.txt out/sub/c.txt"},
		{[]string{"out/*.txt"}, false, "out/b.txt"},
		{[]string{"out/*"}, false, "out/b.txt out/sub/c.txt out/sub/d.log"},
		{[]string{"out/**/*"}, false, "out/b.txt out/sub/c.txt out/sub/d.log"},
		{[]string{"**"}, false, "a.txt out/b.txt out/sub/c.txt out/sub/d.log"},
		{[]string{"out/.*/x", "out/.hidden", "out/.git"}, false, ""},
		{[]string{"out/.*/x", "out/.hidden"}, true, "out/.git/x out/.hidden"},
		{[]string{"home/.cache/pip"}, false, "home/.cache/pip/w"},
		{[]string{"out", "!**/*.log"}, false, "out/b.txt out/sub/c.txt"},
		{[]string{"out", "!out/sub"}, false, "out/b.txt"},
		{[]string{"./a.txt"}, false, "a.txt"},
		{[]string{"~/.cache/pip"}, true, "home/.cache/pip/w"},
		{[]string{"nothing"}, false, ""},
	} {
		got, err := find(tt.patterns, tt.hidden)
		if err != nil {
			t.Errorf("%v: %v", tt.patterns, err)
		}
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], dir+"/")
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%v: %v, want %s", tt.patterns, got, tt.want)
		}
	}
	if _, err := find([]string{"[a"}, false); err == nil {
		t.Error("a pattern that can not be read was taken")
	}
}

// TestTop: what an artifact's paths are relative to, as GitHub's documentation of
// upload-artifact has it.
func TestTop(t *testing.T) {
	dir := space(t, "out/a.txt", "out/sub/b.txt", "only/deep/c.txt", "d.txt")
	for _, tt := range []struct{ patterns, want string }{
		{"out", "out"},
		{"out/", "out"},
		{"only", "only"}, // one file, deep below
		{"only/deep/c.txt", "only/deep"},
		{"d.txt", "."},
		{"out/*.txt", "out"},
		{"out/**/*.txt", "out"},
		{"out/s*", "out"},
		{"out/a.txt out/sub/b.txt", "out"},
		{"out only", "."},
		{"only nothing", "."},
		{"out !out/sub", "out"},
	} {
		patterns := strings.Fields(tt.patterns)
		files, err := find(patterns, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := top(patterns, files); got != filepath.Join(dir, tt.want) {
			t.Errorf("%s: %s", tt.patterns, got)
		}
	}
}

// archive is a compressed tar with the given members.
func archive(t *testing.T, members ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, h := range members {
		if h.Typeflag == tar.TypeReg {
			h.Size = 4
		}
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte("evil")); err != nil {
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
	return &b
}

func TestUnpackStaysInside(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink}
	}
	for _, tt := range []struct {
		name    string
		members []tar.Header
	}{
		{"parent", []tar.Header{file("../outside")}},
		{"deep parent", []tar.Header{file("a/../../outside")}},
		{"through a link", []tar.Header{link("up", ".."), file("up/outside")}},
		{"through an absolute link", []tar.Header{link("up", "OUTSIDE"), file("up/outside")}},
		{"over a link", []tar.Header{link("file", "../outside"), file("file")}},
		{"out of the home folder", []tar.Header{file("~/../../outside")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := t.TempDir()
			dir := filepath.Join(base, "w")
			t.Setenv("HOME", filepath.Join(dir, "home"))
			for i := range tt.members {
				if tt.members[i].Linkname == "OUTSIDE" {
					tt.members[i].Linkname = base
				}
			}
			err := unpack(archive(t, tt.members...), dir)
			if _, serr := os.Lstat(filepath.Join(base, "outside")); serr == nil {
				t.Error("it wrote outside")
			}
			if err == nil {
				t.Error("it was not refused")
			}
		})
	}
}

func TestUnpackRefusesWhatIsNoArchive(t *testing.T) {
	if unpack(strings.NewReader("no archive"), t.TempDir()) == nil {
		t.Error("it was taken")
	}
}

func TestPackAndUnpack(t *testing.T) {
	dir := space(t, "a.txt", "sub/b.txt", "home/.cache/c")
	if err := os.Symlink("a.txt", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x")
	digest, err := pack(file, dir, []string{"a.txt", "sub/b.txt", "link", "~/.cache/c"})
	if err != nil || len(digest) != 64 {
		t.Fatal(digest, err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	into, home := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	if err := unpack(f, into); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{into + "/a.txt": "a.txt", into + "/sub/b.txt": "sub/b.txt", into + "/link": "a.txt", home + "/.cache/c": "home/.cache/c"} {
		if b, err := os.ReadFile(name); err != nil || string(b) != want {
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}
}

func TestPlace(t *testing.T) {
	dir := space(t)
	c := &call{}
	if got, err := c.place("a/b"); err != nil || got != filepath.Join(dir, "a/b") {
		t.Error(got, err)
	}
	for _, bad := range []string{"..", "../x", "/etc", "a/../../x"} {
		if _, err := c.place(bad); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// TestCaches: a key is taken before those that begin as restore-keys do, of
// which the newest counts, and what is stored under a key stays.
func TestCaches(t *testing.T) {
	dir := space(t, "c/x")
	var out bytes.Buffer
	c := &call{Tools: Tools{Dir: t.TempDir(), Caches: t.TempDir()}, out: &out, inputs: map[string]string{}}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "c/x"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	save := func(key, text string) {
		t.Helper()
		write(text)
		if err := c.save(t.Context(), key, []string{"c"}); err != nil {
			t.Fatal(err)
		}
	}
	restore := func(key string, prefixes []string, matched, text string) {
		t.Helper()
		write("as it was")
		got, err := c.restore(t.Context(), key, prefixes)
		if err != nil || got != matched {
			t.Errorf("%s, %v: %q, %v", key, prefixes, got, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "c/x")); err != nil || string(b) != text {
			t.Errorf("%s, %v: %s, %v", key, prefixes, b, err)
		}
	}
	save("pip-1", "one")
	save("pip-2", "two")
	save("pip-1", "changed")
	save("a/b:c", "odd name")
	restore("pip-1", nil, "pip-1", "one")
	restore("pip-3", nil, "", "as it was")
	restore("pip-3", []string{"pip-"}, "pip-2", "two")
	restore("pip-1", []string{"pip-"}, "pip-1", "one")
	restore("a/b:c", nil, "a/b:c", "odd name")
	if _, err := c.restore(t.Context(), "", nil); err == nil {
		t.Error("an empty key was taken")
	}
	if !strings.Contains(out.String(), "Cache pip-1 is there already") {
		t.Error(out.String())
	}
	if err := c.save(t.Context(), "outside", []string{"/etc/hostname"}); err == nil {
		t.Error("a file of the machine was cached")
	}
}

func TestKnown(t *testing.T) {
	for _, name := range []string{"actions/checkout", "Actions/Checkout", "azure/login"} {
		if !Known(name) {
			t.Errorf("%s is not known", name)
		}
	}
	if Known("someone/checkout") || slices.Contains(Names(), "actions/cache/restore") {
		t.Error("too many are known")
	}
}
