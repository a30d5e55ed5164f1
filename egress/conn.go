package egress

import (
	"bufio"
	"net"
	"sync"
	"syscall"
)

// conn is a connection some of which may have been read already.
type conn struct {
	net.Conn
	reader *bufio.Reader // nil once it is empty
	raw    syscall.RawConn
	target string // the name that a CONNECT asked for, "" without one
}

func newConn(c net.Conn, reader *bufio.Reader) *conn {
	n := &conn{Conn: c, reader: reader}
	if t, ok := c.(interface {
		SyscallConn() (syscall.RawConn, error)
	}); ok {
		if raw, err := t.SyscallConn(); err == nil {
			n.raw = raw
		}
	}
	n.acknowledge()
	return n
}

// peek returns the next byte and leaves it to be read.
func (c *conn) peek() (byte, error) {
	if c.reader == nil {
		c.reader = bufio.NewReaderSize(c.Conn, 1<<10)
	}
	b, err := c.reader.Peek(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

func (c *conn) Read(b []byte) (int, error) {
	if c.reader != nil {
		if c.reader.Buffered() > 0 {
			return c.reader.Read(b)
		}
		c.reader = nil
	}
	n, err := c.Conn.Read(b)
	c.acknowledge()
	return n, err
}

// CloseWrite tells the other end that no more will come.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// queue is a net.Listener whose connections are pushed.
type queue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newQueue() *queue { return &queue{conns: make(chan net.Conn), done: make(chan struct{})} }

// push hands a connection to the server, or closes it if that has ended.
func (q *queue) push(c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.done:
		_ = c.Close()
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *queue) Close() error { q.once.Do(func() { close(q.done) }); return nil }

// Addr implements net.Listener.
func (q *queue) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
