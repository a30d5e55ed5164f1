package storage

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestConditionsAreAtomic: of writers that all saw the same ETag one wins, and
// the others are told.
func TestConditionsAreAtomic(t *testing.T) {
	url, _, dir := endpoint(t)
	must(t, os.MkdirAll(filepath.Join(dir.Lake(), "lake1", "own"), 0o755))
	send := func(method, path, match string) (int, string, error) {
		req, err := http.NewRequestWithContext(t.Context(), method, url+"/own/f"+path, strings.NewReader("text"))
		if err != nil {
			return 0, "", err
		}
		req.Header.Set("Authorization", "Bearer reader")
		req.Header.Set("x-ms-blob-type", "BlockBlob")
		if match != "" {
			req.Header.Set("If-Match", match)
		}
		if strings.Contains(path, "setProperties") {
			req.Header.Set("x-ms-properties", "a=Yg==")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, "", err
		}
		return res.StatusCode, res.Header.Get("ETag"), res.Body.Close()
	}
	for _, c := range []struct{ method, path string }{{"PUT", ""}, {"PATCH", "?action=setProperties"}, {"PATCH", "?action=flush&position=4"}, {"PUT", "?resource=file"}} {
		for range 15 {
			status, tag, err := send("PUT", "", "")
			if err != nil || status != http.StatusCreated {
				t.Fatal(status, err)
			}
			var won, lost atomic.Int32
			var g errgroup.Group
			for range 8 {
				g.Go(func() error {
					status, _, err := send(c.method, c.path, tag)
					switch {
					case status == http.StatusPreconditionFailed:
						lost.Add(1)
					case status/100 == 2:
						won.Add(1)
					}
					return err
				})
			}
			must(t, g.Wait())
			if won.Load() != 1 || lost.Load() != 7 {
				t.Fatalf("%s %s: %d of 8 writers won, %d were told", c.method, c.path, won.Load(), lost.Load())
			}
		}
	}
}
