package environment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/state"
)

// Progress is where a set-up is.
type Progress struct {
	Step    int    `json:"step"`  // from 1
	Steps   int    `json:"steps"` // how many there are
	Message string `json:"message"`
	// Detail is the newest line of the tool that runs.
	Detail string `json:"detail,omitempty"`
	// Error says why set-up failed and what to do.
	Error string `json:"error,omitempty"`
}

// Setup makes the runtime unless it is there, and returns it. The work is done
// by a process of its own, which goes on when this one is interrupted and is
// shared by all that wait. report is called whenever progress changes. worker
// is the command that calls Work.
func Setup(ctx context.Context, worker []string, report func(Progress)) (*Environment, error) {
	for tries := 0; ; tries++ {
		e, err := Open()
		if !errors.Is(err, ErrMissing) {
			return e, err
		}
		cache, err := CacheDir()
		if err != nil {
			return nil, err
		}
		if tries == 2 {
			if diskFull(cache) { // so that the worker could not even say so
				return nil, full(cache)
			}
			return nil, fmt.Errorf("set-up ended twice without a result; see %s", logFile(cache))
		}
		if err := startWorker(cache, worker); errors.Is(err, unix.ENOSPC) {
			return nil, full(cache)
		} else if err != nil {
			return nil, err
		}
		if err := follow(ctx, cache, report); err != nil {
			return nil, err
		}
	}
}

func full(cache string) error {
	return advise("the disk is full: make room below %s, or set XDG_CACHE_HOME to a folder on another disk, and run `wherry setup` again", cache)
}

// diskFull tells whether not even a message can be written.
func diskFull(cache string) bool {
	var st unix.Statfs_t
	return unix.Statfs(cache, &st) == nil && (st.Bavail*uint64(st.Bsize) < 1<<20 || st.Files > 0 && st.Ffree < 4)
}

func lockFile(cache string) string     { return filepath.Join(cache, "setup.lock") }
func logFile(cache string) string      { return filepath.Join(cache, "setup.log") }
func progressFile(cache string) string { return filepath.Join(cache, "setup.json") }

// startWorker starts the set-up process unless one runs. The lock is taken
// here and inherited, so that there is no moment without it.
func startWorker(cache string, worker []string) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return fmt.Errorf("make the cache directory (set XDG_CACHE_HOME to have it elsewhere): %w", err)
	}
	lock, err := os.OpenFile(lockFile(cache), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // It runs: follow it.
	}
	log, err := os.Create(logFile(cache))
	if err != nil {
		return err
	}
	defer log.Close()
	if err := writeProgress(cache, Progress{Message: "starting"}); err != nil {
		return err
	}
	c := exec.Command(worker[0], worker[1:]...)
	c.Stdout, c.Stderr = log, log
	c.ExtraFiles = []*os.File{lock}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return fmt.Errorf("start set-up: %w", err)
	}
	go func() { _ = c.Wait() }() // Reap it, should we live longer.
	return nil
}

// follow waits until the set-up process has ended.
func follow(ctx context.Context, cache string, report func(Progress)) error {
	lock, err := os.Open(lockFile(cache))
	if err != nil {
		return err
	}
	defer lock.Close()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last Progress
	for {
		ended := unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil
		p, err := readProgress(cache)
		if err == nil && p != last && report != nil {
			report(p)
			last = p
		}
		if ended {
			_ = unix.Flock(int(lock.Fd()), unix.LOCK_UN)
			if p.Error != "" {
				return errors.New(p.Error)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("set-up goes on in the background (log: %s): %w", logFile(cache), context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func readProgress(cache string) (p Progress, err error) {
	data, err := os.ReadFile(progressFile(cache))
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	return p, err
}

func writeProgress(cache string, p Progress) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return state.WriteFile(progressFile(cache), data, 0o644)
}
