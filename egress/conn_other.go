//go:build !linux

package egress

func (c *conn) acknowledge() {}
