//go:build linux

package cluster_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/cluster"
	"github.com/wherry-ml/wherry/sandbox"
)

// names are host names that may get more.
type names struct {
	mu sync.Mutex
	m  map[string]string
}

func (n *names) all() map[string]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.m)
}

func (n *names) add(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.m[name] = "127.0.0.1"
}

// TestNewHosts: a task that runs sees names that come later, once TellHosts
// has returned.
func TestNewHosts(t *testing.T) {
	if layers, err := sandbox.Probe(t.Context()); err != nil || !layers[0].Active {
		t.Skipf("no namespaces here: %v %v", layers, err)
	}
	hosts := &names{m: map[string]string{"early.dfs.core.windows.net": "127.0.0.1"}}
	s := newSite(t, func(c *cluster.Config) { c.Hosts = hosts.all })
	a := s.script("lookup.py", `
import os, socket, time
def lookup(name):
    try:
        return socket.gethostbyname(name)
    except OSError:
        return None
print(lookup("early.dfs.core.windows.net"), lookup("late.dfs.core.windows.net"), flush=True)
while not os.path.exists("/Workspace/go"): time.sleep(0.001)
print(lookup("late.dfs.core.windows.net"), lookup("never.dfs.core.windows.net"))
`)
	s.start(a)
	s.waitOutput(a.RunID, 0)
	hosts.add("late.dfs.core.windows.net")
	s.TellHosts(context.Background())
	if err := os.WriteFile(filepath.Join(s.dir.Workspace(1), "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := s.result(a.RunID); r.State != wherry.ResultSuccess {
		t.Fatalf("%+v", r)
	}
	if got := s.output(a.RunID); got != "127.0.0.1 None\n127.0.0.1 None\n" {
		t.Errorf("output %q", got)
	}
}
