package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
)

func TestLease(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		take := func(holder string, force bool) (int64, error) {
			return db.TakeLease(t.Context(), "server", holder, time.Minute, force)
		}
		renew := func(epoch int64, ttl time.Duration) error { return db.RenewLease(t.Context(), "server", epoch, ttl) }
		wantCode := func(err error, code string) {
			t.Helper()
			if wherry.CodeOf(err) != code {
				t.Errorf("got %v, want %q", err, code)
			}
		}
		wantEpoch := func(want int64) func(int64, error) {
			return func(got int64, err error) {
				t.Helper()
				if err != nil || got != want {
					t.Fatalf("epoch %d, %v, want %d", got, err, want)
				}
			}
		}

		wantEpoch(1)(take("a", false))
		_, err := take("b", false)
		wantCode(err, wherry.CodeConflict)
		if err == nil || !strings.Contains(err.Error(), "(a)") || !strings.Contains(err.Error(), "stop it") {
			t.Errorf("the refusal is %v", err)
		}
		wantEpoch(2)(take("a", false)) // the same holder, started again
		wantCode(renew(1, time.Minute), wherry.CodeAborted)

		wantCode(renew(2, time.Hour), "")
		var left int64
		err = db.Read(t.Context(), func(tx *store.Tx) error {
			now, err := tx.Now()
			if err != nil {
				return err
			}
			if err := tx.Row(`SELECT expires_at FROM lease WHERE name = 'server'`).Scan(&left); err != nil {
				return err
			}
			left -= now
			return nil
		})
		if err != nil || left < (59*time.Minute).Milliseconds() {
			t.Errorf("renewed for an hour, %d ms are left, %v", left, err)
		}

		wantCode(renew(2, -time.Second), "") // its time is over
		wantEpoch(3)(take("b", false))
		wantCode(renew(2, time.Minute), wherry.CodeAborted)
		wantCode(db.ReleaseLease(t.Context(), "server", 2), "") // changes nothing
		_, err = take("a", false)
		wantCode(err, wherry.CodeConflict)

		wantEpoch(4)(take("a", true))
		wantCode(db.ReleaseLease(t.Context(), "server", 4), "")
		wantEpoch(5)(take("b", false))
	})
}

// TestNoMigrationUnderAServer: a newer version leaves the schema alone while an
// older one's server runs.
func TestNoMigrationUnderAServer(t *testing.T) {
	url := storetest.Postgres(t)
	db, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	epoch, err := db.TakeLease(t.Context(), "server", "elsewhere", time.Minute, false)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(tx *store.Tx) error { // the database of an older version
		_, err := tx.Exec(`DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	const refusal = "a server of an older version (elsewhere) uses this database: stop it"
	if _, err := store.Open(t.Context(), url); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("opened beside a server: %v", err)
	}
	if err := db.ReleaseLease(t.Context(), "server", epoch); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), url); err == nil || strings.Contains(err.Error(), refusal) { // it did try: what the migration makes is there
		t.Errorf("opened after the server's end: %v", err)
	}
}
