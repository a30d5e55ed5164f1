package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/git"
)

// settings hold for every program of git that runs here, whatever a repository's
// own configuration says. Large blobs are streamed, so that a push of any size
// takes little memory; and each push stays one pack, which is one file to sync.
var settings = []string{
	"core.bigFileThreshold=16m", "pack.threads=1", "pack.windowMemory=64m", "core.packedGitLimit=64m", "core.packedGitWindowSize=16m",
	"receive.fsckObjects=true", "receive.unpackLimit=1", "receive.autogc=false", "receive.denyCurrentBranch=ignore", "receive.denyDeleteCurrent=ignore",
	"receive.hideRefs=refs/pull", "uploadpack.allowFilter=true", "uploadpack.allowAnySHA1InWant=true",
	"gc.autoDetach=false", "maintenance.auto=false", "core.fsync=all",
}

// command prepares a program of git with an environment of its own: nothing of
// the server's, no configuration of the machine or of its user.
func (s *Service) command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	full := []string{"-c", "core.hooksPath=" + s.hooks("")}
	for _, set := range settings {
		full = append(full, "-c", set)
	}
	c := exec.CommandContext(ctx, s.git, append(full, args...)...)
	c.Dir = s.cfg.State.Repos()
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.nowhere(), "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true", "GIT_ATTR_NOSYSTEM=1", "GIT_DIR=" + dir,
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 10 * time.Second
	return c
}

// output runs a program of git in a repository and returns what it wrote. Its
// complaint is part of the error.
func (s *Service) output(ctx context.Context, dir string, args ...string) (string, error) {
	return run(s.command(ctx, dir, args...))
}

// maxOutput bounds, in bytes, what a program of git may write: a push of a few
// kilobytes can hold trees of trees that have millions of files.
const maxOutput = 16 << 20

// run runs a program of git and returns what it wrote. One that writes more than
// maxOutput is ended: RESOURCE_EXHAUSTED.
func run(c *exec.Cmd) (string, error) {
	out := &bounded{limited: limited{max: maxOutput}, full: func() { _ = c.Cancel() }} // it may have ended by itself
	complaint := &limited{max: 64 << 10}
	c.Stdout, c.Stderr = out, complaint
	err := c.Run()
	switch {
	case out.over:
		return "", wherry.Errorf(wherry.CodeExhausted, "git %s has more to say than %d bytes: there are too many files, or refs", verb(c), maxOutput)
	case err != nil:
		return out.String(), fmt.Errorf("git: %w: %.2000s", err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}

// verb is what a program of git is to do: the first argument that is no setting.
func verb(c *exec.Cmd) string {
	args := c.Args[1:]
	for len(args) > 2 && args[0] == "-c" {
		args = args[2:]
	}
	return args[0]
}

// bounded keeps what is written to it, and calls full once that is too much.
type bounded struct {
	limited
	over bool
	full func()
}

func (b *bounded) Write(p []byte) (int, error) {
	if !b.over && b.Len()+len(p) > b.max {
		b.over = true
		b.full()
	}
	return b.limited.Write(p)
}

// askLimit is how long git may take to answer a question about what was pushed.
const askLimit = time.Minute

// ask runs a program of git that reads what was pushed, which may be anything: it
// has its time.
func (s *Service) ask(ctx context.Context, r git.Repo, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askLimit, wherry.Errorf(wherry.CodeExhausted, "git %s has not ended after %s", args[0], askLimit))
	defer cancel()
	c := s.command(ctx, s.dir(r), args...)
	c.Stdin = strings.NewReader(stdin)
	out, err := run(c)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out, err
}

// said tells a program's "no" (it ended with 1) from a failure.
func said(err error) (yes bool, failure error) {
	if err == nil {
		return true, nil
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() == 1 {
		return false, nil
	}
	return false, err
}

func (s *Service) initBare(ctx context.Context, dir, branch string) error {
	_, err := s.output(ctx, dir, "init", "--bare", "--quiet", "--template=", "--initial-branch="+branch, dir)
	return err
}

func (s *Service) checkBranch(ctx context.Context, name string) error {
	_, err := s.output(ctx, s.nowhere(), "check-ref-format", "--branch", name)
	if strings.HasPrefix(name, "-") || strings.HasPrefix(name, "@") || err != nil {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%.200q is no name for a branch", name)
	}
	return nil
}
