package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// listen serves the sockets that the agent's box listens on, in the place of
// those of the connection before: they are the same sockets. They are closed
// when the agent is gone, and with them the last of its box.
func (r *remote) listen(names []string, files []*os.File) error {
	var now []net.Listener
	var failed error
	for _, f := range files {
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("listener of agent %s: %w", r.id, err))
			continue
		}
		now = append(now, l)
	}
	r.mu.Lock()
	wanted := min(len(names), len(now))
	if failed != nil || r.dead || r.m.cfg.Serve == nil {
		wanted = 0
	}
	drop := append(r.listeners, now[wanted:]...)
	r.listeners = now[:wanted:wanted]
	r.mu.Unlock()
	for _, l := range drop {
		_ = l.Close()
	}
	for i, l := range now[:wanted] {
		r.m.cfg.Serve(names[i], l) // one that die has closed meanwhile ends by itself
	}
	return failed
}
