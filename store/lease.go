package store

import (
	"context"
	"time"

	"github.com/wherry-ml/wherry"
)

// TakeLease takes the named lease for holder and raises its epoch, in one
// transaction, by the database's clock. It fails with RESOURCE_CONFLICT while
// another holder's lease runs; with force it takes the lease all the same (a
// flock has proved that the other holder is dead).
func (db *DB) TakeLease(ctx context.Context, name, holder string, ttl time.Duration, force bool) (epoch int64, err error) {
	err = db.Write(ctx, func(tx *Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO lease (name, holder, epoch, expires_at) VALUES ($1, '', 0, 0)
			ON CONFLICT (name) DO NOTHING`, name); err != nil {
			return err
		}
		free := now
		if force {
			free = 1 << 62
		}
		n, err := tx.Exec(`UPDATE lease SET holder = $1, epoch = epoch + 1, expires_at = $2
			WHERE name = $3 AND (expires_at <= $4 OR holder = $1)`, holder, now+ttl.Milliseconds(), name, free)
		if err != nil {
			return err
		}
		if n == 0 {
			return heldLease(tx, name, now)
		}
		return tx.Row(`SELECT epoch FROM lease WHERE name = $1`, name).Scan(&epoch)
	})
	return epoch, err
}

// heldLease says who has the lease, and for how long.
func heldLease(tx *Tx, name string, now int64) error {
	var holder string
	var expires int64
	if err := tx.Row(`SELECT holder, expires_at FROM lease WHERE name = $1`, name).Scan(&holder, &expires); err != nil {
		return err
	}
	return wherry.Errorf(wherry.CodeConflict, "another %s (%s) uses this database: stop it, or name another database; if it is gone, try again in %d seconds",
		name, holder, (expires-now)/1000+1)
}

// RenewLease prolongs the lease, and fails with ABORTED once a newer epoch has
// taken it.
func (db *DB) RenewLease(ctx context.Context, name string, epoch int64, ttl time.Duration) error {
	return db.Write(ctx, func(tx *Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		return tx.ExecVersioned(`UPDATE lease SET expires_at = $1 WHERE name = $2 AND epoch = $3`,
			now+ttl.Milliseconds(), name, epoch)
	})
}

// ReleaseLease gives the lease back, so that another holder need not wait for
// its end. Of an older epoch it does nothing.
func (db *DB) ReleaseLease(ctx context.Context, name string, epoch int64) error {
	return db.Write(ctx, func(tx *Tx) error {
		_, err := tx.Exec(`UPDATE lease SET holder = '', expires_at = 0 WHERE name = $1 AND epoch = $2`, name, epoch)
		return err
	})
}
