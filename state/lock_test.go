package state

import (
	"os"
	"strings"
	"testing"
)

func TestLock(t *testing.T) {
	d := Dir(t.TempDir())
	want := func(pid int) {
		t.Helper()
		if got, err := d.Holder(); got != pid || err != nil {
			t.Errorf("held by %d, %v, want %d", got, err, pid)
		}
	}
	want(0)
	if err := os.WriteFile(d.lock(), []byte("123456789"), 0o600); err != nil { // of a server that was killed
		t.Fatal(err)
	}
	want(0)
	f, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	want(os.Getpid())
	if _, err := d.Lock(); err == nil || !strings.Contains(err.Error(), "another wherry server uses") {
		t.Errorf("a second server: %v", err)
	}
	want(os.Getpid())
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	want(0)
}
