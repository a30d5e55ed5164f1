//go:build linux

package environment

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain makes this binary the worker, or the one who waits for it, where a
// test starts it as such.
func TestMain(m *testing.M) {
	switch os.Getenv("WHERRY_TEST_ROLE") {
	case "worker":
		if Work(context.Background()) != nil {
			os.Exit(1)
		}
	case "setup":
		if err := os.Setenv("WHERRY_TEST_ROLE", "worker"); err != nil {
			panic(err)
		}
		_, err := Setup(context.Background(), []string{os.Args[0]}, nil)
		fmt.Println(err)
	default:
		os.Exit(m.Run())
	}
}

// newCache gives this process an empty cache and makes the workers that it
// starts those of this binary.
func newCache(t *testing.T) (cache string, worker []string) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("WHERRY_TEST_ROLE", "worker")
	cache, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return cache, []string{os.Args[0]}
}

// A set-up that was made is used: no process is started, and nothing is
// installed.
func TestSecondSetupStartsNothing(t *testing.T) {
	e := ForTest(t)
	started := filepath.Join(t.TempDir(), "started")
	t.Setenv("PATH", "") // no tool is found
	again, err := Setup(t.Context(), []string{"/bin/sh", "-c", "echo > " + started}, func(p Progress) { t.Errorf("it tells progress: %+v", p) })
	if err != nil || again.Python != e.Python || again.Digest != e.Digest || again.JarDir != e.JarDir {
		t.Errorf("the second set-up: %+v, %v", again, err)
	}
	if _, err := os.Stat(started); err == nil {
		t.Error("the second set-up starts a worker")
	}
}

// lateUV makes a uv that says it was started and then waits, the first time it
// is to install packages; after that it is the real one.
func lateUV(t *testing.T, real string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	script := `#!/bin/sh
if [ "$1 $2" = "pip sync" ] && ! [ -e "` + dir + `/pid" ]; then
	echo $$ > "` + dir + `/pid.new" && mv "` + dir + `/pid.new" "` + dir + `/pid"
	exec sleep 1000
fi
exec "` + real + `" "$@"
`
	if err := os.WriteFile(filepath.Join(dir, "uv"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A set-up that is killed with SIGKILL while packages are installed leaves no
// process; the next one goes on where it stopped, and ends well. The packages
// and jars are those that there are: what is real here is all the rest.
func TestKilledSetupGoesOn(t *testing.T) {
	e := ForTest(t)
	tools := lateUV(t, filepath.Join(e.Prefix, "bin", "uv"))
	cache, worker := newCache(t)
	t.Setenv("PATH", tools+":"+filepath.Dir(e.Python)+":"+os.Getenv("PATH"))
	for from, to := range map[string]string{e.Prefix: filepath.Join(cache, "python", digest()), e.JarDir: filepath.Join(cache, "jars")} {
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(from, to); err != nil {
			t.Fatal(err)
		}
	}
	pidFile := filepath.Join(cache, "worker.pid")
	if err := startWorker(cache, []string{"/bin/sh", "-c", `echo $$ > "` + pidFile + `"; exec "` + worker[0] + `"`}); err != nil {
		t.Fatal(err)
	}
	tool := waitPID(t, filepath.Join(tools, "pid"))
	if err := unix.Kill(waitPID(t, pidFile), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone(t, tool)
	if _, err := Open(); err == nil {
		t.Fatal("half a set-up is taken for a whole one")
	}
	steps := map[string]bool{}
	again, err := Setup(t.Context(), worker, func(p Progress) { steps[p.Message] = true })
	if err != nil {
		log, _ := os.ReadFile(logFile(cache))
		t.Fatalf("%v\n%s", err, log)
	}
	if again.Digest != e.Digest || len(again.Jars) != len(e.Jars) || !strings.HasPrefix(again.Python, cache) {
		t.Errorf("%+v", again)
	}
	if out, err := exec.Command(again.Python, "-c", "import pyspark").CombinedOutput(); err != nil {
		t.Errorf("the Python of the set-up: %v\n%s", err, out)
	}
	log, err := os.ReadFile(logFile(cache))
	if err != nil || strings.Contains(string(log), "venv --quiet") || !strings.Contains(string(log), "pip sync") {
		t.Errorf("it did not go on where it stopped: %v\n%s", err, log)
	}
}

// waitPID waits until a process has written its id.
func waitPID(t *testing.T, name string) int {
	t.Helper()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		b, err := os.ReadFile(name)
		if pid, bad := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && bad == nil {
			return pid
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("%s is not written", name)
		case <-tick.C:
		}
	}
}

// gone waits until a process has ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000)
	for err == unix.EINTR {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000)
	}
	if n != 1 {
		t.Errorf("the process %d outlives its set-up: %v", pid, err)
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// Without a network both tools say so, and what to do; a repeat says the same.
func TestNoNetwork(t *testing.T) {
	e := ForTest(t)
	base, ok := inspect(t.Context(), filepath.Join(e.Prefix, "bin", "python"))
	if !ok {
		t.Fatal("the Python of the set-up does not run")
	}
	python := filepath.Join(base.BasePrefix, "bin", "python"+base.Version)
	for _, tool := range []string{"uv", "pip"} {
		t.Run(tool, func(t *testing.T) {
			cache, worker := newCache(t)
			path := t.TempDir()
			links := map[string]string{"python3": python}
			if tool == "uv" {
				links["uv"] = filepath.Join(e.Prefix, "bin", "uv")
			}
			for name, to := range links {
				if err := os.Symlink(to, filepath.Join(path, name)); err != nil {
					t.Fatal(err)
				}
			}
			for name, value := range map[string]string{
				"PATH": path + ":/usr/sbin:/sbin", "PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": "", "UV_FIND_LINKS": "", "UV_DEFAULT_INDEX": "", "PIP_RETRIES": "1",
				"PIP_INDEX_URL": "http://127.0.0.1:1/simple", "UV_HTTP_RETRIES": "0", // nobody listens there
			} {
				t.Setenv(name, value)
			}
			for range 2 {
				_, err := Setup(t.Context(), worker, nil)
				if err == nil || !strings.Contains(err.Error(), "installing Python packages") || !strings.Contains(err.Error(), "the package index cannot be reached: check the network") ||
					!strings.Contains(err.Error(), "run `wherry setup` again") || !strings.Contains(err.Error(), logFile(cache)) {
					t.Errorf("without a network: %v", err)
				}
			}
			if _, err := Open(); err == nil {
				t.Error("half a set-up is taken for a whole one")
			}
		})
	}
}

// A disk that is too small, one that is full, and some that get full on the way:
// file systems in memory, mounted in a user namespace. What gets full are their
// inodes, which is the same error and takes no memory.
func TestFullDisk(t *testing.T) {
	if out, err := exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "none", t.TempDir()).CombinedOutput(); err != nil {
		t.Skipf("no namespace to mount a file system in: %v %s", err, out)
	}
	tests := map[string]string{
		"size=64m": "set-up needs 4 GB of disk and .* has 0.1 GB free: make room, or set XDG_CACHE_HOME to a folder on another disk",
	}
	for inodes := range 12 { // 1 is the folder alone
		tests[fmt.Sprint("size=6g,nr_inodes=", inodes+1)] = "the disk is full: make room below .*, or set XDG_CACHE_HOME to a folder on another disk, and run `wherry setup` again"
	}
	for size, want := range tests {
		dir := t.TempDir()
		c := exec.Command("unshare", "-rm", "/bin/sh", "-c", `mount -t tmpfs -o `+size+` none "$0" && exec "$1"`, dir, os.Args[0])
		c.Env = append(os.Environ(), "XDG_CACHE_HOME="+dir, "WHERRY_TEST_ROLE=setup")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", size, err, out)
		}
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("%s: no %q in\n%s", size, want, out)
		}
	}
}
