package environment

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/state"
)

// neededDisk is what a whole set-up takes, downloads included, in bytes.
const neededDisk = 4 << 30

// Work does the set-up in this process. Setup starts it with the lock as file
// 3; its output goes to the log.
func Work(ctx context.Context) error {
	unix.CloseOnExec(3)    // The tools that run below must not hold the lock.
	runtime.LockOSThread() // They end with this thread, where the system can do that.
	defer runtime.UnlockOSThread()
	cache, err := CacheDir()
	if err != nil {
		return err
	}
	w := &work{cache: cache, env: Environment{Digest: digest()}}
	err = w.run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		w.progress.Error = w.explain(err)
		w.write()
	}
	return err
}

// work is one set-up.
type work struct {
	cache    string
	env      Environment
	base     interpreter // what the packages are installed for
	uv       string      // "" without uv
	tools    []string    // environment of pip and uv
	mu       sync.Mutex
	progress Progress
}

type step struct {
	message string
	do      func(*work, context.Context) error
}

var steps = []step{
	{"looking for Python", (*work).findPython},
	{"making the Python environment", (*work).makePrefix},
	{"installing Python packages", (*work).installPackages},
	{"looking for Java", (*work).findJava},
	{"fetching Spark's jars", (*work).fetchJars},
	{"compiling", (*work).compile},
}

func (w *work) run(ctx context.Context) error {
	if err := w.checkDisk(); err != nil {
		return err
	}
	for i, s := range steps {
		w.mu.Lock()
		w.progress = Progress{Step: i + 1, Steps: len(steps), Message: s.message}
		w.mu.Unlock()
		w.write()
		fmt.Fprintf(os.Stderr, "== %s\n", s.message)
		if err := s.do(w, ctx); err != nil {
			return err
		}
	}
	if err := w.env.unpack(w.cache); err != nil {
		return err
	}
	data, err := json.MarshalIndent(w.env, "", "  ")
	if err != nil {
		return err
	}
	return state.WriteFile(readyFile(w.cache), data, 0o644)
}

func (w *work) checkDisk() error {
	var st unix.Statfs_t
	if err := unix.Statfs(w.cache, &st); err != nil {
		return err
	}
	free := st.Bavail * uint64(st.Bsize)
	if _, err := os.Stat(w.prefix()); err != nil && free < neededDisk {
		return advise("set-up needs %d GB of disk and %s has %.1f GB free: make room, or set XDG_CACHE_HOME to a folder on another disk, and run `wherry setup` again", neededDisk>>30, w.cache, float64(free)/(1<<30))
	}
	return nil
}

// advice is an error that already says what to do.
type advice struct{ text string }

func (a *advice) Error() string { return a.text }

func advise(format string, args ...any) error { return &advice{fmt.Sprintf(format, args...)} }

// explain makes a message for the user: what failed, what to do, where the log is.
func (w *work) explain(err error) string {
	if a, ok := errors.AsType[*advice](err); ok {
		return a.text
	}
	log, _ := os.ReadFile(logFile(w.cache))
	hint := "run `wherry setup` again once that is mended; it goes on where it stopped"
	switch {
	case errors.Is(err, syscall.ENOSPC) || bytes.Contains(log, []byte("No space left on device")):
		hint = full(w.cache).Error()
	case offline(log):
		hint = "the package index cannot be reached: check the network, or pip's index and proxy settings (`pip config list`), and run `wherry setup` again; it goes on where it stopped"
	}
	return fmt.Sprintf("%s: %v\n%s\nlog: %s", w.progress.Message, err, hint, logFile(w.cache))
}

// offline tells from the tools' output that the network failed.
func offline(log []byte) bool {
	for _, sign := range []string{"dns error", "error sending request", "Failed to fetch", "Connection refused", "NewConnectionError", "Name or service not known", "Temporary failure in name resolution", "UnknownHostException", "Network is unreachable", "Could not connect", "timed out"} {
		if bytes.Contains(log, []byte(sign)) {
			return true
		}
	}
	return false
}

func (w *work) write() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := writeProgress(w.cache, w.progress); err != nil {
		fmt.Fprintln(os.Stderr, "write progress:", err)
	}
}

func (w *work) detail(line string) {
	w.mu.Lock()
	w.progress.Detail = line
	w.mu.Unlock()
	w.write()
}

// tool runs a command whose lines go to the log and, shortened, to the progress.
func (w *work) tool(ctx context.Context, env []string, argv ...string) error {
	fmt.Fprintf(os.Stderr, "$ %s\n", strings.Join(argv, " "))
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Env = append(os.Environ(), env...)
	c.Dir = w.cache
	r, pipe := io.Pipe()
	c.Stdout, c.Stderr = pipe, pipe
	c.SysProcAttr = toolAttr()
	c.Cancel = func() error { return unix.Kill(-c.Process.Pid, unix.SIGKILL) }
	last := make(chan string)
	go func() {
		var tail string
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			line := strings.TrimSpace(lines.Text())
			fmt.Fprintln(os.Stderr, line)
			if line != "" {
				tail = line
				w.detail(line[:min(len(line), 100)])
			}
		}
		_, _ = io.Copy(io.Discard, r)
		last <- tail
	}()
	err := c.Run()
	_ = pipe.Close() // ends the reader
	tail := <-last
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(argv[0]), err, tail)
	}
	return nil
}
