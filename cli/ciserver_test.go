package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/workflow"
)

// TestTook: a run that was run again took what its last attempt did.
func TestTook(t *testing.T) {
	r := &workflow.Run{CreatedAt: 1_000, QueuedAt: 90_000_000, EndedAt: 90_002_000}
	if got := took(r); got != "2s" {
		t.Errorf("it took %s", got)
	}
	r.QueuedAt = 0
	if got := took(r); got != "25h0m1s" {
		t.Errorf("without a second attempt it took %s", got)
	}
}

// What has not begun is queued, or waits for what is named.
func TestPendingJobs(t *testing.T) {
	var r ciRun
	if err := json.Unmarshal([]byte(`{"pending_jobs": ["a", "Tell"], "plan": [{"name": "a"}, {"name": "b", "needs": ["x"]}, {"name": "Tell", "needs": ["a", "b"]}]}`), &r); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := new(ciOptions).print(&out, "", &r); err != nil {
		t.Fatal(err)
	}
	if want := "○ a is queued\n○ Tell waits for a, b\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("%s, want it to end with %s", out.String(), want)
	}
}
