package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// taskHostID is the machine's number for tasks of a server that runs as root.
// It is nobody's: as root, even one without capabilities, a task could write
// /proc/sys/kernel/core_pattern and so run programs as the machine's root.
// Files that tasks share with the server are mounted with this id mapped to
// root's, so on disk everything is the server's.
const taskHostID = 772_000_000

// mapper opens directories and files with root's ownership shown as the tasks'.
type mapper struct {
	namespace *os.File
	files     []*os.File // opened trees, in the order of the first process's descriptors
}

// newMapper returns nil without an error where tasks need no id of their own:
// for a server that is not the machine's root.
func newMapper() (*mapper, error) {
	if os.Getuid() != 0 || !machineRoot() {
		return nil, nil
	}
	ns, err := idNamespace()
	if err != nil {
		return nil, fmt.Errorf("namespace for mapped mounts: %w", err)
	}
	return &mapper{namespace: ns}, nil
}

// machineRoot reports whether uid 0 is the machine's, not a container's.
func machineRoot() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(b))
	return err == nil && len(f) == 3 && f[0] == "0" && f[1] == "0" && f[2] == "4294967295"
}

// idNamespace makes a user namespace in which root is taskHostID. A namespace
// needs a process when it is made: one that is stopped before it does anything,
// and killed.
func idNamespace() (*os.File, error) {
	runtime.LockOSThread() // ptrace is between threads
	defer runtime.UnlockOSThread()
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: taskHostID, Size: 1}}
	p, err := os.StartProcess("/proc/self/exe", []string{processName}, &os.ProcAttr{
		Files: []*os.File{nil, nil, nil},
		Sys:   &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Ptrace: true, Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = p.Kill()
		_, _ = p.Wait()
	}()
	return os.Open(fmt.Sprintf("/proc/%d/ns/user", p.Pid))
}

// open returns the number under which the first process gets a mount of src
// that it can attach.
func (m *mapper) open(src string, readOnly bool) (fd int, err error) {
	tree, err := unix.OpenTree(unix.AT_FDCWD, src, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return 0, fmt.Errorf("open tree %s: %w", src, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP | unix.MOUNT_ATTR_NOSUID, Userns_fd: uint64(m.namespace.Fd()), Propagation: unix.MS_PRIVATE}
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		_ = unix.Close(tree)
		return 0, fmt.Errorf("map the owner of %s: %w", src, err)
	}
	m.files = append(m.files, os.NewFile(uintptr(tree), src))
	return bootFD + len(m.files), nil
}

func (m *mapper) close() {
	if m == nil {
		return
	}
	_ = m.namespace.Close()
	for _, f := range m.files {
		_ = f.Close()
	}
}

// give lets a task open its pipes again, as /dev/stdout: nobody else can get at
// a pipe.
func give(f *os.File) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO {
		_ = unix.Fchmod(int(f.Fd()), 0o666) // else it cannot be opened again, that is all
	}
}

// attach is the first process's side of open.
func attach(fd int, dst string) error {
	err := unix.MoveMount(fd, "", unix.AT_FDCWD, dst, unix.MOVE_MOUNT_F_EMPTY_PATH)
	return errors.Join(err, unix.Close(fd))
}
