package protocol

import (
	"errors"

	"golang.org/x/sys/unix"
)

// PeerUID returns the user id of the process at the other end.
func (c *Conn) PeerUID() (uid uint32, err error) {
	raw, err := c.unix.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var gerr error
	err = raw.Control(func(fd uintptr) { cred, gerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, gerr); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
