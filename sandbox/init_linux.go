package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// processName is the name under which the executable starts as the first
// process of a box.
const processName = "wherry-sandbox"

// Descriptors that the first process is started with.
const (
	controlFD = 3
	bootFD    = 4
)

// capabilities over the box, and only the box, that the first process works
// with and that a command with KeepCaps gets. They are capabilities of the
// box's own user namespace: the machine knows nothing of them.
var capabilities = []uintptr{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL, unix.CAP_SETGID, unix.CAP_SETUID,
	unix.CAP_SETPCAP, unix.CAP_SYS_CHROOT, unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_MKNOD,
}

// startCapabilities are needed once more, to open the network.
var startCapabilities = append([]uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_BIND_SERVICE}, capabilities...)

// Main becomes the first process of a box, and never returns, if this process
// was started as one; else it returns at once. It must be the first call of
// main, and of TestMain in packages whose tests start boxes.
func Main() {
	if len(os.Args) == 0 || os.Args[0] != processName {
		return
	}
	// no_new_privs is a property of a thread, inherited by what it forks: all
	// of the box's programs are forked by this one.
	runtime.LockOSThread()
	unix.CloseOnExec(controlFD)
	unix.CloseOnExec(bootFD)
	p := &initProcess{running: map[int]int64{}, pids: map[int64]int{}}
	if err := p.start(); err != nil {
		errno, _ := errors.AsType[syscall.Errno](err)
		_ = send(controlFD, report{Op: "failed", Error: err.Error(), Errno: int(errno)}, nil)
		os.Exit(1)
	}
	p.serve()
	p.killAll()
	os.Exit(0)
}

// initProcess is the first process of a box. Its owner's end of the control
// socket is its lease on life: when that closes, everything ends.
type initProcess struct {
	isolated bool
	mu       sync.Mutex // held from fork to registration, so that no exit is seen before
	running  map[int]int64
	pids     map[int64]int
}

func (p *initProcess) start() error {
	var b boot
	f := os.NewFile(bootFD, "boot")
	if err := json.NewDecoder(f).Decode(&b); err != nil {
		return fmt.Errorf("read boot: %w", err)
	}
	f.Close()
	for _, s := range b.Plan {
		if s.Op == "attach" {
			unix.CloseOnExec(s.FD)
		}
	}
	p.isolated = b.Isolated
	// Where the machine as a whole runs out of memory, tasks end before the
	// server. Best effort: every process may ask for this.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)
	listeners, err := p.enter(&b)
	if err != nil {
		return err
	}
	limit := unix.Rlimit{}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("limit core files: %w", err)
	}
	if b.OpenFiles > 0 {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: b.OpenFiles, Max: b.OpenFiles}); err != nil {
			return fmt.Errorf("limit open files: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	go p.reap()
	go p.forwardSignals()
	ready := report{Op: "ready"}
	if err := filterCalls(); err != nil { // a kernel without it: the layers say so
		ready.Error = err.Error()
	}
	err = send(controlFD, ready, listeners)
	for _, fd := range listeners { // the owner has them now
		_ = unix.Close(fd)
	}
	return err
}

// enter makes the box around this process and opens its listeners.
func (p *initProcess) enter(b *boot) (listeners []int, err error) {
	if !b.Isolated {
		// Orphans come to us, so that they can be found and ended.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return nil, fmt.Errorf("become subreaper: %w", err)
		}
		return nil, nil
	}
	if b.UID != 0 {
		// These change all threads, and take no capabilities: the namespace has no root.
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(b.GID, b.GID, b.GID), syscall.Setresuid(b.UID, b.UID, b.UID)); err != nil {
			return nil, fmt.Errorf("become uid %d: %w", b.UID, err)
		}
	}
	if err := unix.Sethostname([]byte("wherry")); err != nil {
		return nil, fmt.Errorf("set host name: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return nil, fmt.Errorf("loopback up: %w", err)
	}
	if err := carryOut(b.Plan); err != nil {
		return nil, fmt.Errorf("mount view: %w", err)
	}
	for _, addr := range b.Listen {
		fd, err := listenFD(addr)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", addr, err)
		}
		listeners = append(listeners, fd)
	}
	// Programs get no capabilities unless they are named anew at their start.
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("clear ambient capabilities: %w", err)
	}
	// A process without our capabilities may not look into this one.
	return listeners, unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

func listenFD(addr string) (int, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr); err != nil {
		return err
	}
	ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// serve carries out requests until the owner is gone.
func (p *initProcess) serve() {
	for {
		var r request
		fds, err := receive(controlFD, &r)
		if err != nil {
			return
		}
		switch r.Op {
		case "exec":
			pid, err := p.exec(r.ID, fds)
			answer := report{Op: "started", ID: r.ID, PID: pid}
			if err != nil {
				answer = report{Op: "failed", ID: r.ID, Error: err.Error()}
			}
			_ = send(controlFD, answer, nil)
			p.mu.Unlock() // exec took it: "exited" must come after "started"
		case "signal":
			p.mu.Lock()
			if pid := p.pids[r.ID]; pid > 0 {
				_ = unix.Kill(-pid, syscall.Signal(r.Signal))
			}
			p.mu.Unlock()
		}
	}
}

// exec starts a program; it returns with p.mu locked.
func (p *initProcess) exec(id int64, fds []int) (int, error) {
	p.mu.Lock()
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	if len(fds) == 0 {
		return 0, errors.New("a command came without its description")
	}
	description := os.NewFile(uintptr(fds[0]), "command")
	fds = fds[1:]
	defer description.Close()
	var r request
	if err := json.NewDecoder(description).Decode(&r); err != nil {
		return 0, fmt.Errorf("read command: %w", err)
	}
	files, null, err := descriptors(r.Files, fds)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(null) }()
	c := r.Command
	name, err := lookPath(c)
	if err != nil {
		return 0, err
	}
	attr := &syscall.SysProcAttr{Setsid: true}
	switch {
	case !p.isolated:
		attr.Pdeathsig = unix.SIGKILL
	case c.KeepCaps:
		attr.AmbientCaps = capabilities
	}
	dir := c.Dir
	if dir == "" {
		dir = "/"
	}
	pid, err := syscall.ForkExec(name, c.Argv, &syscall.ProcAttr{Dir: dir, Env: c.Env, Files: files, Sys: attr})
	if err != nil {
		return 0, fmt.Errorf("start %s in %s: %w", name, dir, err)
	}
	p.running[pid], p.pids[id] = id, pid
	return pid, nil
}

// descriptors lays out the program's descriptors; null is an open /dev/null.
func descriptors(sent []bool, fds []int) (files []uintptr, null int, err error) {
	null, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	for i := 0; i < max(3, len(sent)); i++ {
		if i >= len(sent) || !sent[i] {
			files = append(files, uintptr(null))
			continue
		}
		if len(fds) == 0 {
			_ = unix.Close(null)
			return nil, 0, errors.New("a command came without its files")
		}
		files = append(files, uintptr(fds[0]))
		fds = fds[1:]
	}
	return files, null, nil
}

// lookPath finds the program as the command's own environment does.
func lookPath(c *Command) (string, error) {
	if len(c.Argv) == 0 {
		return "", errors.New("a command has no arguments")
	}
	name := c.Argv[0]
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := "/usr/local/bin:/usr/bin:/bin"
	for _, e := range c.Env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s: %w in %s", name, exec.ErrNotFound, path)
}

// reap waits for all children, adopted ones too, and reports those we started.
func (p *initProcess) reap() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGCHLD)
	for {
		p.collect()
		<-c
	}
}

func (p *initProcess) collect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		id, ours := p.running[pid]
		if !ours {
			continue
		}
		delete(p.running, pid)
		delete(p.pids, id)
		r := report{Op: "exited", ID: id, PID: pid, Code: ws.ExitStatus()}
		if ws.Signaled() {
			r.Code, r.Signal = 128+int(ws.Signal()), int(ws.Signal())
		}
		_ = send(controlFD, r, nil)
	}
}

// forwardSignals passes on what a user or a supervisor sends.
func (p *initProcess) forwardSignals() {
	c := make(chan os.Signal, 4)
	signal.Notify(c, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	for s := range c {
		p.mu.Lock()
		for pid := range p.running {
			_ = unix.Kill(-pid, s.(syscall.Signal))
		}
		p.mu.Unlock()
	}
}
