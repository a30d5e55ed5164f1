package protocol

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// socketName is relative to a descriptor of the agent's folder: a unix
// socket's path has at most 108 bytes, which a state directory may exceed.
const socketName = "agent.sock"

// Listen makes the agent's socket in dir, readable by its owner only. An old
// socket is removed: call it only while holding the folder's lock.
func Listen(dir string) (*net.UnixListener, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	path := fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l.SetUnlinkOnClose(false)
	return l, os.Chmod(path, 0o600)
}

// Dial connects to the agent of dir.
func Dial(dir string) (*Conn, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), socketName), Net: "unix"})
	if err != nil {
		return nil, err
	}
	return NewConn(c), nil
}

// Lock takes the lock that an agent holds on its folder for life. It returns
// nil and no error if another process has it.
func Lock(dir string) (*os.File, error) {
	folder, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	f, err := folder.OpenFile(LockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		f.Close()
		return nil, nil
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("lock agent: %w", err)
	}
	return f, nil
}
