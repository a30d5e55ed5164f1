//go:build !linux

package sandbox

import (
	"context"
	"errors"
	"os"
	"syscall"
)

var errLinux = errors.New("tasks run on Linux only")

// Box is a running sandbox; there are none on this system.
type Box struct{}

// Process is a program in a box.
type Process struct{ Pid int }

// Main does nothing on this system.
func Main() {}

// Adopt does nothing on this system.
func Adopt() error { return nil }

// EndDescendants does nothing on this system.
func EndDescendants(func()) {}

// Probe reports that this system has no sandbox.
func Probe(context.Context) ([]Layer, error) { return nil, errLinux }

// Start fails on this system.
func Start(context.Context, Spec) (*Box, error) { return nil, errLinux }

// Exec fails on this system.
func (b *Box) Exec(Command) (*Process, error) { return nil, errLinux }

// Listeners returns none.
func (b *Box) Listeners() []*os.File { return nil }

// Isolated returns false.
func (b *Box) Isolated() bool { return false }

// Layers returns none.
func (b *Box) Layers() []Layer { return nil }

// Path returns name.
func (b *Box) Path(name string) string { return View{}.realPath(name) }

// SetHosts fails on this system.
func (b *Box) SetHosts(map[string]string) error { return errLinux }

// Done returns a channel that is never closed.
func (b *Box) Done() <-chan struct{} { return nil }

// PID returns 0.
func (b *Box) PID() int { return 0 }

// Close does nothing.
func (b *Box) Close() error { return nil }

// Wait fails on this system.
func (p *Process) Wait() (int, error) { return 0, errLinux }

// Exited returns a channel that is never closed.
func (p *Process) Exited() <-chan struct{} { return nil }

// ExitSignal returns 0.
func (p *Process) ExitSignal() syscall.Signal { return 0 }

// Signal fails on this system.
func (p *Process) Signal(syscall.Signal) error { return errLinux }

// Kill fails on this system.
func (p *Process) Kill() error { return errLinux }
