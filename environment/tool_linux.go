package environment

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// toolAttr makes a tool a process group of its own, which ends with the set-up:
// a tool that went on would be in the way of the next set-up.
func toolAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
}
