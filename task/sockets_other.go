//go:build !linux

package task

import (
	"errors"
	"net"
	"os"
)

var errLinux = errors.New("tasks run on Linux only")

// SocketPair fails on this system.
func SocketPair() (ours *net.UnixConn, theirs *os.File, err error) { return nil, nil, errLinux }

func pipe() (r, w *os.File, err error) { return nil, nil, errLinux }
