package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/store"
)

// gate stands between a deployer and the server. A request that begins with
// shut is held there until the deployer is dead; then it goes on, if it had
// been sent whole.
type gate struct {
	shut    atomic.Pointer[string] // "PUT /path"
	arrived chan struct{}
	open    chan struct{}
	passed  chan struct{}
}

func (g *gate) close(at string) {
	g.arrived, g.open, g.passed = make(chan struct{}, 100), make(chan struct{}), make(chan struct{}, 100)
	g.shut.Store(&at)
}

func newGate(t *testing.T, server string) (g *gate, address string) {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	g = &gate{}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = target.Host
		if at := g.shut.Load(); at != nil && strings.HasPrefix(r.Method+" "+r.URL.Path, *at) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			g.arrived <- struct{}{}
			<-g.open
			r.Body = io.NopCloser(bytes.NewReader(body))
			ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context())) // the proxy sees the end of what cannot be cancelled
			defer cancel()
			r = r.WithContext(ctx)
			defer func() { g.passed <- struct{}{} }()
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return g, p.URL
}

// project is a bundle that is deployed through a gate.
type project struct {
	t      *testing.T
	dir    string
	server *servertest.Server
	state  string // names the gate as the server
}

func (p *project) write(text string) {
	p.t.Helper()
	yml := "bundle: {name: killed}\nresources: {jobs: {j: {name: killed, description: " + text + ", tasks: [{task_key: a, spark_python_task: {python_file: a.py}}]}}}\n"
	for name, content := range map[string]string{"a.py": text, "databricks.yml": yml} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *project) deployer(state string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(p.t.Context(), "wherry", append([]string{"bundle", "deploy", "--state", state, "-o", "json"}, args...)...)
	cmd.Dir = p.dir
	return cmd
}

// deploy deploys without a gate.
func (p *project) deploy(args ...string) *deploy.Report {
	p.t.Helper()
	cmd := p.deployer(string(p.server.State), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	report := &deploy.Report{}
	if err != nil || json.Unmarshal(out, report) != nil {
		p.t.Fatalf("deploy: %v\n%s%s", err, &stderr, out)
	}
	return report
}

// is checks that file and job are both of one version.
func (p *project) is(want string) {
	p.t.Helper()
	file, err := os.ReadFile(p.server.State.Path("workspace", "1", "Users", "admin@localhost", ".bundle", "killed", "default", "files", "a.py"))
	if err != nil || string(file) != want {
		p.t.Errorf("the file is %q (%v), want %q", file, err, want)
	}
	var list struct {
		Jobs []struct {
			Settings struct{ Description string }
		}
	}
	err = client.New(p.server.URL, p.server.Token).Do(p.t.Context(), "GET", "/api/2.2/jobs/list?name=killed", nil, &list)
	if err != nil || len(list.Jobs) != 1 || list.Jobs[0].Settings.Description != want {
		p.t.Errorf("the jobs are %+v (%v), want one that says %q", list.Jobs, err, want)
	}
}

// A deployer that is killed leaves the old version whole, or the new one if all
// of it had been sent; a repeat is not in its way.
func TestDeployerKilled(t *testing.T) {
	p := &project{t: t, dir: t.TempDir(), server: servertest.Start(t, nil), state: t.TempDir()}
	g, address := newGate(t, p.server.URL)
	info, err := json.Marshal(client.Info{URL: address, PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"server.json": info, "admin-token": []byte(p.server.Token)} {
		if err := os.WriteFile(filepath.Join(p.state, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, at := range []struct {
		request string
		sent    bool // all of the deploy
	}{
		{"POST /api/wherry/deployments/plan", false},
		{"PUT /api/wherry/deployments/blobs/", false},
		{"POST /api/wherry/deployments/deploy", true},
	} {
		before, after := fmt.Sprint("old", i), fmt.Sprint("new", i)
		p.write(before)
		p.deploy()
		p.write(after)
		g.close(at.request)
		cmd := p.deployer(p.state)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-g.arrived:
		case err := <-ended:
			t.Fatalf("it ended before %s: %v\n%s", at.request, err, &stderr)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-ended // "signal: killed"
		close(g.open)
		<-g.passed
		if at.sent {
			p.is(after)
		} else {
			p.is(before)
		}
		if r := p.deploy(); r.Changed == at.sent {
			t.Errorf("killed at %s: the repeat reports %+v", at.request, r)
		}
		p.is(after)
	}
}

// A deployer of the public API that died holds its lock until its lease is
// over: others are told, wait, and go on by themselves, or take the lock.
func TestLockOfADeadDeployer(t *testing.T) {
	p := &project{t: t, dir: t.TempDir(), server: servertest.Start(t, nil)}
	ctx, c := t.Context(), client.New(p.server.URL, p.server.Token)
	p.write("old")
	r := p.deploy()
	lock := func(version int64) {
		t.Helper()
		path := fmt.Sprintf("/api/2.0/bundle/deployments/%s/versions?version_id=%d", r.DeploymentID, version)
		if err := c.Do(ctx, "POST", path, map[string]any{"version_type": "VERSION_TYPE_DEPLOY", "cli_version": "1"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	lock(r.Version + 1)
	p.write("new")
	cmd := p.deployer(string(p.server.State))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines := bufio.NewScanner(stderr); !strings.Contains(said, "waiting") && lines.Scan(); {
		said += lines.Text()
	}
	if !strings.Contains(said, "admin@localhost has been deploying /Workspace/Users/admin@localhost/.bundle/killed/default since") || !strings.Contains(said, "take the lock with --force-lock") {
		t.Errorf("it says %q", said)
	}
	p.is("old")
	expire(ctx, t, p.server, r.DeploymentID)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("after the lease: %v", err)
	}
	p.is("new")

	lock(r.Version + 3)
	p.write("newer")
	if got := p.deploy("--force-lock"); got.Version != r.Version+4 {
		t.Errorf("version %d after the lock was taken, want %d", got.Version, r.Version+4)
	}
	p.is("newer")
}

// expire ends the lease of the version in progress.
func expire(ctx context.Context, t *testing.T, s *servertest.Server, deployment string) {
	t.Helper()
	db, err := store.Open(ctx, "sqlite://"+s.State.Path("wherry.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Write(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		_, err = tx.Exec(`UPDATE deployment_version SET expires_at = $1 WHERE deployment_id = $2 AND completed_at = 0`, now, deployment)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
