package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// step is one system call of the mount plan. The plan is computed by the
// parent, who still sees the machine's paths, and carried out by the box's
// first process.
type step struct {
	Op       string  `json:"op"` // mount, attach, setattr, mkdir, write, symlink, pivot, unmount, chdir
	Src      string  `json:"src,omitempty"`
	Dst      string  `json:"dst,omitempty"`
	Type     string  `json:"type,omitempty"`
	Flags    uintptr `json:"flags,omitempty"`
	Data     string  `json:"data,omitempty"`
	Deep     bool    `json:"deep,omitempty"`
	Optional bool    `json:"optional,omitempty"` // a failure is passed over
	FD       int     `json:"fd,omitempty"`       // of attach
}

// The old root and the new one, while the plan is carried out.
const (
	oldRoot = "/oldroot"
	newRoot = "/newroot"
)

// private are top directories that a box has of its own.
var private = []string{"/dev", "/proc", "/run", "/tmp", "/lost+found"}

// hiddenFromRoot would be readable inside because the server runs as root; a
// box has no business with them.
var hiddenFromRoot = []string{"/root", "/home", "/etc/ssh", "/etc/ssl/private", "/var/lib", "/var/log", "/var/spool", "/var/backups"}

// secretFiles are hidden for the same reason, one by one.
var secretFiles = []string{"/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers"}

type planner struct {
	steps []step
	hide  []string // cleaned, none below another or below a private directory
	ids   *mapper  // nil: owners are shown as they are
}

// plan computes the steps to the view; extra are files of the box's own, path
// to content, that cover the machine's; ids shows files of root as the tasks'.
func (v View) plan(extra map[string]string, root bool, ids *mapper) ([]step, error) {
	p := &planner{hide: hides(v.Hide, root), ids: ids}
	p.begin()
	if err := p.machine(); err != nil {
		return nil, err
	}
	p.devices()
	if err := p.temporary(v.Temp); err != nil {
		return nil, err
	}
	for _, h := range p.hide {
		if strings.Count(h, "/") > 1 {
			p.tmpfs(h, "mode=755")
		}
	}
	for _, k := range v.Keep {
		if err := p.keep(k); err != nil {
			return nil, err
		}
	}
	p.hideKept(v)
	binds := append([]Bind(nil), v.Binds...)
	sort.SliceStable(binds, func(i, j int) bool { return len(binds[i].Dst) < len(binds[j].Dst) })
	for _, b := range binds {
		if err := p.bind(b); err != nil {
			return nil, err
		}
	}
	if root {
		p.secrets(extra)
	}
	p.files(extra)
	p.finish()
	return p.steps, nil
}

// hides cleans the list of hidden directories.
func hides(names []string, root bool) (list []string) {
	if root {
		names = append(append([]string(nil), names...), hiddenFromRoot...)
	}
	seen := map[string]bool{}
	for _, n := range names {
		real, err := filepath.EvalSymlinks(n)
		if err != nil || real == "/" || seen[real] {
			continue // not there, so nothing to hide; and all cannot be hidden
		}
		seen[real] = true
		list = append(list, real)
	}
	sort.Strings(list)
	kept := list[:0]
	for _, h := range list {
		covered := false
		for _, c := range append([]string{"/var/tmp"}, private...) {
			covered = covered || within(h, c)
		}
		for _, k := range kept {
			covered = covered || within(h, k)
		}
		if !covered {
			kept = append(kept, h)
		}
	}
	return kept
}

func (p *planner) add(s ...step) { p.steps = append(p.steps, s...) }

func (p *planner) tmpfs(dst, data string) {
	p.add(step{Op: "mkdir", Dst: newRoot + dst},
		step{Op: "mount", Src: "tmpfs", Dst: newRoot + dst, Type: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: data})
}

// bindAt binds src of the old root to dst of the new one, which exists.
func (p *planner) bindAt(src, dst string, readOnly, optional bool) {
	attr := uintptr(unix.MOUNT_ATTR_NOSUID)
	if readOnly {
		attr |= unix.MOUNT_ATTR_RDONLY
	}
	p.add(step{Op: "mount", Src: oldRoot + src, Dst: newRoot + dst, Flags: unix.MS_BIND | unix.MS_REC, Optional: optional},
		step{Op: "setattr", Dst: newRoot + dst, Flags: attr, Deep: true, Optional: optional})
}

// begin puts an empty root in place: the old one is at oldRoot afterwards,
// with its /tmp in sight again.
func (p *planner) begin() {
	p.add(step{Op: "mount", Dst: "/", Flags: unix.MS_REC | unix.MS_PRIVATE},
		step{Op: "mount", Src: "tmpfs", Dst: "/tmp", Type: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=755"},
		step{Op: "mkdir", Dst: "/tmp" + newRoot}, step{Op: "mkdir", Dst: "/tmp" + oldRoot},
		step{Op: "pivot", Src: "/tmp", Dst: "/tmp" + oldRoot},
		step{Op: "mount", Src: "tmpfs", Dst: newRoot, Type: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=755"})
}

// machine shows the machine's top directories, read only.
func (p *planner) machine() error {
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := "/" + e.Name()
		switch {
		case contains(private, name):
		case e.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			p.add(step{Op: "symlink", Src: target, Dst: newRoot + name})
		case e.IsDir():
			p.add(step{Op: "mkdir", Dst: newRoot + name})
			if !contains(p.hide, name) {
				p.bindAt(name, name, true, name == "/sys")
			}
		}
	}
	return nil
}

func (p *planner) devices() {
	p.add(step{Op: "mkdir", Dst: newRoot + "/dev"},
		step{Op: "mount", Src: "tmpfs", Dst: newRoot + "/dev", Type: "tmpfs", Flags: unix.MS_NOSUID, Data: "mode=755,size=64k"})
	for _, d := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		if _, err := os.Stat("/dev/" + d); err != nil {
			continue
		}
		p.add(step{Op: "write", Dst: newRoot + "/dev/" + d},
			step{Op: "mount", Src: oldRoot + "/dev/" + d, Dst: newRoot + "/dev/" + d, Flags: unix.MS_BIND})
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"} {
		p.add(step{Op: "symlink", Src: target, Dst: newRoot + "/dev/" + name})
	}
	p.add(step{Op: "mkdir", Dst: newRoot + "/dev/shm"}, step{Op: "mkdir", Dst: newRoot + "/dev/pts"},
		step{Op: "mount", Src: "tmpfs", Dst: newRoot + "/dev/shm", Type: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=1777"},
		step{Op: "mount", Src: "devpts", Dst: newRoot + "/dev/pts", Type: "devpts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Data: "newinstance,ptmxmode=0666,mode=620", Optional: true})
}

// temporary gives the box its own /tmp, /var/tmp and /run. The machine's /run
// holds sockets (of Docker, of D-Bus) that a read-only mount would not close.
func (p *planner) temporary(dir string) error {
	if dir == "" {
		p.tmpfs("/tmp", "mode=1777")
	} else {
		if err := isDir(dir); err != nil {
			return err
		}
		if err := p.bind(Bind{Src: dir, Dst: "/tmp"}); err != nil {
			return err
		}
	}
	if isDir("/var/tmp") == nil {
		p.tmpfs("/var/tmp", "mode=1777")
	}
	p.tmpfs("/run", "mode=755")
	return nil
}

// keep shows a directory or file, read only, at its own path.
func (p *planner) keep(name string) error {
	name = filepath.Clean(name)
	hidden := false
	for _, h := range append(append([]string{"/tmp", "/run", "/var/tmp"}, p.hide...), private...) {
		hidden = hidden || within(name, h)
	}
	if real, err := filepath.EvalSymlinks(name); err == nil && real != name {
		// The path leads through a link that may itself be hidden: show the
		// same thing under both names.
		if err := p.keep(real); err != nil {
			return err
		}
	}
	if !hidden {
		return nil
	}
	return p.bind(Bind{Src: name, Dst: name, ReadOnly: true})
}

// hideKept hides again what a kept directory brought back: ~/.local may hold
// both a Python and the state directory.
func (p *planner) hideKept(v View) {
	for _, h := range v.Hide {
		real, err := filepath.EvalSymlinks(h)
		if err != nil {
			continue
		}
		for _, k := range v.Keep {
			if k, err := filepath.EvalSymlinks(k); err == nil && k != real && within(real, k) && !contains(p.hide, real) {
				p.tmpfs(real, "mode=755")
				p.hide = append(p.hide, real)
			}
		}
	}
}

func (p *planner) bind(b Bind) error {
	// An absolute link would lead astray below the old root.
	src, err := filepath.EvalSymlinks(b.Src)
	if err != nil {
		return fmt.Errorf("bind %s: %w", b.Dst, err)
	}
	info, err := os.Stat(src)
	if err != nil {
		return fmt.Errorf("bind %s: %w", b.Dst, err)
	}
	dst := filepath.Clean(b.Dst)
	if info.IsDir() {
		p.add(step{Op: "mkdir", Dst: newRoot + dst})
	} else {
		p.add(step{Op: "mkdir", Dst: newRoot + filepath.Dir(dst)}, step{Op: "write", Dst: newRoot + dst})
	}
	if p.ids != nil {
		fd, err := p.ids.open(src, b.ReadOnly)
		if err == nil {
			p.add(step{Op: "attach", FD: fd, Dst: newRoot + dst})
			return nil
		}
		if !b.ReadOnly {
			return errors.Join(errMap, err)
		}
		// Read only it will do as it is, if others may read it.
	}
	p.bindAt(src, dst, b.ReadOnly, false)
	return nil
}

// errMap says that the file system of a bind cannot show other owners.
var errMap = errors.New("owners cannot be mapped")

// secrets covers files that only root may read with empty ones.
func (p *planner) secrets(extra map[string]string) {
	for _, name := range secretFiles {
		if info, err := os.Lstat(name); err == nil && info.Mode().IsRegular() {
			extra[name] = ""
		}
	}
}

// files puts the box's own files over the machine's.
func (p *planner) files(extra map[string]string) {
	names := make([]string, 0, len(extra))
	for name := range extra {
		names = append(names, name)
	}
	sort.Strings(names)
	p.add(step{Op: "mkdir", Dst: newRoot + "/run/box"})
	for i, name := range names {
		own, name, content := fmt.Sprintf("/run/box/%d", i), name, extra[name]
		if real, err := filepath.EvalSymlinks(name); err == nil {
			name = real
		}
		p.add(step{Op: "write", Dst: newRoot + own, Data: content},
			// A machine without the file has a read-only directory there.
			step{Op: "mount", Src: newRoot + own, Dst: newRoot + name, Flags: unix.MS_BIND, Optional: true},
			step{Op: "setattr", Dst: newRoot + name, Flags: unix.MOUNT_ATTR_RDONLY, Optional: true})
	}
}

// finish mounts /proc, makes what must not change read only, and leaves the
// old root behind.
func (p *planner) finish() {
	p.add(step{Op: "mkdir", Dst: newRoot + "/proc"},
		step{Op: "mount", Src: "proc", Dst: newRoot + "/proc", Type: "proc", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC})
	// The machine's settings obey root, whatever its capabilities.
	for _, name := range []string{"sys", "irq", "bus", "fs", "acpi", "scsi", "sysrq-trigger", "mtrr"} {
		dst := newRoot + "/proc/" + name
		p.add(step{Op: "mount", Src: dst, Dst: dst, Flags: unix.MS_BIND, Optional: true},
			step{Op: "setattr", Dst: dst, Flags: unix.MOUNT_ATTR_RDONLY, Optional: true})
	}
	for _, h := range p.hide {
		if strings.Count(h, "/") > 1 {
			p.add(step{Op: "setattr", Dst: newRoot + h, Flags: unix.MOUNT_ATTR_RDONLY})
		}
	}
	p.add(step{Op: "setattr", Dst: newRoot + "/dev", Flags: unix.MOUNT_ATTR_RDONLY},
		step{Op: "setattr", Dst: newRoot + "/run", Flags: unix.MOUNT_ATTR_RDONLY},
		step{Op: "setattr", Dst: newRoot, Flags: unix.MOUNT_ATTR_RDONLY},
		step{Op: "unmount", Dst: oldRoot},
		step{Op: "chdir", Dst: newRoot},
		step{Op: "pivot", Src: ".", Dst: "."},
		step{Op: "unmount", Dst: "."},
		step{Op: "chdir", Dst: "/"})
}

// carryOut runs the plan. It is called in the box's first process.
func carryOut(steps []step) error {
	for _, s := range steps {
		if err := s.do(); err != nil && !s.Optional {
			return fmt.Errorf("%s %s %s: %w", s.Op, s.Src, s.Dst, err)
		}
	}
	return nil
}

func (s step) do() error {
	switch s.Op {
	case "mount":
		src := s.Src
		if src == "" {
			src = "none"
		}
		return unix.Mount(src, s.Dst, s.Type, s.Flags, s.Data)
	case "attach":
		return attach(s.FD, s.Dst)
	case "setattr":
		flags := uint(0)
		if s.Deep {
			flags = unix.AT_RECURSIVE
		}
		return unix.MountSetattr(-1, s.Dst, flags, &unix.MountAttr{Attr_set: uint64(s.Flags)})
	case "mkdir":
		return os.MkdirAll(s.Dst, 0o755)
	case "write":
		if _, err := os.Stat(s.Dst); err == nil && s.Data == "" {
			return nil // a place to mount on, and it is there
		}
		return os.WriteFile(s.Dst, []byte(s.Data), 0o644)
	case "symlink":
		return os.Symlink(s.Src, s.Dst)
	case "pivot":
		if err := unix.PivotRoot(s.Src, s.Dst); err != nil || s.Src == "." {
			return err
		}
		return unix.Chdir("/")
	case "unmount":
		return unix.Unmount(s.Dst, unix.MNT_DETACH)
	case "chdir":
		return unix.Chdir(s.Dst)
	}
	return fmt.Errorf("unknown step %q", s.Op)
}

func isDir(name string) error {
	info, err := os.Stat(name)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", name)
	}
	return err
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
