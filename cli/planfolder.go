package cli

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// planFolder makes a folder for a plan, which may hold secrets, and returns how
// to be rid of it. A lock on it, which ends with the process, says that it is in
// use: folders whose process was killed go first.
func planFolder() (dir string, remove func(), err error) {
	const name = "wherry-plan-"
	old, err := filepath.Glob(filepath.Join(os.TempDir(), name+"*"))
	if err != nil {
		return "", nil, err
	}
	for _, dir := range old {
		removeStale(dir)
	}
	if dir, err = os.MkdirTemp("", name); err != nil {
		return "", nil, err
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() {
		_ = os.RemoveAll(dir) // the next plan tries again
		_ = lock.Close()
	}, nil
}

// removeStale removes a plan's folder that no process holds. One of the last
// minute may be about to be locked.
func removeStale(dir string) {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || time.Since(info.ModTime()) < time.Minute {
		return
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return // in use, or somebody else's
	}
	defer lock.Close()
	_ = os.RemoveAll(dir) // what cannot be removed is another user's
}

func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(&os.PathError{Op: "lock", Path: dir, Err: err}, f.Close())
	}
	return f, nil
}
