package deployments_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api/deployments"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/store"
)

const goneBundle = `
bundle: {name: NAME}
workspace: {root_path: /Workspace/Shared/NAME}
resources:
  jobs:
    one: {name: NAME, max_concurrent_runs: 2, tasks: [{task_key: a, spark_python_task: {python_file: a.py}}]}
`

// user adds an admin and returns them with a client that signs in as they.
func (s *site) user(name string) (p wherry.Principal, c *client.Client) {
	s.t.Helper()
	check(s.t, s.db.Write(context.Background(), func(tx *store.Tx) (err error) {
		if p, err = auth.CreateUser(tx, name, "", true); err != nil {
			return err
		}
		_, token, err := auth.IssueToken(tx, wherry.DefaultWorkspace, p.ID, 0, "test", 0)
		c = client.New(s.client.URL, token)
		return err
	}))
	return p, c
}

// deployAs deploys a bundle of one job, and returns the job's id.
func (s *site) deployAs(c *client.Client, name, python string) (string, error) {
	s.t.Helper()
	dir := s.t.TempDir()
	write(s.t, dir, map[string]string{"databricks.yml": strings.ReplaceAll(goneBundle, "NAME", name), "a.py": python})
	b, err := bundle.Load(context.Background(), bundle.Options{Dir: dir})
	check(s.t, err)
	r, err := deploy.Deploy(context.Background(), c, b, deploy.Options{StandIns: true})
	if err != nil {
		return "", err
	}
	return r.Resources[0].ID, nil
}

func (s *site) byHand(job string, runs int) {
	s.t.Helper()
	check(s.t, s.client.Do(context.Background(), "POST", "/api/2.2/jobs/update", map[string]any{"job_id": job, "new_settings": map[string]any{"max_concurrent_runs": runs}}, nil))
}

// synced returns what is said of each deployment, by bundle.
func (s *site) synced() map[string]deployments.Synced {
	s.t.Helper()
	var out deployments.DriftReport
	check(s.t, s.client.Do(context.Background(), "GET", "/api/wherry/drift", nil, &out))
	by := map[string]deployments.Synced{}
	for _, d := range out.Deployments {
		by[d.Bundle] = d
	}
	return by
}

// leavings are the ways in which a deployer goes.
var leavings = map[string]func(*store.Tx, wherry.Principal) error{
	"removed": auth.RemovePrincipal,
	"deactivated": func(tx *store.Tx, p wherry.Principal) error {
		p.Active = false
		return auth.UpdatePrincipal(tx, p)
	},
}

// TestDeployerIsGone: what changes in a bundle is drift whether its deployer is
// still there or not, and so is what changes in others'; it is reverted too.
func TestDeployerIsGone(t *testing.T) {
	for how, leave := range leavings {
		t.Run(how, func(t *testing.T) {
			s := newSite(t)
			eve, hers := s.user("eve@example.com")
			theirs, err := s.deployAs(hers, "theirs", "1")
			check(t, err)
			other, err := s.deployAs(s.client, "other", "1")
			check(t, err)
			check(t, s.db.Write(context.Background(), func(tx *store.Tx) error { return leave(tx, eve) }))
			s.byHand(theirs, 9)
			s.byHand(other, 9)
			by := s.synced()
			for _, name := range []string{"theirs", "other"} {
				if got := by[name]; got.Sync != deployments.Drifted || got.Trouble != "" || len(got.Drift) != 1 {
					t.Errorf("%s: %s %s\n%s", name, got.Sync, got.Trouble, describe(got.Drift))
				}
			}
			s.revert(by["theirs"].Drift[0].ID)
			if got := s.synced()["theirs"]; got.Sync != deployments.InSync {
				t.Errorf("reverted: %s %s", got.Sync, describe(got.Drift))
			}
		})
	}
}

// TestTroubleStaysWithItsDeployment: one that its deployer may read no more is
// named with the reason; the others are compared.
func TestTroubleStaysWithItsDeployment(t *testing.T) {
	s := newSite(t)
	eve, hers := s.user("eve@example.com")
	theirs, err := s.deployAs(hers, "theirs", "1")
	check(t, err)
	other, err := s.deployAs(s.client, "other", "1")
	check(t, err)
	eve.Admin = false
	check(t, s.db.Write(context.Background(), func(tx *store.Tx) error { return auth.UpdatePrincipal(tx, eve) }))
	s.byHand(theirs, 9)
	s.byHand(other, 9)
	for range 2 { // it stays so
		by := s.synced()
		if got := by["theirs"]; got.Sync != deployments.Unknown || !strings.Contains(got.Trouble, "could not be compared") {
			t.Errorf("theirs: %s %q", got.Sync, got.Trouble)
		}
		if got := by["other"]; got.Sync != deployments.Drifted || len(got.Drift) != 1 {
			t.Errorf("other: %s %s", got.Sync, describe(got.Drift))
		}
	}
	eve.Admin = true
	check(t, s.db.Write(context.Background(), func(tx *store.Tx) error { return auth.UpdatePrincipal(tx, eve) }))
	if got := s.synced()["theirs"]; got.Sync != deployments.Drifted || got.Trouble != "" {
		t.Errorf("once they may again: %s %q", got.Sync, got.Trouble)
	}
}

// TestKilledDeployerIsGone: a server that was killed in a deploy, half-way or
// once the version was complete, starts although who deployed is gone since, and
// leaves it whole.
func TestKilledDeployerIsGone(t *testing.T) {
	for how, leave := range leavings {
		for at, want := range map[string]string{"jobs.one": "old", "files": "old", "completed": "new"} {
			t.Run(fmt.Sprintf("%s at %s", how, at), func(t *testing.T) {
				s := newSite(t)
				eve, hers := s.user("eve@example.com")
				_, err := s.deployAs(hers, "theirs", "old")
				check(t, err)
				s.service.OnStep(func(step string) error {
					if step == at {
						return deployments.ErrKilled
					}
					return nil
				})
				if _, err := s.deployAs(hers, "theirs", "new"); err == nil {
					t.Fatal("a killed deploy did not fail")
				}
				check(t, s.db.Write(context.Background(), func(tx *store.Tx) error { return leave(tx, eve) }))
				s.start()
				if got := s.liveAt("Shared/theirs/files/a.py"); got != want {
					t.Errorf("the live file is %q", got)
				}
				open := 0
				check(t, s.db.Read(context.Background(), func(tx *store.Tx) error {
					return tx.Row(`SELECT count(*) FROM deployment_version WHERE status <> 'VERSION_STATUS_COMPLETED' OR NOT settled AND reason = 'VERSION_COMPLETE_SUCCESS'`).Scan(&open)
				}))
				if open != 0 {
					t.Errorf("%d versions are not at their end", open)
				}
				if _, err := s.deployAs(s.client, "theirs", "next"); err != nil {
					t.Errorf("the next deploy: %v", err)
				}
			})
		}
	}
}
