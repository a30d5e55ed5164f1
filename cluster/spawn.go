package cluster

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/state"
)

// newID is a cluster id as the platform's look: 0412-093112-k3x9z0ab.
func newID() string {
	b := make([]byte, 5)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return time.Now().UTC().Format("0102-150405-") + hex.EncodeToString(b)
}

// spawn starts an agent, detached from us, and connects to it.
func (m *Manager) spawn(ctx context.Context, s shape, lease string) (*remote, error) {
	runtime, err := m.cfg.Runtime(ctx)
	if err != nil {
		return nil, &failure{"DRIVER_ERROR", err.Error()}
	}
	exe, err := m.executable()
	if err != nil {
		return nil, fmt.Errorf("copy executable: %w", err)
	}
	id := newID()
	dir := m.cfg.State.Agent(id)
	if err := m.writeAgent(dir, m.agentConfig(id, s, runtime, exe.path)); err != nil {
		return nil, fmt.Errorf("make agent's folder: %w", err)
	}
	if err := launch(ctx, exe, dir); err != nil {
		return nil, &failure{"DRIVER_ERROR", fmt.Sprintf("compute could not be started: %v", err)}
	}
	r, err := m.newRemote(id)
	if err != nil {
		return nil, err
	}
	r.lease, r.hosts, r.heard = lease, r.config.Box.Hosts, r.config.Box.Hosts
	if err := r.connect(); err != nil {
		return nil, fmt.Errorf("connect to agent %s: %w", id, err)
	}
	m.add(r)
	return r, nil
}

func (m *Manager) agentConfig(id string, s shape, rt Runtime, exe string) protocol.Config {
	c := protocol.Config{
		ID: id, WorkspaceID: s.workspaceID, Shape: s.key, Python: rt.Python, PythonPath: protocol.InsidePython, Zygote: "wherry_runtime.zygote",
		Box: m.box(id, s, rt, exe), Env: map[string]string{}, IdleMillis: m.cfg.AgentIdle.Milliseconds(),
		OutputLimit: 200 << 20, Cores: s.cores, MemoryMB: s.memoryMB, SparkConf: s.conf,
		User: s.user, TrustStore: m.cfg.TrustStore, TrustStorePassword: m.cfg.TrustStorePassword, Proxy: m.cfg.Proxy,
		APIURL: m.cfg.URL, Single: s.single,
	}
	if s.single { // its task is no Python
		c.Env["WHERRY_PRELOAD"] = "none"
	} else if v := os.Getenv("WHERRY_PRELOAD"); v != "" { // "light": zygotes import nothing heavy
		c.Env["WHERRY_PRELOAD"] = v
	}
	for k, v := range m.cfg.Env {
		c.Env[k] = v
	}
	for k, v := range s.env {
		c.Env[k] = v
	}
	return c
}

// box is what the processes of a cluster see of this machine.
func (m *Manager) box(id string, s shape, rt Runtime, exe string) sandbox.Spec {
	st, dir := m.cfg.State, m.cfg.State.Agent(id)
	view := sandbox.View{
		Binds: append([]sandbox.Bind{
			{Src: filepath.Join(dir, protocol.RunDir), Dst: protocol.InsideRun},
			{Src: rt.PythonPath, Dst: protocol.InsidePython, ReadOnly: true},
		}, m.cfg.Binds...),
		Hide: []string{string(st)},
		Keep: rt.Keep,
		Temp: filepath.Join(dir, "tmp"),
	}
	if s.single {
		view.Binds = append(view.Binds, sandbox.Bind{Src: exe, Dst: protocol.InsideProgram, ReadOnly: true})
		view.Keep = append(slices.Clone(view.Keep), m.cfg.Keep()...)
	} else {
		view.Binds = append(view.Binds, m.data(s.workspaceID, dir)...)
	}
	for inside, folder := range s.volumes {
		view.Binds = append(view.Binds, sandbox.Bind{Src: folder, Dst: inside})
	}
	if home, err := os.UserHomeDir(); err == nil {
		view.Hide = append(view.Hide, home)
	}
	listen := slices.Clone(m.cfg.Listen)
	if u, err := url.Parse(m.cfg.URL); err == nil {
		listen = append(listen, u.Host)
	}
	return sandbox.Spec{
		Plain: m.cfg.Plain, View: view, Hosts: m.hosts(), HostsFile: filepath.Join(dir, "hosts"), Listen: listen,
		Log: filepath.Join(dir, "box.log"), Limits: limits(s, hostMemoryMB(), goruntime.NumCPU()),
	}
}

// data is what a cluster sees of the workspace.
func (m *Manager) data(ws int64, dir string) []sandbox.Bind {
	st := m.cfg.State
	return []sandbox.Bind{
		{Src: st.Workspace(ws), Dst: "/Workspace"},
		{Src: st.DBFS(ws), Dst: "/dbfs"},
		{Src: st.Volumes(), Dst: "/Volumes"},
		{Src: filepath.Join(dir, "disk"), Dst: "/local_disk0"},
		{Src: st.Managed(), Dst: protocol.InsideManaged},
		{Src: st.Trees(), Dst: protocol.InsideTrees, ReadOnly: true},
	}
}

// maxProcesses of a cluster, threads among them: far more than Spark and Python
// have, and far less than the machine.
const maxProcesses = 16384

// limits of a cluster on a machine with so much memory and so many cores: what
// its node has, and never so much that the server and its machine have too
// little to live.
func limits(s shape, hostMB, cores int) sandbox.Limits {
	room := min(max(1<<10, hostMB/10), hostMB/2)
	l := sandbox.Limits{Memory: int64(min(s.memoryMB, hostMB-room)) << 20, Processes: maxProcesses}
	if s.cores < cores {
		l.CPUs = float64(s.cores)
	}
	return l
}

func (m *Manager) hosts() map[string]string {
	if m.cfg.Hosts == nil {
		return nil
	}
	return m.cfg.Hosts()
}

func (m *Manager) writeAgent(dir string, c protocol.Config) error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		os.MkdirAll(filepath.Join(dir, "tmp"), 0o700),
		os.MkdirAll(m.cfg.State.Workspace(c.WorkspaceID), 0o700),
		os.MkdirAll(m.cfg.State.DBFS(c.WorkspaceID), 0o700),
		os.WriteFile(filepath.Join(dir, protocol.ConfigFile), b, 0o600),
		os.WriteFile(filepath.Join(dir, protocol.TokenFile), []byte(auth.NewToken("")), 0o600),
	)
}

// launchPatience is how long an agent may take to end that nobody wants any more.
const launchPatience = 5 * time.Second

// launch returns once the agent of dir listens. It is in a session of its own,
// so that nothing which ends us ends it; if ctx ends before it listens, it ends.
func launch(ctx context.Context, exe binary, dir string) error {
	log, err := os.OpenFile(filepath.Join(dir, protocol.LogFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	ready, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	c := exec.Command(exe.path, "agent", "--dir", dir, "--build", exe.digest, "--ready-fd", "3")
	c.Dir, c.Stdout, c.Stderr, c.ExtraFiles = "/", log, log, []*os.File{theirs}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = c.Start()
	theirs.Close()
	if err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() { // reaped if it ends before us; it is not ours to wait for
		defer close(gone)
		_ = c.Wait()
	}()
	stop := context.AfterFunc(ctx, func() { ready.Close() })
	defer stop()
	if line, _ := bufio.NewReader(ready).ReadString('\n'); line == "ok\n" {
		return nil
	}
	if ctx.Err() != nil { // nobody would know of it
		_ = c.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-gone:
		case <-time.After(launchPatience):
			_ = c.Process.Kill()
		}
		return ctx.Err()
	}
	text, _ := os.ReadFile(filepath.Join(dir, protocol.LogFile))
	return fmt.Errorf("the agent ended: %s", lastLine(string(text)))
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// binary is what agents run.
type binary struct {
	path, digest string
}

// copyExecutable keeps a copy of what we run, under its digest: agents outlive
// upgrades, and the binaries of go run and go test vanish.
func (m *Manager) copyExecutable() (b binary, err error) {
	exe := m.cfg.Executable
	if exe == "" {
		exe = "/proc/self/exe"
	}
	f, err := os.Open(exe)
	if err != nil {
		return b, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return b, err
	}
	b.digest = hex.EncodeToString(h.Sum(nil))[:16]
	dir := m.cfg.State.Path("cache", "bin", b.digest)
	b.path = filepath.Join(dir, "wherry")
	if _, err := os.Stat(b.path); err == nil {
		return b, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return b, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return b, err
	}
	return b, copyTo(f, b.path)
}

// copyTo writes a program.
func copyTo(f io.Reader, path string) error {
	written, err := copyBeside(f, path)
	if err == nil {
		err = syncFile(written)
	}
	if err == nil {
		err = os.Rename(written, path)
	}
	if err != nil {
		_ = os.Remove(written) // it may not be there
		return err
	}
	return state.SyncDir(filepath.Dir(path))
}

// copyBeside writes a program to a temporary name beside path. It lets nothing
// fork meanwhile: a child between its fork and its exec would hold the copy open
// for writing, and nobody could execute it (ETXTBSY, golang/go#22315).
func copyBeside(f io.Reader, path string) (written string, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	out, err := os.CreateTemp(filepath.Dir(path), ".copy-*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, f)
	return out.Name(), errors.Join(err, out.Chmod(0o700), out.Close())
}

// syncFile has what was written to a file reach the disk.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (m *Manager) newRemote(id string) (*remote, error) {
	r := &remote{m: m, id: id, dir: m.cfg.State.Agent(id), gone: make(chan struct{}), news: make(chan struct{}), sinks: map[int64]*run{}, awaited: map[int64]bool{}, used: time.Now()}
	b, err := os.ReadFile(filepath.Join(r.dir, protocol.ConfigFile))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r.config)
}

func (m *Manager) add(r *remote) {
	m.mu.Lock()
	m.agents[r.id] = r
	m.mu.Unlock()
	m.do(r.serve)
}

func (m *Manager) forget(r *remote) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.agents, r.id)
}

// waitGone waits, for a few seconds, until the agent's process has ended.
func (r *remote) waitGone() {
	for range 500 {
		lock, err := protocol.Lock(r.dir)
		if err != nil {
			return
		}
		if lock != nil {
			lock.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	slog.Warn("agent does not end", "agent", r.id)
}
