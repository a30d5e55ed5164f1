package storetest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
)

func TestEach(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var id, now int64
		err := db.Write(context.Background(), func(tx *store.Tx) (err error) {
			if id, err = tx.NextID("job"); err != nil {
				return err
			}
			now, err = tx.Now()
			return err
		})
		if err != nil || id != 1 || now < 1e12 {
			t.Fatalf("id %d, now %d, err %v", id, now, err)
		}
	})
}

// TestPanicInTransaction: what panics is an error that changes nothing and holds
// nothing: the next that wants the same row gets it.
func TestPanicInTransaction(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		next := func(then func()) (id int64, err error) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			err = db.Write(ctx, func(tx *store.Tx) (err error) {
				id, err = tx.NextID("job")
				then()
				return err
			})
			return id, err
		}
		if _, err := next(func() { panic("no such job") }); err == nil || !strings.Contains(err.Error(), "no such job") {
			t.Errorf("a panic gives %v", err)
		}
		if id, err := next(func() {}); err != nil || id != 1 {
			t.Errorf("after it: id %d, %v", id, err)
		}
	})
}
