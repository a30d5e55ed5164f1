//go:build linux

package sandbox_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

// world is a state directory and a home directory, with something to find in
// each.
type world struct {
	dir, state, home string
	spec             sandbox.Spec
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.state, w.home = filepath.Join(w.dir, "state"), filepath.Join(w.dir, "home")
	for _, d := range []string{"state/workspace", "state/dbfs", "state/tmp", "home/env"} {
		if err := os.MkdirAll(filepath.Join(w.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(w.state, "admin-token"), "secret")
	write(t, filepath.Join(w.home, "id_rsa"), "secret")
	write(t, filepath.Join(w.home, "env", "tool"), "kept")
	w.spec = sandbox.Spec{View: sandbox.View{
		Binds: []sandbox.Bind{
			{Src: filepath.Join(w.state, "workspace"), Dst: "/Workspace"},
			{Src: filepath.Join(w.state, "dbfs"), Dst: "/dbfs", ReadOnly: true},
		},
		Hide: []string{w.state, w.home},
		Keep: []string{filepath.Join(w.home, "env")},
		Temp: filepath.Join(w.state, "tmp"),
	}}
	return w
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func start(t testing.TB, spec sandbox.Spec) *sandbox.Box {
	t.Helper()
	b, err := sandbox.Start(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// isolated starts a box and skips the test where there are no namespaces.
func isolated(t testing.TB, spec sandbox.Spec) *sandbox.Box {
	t.Helper()
	b := start(t, spec)
	if !b.Isolated() {
		t.Skipf("no namespaces here: %v", b.Layers())
	}
	return b
}

// sh runs a script in the box and returns what it printed and its exit code.
func sh(t testing.TB, b *sandbox.Box, script string, caps bool) (string, int) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := b.Exec(sandbox.Command{Argv: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin"}, Files: []*os.File{nil, w, w}, KeepCaps: caps})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	code, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)), code
}

func TestView(t *testing.T) {
	w := newWorld(t)
	b := isolated(t, w.spec)
	for script, want := range map[string]string{
		"cat " + w.state + "/admin-token 2>&1":      "No such file",
		"cat " + w.home + "/id_rsa 2>&1":            "No such file",
		"cat " + w.home + "/env/tool":               "kept",
		"echo x > " + w.home + "/env/tool":          "Read-only",
		"echo x > /dbfs/f":                          "Read-only",
		"echo x > /etc/f":                           "Read-only",
		"echo a > /Workspace/f && cat /Workspace/f": "a",
		"echo a > /tmp/f && cat /tmp/f":             "a",
		"echo a > /dev/shm/f && cat /dev/shm/f":     "a",
		"ls /run":                                   "box",
		"id -un":                                    "wherry",
		"hostname":                                  "wherry",
		"mount -t tmpfs x /tmp 2>&1":                "",
		"grep CapEff /proc/self/status":             "CapEff:\t0000000000000000",
		"grep CapPrm /proc/1/status || true":        "",
		"grep NoNewPrivs /proc/self/status":         "NoNewPrivs:\t1",
		"cat /etc/shadow | wc -c; true":             "",
	} {
		out, _ := sh(t, b, script, false)
		if !strings.Contains(out, want) {
			t.Errorf("%s: got %q, want %q in it", script, out, want)
		}
	}
	if out, _ := sh(t, b, "id -u", false); out == "0" {
		t.Error("a task runs as uid 0")
	}
	if os.Getuid() == 0 {
		if out, _ := sh(t, b, "cat /etc/shadow", false); out != "" {
			t.Error("a task can read /etc/shadow")
		}
	}
	if out, code := sh(t, b, "v=$(cat /proc/sys/vm/swappiness); echo $v > /proc/sys/vm/swappiness", false); code == 0 {
		t.Errorf("a task can change the machine's settings: %s", out)
	}
	if _, code := sh(t, b, "mount -t tmpfs x /tmp", false); code == 0 {
		t.Error("a task without capabilities can mount")
	}
	// Files of tasks belong to the server's own user.
	if err := os.WriteFile(filepath.Join(w.state, "workspace", "f"), []byte("server"), 0o600); err != nil {
		t.Error(err)
	}
	if out, _ := sh(t, b, "cat /Workspace/f && echo task > /Workspace/f", false); out != "server" {
		t.Errorf("task read %q", out)
	}
}

// What tasks write is the server's own on disk, whoever they are.
func TestOwner(t *testing.T) {
	w := newWorld(t)
	b := isolated(t, w.spec)
	t.Log(b.Layers()[0].Detail)
	if out, code := sh(t, b, "umask 077; mkdir /Workspace/d && echo hi > /Workspace/d/f && stat -c %U /Workspace/d/f && echo again > /dev/stdout", false); code != 0 || out != "wherry\nagain" {
		t.Errorf("code %d: %s", code, out)
	}
	info, err := os.Stat(filepath.Join(w.state, "workspace", "d", "f"))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; int(uid) != os.Getuid() {
		t.Errorf("on disk the file belongs to uid %d", uid)
	}
}

// A program with KeepCaps can give a child a view of its own and drop.
func TestKeepCaps(t *testing.T) {
	w := newWorld(t)
	b := isolated(t, w.spec)
	out, code := sh(t, b, "unshare --mount --pid --fork setpriv --inh-caps=-all --ambient-caps=-all sh -c 'true'", true)
	if code != 0 {
		t.Errorf("%d %s", code, out)
	}
	// A /proc of its own opens no way to the machine's settings.
	if out, code = sh(t, b, "unshare --mount --pid --fork sh -c 'mount -t proc proc /proc && v=$(cat /proc/sys/vm/swappiness) && echo $v > /proc/sys/vm/swappiness'", true); code == 0 {
		t.Errorf("a task with a new /proc can change the machine's settings: %s", out)
	}
	out, code = sh(t, b, "unshare --mount --pid --fork sh -c 'mount -t proc proc /proc && mount -t tmpfs x /dbfs && echo only mine > /dbfs/f && echo $$ && cat /dbfs/f'; ls /dbfs", true)
	if code != 0 || out != "1\nonly mine" {
		t.Errorf("code %d: %s", code, out)
	}
}

func TestNetwork(t *testing.T) {
	host, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	w := newWorld(t)
	w.spec.Listen = []string{"127.0.0.1:443", "127.0.0.1:8787"}
	w.spec.Hosts = map[string]string{"login.example.com": "127.0.0.1"}
	w.spec.HostsFile = filepath.Join(w.state, "hosts")
	b := isolated(t, w.spec)
	if len(b.Listeners()) != 2 {
		t.Fatalf("listeners: %v", b.Listeners())
	}
	for i, f := range b.Listeners() {
		l, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "listener %d for %s", i, r.Host) })}
		go func() { _ = srv.Serve(l) }()
		t.Cleanup(func() { _ = srv.Close() })
	}
	get := `exec 3<>/dev/tcp/%s/%s && printf 'GET / HTTP/1.0\r\nHost: x\r\n\r\n' >&3 && tail -n1 <&3`
	bash := func(host, port string) string {
		out, _ := sh(t, b, "bash -c '"+strings.ReplaceAll(fmt.Sprintf(get, host, port), "'", `'\''`)+"' 2>&1", false)
		return out
	}
	if out := bash("127.0.0.1", "8787"); out != "listener 1 for x" {
		t.Errorf("server's port: %q", out)
	}
	if out := bash("login.example.com", "443"); out != "listener 0 for x" {
		t.Errorf("owned host: %q", out)
	}
	if err := b.SetHosts(map[string]string{"new.example.com": "127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	if out := bash("new.example.com", "443"); out != "listener 0 for x" {
		t.Errorf("host named later: %q", out)
	}
	_, port, _ := net.SplitHostPort(host.Addr().String())
	if out := bash("127.0.0.1", port); !strings.Contains(out, "refused") {
		t.Errorf("the machine's loopback is in reach: %q", out)
	}
	if out := bash("192.0.2.1", "80"); !strings.Contains(out, "unreachable") {
		t.Errorf("there is a way out: %q", out)
	}
}

// tree starts processes that leave their session, parent and group; each says
// that it is up. treeSize is how many there are.
const (
	tree = `up='echo up; exec sleep 1000'; sh -c "$up" & setsid sh -c "$up" & (setsid sh -c 'sh -c "$0" & eval "$0"' "$up" &) ; nohup sh -c "$up" & eval "$up"`

	treeSize = 6
)

func TestCloseLeavesNothing(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			w := newWorld(t)
			w.spec.Plain = plain
			b := start(t, w.spec)
			r, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			mark := runTree(t, b, r, out)
			if n := marked(t, mark); n == 0 {
				t.Fatal("no process has the mark")
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			if n := marked(t, mark); n != 0 {
				t.Errorf("%d processes are left", n)
			}
		})
	}
}

// runTree starts the tree with out as its output, waits until all of it is up,
// and returns the mark in its environment. out is closed: r ends with the last
// of the processes.
func runTree(t testing.TB, b *sandbox.Box, r, out *os.File) string {
	t.Helper()
	mark := fmt.Sprintf("WHERRY_MARK=%d-%d", os.Getpid(), time.Now().UnixNano())
	_, err := b.Exec(sandbox.Command{Argv: []string{"sh", "-c", tree}, Env: []string{"PATH=/usr/bin:/bin", mark}, Files: []*os.File{nil, out}})
	out.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, treeSize*len("up\n"))); err != nil {
		t.Fatal(err)
	}
	return mark
}

// marked counts the processes that have mark in their environment.
func marked(t testing.TB, mark string) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			env, _ := os.ReadFile("/proc/" + e.Name() + "/environ")
			if bytes.Contains(env, []byte(mark)) {
				n++
			}
		}
	}
	return n
}

// The box ends with its owner, however that ends.
func TestEndsWithOwner(t *testing.T) {
	if os.Getenv("WHERRY_OWNER") != "" {
		spec := sandbox.Spec{Plain: os.Getenv("WHERRY_OWNER") == "plain"}
		b, err := sandbox.Start(context.Background(), spec)
		if err != nil {
			t.Fatal(err)
		}
		unix.CloseOnExec(3)
		unix.CloseOnExec(4)
		fmt.Println(runTree(t, b, os.NewFile(3, "r"), os.NewFile(4, "w")))
		select {} // until killed
	}
	for _, kind := range []string{"isolated", "plain"} {
		t.Run(kind, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			c := exec.Command("/proc/self/exe", "-test.run=^TestEndsWithOwner$")
			c.Env = append(os.Environ(), "WHERRY_OWNER="+kind)
			c.Stderr, c.ExtraFiles = os.Stderr, []*os.File{r, w}
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			err = c.Start()
			w.Close()
			if err != nil {
				t.Fatal(err)
			}
			var mark string
			if _, err := fmt.Fscan(out, &mark); err != nil {
				t.Fatal(err)
			}
			if n := marked(t, mark); n == 0 {
				t.Error("no process has the mark")
			}
			_ = c.Process.Kill()
			_ = c.Wait()
			if _, err := r.Read(make([]byte, 1)); err != io.EOF { // none of the tree holds the other end
				t.Errorf("the tree says %v", err)
			}
			if n := marked(t, mark); n != 0 {
				t.Errorf("%d processes are left", n)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	for _, plain := range []bool{false, true} {
		w := newWorld(t)
		w.spec.Plain = plain
		b := start(t, w.spec)
		if _, code := sh(t, b, "exit 7", false); code != 7 {
			t.Errorf("plain=%v: exit 7 gave %d", plain, code)
		}
		if _, code := sh(t, b, "kill -9 $$", false); code != 137 {
			t.Errorf("plain=%v: kill -9 gave %d", plain, code)
		}
		if _, err := b.Exec(sandbox.Command{Argv: []string{"/no/such/program"}}); err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("plain=%v: missing program: %v", plain, err)
		}
		p, err := b.Exec(sandbox.Command{Argv: []string{"sleep", "1000"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		if code, err := p.Wait(); code != 137 || err != nil || p.ExitSignal() != syscall.SIGKILL {
			t.Errorf("plain=%v: killed: %d %v", plain, code, err)
		}
		large := strings.Repeat("x", 100<<10)
		if p, err = b.Exec(sandbox.Command{Argv: []string{"sh", "-c", `test ${#LARGE} = 102400`}, Env: []string{"PATH=/bin:/usr/bin", "LARGE=" + large}}); err != nil {
			t.Fatal(err)
		}
		if code, err := p.Wait(); code != 0 || err != nil {
			t.Errorf("plain=%v: large environment: %d %v", plain, code, err)
		}
	}
}

func TestPlainPath(t *testing.T) {
	w := newWorld(t)
	w.spec.Plain = true
	b := start(t, w.spec)
	if got, want := b.Path("/Workspace/a"), filepath.Join(w.state, "workspace", "a"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if b.Isolated() || len(b.Listeners()) != 0 {
		t.Error("a plain box claims to be isolated")
	}
}

// A Python below ~/.local is kept, the state directory below it is not.
func TestKeepProgram(t *testing.T) {
	w := newWorld(t)
	local := filepath.Join(w.home, ".local")
	state := filepath.Join(local, "state", "wherry")
	for _, d := range []string{filepath.Join(local, "bin"), state, filepath.Join(w.home, "venv", "bin")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(state, "token"), "secret")
	if err := os.WriteFile(filepath.Join(local, "bin", "tool"), []byte("#!/bin/sh\necho works\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(w.home, "venv", "bin", "tool")
	if err := os.Symlink("../../.local/bin/tool", program); err != nil {
		t.Fatal(err)
	}
	w.spec.View.Hide = []string{w.home, state}
	w.spec.View.Keep = sandbox.KeepProgram(program)
	b := isolated(t, w.spec)
	if out, _ := sh(t, b, program+"; cat "+state+"/token 2>&1; ls "+state, false); !strings.HasPrefix(out, "works") || strings.Contains(out, "secret") {
		t.Error(out)
	}
}

func TestMissingBindFails(t *testing.T) {
	w := newWorld(t)
	w.spec.View.Binds = append(w.spec.View.Binds, sandbox.Bind{Src: filepath.Join(w.dir, "nowhere"), Dst: "/Volumes"})
	if _, err := sandbox.Start(context.Background(), w.spec); err == nil || !strings.Contains(err.Error(), "/Volumes") {
		t.Errorf("got %v", err)
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t)
	w.spec.Limits = sandbox.Limits{Memory: 256 << 20, Processes: 64, CPUs: 1, OpenFiles: 512}
	b := start(t, w.spec)
	if out, _ := sh(t, b, "ulimit -n", false); out != "512" {
		t.Errorf("open files: %s", out)
	}
	if out, _ := sh(t, b, "cat /proc/self/oom_score_adj", false); out != "500" {
		t.Errorf("tasks do not end first: oom_score_adj is %s", out)
	}
	for _, l := range b.Layers() {
		t.Logf("%-20s %-5v %s", l.Name, l.Active, l.Detail)
		if l.Name == "memory limit" && l.Active {
			if out, code := sh(t, b, "dd if=/dev/zero of=/dev/null bs=16M count=1", false); code != 0 {
				t.Errorf("16 MB with a limit of 256: %s", out)
			}
			if out, code := sh(t, b, "dd if=/dev/zero of=/dev/null bs=400M count=1", false); code == 0 {
				t.Errorf("400 MB with a limit of 256: %s", out)
			}
		}
		if l.Name == "process limit" && l.Active {
			if out, code := sh(t, b, "for i in $(seq 100); do sleep 1000 >/dev/null 2>&1 & done", false); code == 0 {
				t.Errorf("100 processes with a limit of 64: %s", out)
			}
		}
	}
}
