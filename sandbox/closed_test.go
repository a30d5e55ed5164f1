//go:build linux

package sandbox_test

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/sandbox"
)

// TestFailsClosed: where namespaces can be had a box without them is never
// made, not even while there are no more of them; where there may be none it
// is. The limit is that of a user namespace in which the test runs again.
func TestFailsClosed(t *testing.T) {
	const limit = "/proc/sys/user/max_user_namespaces"
	if os.Getenv("WHERRY_TEST_LIMITED") == "" {
		isolated(t, newWorld(t).spec) // else there is nothing to test
		c := exec.Command("/proc/self/exe", "-test.v", "-test.run=^TestFailsClosed$")
		c.Env = append(os.Environ(), "WHERRY_TEST_LIMITED=1")
		c.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	set := func(n string) {
		if err := os.WriteFile(limit, []byte(n), 0); err != nil {
			t.Skip(err)
		}
	}
	set("1")
	first := start(t, sandbox.Spec{})
	if !first.Isolated() {
		t.Fatalf("the first box: %v", first.Layers())
	}
	if b, err := sandbox.Start(context.Background(), sandbox.Spec{}); err == nil {
		t.Errorf("beyond the limit a box is made: %v", b.Layers())
		_ = b.Close()
	}
	set("0")
	if b := start(t, sandbox.Spec{}); b.Isolated() {
		t.Error("a box has namespaces where there may be none")
	}
}
