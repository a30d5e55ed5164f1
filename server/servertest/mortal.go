package servertest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/state"
)

// Mortal is a server that is a process of its own, so that a test can kill it.
// It comes back at its address.
type Mortal struct {
	*Server
	Process *exec.Cmd
	t       testing.TB
}

// StartMortal starts a server in an empty state directory. Its agents end with
// the test.
func StartMortal(t testing.TB) *Mortal {
	t.Helper()
	m := &Mortal{Server: &Server{State: state.Dir(t.TempDir())}, t: t}
	t.Cleanup(func() {
		m.Kill()
		Start(t, func(c *server.Config) { c.State, c.KeepTriggers = m.State, true }) // agents end with a server that is asked to
	})
	m.Start()
	token, err := os.ReadFile(m.State.Path("admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	m.Token = strings.TrimSpace(string(token))
	return m
}

// Start starts the server again, after it was killed.
func (m *Mortal) Start() {
	m.t.Helper()
	m.Process = exec.CommandContext(context.Background(), os.Args[0], "serve", string(m.State))
	m.Process.Stderr = os.Stderr
	out, err := m.Process.StdoutPipe()
	if err == nil {
		err = m.Process.Start()
	}
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		m.t.Fatalf("the server does not start: %v", err)
	}
	b, err := os.ReadFile(m.State.Path("server.json"))
	if err == nil {
		err = json.Unmarshal(b, &m.Info)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// Kill kills the server with SIGKILL, and waits until it is gone.
func (m *Mortal) Kill() {
	m.t.Helper()
	if err := m.Process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		m.t.Fatal(err)
	}
	_ = m.Process.Wait() // it says that it was killed
}

// serve is the process of such a server.
func serve(dir string) int {
	cfg := server.Config{State: state.Dir(dir), Listen: "127.0.0.1:0", StorageListen: "127.0.0.1:0"}
	cfg.PackageIndex = noIndex
	cfg.Ready = func(i server.Info) { fmt.Println(i.URL) }
	fmt.Fprintln(os.Stderr, server.Run(context.Background(), cfg))
	return 1
}

// noIndex is a package index that nobody answers at: no test needs a network.
func noIndex(context.Context) (string, error) { return "http://127.0.0.1:1/simple", nil }
