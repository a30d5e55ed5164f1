package spark_test

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
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/spark"
)

// patience bounds every wait of these tests; it is met by a broken driver only.
const patience = 5 * time.Minute

// driver is a running driver with the server that it belongs to. The test
// package shares one: a JVM costs seconds.
type driver struct {
	env     *environment.Environment
	server  *servertest.Server
	client  *spark.Client
	dir     string // of the driver
	info    spark.Info
	log     *syncBuffer
	account string // a storage account, as JSON
	url     string // of the server, by way of a proxy that notes the lineage

	mu      sync.Mutex
	lineage []string
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func startDriver(t *testing.T) *driver {
	t.Helper()
	d := &driver{env: environment.ForTest(t), log: new(syncBuffer)}
	environment.LockJVM(t, 1)
	d.server = servertest.Start(t, nil)
	s := d.server.State
	cfg := spark.Config{
		Env: d.env, Dir: filepath.Join(t.TempDir(), "spark"), Cores: 2, MemoryMB: 3000, User: "somebody@example.com",
		// Most of these queries run once: the second compiler costs more than it gives.
		Conf:  map[string]string{"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m"},
		Roots: spark.Roots{DBFS: s.DBFS(1), Volumes: s.Volumes(), Workspace: s.Workspace(1), Managed: s.Managed()},
	}
	launch, err := spark.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.dir = cfg.Dir
	cmd := exec.Command(launch.Argv[0], launch.Argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stderr = launch.Env, launch.Dir, d.log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	info, rest, err := spark.Ready(stdout, d.log)
	if err != nil {
		t.Fatalf("%v\n%s", err, d.log)
	}
	kill.Stop()
	d.info = info
	drained := make(chan struct{})
	go func() { defer close(drained); _, _ = io.Copy(d.log, rest) }()
	t.Cleanup(func() {
		stdin.Close() // the driver ends with its parent
		kill := time.AfterFunc(time.Minute, func() {
			t.Error("the driver did not end with its standard input")
			_ = cmd.Process.Kill()
		})
		<-drained
		_ = cmd.Wait()
		kill.Stop()
		if t.Failed() {
			t.Logf("the driver's log:\n%s", d.log)
		}
	})
	d.client = spark.NewClient(cfg.Dir)
	d.url = d.noteLineage(t)
	return d
}

// noteLineage starts a proxy before the server that keeps what is posted as
// lineage, and returns its URL.
func (d *driver) noteLineage(t *testing.T) string {
	target, err := url.Parse(d.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/wherry/lineage" {
			r.Host = target.Host
			forward.ServeHTTP(w, r)
			return
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		d.mu.Lock()
		d.lineage = append(d.lineage, string(b))
		d.mu.Unlock()
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(p.Close)
	return p.URL
}

// call is a call of the server's API as the admin.
func (d *driver) call(t *testing.T, method, path, body string) string {
	t.Helper()
	req, err := http.NewRequest(method, d.server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.server.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	return string(b)
}

func (d *driver) attach(t *testing.T, runID int64) *spark.Attachment {
	t.Helper()
	a, err := d.client.Attach(t.Context(), spark.Task{RunID: runID, APIURL: d.url, Token: d.server.Token, Catalog: "main", Schema: "default"})
	if err != nil {
		t.Fatalf("%v\n%s", err, d.log)
	}
	return a
}

// python starts a process that attaches with a and runs the scripts.
func (d *driver) python(t *testing.T, a *spark.Attachment, scripts ...string) *exec.Cmd {
	t.Helper()
	offer, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"testdata/task.py"}, scripts...)
	cmd := exec.Command(d.env.Python, args...)
	cmd.Env = append(os.Environ(), "WHERRY_ACCOUNT="+d.account, "WHERRY_STORAGE="+strings.TrimPrefix(d.server.StorageURL, "http://"), "WHERRY_OFFER="+string(offer), "PYTHONPATH="+d.env.PythonPath, "PYTHONUNBUFFERED=1")
	return cmd
}

type outcome struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	MS     int64  `json:"ms"`
	Result string `json:"result"`
}

// run runs the scripts in a process of their own and reports each check.
func (d *driver) run(t *testing.T, runID int64, scripts ...string) {
	t.Helper()
	a := d.attach(t, runID)
	defer func() {
		if err := d.client.Detach(context.Background(), a.ID); err != nil {
			t.Error(err)
		}
	}()
	cmd := d.python(t, a, scripts...)
	var stderr syncBuffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	count := 0
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var o outcome
		if json.Unmarshal(lines.Bytes(), &o) != nil {
			continue
		}
		count++
		if o.OK {
			t.Logf("ok %5d ms  %s", o.MS, o.Name)
		} else {
			t.Errorf("%s\n\t-> %s", o.Name, o.Result)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v after %d checks\n%s", err, count, &stderr)
	}
	t.Logf("%d checks", count)
}

func TestDriver(t *testing.T) {
	d := startDriver(t)
	t.Logf("ready %d ms after the start of the process", d.info.MS)
	d.call(t, "POST", "/api/2.1/unity-catalog/catalogs", `{"name":"main"}`)
	d.call(t, "POST", "/api/2.1/unity-catalog/volumes", `{"catalog_name":"main","schema_name":"default","name":"files","volume_type":"MANAGED"}`)
	d.account = d.call(t, "POST", "/api/wherry/storage/accounts", `{"name":"flightsraw"}`)
	t.Run("lineage", d.testLineage)
	var tasks sync.WaitGroup // at once, as tasks of one job are
	tasks.Go(func() { t.Run("statements", func(t *testing.T) { d.run(t, 7, "testdata/statements.py") }) })
	tasks.Go(func() { t.Run("python", func(t *testing.T) { d.run(t, 6, "testdata/python.py") }) })
	tasks.Wait()
	t.Run("a task that dies", d.testDeath)
	t.Run("a wrong secret", d.testSecret)
}

// What queries read and wrote is told to the server before a detach returns.
func (d *driver) testLineage(t *testing.T) {
	d.run(t, 7, "testdata/lineage.py")
	d.mu.Lock()
	defer d.mu.Unlock()
	table := func(name string, version ...int) string {
		if len(version) > 0 {
			return fmt.Sprintf(`{"table":"%s","version":%d}`, name, version[0])
		}
		return fmt.Sprintf(`{"table":"%s"}`, name)
	}
	for _, want := range []struct{ what, reads, writes string }{
		{"select", table("main.lin.a", 0), ""},
		{"join in CTAS", table("main.lin.a", 0) + "," + table("main.lin.b", 0), table("main.lin.c")},
		{"append", table("main.lin.a", 0), table("main.lin.b")},
		{"merge", table("main.lin.b", 1), table("main.lin.c")},
		{"update with a subquery", table("main.lin.a", 0), table("main.lin.c")},
		{"a path", table("main.lin.a", 0), `{"path":"dbfs:/lin/p"}`},
	} {
		text := fmt.Sprintf(`"reads":[%s],"writes":[%s]}`, want.reads, want.writes)
		if !slices.ContainsFunc(d.lineage, func(got string) bool {
			return strings.HasPrefix(got, `{"run_id":7,`) && strings.HasSuffix(got, text)
		}) {
			t.Errorf("%s: no report ends in %s", want.what, text)
		}
	}
	if t.Failed() {
		t.Logf("reported:\n%s", strings.Join(d.lineage, "\n"))
	}
}

// A killed process takes its queries with it, and nothing of the others.
func (d *driver) testDeath(t *testing.T) {
	other := d.attach(t, 9)
	defer func() { _ = d.client.Detach(context.Background(), other.ID) }()
	cmd := d.python(t, d.attach(t, 8), "testdata/busy.py")
	cmd.Stderr = d.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	d.await(t, "the query runs", func(h spark.Health) bool { return h.Sessions == 2 && h.Jobs > 0 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	d.await(t, "the query has ended", func(h spark.Health) bool { return h.Sessions == 1 && h.Jobs == 0 })
}

func (d *driver) await(t *testing.T, what string, ok func(spark.Health) bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		h, err := d.client.Health(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if ok(h) {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("not so: %s: %+v", what, h)
		case <-tick.C:
		}
	}
}

func (d *driver) testSecret(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("guessed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(d.dir, "control"), filepath.Join(dir, "control")); err != nil {
		t.Fatal(err)
	}
	if _, err := spark.NewClient(dir).Health(t.Context()); err == nil || !strings.Contains(err.Error(), "wrong secret") {
		t.Errorf("Health with a wrong secret: %v", err)
	}
}
