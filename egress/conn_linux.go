package egress

import "golang.org/x/sys/unix"

// acknowledge makes the kernel acknowledge at once; it forgets, so this comes
// after each read. urllib3 sends headers and body of a small request apart and
// waits for the acknowledgement in between: 44 ms a request without this.
func (c *conn) acknowledge() {
	if c.raw != nil {
		_ = c.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
	}
}
