package deployments_test

import (
	"testing"

	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/storetest"
)

// TestPlaces: the same root path of several workspaces is found in each, but for
// those that were deleted.
func TestPlaces(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), deployments.New(db)
		if err := auth.New(db).Bootstrap(ctx, "secret"); err != nil {
			t.Fatal(err)
		}
		ids := []int64{1, 0, 0}
		for i := range ids[1:] {
			if err := db.Write(ctx, func(tx *store.Tx) (err error) {
				ids[i+1], err = auth.CreateWorkspace(tx)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range ids {
			for _, path := range []string{root, root + "2"} {
				if _, err := s.Open(ctx, deployments.Deployment{WorkspaceID: id, RootPath: path, Status: deployments.StatusActive}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := db.Write(ctx, func(tx *store.Tx) error { return auth.RemoveWorkspace(tx, ids[2]) }); err != nil {
			t.Fatal(err)
		}
		list, err := s.Places(ctx, 0, root)
		if err != nil || len(list) != 2 || list[0].WorkspaceID != 1 || list[1].WorkspaceID != ids[1] || list[1].RootPath != root {
			t.Errorf("of all: %+v, %v", list, err)
		}
		if list, err = s.Places(ctx, ids[1], root); err != nil || len(list) != 1 || list[0].WorkspaceID != ids[1] {
			t.Errorf("of one: %+v, %v", list, err)
		}
	})
}
