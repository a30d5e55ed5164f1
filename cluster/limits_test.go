//go:build linux

package cluster_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/cluster"
	"github.com/wherry-ml/wherry/sandbox"
)

// TestLimits: the control group of a cluster's box holds it to its node's
// memory, and to less than the machine's.
func TestLimits(t *testing.T) {
	layers, err := sandbox.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		if l.Name == "memory limit" && !l.Active {
			t.Skipf("no control groups here: %s", l.Detail)
		}
	}
	s := newSite(t, nil)
	small, large := s.script("one.py", ""), s.script("two.py", "")
	small.NewCluster, small.ClusterKey = []byte(`{"node_type_id": "m5.large", "num_workers": 0}`), "main"
	for _, a := range []wherry.Attempt{small, large} {
		if r := s.run(a); r.State != wherry.ResultSuccess {
			t.Fatalf("%+v", r)
		}
	}
	_, node := cluster.NodeType("m5.large")
	host := cluster.HostMemoryMB()
	if got := s.memoryLimitMB(small.RunID); got > node || got >= host {
		t.Errorf("a node of %d MB on a machine of %d has %d", node, host, got)
	}
	if got := s.memoryLimitMB(large.RunID); got >= host || got < host/2 {
		t.Errorf("serverless on a machine of %d MB has %d", host, got)
	}
}

// memoryLimitMB is that of the box of a run's agent, as the kernel has it.
func (s *site) memoryLimitMB(runID int64) (mb int) {
	s.t.Helper()
	pid, err := os.ReadFile(filepath.Join(s.agentFolder(runID), protocol.LockFile))
	if err != nil {
		s.t.Fatal(err)
	}
	prefix := "wherry-box-" + strings.TrimSpace(string(pid)) + "-"
	_ = filepath.WalkDir("/sys/fs/cgroup", func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() || !strings.HasPrefix(e.Name(), prefix) {
			return nil // groups come and go
		}
		for _, file := range []string{"memory.max", "memory.limit_in_bytes"} {
			b, err := os.ReadFile(filepath.Join(name, file))
			if n, nerr := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && nerr == nil {
				mb = n >> 20
			}
		}
		return fs.SkipDir
	})
	if mb == 0 {
		s.t.Fatalf("the box of run %d has no limit", runID)
	}
	return mb
}
