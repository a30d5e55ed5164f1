package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/state"
)

// serverStart is how long a server may take until it answers.
const serverStart = 60 * time.Second

// serverEnd is how long a server may take to end; it takes a fraction of it.
const serverEnd = 20 * time.Second

// EnsureServer returns a client of the server of a state directory, starting one
// in the background if none runs: the same binary, detached, on free ports, with
// its log in the state directory. started tells whether it did; two at once
// start one.
func EnsureServer(ctx context.Context, dir state.Dir) (c *client.Client, info client.Info, started bool, err error) {
	c, info, err = client.Local(ctx, dir)
	if err == nil || !errors.Is(err, client.ErrNoServer) {
		return c, info, false, err
	}
	if err := dir.Create(); err != nil {
		return nil, info, false, err
	}
	lock, err := os.OpenFile(dir.Path("start.lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, info, false, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, info, false, err
	}
	if c, info, err = client.Local(ctx, dir); err == nil {
		return c, info, false, nil
	}
	c, info, err = startServer(ctx, dir)
	return c, info, err == nil, err
}

func startServer(ctx context.Context, dir state.Dir, more ...string) (*client.Client, client.Info, error) {
	exe, err := executableCopy(dir)
	if err != nil {
		return nil, client.Info{}, err
	}
	log, err := os.OpenFile(dir.Path("server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, client.Info{}, err
	}
	defer log.Close()
	args := append([]string{"up", "--state", string(dir), "--listen", "127.0.0.1:0", "--storage-listen", "127.0.0.1:0"}, more...)
	child := exec.Command(exe, args...)
	child.Stdout, child.Stderr, child.Dir = log, log, string(dir)
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return nil, client.Info{}, fmt.Errorf("start the server: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = child.Wait() // its log says more than its exit code
		close(ended)
	}()
	deadline := time.Now().Add(serverStart)
	for {
		c, info, err := client.Local(ctx, dir)
		if err == nil {
			return c, info, nil
		}
		select {
		case <-ctx.Done():
			return nil, info, ctx.Err()
		case <-ended:
			return nil, info, fmt.Errorf("the server did not start:\n%s", lastLines(dir.Path("server.log"), 10))
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return nil, info, fmt.Errorf("the server does not answer after %s; its log is %s", serverStart, dir.Path("server.log"))
		}
	}
}

// executableCopy keeps the running binary where it stays: `go run` deletes its
// own when it ends.
func executableCopy(dir state.Dir) (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	info, err := os.Stat(exe)
	if err != nil {
		return "", err
	}
	name := dir.Path("cache", fmt.Sprintf("wherry-%x-%x", info.Size(), info.ModTime().UnixNano()), "wherry")
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	in, err := os.Open(exe)
	if err != nil {
		return "", err
	}
	defer in.Close()
	if err := os.MkdirAll(strings.TrimSuffix(name, "/wherry"), 0o700); err != nil {
		return "", err
	}
	out, err := os.CreateTemp(strings.TrimSuffix(name, "/wherry"), "tmp-*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Chmod(0o700), out.Close()); err != nil {
		return "", err
	}
	return name, os.Rename(out.Name(), name)
}

func lastLines(name string, n int) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// StopServer ends the server of a state directory and waits until it has;
// 0 if there is none.
func StopServer(ctx context.Context, dir state.Dir) (pid int, err error) {
	pid, err = dir.Holder()
	if err != nil || pid == 0 {
		return 0, err
	}
	if err := unix.Kill(pid, unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) {
		return pid, fmt.Errorf("stop the server, process %d: %w", pid, err)
	}
	limit := time.After(serverEnd)
	for {
		holder, err := dir.Holder()
		if err != nil || holder != pid {
			return pid, err
		}
		select {
		case <-ctx.Done():
			return pid, ctx.Err()
		case <-limit:
			return pid, fmt.Errorf("the server, process %d, has not ended after %s: `kill -9 %d` loses nothing, its runs go on", pid, serverEnd, pid)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
