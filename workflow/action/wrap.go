package action

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// drain is how long output is awaited that a step's background processes may
// still write once the step itself has ended.
const drain = 500 * time.Millisecond

// Pipe runs a step's shell as GitHub does: with nothing to read, and with
// pipes in the place of the terminal that the engine gives it. What runs on in
// the background does not hold the step up. A signal that ends the step is the
// shell's to take, which gets it too: as long as it runs, we do. It returns the
// exit code, which is none of success then.
func Pipe(argv []string, out io.Writer) (code int, err error) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	leaveTerminal()
	r, w, err := os.Pipe()
	if err != nil {
		return 1, err
	}
	defer r.Close()
	cmd := exec.CommandContext(context.Background(), argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = w, w
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "ACT=") }) // it is not there on GitHub
	err = cmd.Start()
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return 127, err
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(out, r) // until all have closed it
	}()
	err = cmd.Wait()
	select {
	case <-copied:
	case <-time.After(drain):
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := e.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return e.ExitCode(), nil
	}
	select {
	case s := <-asked: // it took the signal well, and did not come to its end
		if n, ok := s.(syscall.Signal); ok && err == nil {
			return 128 + int(n), nil
		}
	default:
	}
	return 0, err
}

// leaveTerminal gives up the terminal that the engine starts each step with:
// git, ssh and sudo would ask it for a password, and wait for ever. On GitHub
// there is none.
func leaveTerminal() {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer tty.Close()
	signal.Ignore(syscall.SIGHUP) // its foreground processes get one, which are we
	defer signal.Reset(syscall.SIGHUP)
	_ = unix.IoctlSetInt(int(tty.Fd()), unix.TIOCNOTTY, 0) // only the first process of a session has one to give up
}
