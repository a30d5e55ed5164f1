package cli

import (
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
