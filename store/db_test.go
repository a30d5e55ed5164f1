package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestManyNewReads has more readers than connections each need a statement
// that nobody prepared before: none may wait for another for ever.
func TestManyNewReads(t *testing.T) {
	db, err := Open(t.Context(), "sqlite://"+t.TempDir()+"/x.db")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	for i := range 200 {
		g.Go(func() error {
			return db.Read(ctx, func(tx *Tx) error {
				for j := range 3 {
					var n int
					if err := tx.Row(fmt.Sprintf(`SELECT %d + $1`, 3*i+j), 1).Scan(&n); err != nil {
						return err
					}
					if n != 3*i+j+1 {
						return fmt.Errorf("read %d", n)
					}
				}
				return nil
			})
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestGroupCommit has writers fail and panic among writers that succeed: each
// sees its own result, and only the good ones change anything.
func TestGroupCommit(t *testing.T) {
	db, err := Open(t.Context(), "sqlite://"+t.TempDir()+"/x.db")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var g errgroup.Group
	for i := range 60 {
		g.Go(func() error {
			err := db.Write(t.Context(), func(tx *Tx) error {
				if _, err := tx.NextID("n"); err != nil {
					return err
				}
				switch i % 3 {
				case 1:
					return fmt.Errorf("refused")
				case 2:
					panic("boom")
				}
				return nil
			})
			if (err == nil) != (i%3 == 0) {
				return fmt.Errorf("writer %d: %v", i, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(tx *Tx) error {
		id, err := tx.NextID("n")
		if err == nil && id != 21 {
			err = fmt.Errorf("the sequence is at %d, want 21", id)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
