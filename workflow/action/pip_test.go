package action

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPipCache: the folder that pip has its cache in is kept, wherever a
// workflow puts it; not the one that this machine keeps anyway.
func TestPipCache(t *testing.T) {
	for _, tt := range []struct{ env, machine, want string }{
		{"", "", "~/.cache/pip"},
		{"pip", "", "pip"},
		{"pip", "/var/cache/pip", "pip"},
		{"/var/cache/pip", "/var/cache/pip", ""},
	} {
		space(t, "requirements.txt")
		t.Setenv("PIP_CACHE_DIR", tt.env)
		var out bytes.Buffer
		c := &call{Tools: Tools{Dir: t.TempDir(), Caches: t.TempDir(), PipCache: tt.machine}, out: &out, inputs: map[string]string{"cache": "pip"}}
		if _, err := c.pipCache(t.Context(), "3.12.1"); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(c.endDir(), "000.json"))
		if kept := err == nil && strings.Contains(string(b), `["`+tt.want+`"]`); kept != (tt.want != "") {
			t.Errorf("%+v: kept is %s, %v", tt, b, err)
		}
	}
}

// TestBuildWheels: a pip that would install from source without a wheel is told
// to make one; later ones do by themselves.
func TestBuildWheels(t *testing.T) {
	for version, want := range map[string]bool{"22.3": true, "23.0.1": true, "23.1": false, "26.0.1": false} {
		venv, file := t.TempDir(), filepath.Join(t.TempDir(), "env")
		if err := os.MkdirAll(filepath.Join(venv, "lib", "python3.11", "site-packages", "pip-"+version+".dist-info"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("GITHUB_ENV", file)
		if err := (&call{}).buildWheels(venv); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if got := strings.Contains(string(b), "PIP_USE_PEP517"); got != want {
			t.Errorf("pip %s: %q, %v", version, b, err)
		}
	}
}
