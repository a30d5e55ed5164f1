package environment

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// jvms is how many Spark drivers of tests run at a time on a machine.
const jvms = 2

// LockJVM waits until n more drivers, one or two, may run on this machine
// beside those of other packages' tests. They are the test's until its end.
// Call it once in a test, before anything that is timed.
func LockJVM(t testing.TB, n int) {
	t.Helper()
	type slot struct {
		file *os.File
		err  error
	}
	got, enough := make(chan slot), make(chan struct{})
	wait := func(first, last int) {
		for i := first; i <= last; i++ {
			f, err := lockSlot(i)
			select {
			case got <- slot{f, err}:
			case <-enough: // another was free sooner
				_ = f.Close()
			}
		}
	}
	if n == jvms { // in order, so that two who want both do not wait for each other
		go wait(0, jvms-1)
	} else {
		for i := range jvms {
			go wait(i, i)
		}
	}
	for range n {
		s := <-got
		if s.err != nil {
			t.Fatal(s.err)
		}
		t.Cleanup(func() { _ = s.file.Close() })
	}
	close(enough)
}

func lockSlot(i int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprintf("wherry-jvm.lock.%d", i)), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
	}
}
