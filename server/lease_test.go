package server_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
)

// run starts a server on a database and returns its end, once it serves or has
// failed.
func run(ctx context.Context, t *testing.T, dir state.Dir, database string, renew <-chan time.Time) <-chan error {
	t.Helper()
	done, ready := make(chan error, 1), make(chan server.Info, 1)
	go func() {
		done <- server.Run(ctx, server.Config{
			State: dir, Listen: "127.0.0.1:0", StorageListen: "127.0.0.1:0", StopAgents: true, Database: database, Renew: renew,
			Ready: func(i server.Info) { ready <- i },
		})
	}()
	select {
	case <-ready:
	case err := <-done:
		done <- err
	}
	return done
}

// TestLeaseOfPostgres: a second server is refused, one that is renewed keeps
// its lease, and one that lost it stops.
func TestLeaseOfPostgres(t *testing.T) {
	url := storetest.Postgres(t)
	db, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	renew := make(chan time.Time)
	first := state.Dir(t.TempDir())
	done := run(ctx, t, first, url, renew)

	err = <-run(ctx, t, state.Dir(t.TempDir()), url, nil)
	if err == nil || !strings.Contains(err.Error(), "another server") || !strings.Contains(err.Error(), string(first)) {
		t.Errorf("a second server: %v", err)
	}

	before := expiry(t, db)
	renew <- time.Now()
	renew <- time.Now() // taken when the first renewal is done
	if after := expiry(t, db); after <= before {
		t.Errorf("renewed, it ends at %d, before that at %d", after, before)
	}

	if _, err := db.TakeLease(t.Context(), "server", "elsewhere", time.Minute, true); err != nil { // as after a long pause
		t.Fatal(err)
	}
	select {
	case renew <- time.Now():
		err = <-done
	case err = <-done:
	}
	if err == nil || !strings.Contains(err.Error(), "another server has taken over the database") {
		t.Errorf("a server that lost its lease ended with %v", err)
	}

	err = <-run(ctx, t, first, url, nil)
	if err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("the old server started again: %v", err)
	}
}

// TestLeaseIsGivenBack: the next server, of another state directory, need not
// wait.
func TestLeaseIsGivenBack(t *testing.T) {
	url := storetest.Postgres(t)
	for range 2 {
		ctx, cancel := context.WithCancel(context.Background())
		done := run(ctx, t, state.Dir(t.TempDir()), url, nil)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func expiry(t *testing.T, db *store.DB) (at int64) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		return tx.Row(`SELECT expires_at FROM lease WHERE name = 'server'`).Scan(&at)
	})
	if err != nil {
		t.Fatal(err)
	}
	return at
}
