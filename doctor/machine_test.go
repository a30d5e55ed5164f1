package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/state"
)

// TestMain makes this binary the first process of the boxes that are probed.
func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

// programs makes a PATH of only these scripts.
func programs(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("JAVA_HOME", "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
}

func asJava(version string) string {
	return "echo '    java.home = /opt/java' >&2\necho '    java.specification.version = " + version + "' >&2\n"
}

func asPython(version string) string {
	return `echo '{"executable": "/opt/python3", "version": "` + version + `"}'` + "\n"
}

func TestMachine(t *testing.T) {
	nothing := map[string]string{}
	for _, c := range []struct {
		what, check, state, detail, fix string
		programs                        map[string]string
	}{
		{"no Python", "Python", Missing, "none was found on PATH", "install Python 3.11, 3.12 or 3.13", nothing},
		{"an old Python", "Python", Missing, "python3 is 3.9", "install Python", map[string]string{"python3": asPython("3.9")}},
		{"a Python", "Python", OK, "3.12 at /opt/python3", "", map[string]string{"python3": asPython("3.12")}},
		{"no Java", "Java", OK, "`wherry setup` fetches one", "", nothing},
		{"an old Java", "Java", OK, "Java 11 is not 17 or 21: `wherry setup` fetches one", "", map[string]string{"java": asJava("11")}},
		{"a Java", "Java", OK, "21 at /opt/java", "", map[string]string{"java": asJava("21")}},
		{"no set-up", "runtime", Limited, "not set up yet", "run `wherry setup`", nothing},
		{"no git", "git", Limited, "deploys carry no commit", "install git", nothing},
		{"a git", "git", OK, "2.50.1", "", map[string]string{"git": "echo git version 2.50.1\n"}},
		{"no uv", "uv", OK, "`wherry setup` uses its own", "", nothing},
	} {
		t.Run(c.what, func(t *testing.T) {
			programs(t, c.programs)
			checks := Machine(t.Context(), state.Dir(t.TempDir()))
			i := slices.IndexFunc(checks, func(got Check) bool { return got.Name == c.check })
			if i < 0 {
				t.Fatalf("no check of %s: %+v", c.check, checks)
			}
			if got := checks[i]; got.State != c.state || !strings.Contains(got.Detail, c.detail) || !strings.Contains(got.Fix, c.fix) || got.Fix != "" && c.fix == "" {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	if got := disk(state.Dir(filepath.Join(dir, "not", "there"))); !strings.HasSuffix(got.Detail, " GB free at "+dir) {
		t.Errorf("a folder that is not there yet: %+v", got)
	}
	for free, want := range map[uint64]Check{
		50 << 30:      {"disk", OK, "50 GB free at /d", ""},
		5<<30 + 1<<29: {"disk", Limited, "5 GB free at /d", "a set-up needs 6 GB: free some, or name another --state and XDG_CACHE_HOME"},
	} {
		if got := diskCheck("/d", free); got != want {
			t.Errorf("%d bytes: %+v, want %+v", free, got, want)
		}
	}
}

func TestMemory(t *testing.T) {
	for info, want := range map[string]Check{
		"MemTotal:       16777216 kB\nMemFree: 1 kB\n": {"memory", OK, "16.0 GB", ""},
		"MemTotal:        2097152 kB\n":                {"memory", Limited, "2.0 GB", "Spark jobs need about 6 GB"},
		"MemTotal:        many\n":                      {"memory", OK, "cannot be told on this system", ""},
		"":                                             {"memory", OK, "cannot be told on this system", ""},
	} {
		if got := memoryCheck(info); got != want {
			t.Errorf("%q: %+v, want %+v", info, got, want)
		}
	}
	if got := memory(); got.Detail == "" {
		t.Errorf("this machine: %+v", got)
	}
}

// What isolates tasks is told layer by layer, as the sandbox finds it; what is
// not used is no layer that is there.
func TestLayers(t *testing.T) {
	want, err := sandbox.Probe(t.Context())
	got := layers(t.Context())
	if err != nil {
		if len(got) != 1 || got[0].State != Missing || !strings.Contains(got[0].Detail, "tasks can not be started") {
			t.Errorf("without isolation (%v): %+v", err, got)
		}
		return
	}
	if len(got) != len(want) {
		t.Fatalf("%d checks of %d layers", len(got), len(want))
	}
	for i, layer := range want {
		if got[i].Name != "isolation: "+layer.Name || (got[i].State == OK) != layer.Active || got[i].Detail == "" {
			t.Errorf("%+v of %+v", got[i], layer)
		}
	}
}
