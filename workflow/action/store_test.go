package action

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestServerThatComesBack: what breaks off with a server that is killed is sent,
// or fetched, again from its beginning; a refusal is told at once.
func TestServerThatComesBack(t *testing.T) {
	space(t, "c/x")
	var out bytes.Buffer
	calls, kept := map[string]int{}, []byte(nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		what := r.Method + " " + r.URL.Path
		calls[what]++
		if what == "GET /caches/key" && calls[what] == 2 { // as a kill -9 may end it: the connection is reset
			w.Header().Set("Content-Length", fmt.Sprint(len(kept)))
			_, _ = w.Write(kept[:len(kept)/2])
			rc := http.NewResponseController(w)
			flushed := rc.Flush()
			conn, _, err := rc.Hijack()
			if err = errors.Join(flushed, err); err != nil {
				t.Error(err)
				return
			}
			tcp, ok := conn.(*net.TCPConn)
			if !ok {
				t.Errorf("a %T", conn)
				return
			}
			if err := errors.Join(tcp.SetLinger(0), tcp.Close()); err != nil {
				t.Error(err)
			}
			return
		}
		if calls[what] == 1 && !strings.HasSuffix(r.URL.Path, "refused") { // it dies in the middle
			_, _ = io.CopyN(io.Discard, r.Body, 10)
			if r.Method == http.MethodGet && kept != nil {
				w.Header().Set("Content-Length", fmt.Sprint(len(kept)))
				_, _ = w.Write(kept[:len(kept)/2])
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
			}
			panic(http.ErrAbortHandler)
		}
		switch {
		case strings.HasSuffix(r.URL.Path, "refused"):
			http.Error(w, "not you", http.StatusForbidden)
		case r.Method == http.MethodPut:
			kept, _ = io.ReadAll(r.Body)
		case r.URL.Path == "/caches":
			fmt.Fprint(w, `{"names": []}`)
		default:
			_, _ = w.Write(kept)
		}
	}))
	defer server.Close()
	c := &call{Tools: Tools{Dir: t.TempDir(), Caches: server.URL + "/caches"}, out: &out, inputs: map[string]string{}}
	if err := c.save(t.Context(), "key", []string{"c"}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.restore(t.Context(), "key", nil); err != nil || got != "key" {
		t.Errorf("%q, %v", got, err)
	}
	for what, want := range map[string]int{"GET /caches": 2, "PUT /caches/key": 2, "GET /caches/key": 3} {
		if calls[what] != want {
			t.Errorf("%s was called %d times, want %d", what, calls[what], want)
		}
	}
	if _, err := c.get(t.Context(), caches, "refused"); err == nil || !strings.Contains(err.Error(), "403 Forbidden: not you") {
		t.Error(err)
	}
	if n := calls["GET /caches/refused"]; n != 1 || !strings.Contains(out.String(), "it is asked again") || strings.Count(out.String(), "answer broke off") != 2 {
		t.Errorf("%d calls; the step says %s", n, &out)
	}
}

// TestRefusedUpload: a server that refuses a large file before it has read it is
// asked once, and its words are the error.
func TestRefusedUpload(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, `{"error_code":"QUOTA_EXCEEDED","message":"too large"}`)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 64<<20); err != nil {
		t.Fatal(err)
	}
	c := &call{Tools: Tools{Dir: t.TempDir(), Caches: server.URL}, out: io.Discard}
	if err := c.put(t.Context(), caches, "a", file, nil); err == nil || !strings.Contains(err.Error(), "too large") || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}
