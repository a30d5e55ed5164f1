package git_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	gitstore "github.com/wherry-ml/wherry/store/git"
)

// forge is a small forge of the test's own: a real repository behind git's own
// http-backend that asks for a sign-in, and an API that keeps what it is told.
type forge struct {
	*site
	URL   string
	dir   string // of the repository
	mu    sync.Mutex
	told  []string // METHOD path body
	fails int      // answers 503 to that many calls
}

const forgeToken = "forge-token-1"

func newForge(s *site) *forge {
	s.Helper()
	f := &forge{site: s, dir: filepath.Join(s.root, "forge", "team", "app.git")}
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		s.Fatal(err)
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		s.Fatal(err)
	}
	s.run(f.dir, "init", "-q", "--bare", "-b", "main")
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"), Root: "/",
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Join(s.root, "forge"), "GIT_HTTP_EXPORT_ALL=1"},
	}
	if _, err := os.Stat(backend.Path); err != nil {
		s.Skip("git has no http-backend here")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rest, ok := strings.CutPrefix(r.URL.Path, "/api"); ok {
			f.api(w, r, rest)
			return
		}
		if _, password, _ := r.BasicAuth(); password != forgeToken {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	s.Cleanup(server.Close)
	f.URL = server.URL
	return f
}

func (f *forge) api(w http.ResponseWriter, r *http.Request, path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, password, _ := r.BasicAuth()
	if !strings.Contains(r.Header.Get("Authorization")+r.Header.Get("PRIVATE-TOKEN")+password, forgeToken) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if f.fails > 0 {
		f.fails--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.told = append(f.told, r.Method+" "+path+" "+string(body))
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write([]byte(`{"id": 42}`))
}

// hears waits until the API was told of n things, and returns them.
func (f *forge) hears(n int) (told []string) {
	f.Helper()
	f.until(func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		told = append([]string(nil), f.told...)
		return len(told) >= n
	})
	return told
}

// until waits for something that another process, or the server's own loops, do.
func (s *site) until(done func() bool) {
	s.Helper()
	deadline := time.After(time.Minute)
	for tick := time.NewTicker(20 * time.Millisecond); !done(); {
		select {
		case <-tick.C:
		case <-deadline:
			s.Fatal("it does not come")
		}
	}
}

// push commits a file to a branch of the forge's repository.
func (f *forge) push(branch, file, text string) string {
	f.Helper()
	dir := f.TempDir()
	f.run(dir, "clone", "-q", f.dir, ".")
	if branch != "main" || strings.TrimSpace(f.run(dir, "branch", "-r")) == "" {
		f.run(dir, "checkout", "-q", "-B", branch)
	}
	sha := f.commit(dir, file, text)
	f.run(dir, "push", "-q", "origin", "HEAD:"+branch)
	return sha
}

// mirror makes the repository "app" follow the forge's.
func (f *forge) mirror(kind string, more map[string]any) {
	f.Helper()
	in := map[string]any{"url": f.URL + "/team/app.git", "forge": kind, "token": forgeToken, "api_url": f.URL + "/api"}
	for k, v := range more {
		in[k] = v
	}
	f.call("PUT", "/api/wherry/repos/app/mirror", in, nil)
}

// TestMirror follows a repository that is elsewhere: what was there is no push,
// what comes is one.
func TestMirror(t *testing.T) {
	s := newSite(t, nil)
	f := newForge(s)
	first := f.push("main", "a.txt", "a")
	mirror := "/api/wherry/repos/app/mirror"
	s.denied(wherry.CodeInvalidState, "cannot be read", "PUT", mirror, map[string]any{"url": f.URL + "/team/app.git", "token": "wrong"})
	for _, bad := range []string{"ext::sh -c id", "-u", "ftp://x/y", "https://user:pw@x/y", "https:///y", "https://-x/y", "/etc"} {
		if err := s.ask("PUT", mirror, map[string]any{"url": bad}, nil); wherry.CodeOf(err) != wherry.CodeInvalidParameter {
			t.Errorf("%q: %v", bad, err)
		}
	}
	f.mirror("", map[string]any{"seconds": 1})
	if n := len(s.pushes("app")); n != 0 {
		t.Errorf("what was there is %d pushes", n)
	}
	if out := s.run(s.root, "ls-remote", s.url("app"), "main"); !strings.HasPrefix(out, first) {
		t.Errorf("the mirror has %s", out)
	}
	second := f.push("main", "b.txt", "b") // found by looking
	s.until(func() bool { return len(s.pushes("app")) == 1 })
	if p := s.pushes("app")[0]; p.New != second || p.Old != first || p.Forced || p.Actor != "mirror" {
		t.Errorf("%+v", p)
	}
	s.refused(s.work("app"), []string{"remote: app is a mirror of " + f.URL}, "push", "origin", "main")
	s.denied(wherry.CodePermissionDenied, "is a mirror", "POST", "/api/wherry/repos/app/pulls", map[string]any{"head": "x"})
	var b bytes.Buffer
	err := filepath.WalkDir(string(s.State), func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(name)
		if bytes.Contains(text, []byte(forgeToken)) {
			b.WriteString(name)
		}
		return err
	})
	if err != nil || b.Len() > 0 {
		t.Errorf("the token is in clear in %s (%v)", &b, err)
	}
}

// hook sends a webhook and returns the status and the answer.
func (s *site) hook(kind, body string, header map[string]string) (int, string) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), "POST", s.URL+"/api/wherry/hooks/app/"+kind, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func signed(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// TestWebhooks: a wrong signature does nothing and is written down; a right one
// does what it says once, however often it is sent.
func TestWebhooks(t *testing.T) {
	s := newSite(t, nil)
	f := newForge(s)
	f.push("main", "a.txt", "a")
	f.mirror("github", nil)
	var hook struct{ URL, Secret string }
	s.call("PUT", "/api/wherry/repos/app/hooks/github", map[string]any{}, &hook)
	if len(hook.Secret) != 64 || hook.URL != s.URL+"/api/wherry/hooks/app/github" {
		t.Fatalf("%+v", hook)
	}
	second := f.push("main", "b.txt", "b")
	push := `{"ref":"refs/heads/main","sender":{"login":"grace"}}`
	for _, c := range []map[string]string{
		{},
		{"X-Hub-Signature-256": "sha256=" + strings.Repeat("0", 64)},
		{"X-Hub-Signature-256": "sha256=zz"},
		{"X-Hub-Signature-256": signed("another secret", push)},
		{"X-Hub-Signature-256": signed(hook.Secret, push+" ")},
	} {
		if status, body := s.hook("github", push, c); status != http.StatusUnauthorized {
			t.Errorf("%v: %d %s", c, status, body)
		}
	}
	for _, kind := range []string{"gitlab", "azure-devops", "other"} { // no secret is set for them
		if status, body := s.hook(kind, push, map[string]string{"X-Gitlab-Token": ""}); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", kind, status, body)
		}
	}
	if n := len(s.pushes("app")); n != 0 {
		t.Fatalf("a wrong signature made %d pushes", n)
	}
	var refusals int
	err := s.open().Read(t.Context(), func(tx *store.Tx) error {
		return tx.Row(`SELECT count(*) FROM event WHERE kind = 'git.hook.refused' AND subject = 'app' AND payload LIKE '%X-Hub-Signature-256%'`).Scan(&refusals)
	})
	if err != nil || refusals != 5 {
		t.Errorf("%d refusals are written down (%v), want 5", refusals, err)
	}

	github := func(event, delivery, body string) (int, string) {
		return s.hook("github", body, map[string]string{"X-Hub-Signature-256": signed(hook.Secret, body), "X-GitHub-Event": event, "X-GitHub-Delivery": delivery})
	}
	if status, body := github("push", "d1", push); status != http.StatusAccepted || !strings.Contains(body, "accepted") {
		t.Errorf("%d %s", status, body)
	}
	s.until(func() bool { return len(s.pushes("app")) == 1 })
	if p := s.pushes("app")[0]; p.New != second || p.Actor != "grace" {
		t.Errorf("%+v", p)
	}
	if _, body := github("push", "d1", push); !strings.Contains(body, "known already") {
		t.Errorf("the same again: %s", body)
	}
	if _, body := github("star", "d2", `{"sender":{}}`); !strings.Contains(body, "ignored") {
		t.Errorf("an event that means nothing: %s", body)
	}
	if status, body := github("pull_request", "d3", `{"action":"opened","pull_request":{"number":1,"head":{"ref":"x","sha":"-f"}}}`); status != http.StatusBadRequest {
		t.Errorf("a broken body: %d %s", status, body)
	}

	// A pull request from a fork, as GitHub offers it: a ref, and no branch.
	head := f.push("topic", "c.txt", "c")
	f.run(f.dir, "update-ref", "refs/pull/7/head", head)
	f.run(f.dir, "update-ref", "-d", "refs/heads/topic")
	request := func(action, state string) string {
		return fmt.Sprintf(`{"action":%q,"sender":{"login":"eve"},"repository":{"full_name":"team/app"},"pull_request":{"number":7,"title":"c","merged":%v,"merge_commit_sha":%q,
			"user":{"login":"eve"},"base":{"ref":"main","repo":{"full_name":"team/app"}},"head":{"ref":"topic","sha":%q,"repo":{"full_name":"eve/app"}}}}`, action, state == "merged", second, head)
	}
	for i, action := range []string{"opened", "opened", "edited", "closed"} {
		if status, body := github("pull_request", fmt.Sprint("p", i), request(action, "merged")); status != http.StatusAccepted {
			t.Fatalf("%s: %d %s", action, status, body)
		}
	}
	s.until(func() bool { return len(s.actions()) == 2 })
	if got := strings.Join(s.actions(), ", "); got != "7 opened open, 7 closed merged" {
		t.Errorf("the queue has %s", got)
	}
	waiting, err := gitstore.New(s.open()).Pending(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range waiting {
		if w.Pull != nil && (!w.Pull.Fork() || w.Pull.HeadRepo != "eve/app" || w.Pull.HeadSHA != head || w.Pull.Author != "eve") {
			t.Errorf("%+v", w.Pull)
		}
	}
}

// asked is a body that knows whether the server asked for it.
type asked struct {
	io.Reader
	read bool
}

func (a *asked) Read(p []byte) (int, error) {
	a.read = true
	return a.Reader.Read(p)
}

// TestHookWithoutSecret: the body of a webhook is not asked for where no secret
// is set for it.
func TestHookWithoutSecret(t *testing.T) {
	s := newSite(t, nil)
	s.run(s.work("app"), "push", "-q", "origin", "main")
	s.call("PUT", "/api/wherry/repos/app/hooks/github", map[string]any{}, nil)
	patient := &http.Transport{ExpectContinueTimeout: time.Minute}
	defer patient.CloseIdleConnections()
	for path, want := range map[string]bool{"none/github": false, "app/gitlab": false, "app/other": false, "app/github": true} {
		body := &asked{Reader: strings.NewReader("{}")}
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/api/wherry/hooks/"+path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = 2
		r.Header.Set("Expect", "100-continue")
		resp, err := patient.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized || body.read != want {
			t.Errorf("%s: %s, and the body was asked for: %v", path, resp.Status, body.read)
		}
	}
}

// TestOtherForges: GitLab's token and Azure DevOps' basic authentication, and
// what each says of pull requests.
func TestOtherForges(t *testing.T) {
	for kind, c := range map[string]struct {
		sign   func(secret string) map[string]string
		opened string
	}{
		"gitlab": {
			func(secret string) map[string]string {
				return map[string]string{"X-Gitlab-Token": secret, "Idempotency-Key": "1"}
			},
			`{"object_kind":"merge_request","user":{"username":"grace"},"object_attributes":{"iid":3,"title":"t","target_branch":"main","source_branch":"topic",
			"source_project_id":1,"target_project_id":1,"action":"open","last_commit":{"id":"HEAD"}}}`,
		},
		"azure-devops": {
			func(secret string) map[string]string {
				r := &http.Request{Header: http.Header{}}
				r.SetBasicAuth("hooks", secret)
				return map[string]string{"Authorization": r.Header.Get("Authorization")}
			},
			`{"id":"1","eventType":"git.pullrequest.created","resource":{"pullRequestId":3,"status":"active","title":"t","sourceRefName":"refs/heads/topic",
			"targetRefName":"refs/heads/main","lastMergeSourceCommit":{"commitId":"HEAD"},"createdBy":{"uniqueName":"grace"}}}`,
		},
	} {
		t.Run(kind, func(t *testing.T) {
			s := newSite(t, nil)
			f := newForge(s)
			f.push("main", "a.txt", "a")
			f.mirror(kind, nil)
			var hook struct{ Secret string }
			s.call("PUT", "/api/wherry/repos/app/hooks/"+kind, map[string]any{}, &hook)
			head := f.push("topic", "b.txt", "b")
			f.run(f.dir, "update-ref", "refs/merge-requests/3/head", head)
			body := strings.ReplaceAll(c.opened, "HEAD", head)
			if status, answer := s.hook(kind, body, c.sign("wrong")); status != http.StatusUnauthorized {
				t.Errorf("a wrong secret: %d %s", status, answer)
			}
			if status, answer := s.hook(kind, body, c.sign(hook.Secret)); status != http.StatusAccepted {
				t.Errorf("the right secret: %d %s", status, answer)
			}
			s.until(func() bool { return len(s.actions()) == 1 })
			var p pull
			s.call("GET", "/api/wherry/repos/app/pulls/3", nil, &p)
			if p.HeadSHA != head || p.State != "open" || p.MergeSHA == "" || p.HeadRepo != "" {
				t.Errorf("%+v", p)
			}
			if list := s.pushes("app"); len(list) != 1 || list[0].Actor != "grace" {
				t.Errorf("%+v", list)
			}
		})
	}
}

// TestReports: statuses and deployments reach the forge in its own words, though
// it does not answer at first; without the admin's word nothing is told.
func TestReports(t *testing.T) {
	for kind, want := range map[string][]string{
		"github": {
			`POST /repos/team/app/statuses/SHA {"context":"ci","description":"well","state":"success","target_url":"SERVER/ci/1"}`,
			`POST /repos/team/app/deployments {"auto_merge":false,"description":"","environment":"prod","ref":"SHA","required_contexts":[]}`,
			`POST /repos/team/app/deployments/42/statuses {"description":"","state":"success"}`,
			`POST /repos/team/app/deployments/42/statuses {"description":"","state":"inactive"}`,
		},
		"gitlab": {
			`POST /projects/team/app/statuses/SHA {"description":"well","name":"ci","state":"success","target_url":"SERVER/ci/1"}`,
			`POST /projects/team/app/deployments {"environment":"prod","ref":"main","sha":"SHA","status":"success","tag":false}`,
			`PUT /projects/team/app/deployments/42 {"status":"canceled"}`,
		},
		"azure-devops": {
			`POST /_apis/git/repositories/team/app/commits/SHA/statuses {"context":{"genre":"wherry","name":"ci"},"description":"well","state":"succeeded","targetUrl":"SERVER/ci/1"}`,
			`POST /_apis/git/repositories/team/app/commits/SHA/statuses {"context":{"genre":"wherry","name":"deployment/prod"},"description":"","state":"succeeded","targetUrl":""}`,
			`POST /_apis/git/repositories/team/app/commits/SHA/statuses {"context":{"genre":"wherry","name":"deployment/prod"},"description":"","state":"succeeded","targetUrl":""}`,
		},
	} {
		t.Run(kind, func(t *testing.T) {
			s := newSite(t, nil)
			f := newForge(s)
			sha := f.push("main", "a.txt", "a")
			f.mirror(kind, nil)
			s.status("app", sha, "ci", "pending") // nobody asked for reports yet
			f.mirror(kind, map[string]any{"reports": true})
			f.mu.Lock()
			f.fails = 2
			f.mu.Unlock()
			s.call("POST", "/api/wherry/repos/app/commits/"+sha+"/statuses", map[string]any{"context": "ci", "state": "success", "description": "well", "path": "/ci/1"}, nil)
			f.hears(1)
			deploy := func(state string) {
				in := gitstore.Deployment{Key: "d1", SHA: sha, Ref: "refs/heads/main", Environment: "prod", State: state}
				s.call("POST", "/api/wherry/repos/app/deployments", in, nil)
			}
			deploy("success")
			f.hears(len(want) - 1)
			deploy("inactive")
			told := f.hears(len(want))
			got := strings.Join(told, "\n")
			if w := strings.NewReplacer("SHA", sha, "SERVER", s.URL).Replace(strings.Join(want, "\n")); got != w {
				t.Errorf("it heard\n%s\nwant\n%s", got, w)
			}
			for _, line := range told {
				if doc := line[strings.Index(line, "{"):]; !json.Valid([]byte(doc)) {
					t.Errorf("%s is not JSON", doc)
				}
			}
			var r struct{ Unreported []string }
			s.until(func() bool {
				s.call("GET", "/api/wherry/repos/app", nil, &r)
				return len(r.Unreported) == 0
			})
		})
	}
}
