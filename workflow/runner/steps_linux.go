package runner

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// limits: we keep the time-outs of steps.
const limits = true

// endSteps ends our children, each with its process group, and returns when
// they have ended.
func endSteps() { endGroups(children()) }

// endGroups ends process groups, and returns when their first processes have
// ended: what they leave behind is killed.
func endGroups(groups []int) {
	var running []unix.PollFd
	for _, pid := range groups {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			running = append(running, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}) //nolint:gosec // a descriptor is small
			defer func() { _ = unix.Close(fd) }()
		}
	}
	for _, s := range []struct {
		signal unix.Signal
		after  time.Duration
	}{{unix.SIGINT, afterInterrupt}, {unix.SIGTERM, afterTerminate}} {
		for _, pid := range groups {
			_ = unix.Kill(-pid, s.signal)
		}
		if ended(running, s.after) {
			break
		}
	}
	for _, pid := range groups {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
}

// ended waits until all have ended, and tells whether they did in time.
func ended(running []unix.PollFd, within time.Duration) bool {
	deadline := time.Now().Add(within)
	for len(running) > 0 {
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		n, err := unix.Poll(running[:1], int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false
		}
		if n > 0 {
			running = running[1:]
		}
	}
	return true
}

// groups are the process groups of our children, without the others.
func groups(others map[int]bool) (list []int) {
	for _, pid := range children() {
		g, err := unix.Getpgid(pid)
		if err == nil && g != unix.Getpgrp() && !others[g] && !slices.Contains(list, g) {
			list = append(list, g)
		}
	}
	return list
}

// children are the processes that we have started.
func children() (pids []int) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	for _, t := range threads {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%s/children", t.Name()))
		if err != nil {
			continue // it has ended
		}
		for _, f := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
