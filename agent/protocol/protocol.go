// Package protocol is what a server and an agent say to each other: newline
// JSON over a unix stream socket, with file descriptors beside it. It is a
// leaf: both sides import it, and it imports neither.
package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry"
)

// Version is raised when an older peer would misunderstand a newer one.
// Agents outlive upgrades of the server, so hello and welcome carry it. Hello,
// welcome, cancel and end mean the same in every version: so much a newer
// server needs to let an older agent finish.
const Version = 1

// Types of message. To the agent: hello, run, attach, ack, cancel, listeners,
// end. To the server: welcome, fenced, running, note, data, exit, listeners, hosts.
const (
	Hello     = "hello"     // Epoch, Token, Version, Build: the first message of a connection
	Run       = "run"       // Task: start it; does nothing if the agent knows its run id
	Attach    = "attach"    // RunID, Offsets: stream the task from these offsets
	Ack       = "ack"       // RunID, Offsets: all of it is durable; the spool goes if these are its final offsets
	Cancel    = "cancel"    // RunID: kill the task and all its descendants, after its grace
	Listeners = "listeners" // asks for the box's listening sockets; the answer carries Names and as many files
	Hosts     = "hosts"     // Hosts: names that lead to the server inside of the box; the answer is the same, once they do
	End       = "end"       // end the agent if it has nothing to do; with Force, in any case

	Welcome = "welcome" // PID, Epoch, Version, Build, Tasks; Plain says why the box isolates nothing
	Fenced  = "fenced"  // Epoch: a server of this epoch was here; the connection is closed
	Running = "running" // RunID, At: the first line of user code is about to run
	Note    = "note"    // RunID, Text: what the agent is doing for the task
	Data    = "data"    // RunID, Stream, Offset, Data
	Exit    = "exit"    // RunID, Result, Offsets (the final ones)
)

// Streams of a task.
const (
	Out    = "out"    // stdout and stderr
	Events = "events" // one JSON object a line
)

// Message is one line in either direction; which fields a type has is said at
// its name.
type Message struct {
	Type    string            `json:"type"`
	Epoch   int64             `json:"epoch,omitempty"`
	Token   string            `json:"token,omitempty"`
	Version int               `json:"version,omitempty"`
	Build   string            `json:"build,omitempty"`
	Plain   string            `json:"plain,omitempty"`
	PID     int               `json:"pid,omitempty"`
	RunID   int64             `json:"run_id,omitempty"`
	Task    *Task             `json:"task,omitempty"`
	Offsets Offsets           `json:"offsets,omitzero"`
	Stream  string            `json:"stream,omitempty"`
	Offset  int64             `json:"offset,omitempty"`
	Data    []byte            `json:"data,omitempty"`
	Result  *wherry.Result    `json:"result,omitempty"`
	Tasks   []State           `json:"tasks,omitempty"`
	Text    string            `json:"text,omitempty"`
	At      int64             `json:"at,omitempty"` // milliseconds since 1970
	Names   []string          `json:"names,omitempty"`
	Force   bool              `json:"force,omitempty"`
	Hosts   map[string]string `json:"hosts,omitempty"`
	// Files is how many descriptors travel with the message.
	Files int `json:"files,omitempty"`
}

// Offsets are byte positions in a task's two streams.
type Offsets struct {
	Out    int64 `json:"out"`
	Events int64 `json:"events"`
}

// State is what an agent knows of one task when a server attaches.
type State struct {
	RunID   int64   `json:"run_id"`
	Offsets Offsets `json:"offsets"` // what the spool holds
	Done    bool    `json:"done"`
}

// maxLine bounds a message: a task with the source of a large notebook.
const maxLine = 64 << 20

// Conn sends and receives messages. Send may be called by several goroutines,
// Receive by one.
type Conn struct {
	unix  *net.UnixConn
	send  sync.Mutex
	buf   []byte // received, not yet given out
	chunk []byte
	files []*os.File
}

// NewConn returns a Conn on c, which it owns.
func NewConn(c *net.UnixConn) *Conn { return &Conn{unix: c, chunk: make([]byte, 128<<10)} }

// Close ends the connection and wakes its reader.
func (c *Conn) Close() error { return c.unix.Close() }

// Deadline is until when sending and receiving may take; zero is for ever.
func (c *Conn) Deadline(t time.Time) error { return c.unix.SetDeadline(t) }

// Send writes a message with the given files beside it. The files stay the
// caller's.
func (c *Conn) Send(m Message, files ...*os.File) error {
	m.Files = len(files)
	line, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("send %s: %w", m.Type, err)
	}
	line = append(line, '\n')
	c.send.Lock()
	defer c.send.Unlock()
	if len(files) == 0 {
		_, err = c.unix.Write(line)
		return err
	}
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	n, _, err := c.unix.WriteMsgUnix(line, unix.UnixRights(fds...), nil)
	if err == nil && n < len(line) {
		_, err = c.unix.Write(line[n:])
	}
	return err
}

// Receive returns the next message and the files that came with it, which are
// the caller's from then on. The end of the connection is io.EOF.
func (c *Conn) Receive() (Message, []*os.File, error) {
	scanned := 0
	for {
		if i := bytes.IndexByte(c.buf[scanned:], '\n'); i >= 0 {
			return c.take(scanned + i)
		}
		scanned = len(c.buf)
		if scanned > maxLine {
			return Message{}, nil, fmt.Errorf("a message is longer than %d bytes", maxLine)
		}
		if err := c.fill(); err != nil {
			return Message{}, nil, err
		}
	}
}

func (c *Conn) take(end int) (m Message, files []*os.File, err error) {
	err = json.Unmarshal(c.buf[:end], &m)
	c.buf = append(c.buf[:0], c.buf[end+1:]...)
	if err != nil {
		return m, nil, fmt.Errorf("receive: %w", err)
	}
	if m.Files > len(c.files) {
		return m, nil, fmt.Errorf("receive %s: %d files came, %d were announced", m.Type, len(c.files), m.Files)
	}
	files, c.files = c.files[:m.Files:m.Files], c.files[m.Files:]
	return m, files, nil
}

func (c *Conn) fill() error {
	oob := make([]byte, unix.CmsgSpace(16*4))
	n, oobn, _, _, err := c.unix.ReadMsgUnix(c.chunk, oob)
	if oobn > 0 {
		if ferr := c.keepFiles(oob[:oobn]); ferr != nil {
			return ferr
		}
	}
	if n > 0 { // it is -1 with an error
		c.buf = append(c.buf, c.chunk[:n]...)
		return nil
	}
	if err == nil {
		err = io.EOF
	}
	return err
}

func (c *Conn) keepFiles(oob []byte) error {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			c.files = append(c.files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return nil
}
