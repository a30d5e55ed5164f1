package cli

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry/environment"
)

func TestBackendURL(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]string{
		"sqlite:///a.db": "sqlite://" + dir + "/a.db", "sqlite:////x/a.db": "sqlite:///x/a.db",
		"postgresql://h/d": "postgresql://h/d", "mysql://h/d": "", "./mlruns": "",
	} {
		if got, err := backendURL(uri); got != want || (want == "") != (err != nil) {
			t.Errorf("%s: %q, %v", uri, got, err)
		}
	}
}

func TestArtifactRoot(t *testing.T) {
	for _, c := range []struct {
		root  string
		serve bool
		want  string
		fails bool
	}{
		{"", true, "", false},
		{"mlflow-artifacts:/", true, "", false},
		{"", false, "", true},
		{"s3://b/p/", false, "s3://b/p", false},
		{"/srv/x", true, "file:///srv/x", false},
		{"file:///srv/x", true, "file:///srv/x", false},
	} {
		f := trackingFlags{root: c.root, serve: c.serve}
		if got, err := f.artifactRoot(); got != c.want || (err != nil) != c.fails {
			t.Errorf("%q: %q, %v", c.root, got, err)
		}
	}
}

// serveMLflow starts `wherry mlflow serve` until the test ends and returns its URL.
func serveMLflow(t *testing.T, args ...string) string {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	c := mlflowCommand()
	c.SetOut(w)
	c.SetArgs(append([]string{"serve", "--port", "0"}, args...))
	go func() {
		err := c.ExecuteContext(ctx)
		w.CloseWithError(err)
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	line := make([]byte, 200)
	n, err := r.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`http://\S+`).FindString(string(line[:n]))
}

func TestMLflowServe(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	url := serveMLflow(t, "--backend-store-uri", "sqlite:///"+filepath.Join(dir, "m.db"), "--default-artifact-root", root)
	call := func(method, path, body, host string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			req.Host = host
		}
		resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if status, text := call("GET", "/health", "", ""); status != 200 || text != "OK" {
		t.Fatalf("health: %d %s", status, text)
	}
	if status, _ := call("GET", "/health", "", "evil.example"); status != 403 {
		t.Errorf("another host's name: %d", status)
	}
	_, text := call("POST", "/api/2.0/mlflow/runs/create", `{"experiment_id":"0"}`, "")
	uri := regexp.MustCompile(`"artifact_uri":"([^"]+)"`).FindStringSubmatch(text)
	if uri == nil || !strings.HasPrefix(uri[1], "file://"+root+"/0/") {
		t.Fatalf("the run is %s", text)
	}
	folder := strings.TrimPrefix(uri[1], "file://")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder+"/a.txt", []byte("by the client"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := strings.Split(strings.TrimPrefix(folder, root+"/0/"), "/")[0]
	if status, text := call("GET", "/get-artifact?path=a.txt&run_id="+run, "", ""); status != 200 || text != "by the client" {
		t.Errorf("the client's file: %d %s", status, text)
	}
	if status, text := call("POST", "/api/2.0/mlflow/registered-models/create", `{"name":"m"}`, ""); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	for source, want := range map[string]int{uri[1] + "/model": 200, "file://" + root + "/../x": 400, "file:///etc": 400, root: 400} {
		if status, text := call("POST", "/api/2.0/mlflow/model-versions/create", `{"name":"m","source":"`+source+`"}`, ""); status != want {
			t.Errorf("source %s: %d %s", source, status, text)
		}
	}
}

// TestMLflowServeOnAnotherDatabase: one that MLflow made is refused, and stays
// as it is.
func TestMLflowServeOnAnotherDatabase(t *testing.T) {
	env := environment.ForTest(t)
	file := filepath.Join(t.TempDir(), "mlflow.db")
	client := exec.Command(env.Python, "-c", "import sys, mlflow; mlflow.MlflowClient(sys.argv[1]).create_experiment('mine')", "sqlite:///"+file)
	if out, err := client.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := mlflowCommand()
	c.SetArgs([]string{"serve", "--port", "0", "--backend-store-uri", "sqlite:///" + file})
	c.SetOut(io.Discard)
	c.SetErr(io.Discard)
	if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "made by MLflow itself") || !strings.Contains(err.Error(), "name a new database") {
		t.Errorf("%v", err)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the database was changed: %v", err)
	}
	if files, err := filepath.Glob(file + "*"); err != nil || len(files) != 1 {
		t.Errorf("files %v, %v", files, err)
	}
}
