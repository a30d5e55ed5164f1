package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"sort"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Box is a running sandbox.
type Box struct {
	spec      Spec
	isolated  bool
	mapped    bool // tasks have an id of their own
	layers    []Layer
	cmd       *exec.Cmd
	control   *os.File
	listeners []*os.File
	group     *controlGroup

	sending sync.Mutex
	mu      sync.Mutex
	next    int64
	started map[int64]chan report
	running map[int64]*Process
	err     error         // why the box ended
	done    chan struct{} // closed once it has
}

// Process is a program in a box.
type Process struct {
	// Pid is its number as seen inside the box.
	Pid    int
	id     int64
	box    *Box
	exited chan struct{}
	exit   report
	err    error
}

// Start makes a box. Where the machine has no namespaces for us it makes one
// without: see Isolated and Layers. A box that fails where there are some is an
// error: what a task may see must not hang on a moment's lack of memory. The
// box ends with this process, or by Close.
func Start(ctx context.Context, spec Spec) (*Box, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if spec.Plain {
		return startPlain(spec, "not asked for")
	}
	b, err := startIsolated(spec, newMapper)
	if err == nil {
		return b, nil
	}
	if why := noNamespaces(); why != nil {
		return startPlain(spec, why.Error())
	}
	return nil, fmt.Errorf("start sandbox: %w", err)
}

func startIsolated(spec Spec, newIDs func() (*mapper, error)) (*Box, error) {
	uid, gid := inside()
	extra := map[string]string{"/etc/passwd": passwd(uid, gid), "/etc/group": group(gid), "/etc/hostname": "wherry\n"}
	hosts := hostsFile(spec.Hosts)
	view := spec.View
	if spec.HostsFile == "" {
		extra["/etc/hosts"] = hosts
	} else {
		if err := os.WriteFile(spec.HostsFile, []byte(hosts), 0o644); err != nil {
			return nil, err
		}
		view.Binds = append(append([]Bind(nil), view.Binds...), Bind{Src: spec.HostsFile, Dst: "/etc/hosts", ReadOnly: true})
	}
	ids, err := newIDs()
	defer ids.close()
	var plan []step
	if err == nil {
		plan, err = view.plan(maps.Clone(extra), os.Getuid() == 0, ids)
	}
	mapping := err
	if ids == nil || errors.Is(err, errMap) {
		ids.close()
		ids = nil
		plan, err = view.plan(extra, os.Getuid() == 0, nil)
	}
	if err != nil {
		return nil, err
	}
	attr := &syscall.SysProcAttr{
		Setsid:      true,
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: gid, HostID: os.Getgid(), Size: 1}},
		// The id inside is not 0, so capabilities would not survive the exec.
		AmbientCaps: startCapabilities,
	}
	b := &Box{spec: spec, isolated: true, mapped: ids != nil, layers: isolatedLayers(ids != nil, mapping)}
	start := boot{Isolated: true, Plan: plan, Listen: spec.Listen, OpenFiles: spec.Limits.OpenFiles}
	var trees []*os.File
	if ids != nil {
		trees = ids.files
		attr.UidMappings[0].HostID, attr.GidMappings[0].HostID, attr.GidMappingsEnableSetgroups = taskHostID, taskHostID, true
		start.UID, start.GID = uid, gid
	}
	return b, b.boot(attr, start, trees)
}

func startPlain(spec Spec, reason string) (*Box, error) {
	b := &Box{spec: spec, layers: plainLayers(reason)}
	return b, b.boot(&syscall.SysProcAttr{Setsid: true}, boot{OpenFiles: spec.Limits.OpenFiles}, nil)
}

// inside returns the ids that tasks have: our own, mapped to themselves, or
// 1000 for root, whose tasks must not believe to be root. On disk all of them
// are us, so that what one writes the server and the next can change.
func inside() (uid, gid int) {
	uid, gid = os.Getuid(), os.Getgid()
	if uid == 0 {
		uid = 1000
	}
	if gid == 0 {
		gid = 1000
	}
	return uid, gid
}

// passwd is the machine's with an entry for the box's user: the JVM and
// Hadoop refuse a user without a name.
func passwd(uid, gid int) string {
	own := fmt.Sprintf("wherry:x:%d:%d:wherry:/tmp:/bin/sh\n", uid, gid)
	return ownFirst("/etc/passwd", own, uid, 2)
}

func group(gid int) string {
	return ownFirst("/etc/group", fmt.Sprintf("wherry:x:%d:\n", gid), gid, 2)
}

// ownFirst puts own before the lines of a colon-separated file, without those
// whose field has the same id.
func ownFirst(name, own string, id, field int) string {
	b, _ := os.ReadFile(name) // without it the own line is all there is
	out := []string{strings.TrimSuffix(own, "\n")}
	for line := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n") {
		if f := strings.Split(line, ":"); len(f) > field && f[field] != fmt.Sprint(id) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n") + "\n"
}

func hostsFile(hosts map[string]string) string {
	byAddr := map[string][]string{}
	for name, addr := range hosts {
		byAddr[addr] = append(byAddr[addr], name)
	}
	addrs := make([]string, 0, len(byAddr))
	for addr := range byAddr {
		addrs = append(addrs, addr)
	}
	sort.Strings(addrs)
	out := "127.0.0.1 localhost wherry\n::1 localhost\n"
	for _, addr := range addrs {
		sort.Strings(byAddr[addr])
		for _, name := range byAddr[addr] {
			out += addr + " " + name + "\n"
		}
	}
	return out
}

// boot starts the first process, with opened trees for its plan, and waits
// until the box stands.
func (b *Box) boot(attr *syscall.SysProcAttr, start boot, trees []*os.File) (err error) {
	file, err := memoryFile(start)
	if err != nil {
		return err
	}
	defer file.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	b.control = os.NewFile(uintptr(pair[0]), "box")
	theirs := os.NewFile(uintptr(pair[1]), "box")
	log := os.Stderr
	if b.spec.Log != "" {
		if log, err = os.OpenFile(b.spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
			defer log.Close()
		}
	}
	if err == nil {
		b.cmd = &exec.Cmd{
			Path: "/proc/self/exe", Args: []string{processName}, Dir: "/", Env: []string{"GOMAXPROCS=1", "GOTRACEBACK=single"},
			Stdout: log, Stderr: log, ExtraFiles: append([]*os.File{theirs, file}, trees...), SysProcAttr: attr,
		}
		err = b.cmd.Start()
	}
	theirs.Close()
	if err != nil {
		b.control.Close()
		return err
	}
	if err := b.awaitReady(); err != nil {
		b.control.Close()
		_ = b.cmd.Process.Kill()
		_ = b.cmd.Wait()
		return err
	}
	b.group = newControlGroup(b.spec.Limits, b.cmd.Process.Pid)
	b.layers = append(b.layers, b.group.layers...)
	b.started, b.running, b.done = map[int64]chan report{}, map[int64]*Process{}, make(chan struct{})
	go b.listen()
	return nil
}

func (b *Box) awaitReady() error {
	var r report
	fds, err := receive(int(b.control.Fd()), &r)
	if errors.Is(err, io.EOF) {
		return errors.New("the sandbox's first process ended at its start; is sandbox.Main called in main?")
	}
	if err != nil {
		return err
	}
	if r.Op != "ready" {
		return &bootError{r.Error, syscall.Errno(r.Errno)}
	}
	b.layers = append(b.layers, seccompLayer(r.Error))
	for i, fd := range fds {
		b.listeners = append(b.listeners, os.NewFile(uintptr(fd), b.spec.Listen[i]))
	}
	return nil
}

// bootError is what the first process could not do.
type bootError struct {
	text  string
	errno syscall.Errno
}

func (e *bootError) Error() string { return e.text }

func (e *bootError) Unwrap() error { return e.errno }

// listen takes the first process's reports until it ends.
func (b *Box) listen() {
	for {
		var r report
		if _, err := receive(int(b.control.Fd()), &r); err != nil {
			break
		}
		b.mu.Lock()
		switch r.Op {
		case "started", "failed":
			if c := b.started[r.ID]; c != nil {
				c <- r
				delete(b.started, r.ID)
			}
		case "exited":
			if p := b.running[r.ID]; p != nil {
				p.exit = r
				close(p.exited)
				delete(b.running, r.ID)
			}
		}
		b.mu.Unlock()
	}
	_ = b.cmd.Wait()
	b.group.remove()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = errors.New("the sandbox has ended")
	for id, p := range b.running {
		p.exit, p.err = report{Code: 137, Signal: int(unix.SIGKILL)}, b.err
		close(p.exited)
		delete(b.running, id)
	}
	for id, c := range b.started {
		c <- report{Op: "failed", Error: b.err.Error()}
		delete(b.started, id)
	}
	close(b.done)
}

// Exec starts a program in the box, in a session of its own.
func (b *Box) Exec(c Command) (*Process, error) {
	description, err := b.describe(c)
	if err != nil {
		return nil, err
	}
	defer description.Close()
	fds := []int{int(description.Fd())}
	for _, f := range c.Files {
		if f != nil {
			if b.mapped {
				give(f)
			}
			fds = append(fds, int(f.Fd()))
		}
	}
	if len(fds) > maxFiles {
		return nil, fmt.Errorf("a command may have at most %d files", maxFiles-1)
	}
	p := &Process{box: b, exited: make(chan struct{})}
	answer := make(chan report, 1)
	b.mu.Lock()
	if b.err != nil {
		b.mu.Unlock()
		return nil, b.err
	}
	b.next++
	p.id = b.next
	b.started[p.id], b.running[p.id] = answer, p
	b.mu.Unlock()

	b.sending.Lock()
	err = send(int(b.control.Fd()), request{Op: "exec", ID: p.id}, fds)
	b.sending.Unlock()
	if err == nil {
		got := <-answer
		if got.Op == "started" {
			p.Pid = got.PID
			return p, nil
		}
		err = errors.New(got.Error)
	}
	b.mu.Lock()
	delete(b.running, p.id)
	delete(b.started, p.id)
	b.mu.Unlock()
	return nil, err
}

func (b *Box) describe(c Command) (*os.File, error) {
	r := request{Op: "exec", Command: &c, Files: make([]bool, len(c.Files))}
	for i, f := range c.Files {
		r.Files[i] = f != nil
	}
	if !b.isolated {
		c.Dir = b.Path(c.Dir)
	}
	return memoryFile(r)
}

// Listeners returns the sockets opened inside the box, in the order of
// Spec.Listen; none without a network of its own. Connections wait in them
// until someone accepts: they can be sent to another process at any time.
func (b *Box) Listeners() []*os.File { return b.listeners }

// Isolated reports whether the box has a view and a network of its own.
func (b *Box) Isolated() bool { return b.isolated }

// Layers tells what isolates the box, and why what does not.
func (b *Box) Layers() []Layer { return b.layers }

// Path returns where a program in the box finds the file that the view has at
// name: name itself, or the path behind it in a box without a view.
func (b *Box) Path(name string) string {
	if b.isolated || name == "" {
		return name
	}
	return b.spec.View.realPath(name)
}

// SetHosts changes the names that the box's /etc/hosts knows. It needs
// Spec.HostsFile.
func (b *Box) SetHosts(hosts map[string]string) error {
	if b.spec.HostsFile == "" {
		return errors.New("this sandbox's hosts file cannot change")
	}
	// In place, since the box has this very file, and never empty.
	f, err := os.OpenFile(b.spec.HostsFile, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	text := hostsFile(hosts)
	_, err = f.WriteAt([]byte(text), 0)
	return errors.Join(err, f.Truncate(int64(len(text))), f.Close())
}

// Done is closed when the box has ended.
func (b *Box) Done() <-chan struct{} { return b.done }

// PID is the machine's number of the box's first process, for accounting.
func (b *Box) PID() int { return b.cmd.Process.Pid }

// Close ends everything in the box and waits until nothing of it is left.
func (b *Box) Close() error {
	if b.isolated {
		_ = b.cmd.Process.Kill() // the kernel ends the rest with it
	} else {
		_ = unix.Shutdown(int(b.control.Fd()), unix.SHUT_WR)
	}
	<-b.done
	for _, l := range b.listeners {
		_ = l.Close()
	}
	return b.control.Close()
}

// Wait returns the exit code, 128 + the signal's number if a signal ended the
// program. The error says that the whole box ended.
func (p *Process) Wait() (code int, err error) {
	<-p.exited
	return p.exit.Code, p.err
}

// Exited is closed when the program has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// ExitSignal returns the signal that ended the program, 0 if it exited by
// itself. Call it after Wait.
func (p *Process) ExitSignal() syscall.Signal { return syscall.Signal(p.exit.Signal) }

// Signal sends a signal to the program's process group.
func (p *Process) Signal(s syscall.Signal) error {
	p.box.sending.Lock()
	defer p.box.sending.Unlock()
	return send(int(p.box.control.Fd()), request{Op: "signal", ID: p.id, Signal: int(s)}, nil)
}

// Kill ends the program's process group.
func (p *Process) Kill() error { return p.Signal(unix.SIGKILL) }
