package runner

import (
	"fmt"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"
)

// reapOrphans waits for the processes that steps leave behind, and which come to
// us, as they end: until stop is called. It does nothing where we can not tell
// them from those that we have started, whose exit status os/exec waits for.
func reapOrphans() (stop func()) {
	self, err := os.FindProcess(os.Getpid())
	if err != nil || self.WithHandle(func(uintptr) {}) != nil { // os has no handles of processes here
		return func() {}
	}
	asked, done, ended := make(chan os.Signal, 1), make(chan struct{}), make(chan struct{})
	signal.Notify(asked, unix.SIGCHLD)
	go func() {
		defer close(ended)
		for {
			reap()
			select {
			case <-asked:
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(asked)
		close(done)
		<-ended
	}
}

// reap reaps our children that have ended and that os/exec did not start. A
// process of os/exec has a handle, which is a descriptor of ours, from before it
// runs until after it is reaped: one without such is an orphan, whatever ends
// meanwhile. Our own handle makes sure that it is that process which we reap.
func reap() {
	for _, pid := range children() {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it was reaped meanwhile
		}
		if handles(fd) == 1 {
			_ = unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG, nil) // one that still runs stays
		}
		_ = unix.Close(fd)
	}
}

// handles counts our descriptors of the process that fd is one of, itself
// included; 0 if that is not known.
func handles(fd int) (n int) {
	pid := pidOf(fmt.Sprint(fd))
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil || pid == "" {
		return 0
	}
	for _, e := range entries {
		if pidOf(e.Name()) == pid {
			n++
		}
	}
	return n
}

// pidOf is the process that a descriptor is a handle of, "" for another one, or
// if it was reaped.
func pidOf(fd string) string {
	text, err := os.ReadFile("/proc/self/fdinfo/" + fd)
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(text), "\nPid:")
	pid, _, _ := strings.Cut(rest, "\n")
	if pid = strings.TrimSpace(pid); pid == "-1" || pid == "0" {
		return ""
	}
	return pid
}
