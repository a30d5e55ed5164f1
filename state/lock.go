package state

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// asking is how long Lock goes on trying: Holder has the lock for a moment to
// see that nobody has it.
const asking = 100 * time.Millisecond

// Lock makes this process the directory's server until the file is closed or
// the process ends. The file names the process.
func (d Dir) Lock() (*os.File, error) {
	f, err := os.OpenFile(d.lock(), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for deadline := time.Now().Add(asking); errors.Is(err, unix.EWOULDBLOCK) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("another wherry server uses %s (see server.json there): use it, stop it with `wherry down`, or name another --state", d)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Holder is the process that has the directory as its server, whether it
// answers or not; 0 if there is none.
func (d Dir) Holder() (pid int, err error) {
	f, err := os.Open(d.lock())
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return 0, err
	}
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0) // io.EOF: it is shorter
	pid, err = strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return 0, fmt.Errorf("%s does not name the process that holds it: %w", d.lock(), err)
	}
	return pid, nil
}

func (d Dir) lock() string { return d.Path("server.lock") }
