package storage

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/store"
)

// A signature of the catalog is good for its folder and all below, for what it
// was asked for, and for nothing beside it.
func TestVended(t *testing.T) {
	at, _, dir := endpoint(t)
	for _, p := range []string{"raw/in/deep", "raw/inner", "raw/other"} {
		must(t, os.MkdirAll(filepath.Join(dir.Lake(), "lake1", p), 0o755))
		must(t, os.WriteFile(filepath.Join(dir.Lake(), "lake1", p, "f"), []byte("x"), 0o600))
	}
	db, err := store.Open(t.Context(), "sqlite://"+dir.Path("wherry.db"))
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	s, err := New(db, dir, nil)
	must(t, err)
	vend := func(p string, write bool) string {
		signature, _, err := s.Vend(t.Context(), p, write)
		must(t, err)
		return signature
	}
	read, write, whole := vend("lake1/raw/in", false), vend("lake1/raw/in", true), vend("lake1/raw", false)
	edited := func(signature, key, value string) string {
		q, err := url.ParseQuery(signature)
		must(t, err)
		q.Set(key, value)
		return q.Encode()
	}
	for _, c := range []struct {
		name, method, path, source, signature string
		status                                int
	}{
		{"reads below", "GET", "/raw/in/deep/f", "", read, 200},
		{"the folder itself", "HEAD", "/raw/in?action=getStatus", "", read, 200},
		{"lists", "GET", "/raw?resource=filesystem&recursive=true&directory=in", "", read, 200},
		{"lists blobs", "GET", "/raw?restype=container&comp=list&prefix=in/", "", read, 200},
		{"a file as a list", "GET", "/raw?resource=filesystem&recursive=false&directory=in/deep/f", "", read, 200},
		{"writes below", "PUT", "/raw/in/new?resource=file", "", write, 201},
		{"renames within", "PUT", "/raw/in/renamed?mode=legacy", "/raw/in/new", write, 201},
		{"the whole container", "GET", "/raw?resource=filesystem&recursive=false", "", whole, 200},
		{"a sibling of a like name", "GET", "/raw/inner/f", "", read, 403},
		{"above", "GET", "/raw?resource=filesystem&recursive=true", "", read, 403},
		{"above by prefix", "GET", "/raw?restype=container&comp=list&prefix=in", "", read, 403},
		{"a list with both kinds of folder", "GET", "/raw?restype=container&comp=list&prefix=other/&directory=in", "", read, 403},
		{"a list by the other kind", "GET", "/raw?resource=filesystem&recursive=true&directory=other&prefix=in/", "", read, 403},
		{"writes with a reader's", "PUT", "/raw/in/no?resource=file", "", read, 403},
		{"deletes with a reader's", "DELETE", "/raw/in/deep?recursive=true", "", read, 403},
		{"takes by a rename", "PUT", "/raw/in/taken?mode=legacy", "/raw/other/f", write, 403},
		{"takes with the source's own for reading", "PUT", "/raw/in/taken?mode=legacy", "/raw/other/f?" + whole, write, 403},
		{"deletes the container", "DELETE", "/raw?restype=container", "", vend("lake1/raw", true), 403},
		{"lists containers", "GET", "/?comp=list", "", whole, 403},
		{"more rights", "PUT", "/raw/in/no?resource=file", "", edited(read, "sp", writeRights), 403},
		{"more time", "GET", "/raw/in/deep/f", "", edited(read, "se", "2999-01-01T00:00:00Z"), 403},
		{"another depth", "GET", "/raw/other/f", "", edited(read, "sdd", "0"), 403},
		{"no depth", "GET", "/raw/in/deep/f", "", edited(read, "sdd", "-1"), 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := at + c.path + "&" + c.signature
			if !strings.Contains(c.path, "?") {
				to = at + c.path + "?" + c.signature
			}
			r, err := http.NewRequestWithContext(t.Context(), c.method, to, nil)
			must(t, err)
			if c.source != "" {
				r.Header.Set("x-ms-rename-source", c.source)
			}
			resp, err := http.DefaultTransport.RoundTrip(r)
			must(t, err)
			resp.Body.Close()
			if resp.StatusCode != c.status {
				t.Errorf("got %s %s, want %d", resp.Status, resp.Header.Get("x-ms-error-code"), c.status)
			}
		})
	}
	if _, _, err := s.Vend(t.Context(), "none1/raw", false); err == nil {
		t.Error("a signature for an account that is not here")
	}
}
