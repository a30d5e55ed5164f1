package index_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/api/index"
	"github.com/wherry-ml/wherry/environment"
)

const typeJSON = "application/vnd.pypi.simple.v1+json"

// upstream is a package index with one project, "tiny-thing".
type upstream struct {
	*httptest.Server
	wheel, metadata []byte
	json            bool // the form of its pages
	user, password  string
	plain           bool // tells no hashes

	mu     sync.Mutex
	asked  []string // "GET /path → status", in order
	cut    int      // bytes after which the next answer with the wheel breaks off
	wrong  bool     // gives another file than it tells
	broken bool     // 503 for all
	gate   chan struct{}
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{}
	u.metadata = []byte("Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n")
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range map[string]string{
		"tiny_thing.py": "VALUE = 42\n#" + strings.Repeat("x", 300_000) + "\n", "tiny_thing-1.0.dist-info/METADATA": string(u.metadata),
		"tiny_thing-1.0.dist-info/WHEEL":  "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		"tiny_thing-1.0.dist-info/RECORD": "tiny_thing.py,,\ntiny_thing-1.0.dist-info/METADATA,,\ntiny_thing-1.0.dist-info/WHEEL,,\ntiny_thing-1.0.dist-info/RECORD,,\n",
	} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	u.wheel = b.Bytes()
	u.Server = httptest.NewServer(u)
	t.Cleanup(u.Close)
	return u
}

func digest(b []byte) string { d := sha256.Sum256(b); return hex.EncodeToString(d[:]) }

type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) { s.code = code; s.ResponseWriter.WriteHeader(code) }

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := &status{w, 200}
	defer func() {
		u.mu.Lock()
		u.asked = append(u.asked, fmt.Sprintf("%s %s%s → %d", r.Method, r.URL.Path, r.Header.Get("Range"), s.code))
		u.mu.Unlock()
	}()
	u.mu.Lock()
	broken, wrong, cut := u.broken, u.wrong, u.cut
	u.mu.Unlock()
	user, password, _ := r.BasicAuth()
	switch {
	case broken:
		http.Error(s, "no", http.StatusServiceUnavailable)
	case user != u.user || password != u.password:
		http.Error(s, "sign in", http.StatusUnauthorized)
	case r.URL.Path == "/simple/tiny-thing/":
		u.page(s, r)
	case r.URL.Path == "/f/tiny_thing-1.0-py3-none-any.whl.metadata":
		_, _ = s.Write(u.metadata)
	case r.URL.Path == "/f/tiny_thing-1.0-py3-none-any.whl":
		content := u.wheel
		if wrong {
			content = bytes.Repeat([]byte{'!'}, len(content))
		}
		if u.gate != nil {
			s.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = s.Write(content[:200_000])
			s.ResponseWriter.(http.Flusher).Flush()
			<-u.gate
			_, _ = s.Write(content[200_000:])
			return
		}
		if cut > 0 {
			u.mu.Lock()
			u.cut = 0
			u.mu.Unlock()
			s.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = s.Write(content[:cut])
			return // http.Server breaks the connection
		}
		http.ServeContent(s, r, "", time.Time{}, bytes.NewReader(content))
	default:
		http.NotFound(s, r)
	}
}

func (u *upstream) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", `"one"`)
	if r.Header.Get("If-None-Match") == `"one"` {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	name := "tiny_thing-1.0-py3-none-any.whl"
	if u.json && strings.Contains(r.Header.Get("Accept"), typeJSON) {
		w.Header().Set("Content-Type", typeJSON)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"meta": map[string]string{"api-version": "1.1"}, "name": "tiny-thing", "versions": []string{"1.0"},
			"files": []map[string]any{
				{
					"filename": name, "url": "../../f/" + name, "hashes": map[string]string{"sha256": digest(u.wheel)}, "size": len(u.wheel),
					"requires-python": ">=3.8", "yanked": false, "core-metadata": map[string]string{"sha256": digest(u.metadata)},
				},
				{"filename": "../escape.whl", "url": "x", "hashes": map[string]string{}},
				{"filename": "elsewhere-1.0-py3-none-any.whl", "url": "http://169.254.169.254/latest", "hashes": map[string]string{"sha256": strings.Repeat("a", 64)}},
				{"filename": "old-0.1.tar.gz", "url": "../../f/old", "hashes": map[string]string{"sha256": strings.Repeat("b", 64)}, "yanked": `said "no" <b>`},
			},
		})
		return
	}
	w.Header().Set("Content-Type", "text/html")
	hash := "#sha256=" + digest(u.wheel)
	if u.plain {
		hash = ""
	}
	fmt.Fprintf(w, `<!DOCTYPE html><html><body><a href="../">up</a>
<a href="/f/%s%s" data-requires-python="&gt;=3.8" data-dist-info-metadata="sha256=%s">%s</a><br></body></html>`, name, hash, digest(u.metadata), name)
}

// requests returns what was asked since the last call.
func (u *upstream) requests() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := strings.Join(u.asked, "\n")
	u.asked = nil
	return all
}

// proxy serves the index in front of u, from the cache in dir.
func proxy(t *testing.T, u *upstream, dir string) *httptest.Server {
	t.Helper()
	a, err := index.New(index.Config{Dir: dir, Fresh: time.Nanosecond, Upstream: func(context.Context) (string, error) {
		where := u.URL
		if u.user != "" {
			where = strings.Replace(where, "://", "://"+u.user+":"+u.password+"@", 1)
		}
		return where + "/simple", nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = a.Run(ctx) }()
	s := httptest.NewServer(api.NewMux(nil, a.Routes()...))
	t.Cleanup(func() { s.Close(); cancel(); <-ended })
	return s
}

func get(t *testing.T, target string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, resp.Header, "broken off: " + err.Error()
	}
	return resp.StatusCode, resp.Header, string(b)
}

func (u *upstream) link() string {
	return "/pypi/files/tiny-thing/" + digest(u.wheel) + "/tiny_thing-1.0-py3-none-any.whl"
}

// TestInstallers downloads with the real pip and installs with the real uv, from
// indexes of both forms, then again with the index gone.
func TestInstallers(t *testing.T) {
	e := environment.ForTest(t)
	for _, form := range []string{"html", "json"} {
		t.Run(form, func(t *testing.T) {
			u := newUpstream(t)
			u.json, u.user, u.password = form == "json", "someone", "s3cret"
			p := proxy(t, u, t.TempDir())
			run := func(args ...string) {
				t.Helper()
				c := exec.CommandContext(t.Context(), e.Python, args...)
				c.Dir = t.TempDir()
				c.Env = append(os.Environ(), "PIP_CONFIG_FILE="+os.DevNull, "PIP_NO_CACHE_DIR=1", "PIP_FIND_LINKS=", "UV_NO_CONFIG=1", "UV_FIND_LINKS=", "UV_INDEX=", "UV_DEFAULT_INDEX=", "UV_INDEX_URL=")
				out, err := c.CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %v\n%s", args, err, out)
				}
				if strings.Contains(string(out), "s3cret") {
					t.Errorf("the password shows:\n%s", out)
				}
			}
			install := func() {
				t.Helper()
				run("-m", "pip", "download", "--no-deps", "--index-url", p.URL+"/pypi/simple/", "--dest", ".", "tiny-thing==1.0")
				run("-m", "uv", "pip", "install", "--no-cache", "--target", "here", "--default-index", p.URL+"/pypi/simple/", "Tiny.Thing")
			}
			install()
			asked := u.requests()
			if n := strings.Count(asked, "/f/tiny_thing-1.0-py3-none-any.whl →"); n != 1 {
				t.Errorf("the wheel travelled %d times:\n%s", n, asked)
			}
			u.Close()
			install()
		})
	}
}

func TestPages(t *testing.T) {
	u := newUpstream(t)
	u.json = true
	p := proxy(t, u, t.TempDir())
	code, h, body := get(t, p.URL+"/pypi/simple/Tiny_Thing/", "Accept", typeJSON)
	if code != 200 || h.Get("Content-Type") != typeJSON {
		t.Fatalf("%d %v %s", code, h, body)
	}
	var got struct {
		Name  string
		Files []struct {
			Filename, URL string
			Yanked        any
			Metadata      map[string]string `json:"core-metadata"`
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Files) != 3 || got.Files[0].URL != "../.."+strings.TrimPrefix(u.link(), "/pypi") || got.Files[0].Metadata["sha256"] != digest(u.metadata) {
		t.Errorf("%+v", got)
	}
	if strings.Contains(body, u.URL) {
		t.Errorf("a link leads around us:\n%s", body)
	}
	_, h, body = get(t, p.URL+"/pypi/simple/tiny-thing/")
	if !strings.HasPrefix(h.Get("Content-Type"), "text/html") || !strings.Contains(body, `data-yanked="said &#34;no&#34; &lt;b&gt;"`) || !strings.Contains(body, `data-requires-python="&gt;=3.8"`) {
		t.Errorf("%v\n%s", h, body)
	}
	if asked := u.requests(); asked != "GET /simple/tiny-thing/ → 200\nGET /simple/tiny-thing/ → 304" {
		t.Errorf("not asked again as it should:\n%s", asked)
	}

	u.mu.Lock()
	u.broken = true
	u.mu.Unlock()
	if code, h, _ = get(t, p.URL+"/pypi/simple/tiny-thing/"); code != 200 || h.Get("Warning") == "" {
		t.Errorf("no stale page: %d %v", code, h)
	}
	for target, want := range map[string]int{
		"/pypi/simple/other/": 502, "/pypi/simple/": 501, "/pypi/simple/a%2fb/": 404, "/pypi/simple/.a/": 404,
		"/pypi/files/tiny-thing/" + strings.Repeat("b", 64) + "/nothing.whl": 404,
	} {
		if code, _, body = get(t, p.URL+target); code != want {
			t.Errorf("%s: %d %s", target, code, body)
		}
	}
	u.mu.Lock()
	u.broken = false
	u.mu.Unlock()
	if code, _, _ = get(t, p.URL+"/pypi/simple/other/"); code != 404 {
		t.Errorf("a project that there is not: %d", code)
	}
	// The index may not send us to where it likes.
	code, _, body = get(t, p.URL+"/pypi/files/tiny-thing/"+strings.Repeat("a", 64)+"/elsewhere-1.0-py3-none-any.whl")
	if code != 502 || !strings.Contains(body, "not a public host") {
		t.Errorf("a file at an address: %d %s", code, body)
	}
}

func TestFiles(t *testing.T) {
	u := newUpstream(t)
	p := proxy(t, u, t.TempDir())
	if code, _, body := get(t, p.URL+u.link()+".metadata"); code != 200 || body != string(u.metadata) {
		t.Errorf("metadata: %d %s", code, body)
	}
	code, h, body := get(t, p.URL+u.link(), "Range", "bytes=10-19")
	if code != 206 || body != string(u.wheel[10:20]) {
		t.Errorf("a part: %d %v %q", code, h, body)
	}
	if h.Get("Cache-Control") != "no-store" {
		t.Errorf("on this machine a second copy is asked for: %v", h)
	}
	if code, h, _ = get(t, p.URL+u.link(), "If-None-Match", `"`+digest(u.wheel)+`"`); code != 304 {
		t.Errorf("what is had already: %d %v", code, h)
	}
	if n := strings.Count(u.requests(), ".whl →"); n != 1 {
		t.Errorf("the wheel travelled %d times", n)
	}
}

// TestUnverified passes on what no sha256 is told of, and keeps nothing of it.
func TestUnverified(t *testing.T) {
	u := newUpstream(t)
	u.plain = true
	dir := t.TempDir()
	p := proxy(t, u, dir)
	code, _, body := get(t, p.URL+"/pypi/files/tiny-thing/-/tiny_thing-1.0-py3-none-any.whl")
	if code != 200 || body != string(u.wheel) {
		t.Errorf("%d, %d bytes", code, len(body))
	}
	if kept, _ := os.ReadDir(filepath.Join(dir, "files")); len(kept) != 0 {
		t.Errorf("kept %v", kept)
	}
}

func TestResume(t *testing.T) {
	u := newUpstream(t)
	u.cut = 150_000
	p := proxy(t, u, t.TempDir())
	if code, _, body := get(t, p.URL+u.link()); code != 502 && !strings.HasPrefix(body, "broken off") {
		t.Fatalf("a file that broke off was whole: %d bytes", len(body))
	}
	code, _, body := get(t, p.URL+u.link())
	if code != 200 || body != string(u.wheel) {
		t.Errorf("%d, %d bytes", code, len(body))
	}
	if asked := u.requests(); !strings.Contains(asked, "whlbytes=150000- → 206") {
		t.Errorf("it was not resumed:\n%s", asked)
	}
}

// TestWrongFile holds that nobody gets the whole of a file that is not what the
// page tells, and that the right one is taken later.
func TestWrongFile(t *testing.T) {
	u := newUpstream(t)
	u.wrong = true
	p := proxy(t, u, t.TempDir())
	if code, _, body := get(t, p.URL+u.link()); code != 502 && !strings.HasPrefix(body, "broken off") {
		t.Errorf("it was given on: %d, %d bytes", code, len(body))
	}
	u.mu.Lock()
	u.wrong = false
	u.mu.Unlock()
	if code, _, body := get(t, p.URL+u.link()); code != 200 || body != string(u.wheel) {
		t.Errorf("%d, %d bytes", code, len(body))
	}
}

// TestStreams holds that a file is given on before all of it is here, and that
// two who ask at once share one download.
func TestStreams(t *testing.T) {
	u := newUpstream(t)
	u.gate = make(chan struct{})
	open := sync.OnceFunc(func() { close(u.gate) })
	t.Cleanup(open)
	p := proxy(t, u, t.TempDir())
	responses := make([]*http.Response, 2)
	for i := range responses {
		resp, err := http.Get(p.URL + u.link())
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.CopyN(io.Discard, resp.Body, 100_000); err != nil {
			t.Fatal(err)
		}
		responses[i] = resp
	}
	open()
	for _, resp := range responses {
		rest, err := io.ReadAll(resp.Body)
		if err != nil || !bytes.Equal(rest, u.wheel[100_000:]) {
			t.Errorf("%d bytes: %v", len(rest), err)
		}
	}
	if n := strings.Count(u.requests(), ".whl →"); n != 1 {
		t.Errorf("the wheel travelled %d times", n)
	}
}

func TestItselfIsNoUpstream(t *testing.T) {
	u := newUpstream(t)
	p := proxy(t, u, t.TempDir())
	a, err := index.New(index.Config{Dir: t.TempDir(), Upstream: func(context.Context) (string, error) { return p.URL + "/pypi/simple", nil }})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/pypi/simple/x/", nil)
	r.Host = strings.TrimPrefix(p.URL, "http://")
	w := httptest.NewRecorder()
	api.NewMux(nil, a.Routes()...).ServeHTTP(w, r)
	if w.Code != 502 || !strings.Contains(w.Body.String(), "is this server") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestPasswordStaysHere refuses another machine what the index asks a password
// for.
func TestPasswordStaysHere(t *testing.T) {
	a, err := index.New(index.Config{Dir: t.TempDir(), Upstream: func(context.Context) (string, error) { return "https://me:s3cret@packages.invalid/simple", nil }})
	if err != nil {
		t.Fatal(err)
	}
	mux := api.NewMux(nil, a.Routes()...)
	for from, want := range map[string]int{"192.0.2.7:1234": 403, "127.0.0.1:1234": 502} {
		r := httptest.NewRequest(http.MethodGet, "/pypi/simple/x/", nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != want || strings.Contains(w.Body.String(), "s3cret") || strings.Contains(w.Body.String(), "me:") {
			t.Errorf("from %s: %d %s", from, w.Code, w.Body)
		}
	}
}
