package server

import (
	"context"
	"testing"

	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store/storetest"
)

// Table is the route table that a server of this build serves.
func Table(t *testing.T) []api.Route {
	t.Helper()
	dir := state.Dir(t.TempDir())
	if err := dir.Create(); err != nil {
		t.Fatal(err)
	}
	sys, err := build(context.Background(), Config{State: dir}, storetest.SQLite(t), 1, Info{URL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	return sys.table.Routes()
}
