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
