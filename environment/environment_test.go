package environment

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
)

func TestEnvironment(t *testing.T) {
	e := ForTest(t)
	if e.JavaMajor != 17 && e.JavaMajor != 21 {
		t.Errorf("Java %d", e.JavaMajor)
	}
	for _, path := range append(e.Paths()[:5], e.Jars...) {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	for i, j := range lockedJars() {
		if err := checkJar(e.Jars[i], j); err != nil {
			t.Error(err)
		}
	}
	again, err := Open()
	if err != nil || again.Python != e.Python {
		t.Errorf("opened again: %+v, %v", again, err)
	}
}

// Locks must install from any index, and hold what the pinned set says.
func TestLocks(t *testing.T) {
	for _, v := range minors {
		data, err := locks.ReadFile("lock/" + v + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		for _, want := range []string{"pyspark==4.2.0 ", "delta-spark==4.4.1 ", "mlflow==3.17.2 ", "pandas==2.3.3 ", "numpy==2.4.6 ", "uv==", "--hash=sha256:"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q", v, want)
			}
		}
		for _, bad := range []string{"://", "--index", "--find-links", "/opt/", "/home/"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s names %q", v, bad)
			}
		}
	}
}

func TestNoPython(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho '{\"executable\": \"/x/python3\", \"version\": \"3.9\"}'\n"
	if err := os.WriteFile(filepath.Join(dir, "python3"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	_, err := findInterpreter(t.Context())
	if err == nil || !strings.Contains(err.Error(), "python3 is 3.9") || !strings.Contains(err.Error(), "apt install") {
		t.Errorf("an old Python: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err = findInterpreter(t.Context()); err == nil || !strings.Contains(err.Error(), "none was found") {
		t.Errorf("no Python: %v", err)
	}
}

func TestJavaVersions(t *testing.T) {
	dir := t.TempDir()
	java := func(version string) {
		script := "#!/bin/sh\necho '    java.home = " + dir + "' >&2\necho '    java.specification.version = " + version + "' >&2\n"
		if err := os.WriteFile(filepath.Join(dir, "java"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("JAVA_HOME", "")
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	for version, want := range map[string]int{"17": 17, "21": 21, "25": 0, "1.8": 0, "11": 0} {
		java(version)
		home, major, ok, others := FindJava(t.Context())
		if ok != (want != 0) || major != want || ok && home != dir || !ok && len(others) != 1 {
			t.Errorf("Java %s: %s %d %v %v", version, home, major, ok, others)
		}
	}
}

// A set-up that fails says why, and leaves nothing that a repeat trips over.
func TestSetupFailsAndRepeats(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	cache, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	failing := []string{"/bin/sh", "-c", `echo '{"error":"no network: check it"}' > "` + progressFile(cache) + `"; exit 1`}
	for range 2 {
		_, err = Setup(t.Context(), failing, nil)
		if err == nil || err.Error() != "no network: check it" {
			t.Fatalf("a failing worker: %v", err)
		}
	}
	if _, err = Setup(t.Context(), []string{"/bin/sh", "-c", "kill -9 $$"}, nil); err == nil || !strings.Contains(err.Error(), "ended twice") {
		t.Fatalf("a worker that dies: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = Setup(ctx, []string{"/bin/sh", "-c", "read x < " + filepath.Join(cache, "setup.log") + "; exit 0"}, nil); err == nil {
		t.Fatal("a cancelled wait succeeded")
	}
}

// Two that set up at once share one worker.
func TestSetupIsShared(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	cache, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	gate := filepath.Join(cache, "gate")
	count := filepath.Join(cache, "count")
	worker := []string{"/bin/sh", "-c", `echo x >> ` + count + `; until [ -e ` + gate + ` ]; do sleep 0.05; done; echo '{"error":"shared"}' > ` + progressFile(cache)}
	errs := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := Setup(t.Context(), worker, func(Progress) {})
			errs <- err
		}()
	}
	for { // Until one has the lock; the other finds it taken or starts after the gate opens.
		if _, err := os.Stat(count); err == nil {
			break
		}
	}
	if err := os.WriteFile(gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-errs; err == nil || err.Error() != "shared" {
			t.Error(err)
		}
	}
}

func TestExplain(t *testing.T) {
	w := &work{cache: t.TempDir(), progress: Progress{Message: "installing Python packages"}}
	for log, want := range map[string]string{
		"OSError: [Errno 28] No space left on device": "the disk is full",
		"error: Failed to fetch: `https://x`":         "cannot be reached",
		"something else":                              "run `wherry setup` again",
	} {
		if err := os.WriteFile(logFile(w.cache), []byte(log), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := w.explain(os.ErrInvalid); !strings.Contains(got, want) || !strings.Contains(got, logFile(w.cache)) {
			t.Errorf("%s: %s", log, got)
		}
	}
}

func TestPipConfig(t *testing.T) {
	for _, name := range []string{"UV_DEFAULT_INDEX", "UV_FIND_LINKS", "SSL_CERT_FILE", "UV_INDEX", "UV_NO_INDEX"} {
		t.Setenv(name, "")
	}
	there := t.TempDir()
	t.Setenv("PIP_INDEX_URL", "https://index.example/simple")
	t.Setenv("PIP_FIND_LINKS", there+" /not/there")
	t.Setenv("PIP_CERT", "/ca.pem")
	t.Setenv("PIP_NO_INDEX", "1")
	env := strings.Join(toolEnv(t.Context(), "/cache", interpreter{}), "\n") + "\n"
	for _, want := range []string{"UV_DEFAULT_INDEX=https://index.example/simple\n", "UV_FIND_LINKS=" + there + "\n", "SSL_CERT_FILE=/ca.pem\n", "UV_NO_INDEX=1\n"} {
		if !strings.Contains(env, want) {
			t.Errorf("no %q in\n%s", want, env)
		}
	}
}

func TestOverlay(t *testing.T) {
	e := ForTest(t)
	path, err := e.Overlay(t.Context(), []string{"pandas", "numpy>=2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(path); err != nil || len(entries) != 0 {
		t.Errorf("what the environment has was installed again: %v, %v", entries, err)
	}
	if again, err := e.Overlay(t.Context(), []string{"numpy>=2", "pandas"}, nil); err != nil || again != path {
		t.Errorf("the same content: %s, %v", again, err)
	}
	if _, err := e.Overlay(t.Context(), nil, []string{"/not/there.whl"}); wherry.CodeOf(err) != wherry.CodeInvalidParameter {
		t.Errorf("no such wheel: %v", err)
	}
	if _, err := e.Overlay(t.Context(), []string{"pandas==0.0.0.1"}, nil); wherry.CodeOf(err) != wherry.CodeInvalidParameter || !strings.Contains(err.Error(), "pandas") {
		t.Errorf("what cannot be met: %v", err)
	}
}
