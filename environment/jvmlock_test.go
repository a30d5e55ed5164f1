package environment_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/environment"
)

// free counts the locks that another process could have.
func free(t *testing.T) (n int) {
	t.Helper()
	for i := range 2 {
		f, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprintf("wherry-jvm.lock.%d", i)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			n++
		}
		f.Close()
	}
	return n
}

// TestLockJVM: two drivers at a time, and the locks end with the test.
func TestLockJVM(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Run("both", func(t *testing.T) {
		environment.LockJVM(t, 2)
		if n := free(t); n != 0 {
			t.Errorf("%d are free", n)
		}
	})
	t.Run("one and one", func(t *testing.T) {
		environment.LockJVM(t, 1)
		if n := free(t); n > 1 {
			t.Errorf("%d are free", n)
		}
		environment.LockJVM(t, 1) // does not wait
		if n := free(t); n != 0 {
			t.Errorf("%d are free", n)
		}
	})
	t.Run("both again", func(t *testing.T) { environment.LockJVM(t, 2) })
}
