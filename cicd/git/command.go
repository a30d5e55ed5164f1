package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/wherry-ml/wherry"
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

func run(c *exec.Cmd) (string, error) {
	var out, complaint bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaint
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("git: %w: %.2000s", err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
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
