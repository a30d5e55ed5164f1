//go:build linux

package sandbox_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/sandbox"
)

// settings are files by which the machine's root changes the machine. They are
// opened here and not written.
var settings = []string{"/proc/sys/kernel/core_pattern", "/proc/sys/vm/swappiness", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity"}

// TestUnmapped: where owners cannot be mapped, tasks of a server that is root
// still cannot change the machine's settings: not in the box's /proc, not in
// one made by its own namespaces.
func TestUnmapped(t *testing.T) {
	w := newWorld(t)
	b, err := sandbox.StartUnmapped(w.spec)
	if err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
	t.Cleanup(func() { _ = b.Close() })
	t.Log(b.Layers()[0].Detail)
	for _, name := range settings {
		open := fmt.Sprintf("test -e %s && : >> %[1]s", name)
		if out, code := sh(t, b, open, false); code == 0 {
			t.Errorf("a task can open %s to write: %s", name, out)
		}
		if out, code := sh(t, b, "unshare --user --map-root-user --mount --pid --fork sh -c 'mount -t proc proc /proc; umount /proc/sys; "+open+"'", false); code == 0 {
			t.Errorf("in namespaces of its own a task can open %s to write: %s", name, out)
		}
	}
	if out, code := sh(t, b, "echo a > /Workspace/f && cat /Workspace/f", false); code != 0 || out != "a" {
		t.Errorf("code %d: %s", code, out)
	}
}

// TestFilter: the calls that no task needs are refused, with and without
// namespaces, and the others work.
func TestFilter(t *testing.T) {
	if os.Getenv("WHERRY_CALLS") != "" {
		// Without the filter the answer to these would be another: nothing here
		// asks for privileges, and the arguments are wrong.
		for _, call := range []uintptr{unix.SYS_KEYCTL, unix.SYS_IO_URING_ENTER, unix.SYS_REQUEST_KEY, unix.SYS_CLOSE} {
			_, _, errno := unix.Syscall6(call, ^uintptr(0), 0, 0, 0, 0, 0)
			fmt.Println(errno)
		}
		os.Exit(0)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			w := newWorld(t)
			w.spec.Plain = plain
			w.spec.View.Keep = append(w.spec.View.Keep, exe)
			b := start(t, w.spec)
			for _, l := range b.Layers() {
				if l.Name == "seccomp filter" && !l.Active {
					t.Skipf("no seccomp here: %s", l.Detail)
				}
			}
			no := "operation not permitted\n"
			if out, code := sh(t, b, "WHERRY_CALLS=1 "+exe+" -test.run='^TestFilter$'", false); code != 0 || out != no+no+no+"bad file descriptor" {
				t.Errorf("code %d: %s", code, out)
			}
			if out, _ := sh(t, b, "grep Seccomp: /proc/self/status", false); !strings.HasSuffix(out, "2") {
				t.Errorf("filter mode: %s", out)
			}
		})
	}
}
