package storage

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRenameNeedsBothContainers: what a rename takes away must be the caller's
// to write as well, however the source is spelled.
func TestRenameNeedsBothContainers(t *testing.T) {
	url, _, dir := endpoint(t)
	file := func(name string) string { return filepath.Join(dir.Lake(), "lake1", name) }
	for _, name := range []string{"raw/secret", "own/mine", "lake1/secret"} {
		must(t, os.MkdirAll(filepath.Dir(file(name)), 0o755))
		must(t, os.WriteFile(file(name), []byte(name), 0o600))
	}
	rename := func(host, path, source string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "PUT", url+path, nil)
		must(t, err)
		if host != "" {
			req.Host, req.URL.Path = host, strings.TrimPrefix(req.URL.Path, "/lake1")
		}
		req.Header.Set("Authorization", "Bearer reader")
		req.Header.Set("x-ms-rename-source", source)
		res, err := http.DefaultClient.Do(req)
		must(t, err)
		must(t, res.Body.Close())
		return res.StatusCode
	}
	const hostStyle = "lake1.dfs.core.windows.net"
	for _, c := range []struct{ host, source string }{
		{"", "/raw/secret"},
		{"", "/lake1/raw/secret"},
		{"", "%2Fraw%2Fsecret?x=y"},
		{"", "//raw//secret"},
		{"", "/lake1/own/../raw/secret"},
		{hostStyle, "/raw/secret"},
		{hostStyle, "/lake1/secret"},
		{hostStyle, "/lake1/raw/secret"},
	} {
		if got := rename(c.host, "/own/got", c.source); got != http.StatusForbidden && got != http.StatusBadRequest {
			t.Errorf("%s from %s: %d", c.host, c.source, got)
		}
	}
	for _, name := range []string{"raw/secret", "lake1/secret"} {
		if _, err := os.Stat(file(name)); err != nil {
			t.Errorf("a file of another container was moved: %v", err)
		}
	}
	if got := rename("", "/own/a", "/lake1/own/mine"); got != http.StatusCreated {
		t.Errorf("a rename within the own container: %d", got)
	}
	if got := rename(hostStyle, "/own/b", "/own/a"); got != http.StatusCreated {
		t.Errorf("the same by the production host name: %d", got)
	}
	if got := rename("", "/raw/b", "/own/b"); got != http.StatusForbidden {
		t.Errorf("into a container that may only be read: %d", got)
	}
}
