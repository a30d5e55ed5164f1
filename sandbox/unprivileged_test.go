//go:build linux

package sandbox_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wherry-ml/wherry/sandbox"
)

// As an unprivileged user, all of the above once more.
func TestUnprivileged(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the other tests run unprivileged already")
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "wherry-unprivileged-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	binary := filepath.Join(dir, "sandbox.test")
	copyFile(t, "/proc/self/exe", binary)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(binary, "-test.v", "-test.run=^Test")
	c.Dir = dir
	c.Env = []string{"TMPDIR=" + dir, "HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("as uid %d: %v\n%s", nobody, err, out)
	}
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.Contains(line, "---") || strings.Contains(line, "no namespaces") {
			t.Log(line)
		}
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkStart(b *testing.B) {
	w := newWorld(b)
	for b.Loop() {
		box, err := sandbox.Start(context.Background(), w.spec)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = box.Close()
		b.StartTimer()
	}
}
