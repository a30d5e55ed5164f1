package environments_test

import (
	"context"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/environments"
	"github.com/wherry-ml/wherry/store/storetest"
)

func TestEnvironments(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), environments.New(db)
		made, err := s.Put(ctx, wherry.Environment{Name: "Prod", Target: "production", Reviewers: []string{"ada"}, Branches: []string{"main"}}, "eve")
		if err != nil || made.Revision != 1 {
			t.Fatal(made, err)
		}
		got, err := s.Get(ctx, "prod")
		if err != nil || got.Name != "Prod" || got.UpdatedBy != "eve" || got.UpdatedAt == 0 || got.Branches[0] != "refs/heads/main" {
			t.Errorf("got %+v, %v", got, err)
		}
		got.WaitMinutes = 5
		if got, err = s.Put(ctx, got, "bob"); err != nil || got.Revision != 2 {
			t.Errorf("changed: %+v, %v", got, err)
		}
		if _, err := s.Put(ctx, made, "eve"); wherry.CodeOf(err) != wherry.CodeAborted {
			t.Errorf("a change of an old revision: %v", err)
		}
		if _, err := s.Put(ctx, wherry.Environment{Name: "production"}, "eve"); wherry.CodeOf(err) != wherry.CodeAlreadyExists {
			t.Errorf("a second environment of a target: %v", err)
		}
		if e, ok, err := s.OfTarget(ctx, "production"); err != nil || !ok || e.Name != "Prod" {
			t.Errorf("of the target: %+v %t %v", e, ok, err)
		}
		if err := s.Delete(ctx, "PROD", "bob"); err != nil {
			t.Error(err)
		}
		if _, err := s.Get(ctx, "Prod"); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			t.Errorf("deleted: %v", err)
		}
		if list, err := s.List(ctx); err != nil || len(list) != 0 {
			t.Errorf("left: %v, %v", list, err)
		}
		events := 0
		err = db.Read(ctx, func(tx *store.Tx) error {
			return tx.Row(`SELECT count(*) FROM event WHERE kind = $1 AND subject = 'Prod'`, wherry.EventEnvironment).Scan(&events)
		})
		if err != nil || events != 3 {
			t.Errorf("%d events, %v", events, err)
		}
	})
}
