//go:build linux

package cluster_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
)

// TestCancelSparkStart: a run ends when it is canceled while Spark's Java hangs
// at its start, and so do those that wait for the same start.
func TestCancelSparkStart(t *testing.T) {
	s := newSite(t, nil)
	hangs := []byte(`{"num_workers": 0, "spark_conf": {"spark.driver.extraJavaOptions":
		"-XX:+UnlockDiagnosticVMOptions -XX:+PauseAtStartup -XX:PauseAtStartupFile=/tmp/paused"}}`)
	const source = `
from wherry_runtime.lazy import spark
print("begun", flush=True)
spark.range(1).count()
`
	first, second := s.script("first.py", source), s.script("second.py", source)
	for _, a := range []*wherry.Attempt{&first, &second} {
		a.NewCluster, a.ClusterKey, a.JobRunID = hangs, "main", 1001
		s.start(*a)
		s.waitOutput(a.RunID, 0)
	}
	s.awaitMessage("starting Spark", first.RunID, second.RunID)
	for _, a := range []wherry.Attempt{second, first} {
		if err := s.Cancel(context.Background(), a.RunID); err != nil {
			t.Fatal(err)
		}
		if r := s.result(a.RunID); r.State != wherry.ResultCanceled {
			t.Errorf("%+v", r)
		}
	}
}

// awaitMessage waits until compute says text of one of the runs.
func (s *site) awaitMessage(text string, runIDs ...int64) {
	s.t.Helper()
	woken, stop := s.db.Watch(ledgerTopic)
	defer stop()
	end := time.After(patience)
	for {
		for _, id := range runIDs {
			if got, err := s.runs.get(context.Background(), id, "message"); err != nil {
				s.t.Fatal(err)
			} else if strings.Contains(got, text) {
				return
			}
		}
		select {
		case <-woken:
		case <-end:
			s.t.Fatalf("nobody says %q of runs %v", text, runIDs)
		}
	}
}
