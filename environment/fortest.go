package environment

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ForTest returns the environment, after setting it up or waiting for the
// process that does. It fails the test after five minutes, naming the step.
func ForTest(t testing.TB) *Environment {
	t.Helper()
	e, err := Open()
	if err == nil {
		return e
	}
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatalf("find the module: %v", err)
	}
	var last Progress
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	// go run keeps its own process alive beside the one that works; both outlive us.
	worker := []string{"go", "run", "-C", strings.TrimSpace(string(module)), "./" + filepath.Join("environment", "worker")}
	e, err = Setup(ctx, worker, func(p Progress) { last = p })
	if err != nil {
		t.Fatalf("set-up (step %d of %d, %s): %v", last.Step, last.Steps, last.Message, err)
	}
	return e
}
