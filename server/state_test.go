package server_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/state"
)

// TestStateOfAnyName: whatever the state directory is called, the database is in
// it and nothing is beside it.
func TestStateOfAnyName(t *testing.T) {
	for _, name := range []string{"proj#1", "what?", "50%", "a%23b", "a b;c&d=é"} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			servertest.Start(t, func(c *server.Config) { c.State = state.Dir(filepath.Join(top, name)) })
			if info, err := os.Stat(filepath.Join(top, name, "wherry.db")); err != nil || info.Size() == 0 {
				t.Errorf("no database in the state directory: %v", err)
			}
			if entries, err := os.ReadDir(top); err != nil || len(entries) != 1 {
				t.Errorf("beside the state directory: %v %v", entries, err)
			}
		})
	}
}
