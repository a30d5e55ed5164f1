package storetest_test

import (
	"context"
	"testing"

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
