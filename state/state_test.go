//go:build linux

package state_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/state"
)

// TestRemoveAll: folders that their owner made unreadable go, and what a link
// in them leads to stays.
func TestRemoveAll(t *testing.T) {
	dir := t.TempDir()
	if os.Getuid() == 0 { // to whom modes say nothing: this thread is nobody then
		const nobody = 65534
		if err := errors.Join(os.Chown(dir, nobody, nobody), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
			t.Fatal(err)
		}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if _, err := unix.SetfsuidRetUid(nobody); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Setfsuid(0) }()
	}
	task, outside := filepath.Join(dir, "task"), filepath.Join(dir, "outside")
	inner := filepath.Join(task, "a", "b")
	if err := errors.Join(
		os.MkdirAll(inner, 0o700), os.Mkdir(outside, 0o700), os.WriteFile(filepath.Join(inner, "f"), nil, 0o400),
		os.Symlink(outside, filepath.Join(task, "link")), os.WriteFile(filepath.Join(outside, "kept"), nil, 0o600),
		os.Chmod(outside, 0o500), os.Chmod(inner, 0), os.Chmod(filepath.Dir(inner), 0), os.Chmod(task, 0),
	); err != nil {
		t.Fatal(err)
	}
	if os.RemoveAll(task) == nil {
		t.Fatal("os.RemoveAll does as much")
	}
	if err := state.RemoveAll(task); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(outside); err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("outside: %v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(outside, "kept")); err != nil {
		t.Error(err)
	}
	if err := state.RemoveAll(task); err != nil {
		t.Errorf("again: %v", err)
	}
}
