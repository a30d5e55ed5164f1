package python_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/python"
)

// TestPython runs the package's own tests on the interpreter that tasks have.
func TestPython(t *testing.T) {
	e := environment.ForTest(t)
	c := exec.Command(e.Python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", filepath.Join(t.TempDir(), "pytest"), "tests")
	c.Env = append(os.Environ(), "PYTHONPATH=.", "PYTHONDONTWRITEBYTECODE=1")
	out, err := c.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnpack(t *testing.T) {
	dir := t.TempDir()
	first, err := python.Unpack(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(first, "wherry_runtime", "zygote.py")); err != nil {
		t.Fatal(err)
	}
	second, err := python.Unpack(dir)
	if err != nil || second != first {
		t.Fatalf("a second time: %s, %v", second, err)
	}
}
