package sandbox

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// killAll ends every descendant. As pid 1 of a process namespace it need not:
// the kernel does when we exit.
func (p *initProcess) killAll() {
	if !p.isolated {
		EndDescendants(p.collect)
	}
}

// Adopt has orphans among our descendants come to us, so that EndDescendants
// finds those that have left their session and their parents.
func Adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// EndDescendants walks the process table until no descendant is left; none
// escapes, but a program that forks without end can win: then we give up after a
// while. collect reaps what has ended.
func EndDescendants(collect func()) {
	self := os.Getpid()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		pids := descendants(self)
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids { // stopped ones cannot fork while we go round
			_ = unix.Kill(pid, unix.SIGSTOP)
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		collect()
		time.Sleep(time.Millisecond)
	}
}

// descendants lists the living processes below root, from /proc.
func descendants(root int) (list []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	parents := map[int]int{}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if parent, ok := parentOf(pid); ok {
				parents[pid] = parent
			}
		}
	}
	for pid := range parents {
		// A table read while it changes may hold a circle: bound the walk.
		for up, n := parents[pid], 0; up > 0 && n < 1<<12; up, n = parents[up], n+1 {
			if up == root {
				list = append(list, pid)
				break
			}
		}
	}
	return list
}

// parentOf reads a process's parent; ok is false for a dead one.
func parentOf(pid int) (parent int, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
		return 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return parent, err == nil
}
