package runner

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/sandbox"
)

// TestReapOrphans: what processes leave behind is reaped as it ends, and the exit
// status of each that os/exec waits for comes to it.
func TestReapOrphans(t *testing.T) {
	if err := sandbox.Adopt(); err != nil {
		t.Fatal(err)
	}
	defer reapOrphans()()
	var all sync.WaitGroup
	orphans := make([]int, 64)
	for i := range orphans {
		all.Go(func() {
			code := 1 + i
			out, err := exec.CommandContext(t.Context(), "sh", "-c", fmt.Sprintf("sh -c 'exit 0' >&- 2>&- & echo $!; exit %d", code)).Output()
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.ExitCode() != code {
				t.Errorf("%v, want exit status %d", err, code)
			}
			if orphans[i], err = strconv.Atoi(strings.TrimSpace(string(out))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for _, pid := range orphans {
		for unix.Kill(pid, 0) == nil { // of what has ended, and was not reaped, too
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("process %d was not reaped within a minute", pid)
			}
		}
	}
}

// TestReapLeavesOurs: a process that has ended, and that os/exec has not waited
// for yet, keeps its exit status.
func TestReapLeavesOurs(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "exit 7")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	reap()
	exit, ok := errors.AsType[*exec.ExitError](cmd.Wait())
	if !ok || exit.ExitCode() != 7 {
		t.Errorf("%v, want exit status 7", exit)
	}
}
