package deployments_test

import (
	"context"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/storetest"
)

// A deployer that is gone loses its lock when its lease is over, by the
// database's clock; what it says afterwards does not count.
func TestLeaseIsOver(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), deployments.New(db)
		d, err := s.Create(ctx, deployments.Deployment{ID: "mine", WorkspaceID: 1, Status: deployments.StatusActive})
		if err != nil {
			t.Fatal(err)
		}
		next := deployments.Version{DeploymentID: d.ID, Kind: deployments.KindDeploy, CreatedBy: "ada"}
		gone, err := s.Begin(ctx, 1, next, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Begin(ctx, 1, next, false); wherry.CodeOf(err) != wherry.CodeConflict {
			t.Errorf("begun while another's lease lasts: %v", err)
		}
		err = db.Write(ctx, func(tx *store.Tx) error {
			now, err := tx.Now()
			if err != nil {
				return err
			}
			_, err = tx.Exec(`UPDATE deployment_version SET expires_at = $1 WHERE deployment_id = $2`, now, d.ID)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		v, err := s.Begin(ctx, 1, next, false)
		if err != nil || v.Version != 2 {
			t.Fatalf("after the lease: %+v %v", v, err)
		}
		if old, err := s.Version(ctx, 1, d.ID, 1); err != nil || old.Reason != deployments.ReasonExpired {
			t.Errorf("%+v %v", old, err)
		}
		if _, err := s.Heartbeat(ctx, 1, d.ID, gone.Version); wherry.CodeOf(err) != wherry.CodeAborted {
			t.Errorf("a heartbeat after the lease: %v", err)
		}
		if err := s.Succeed(ctx, gone, "ada", deployments.Done{Workspace: 1}); wherry.CodeOf(err) != wherry.CodeAborted {
			t.Errorf("a version that lost its lease succeeded: %v", err)
		}
		if err := s.Succeed(ctx, v, "ada", deployments.Done{Workspace: 1}); err != nil {
			t.Error(err)
		}
	})
}

// Of deployers that begin at once, by connections of their own, one has the
// lock: the others are told to wait.
func TestBeginAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), deployments.New(db)
		d, err := s.Open(ctx, deployments.Deployment{WorkspaceID: 1, RootPath: root})
		if err != nil {
			t.Fatal(err)
		}
		errs := make(chan error, 8)
		for range cap(errs) {
			go func() {
				_, err := s.Begin(ctx, 1, deployments.Version{DeploymentID: d.ID, Kind: deployments.KindDeploy}, false)
				errs <- err
			}()
		}
		begun := 0
		for range cap(errs) {
			err := <-errs
			if code := wherry.CodeOf(err); err != nil && code != wherry.CodeConflict && code != wherry.CodeAborted {
				t.Errorf("begun at once: %v", err)
			}
			if err == nil {
				begun++
			}
		}
		if begun != 1 {
			t.Errorf("%d began", begun)
		}
	})
}
