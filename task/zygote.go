package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/agent/protocol"
)

// Request asks a zygote for a task. The descriptors beside it are
// stdout and stderr in one, events, and the control socket.
type Request struct {
	ID   string `json:"id"`
	Kind string `json:"kind"`
	// Task, or TaskFile, where the task is as JSON if it is larger than a
	// packet may be; as the zygote sees the path.
	Task     *protocol.Task    `json:"task,omitempty"`
	TaskFile string            `json:"task_file,omitempty"`
	Env      map[string]string `json:"env"`
	Cwd      string            `json:"cwd"`
	Tree     *TreeMount        `json:"tree,omitempty"`
	UID      int               `json:"uid,omitempty"`
	Isolate  bool              `json:"isolate"`
}

// TreeMount is a deployed tree to lay over its place in /Workspace.
type TreeMount struct {
	Src   string `json:"src"`
	Dst   string `json:"dst"`
	Upper string `json:"upper"`
}

type reply struct {
	ID    string `json:"id"`
	PID   int    `json:"pid"`
	Error string `json:"error"`
}

// Zygote is the agent's end of a zygote's control socket (SOCK_SEQPACKET, one
// JSON document a packet).
type Zygote struct {
	conn *net.UnixConn

	mu      sync.Mutex
	waiting map[string]chan reply
	gone    error
	done    chan struct{}
}

// packetLimit is what surely fits a packet (net.core.wmem_default is 208 KB).
const packetLimit = 96 << 10

// ErrGone is the error of Fork if the zygote ended before any user code of the
// task ran: the task may be given to another.
var ErrGone = errors.New("the zygote has ended")

// NewZygote serves the control socket until its other end is closed, which
// closes Done.
func NewZygote(conn *net.UnixConn) *Zygote {
	z := &Zygote{conn: conn, waiting: map[string]chan reply{}, done: make(chan struct{})}
	go z.read()
	return z
}

// Done is closed when the zygote is gone.
func (z *Zygote) Done() <-chan struct{} { return z.done }

// Close tells the zygote to end, by closing its control socket.
func (z *Zygote) Close() error { return z.conn.Close() }

func (z *Zygote) read() {
	b := make([]byte, 64<<10)
	for {
		n, err := z.conn.Read(b)
		if err != nil || n == 0 {
			z.mu.Lock()
			z.gone = ErrGone
			z.mu.Unlock()
			close(z.done)
			return
		}
		var r reply
		if json.Unmarshal(b[:n], &r) != nil {
			continue
		}
		z.mu.Lock()
		c := z.waiting[r.ID]
		delete(z.waiting, r.ID)
		z.mu.Unlock()
		if c != nil {
			c <- r
		}
	}
}

// Fork asks for a task and returns its process id as the zygote sees it. The
// files stay the caller's.
func (z *Zygote) Fork(ctx context.Context, r Request, files ...*os.File) (pid int, err error) {
	b, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	c := make(chan reply, 1)
	z.mu.Lock()
	z.waiting[r.ID] = c
	err = z.gone
	z.mu.Unlock()
	if err == nil {
		_, _, err = z.conn.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
	}
	switch {
	case errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET):
		return 0, ErrGone
	case err != nil:
		return 0, fmt.Errorf("ask zygote: %w", err)
	}
	select {
	case rep := <-c:
		if rep.Error != "" {
			return 0, errors.New(rep.Error)
		}
		return rep.PID, nil
	case <-z.done:
		// The process that takes a task answers before it lets user code run,
		// and the socket ends with the last of those that could have taken it.
		return 0, ErrGone
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
