//go:build !linux

package environment

import "syscall"

// toolAttr makes a tool a process group of its own.
func toolAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
