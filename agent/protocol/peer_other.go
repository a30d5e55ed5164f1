//go:build !linux

package protocol

import "errors"

// PeerUID fails on this system: agents run on Linux.
func (c *Conn) PeerUID() (uid uint32, err error) {
	return 0, errors.New("the other end of a socket is not known on this system")
}
