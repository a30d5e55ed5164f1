// Package servertest starts a whole server inside a test.
package servertest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/agent"
	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/state"
)

// Main is TestMain of packages whose servers run tasks: the test's binary is
// also the agent, the first process of its boxes and a Mortal server. Zygotes import nothing
// heavy, unless WHERRY_PRELOAD says otherwise.
func Main(m *testing.M) int {
	sandbox.Main()
	if len(os.Args) == 8 && os.Args[1] == "agent" { // agent --dir DIR --build DIGEST --ready-fd 3
		if err := agent.Run(context.Background(), os.Args[3], os.Args[5], os.NewFile(3, "ready")); err != nil {
			fmt.Fprintln(os.Stderr, "agent:", err)
			return 1
		}
		return 0
	}
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		return serve(os.Args[2])
	}
	if _, ok := os.LookupEnv("WHERRY_PRELOAD"); !ok {
		if err := os.Setenv("WHERRY_PRELOAD", "light"); err != nil {
			panic(err)
		}
	}
	return m.Run()
}

// Server is a server that runs until the test ends.
type Server struct {
	server.Info
	State state.Dir
	Token string // the admin's
}

// Start starts a server with an empty state directory on free ports. Change
// its configuration with edit, or give nil.
func Start(t testing.TB, edit func(*server.Config)) *Server {
	t.Helper()
	cfg := server.Config{State: state.Dir(t.TempDir()), Listen: "127.0.0.1:0", StorageListen: "127.0.0.1:0", StopAgents: true}
	cfg.PackageIndex = noIndex
	ready, done := make(chan server.Info, 1), make(chan error, 1)
	cfg.Ready = func(i server.Info) { ready <- i }
	if edit != nil {
		edit(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- server.Run(ctx, cfg) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	select {
	case info := <-ready:
		token, err := os.ReadFile(cfg.State.Path("admin-token"))
		if err != nil {
			t.Fatal(err)
		}
		return &Server{Info: info, State: cfg.State, Token: strings.TrimSpace(string(token))}
	case err := <-done:
		done <- nil
		t.Fatalf("server did not start: %v", err)
	}
	return nil
}
