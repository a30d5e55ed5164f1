package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// leaseName is the lease of the one server that a database has.
const leaseName = "server"

// leaseTime is how long another server waits for one that died on another
// machine.
const leaseTime = 30 * time.Second

// lease is this server's right to the database.
type lease struct {
	db    *store.DB
	epoch int64
	taken time.Time // before the last time that the database agreed
}

// takeLease fails while another server uses the database. A server of the same
// machine and state directory is none: its lock has shown that it is gone.
func takeLease(ctx context.Context, db *store.DB, cfg Config) (*lease, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("take the database's lease: %w", err)
	}
	l := &lease{db: db, taken: time.Now()}
	l.epoch, err = db.TakeLease(ctx, leaseName, host+":"+string(cfg.State), leaseTime, db.Dialect == store.SQLite)
	return l, err
}

// keep renews the lease until ctx ends. It fails when another server has it, or
// may have it soon because the database cannot be reached: then this one must
// decide nothing any more. SQLite needs no renewal, the state directory's lock
// keeps others away.
func (l *lease) keep(ctx context.Context, due <-chan time.Time) error {
	if l.db.Dialect == store.SQLite {
		return nil
	}
	return l.renew(ctx, due, func(ctx context.Context) error {
		return l.db.RenewLease(ctx, leaseName, l.epoch, leaseTime)
	})
}

// renew calls once whenever it is due, with the time that is left.
func (l *lease) renew(ctx context.Context, due <-chan time.Time, once func(context.Context) error) error {
	if due == nil {
		t := time.NewTicker(leaseTime / 3)
		defer t.Stop()
		due = t.C
	}
	for {
		// A sixth is for ending what runs.
		end := l.taken.Add(leaseTime - leaseTime/6)
		over := time.NewTimer(time.Until(end))
		select {
		case <-ctx.Done():
			over.Stop()
			return nil
		case <-over.C:
			return fmt.Errorf("the database could not be reached for %s, so that another server may use it by now: this one stops; look after the database and start again", leaseTime-leaseTime/6)
		case <-due:
			over.Stop()
		}
		began := time.Now()
		limited, cancel := context.WithDeadline(ctx, end)
		err := once(limited)
		cancel()
		switch {
		case err == nil:
			l.taken = began
		case ctx.Err() != nil:
			return nil
		case wherry.CodeOf(err) == wherry.CodeAborted:
			return fmt.Errorf("another server has taken over the database: this one stops, and what runs goes on under the other")
		default:
			slog.Warn("the database's lease was not renewed, trying again", "err", err)
		}
	}
}

// release lets the next server start without waiting.
func (l *lease) release(ctx context.Context) {
	if l.db.Dialect == store.SQLite {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := l.db.ReleaseLease(ctx, leaseName, l.epoch); err != nil {
		slog.Warn("the database's lease was not given back: the next server on another machine waits for its end", "err", err)
	}
}
