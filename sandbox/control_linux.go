package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// The control socket carries one JSON message a packet, each way. A request
// that is too large for a packet (a long class path, a large environment) goes
// in a memory file whose descriptor comes first.

// request is what the owner sends to the box's first process.
type request struct {
	Op      string   `json:"op"` // exec, signal
	ID      int64    `json:"id"`
	Signal  int      `json:"signal,omitempty"`
	Command *Command `json:"command,omitempty"`
	// Files has, for each descriptor of the program, whether one was sent; it
	// gets /dev/null otherwise.
	Files []bool `json:"files,omitempty"`
}

// report is what the first process answers.
type report struct {
	Op     string `json:"op"` // ready, started, failed, exited
	ID     int64  `json:"id"`
	PID    int    `json:"pid,omitempty"`
	Code   int    `json:"code,omitempty"`
	Signal int    `json:"signal,omitempty"`
	Error  string `json:"error,omitempty"` // of ready: why there is no filter of calls
	Errno  int    `json:"errno,omitempty"` // of failed: the kernel's, if it was that
}

// boot is what the first process is started with.
type boot struct {
	Isolated  bool     `json:"isolated"`
	Plan      []step   `json:"plan"`
	Listen    []string `json:"listen"`
	OpenFiles uint64   `json:"open_files"`
	// UID and GID are what the first process becomes, 0 to stay. It is started
	// as root, since nobody else may be allowed to run the executable.
	UID int `json:"uid"`
	GID int `json:"gid"`
}

// maxFiles bounds the descriptors of one message (the kernel allows 253).
const maxFiles = 64

// memoryFile holds v as JSON in memory, for another process to read.
func memoryFile(v any) (*os.File, error) {
	fd, err := unix.MemfdCreate("wherry", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "memory")
	if err := json.NewEncoder(f).Encode(v); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// receive reads one packet with its descriptors from the socket; io.EOF when
// the other end is closed.
func receive(fd int, v any) ([]int, error) {
	data, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(maxFiles*4))
	var n, oobn int
	for {
		var err error
		n, oobn, _, _, err = unix.Recvmsg(fd, data, oob, unix.MSG_CMSG_CLOEXEC)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return nil, err
		}
	}
	if n == 0 {
		return nil, io.EOF
	}
	fds, err := rights(oob[:oobn])
	if err != nil {
		return nil, err
	}
	return fds, json.Unmarshal(data[:n], v)
}

func rights(oob []byte) (fds []int, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		got, err := unix.ParseUnixRights(&m)
		if err != nil {
			return nil, err
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

// send writes one packet with descriptors to the socket.
func send(fd int, v any, fds []int) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(data) > 60<<10 {
		return fmt.Errorf("a message of %d bytes does not fit a packet", len(data))
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for {
		err := unix.Sendmsg(fd, data, oob, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}
