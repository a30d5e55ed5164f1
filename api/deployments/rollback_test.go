package deployments_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api/deployments"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deployment"
)

func (s *site) rollback(id string, in deployment.Rollback) (*deployment.Report, error) {
	report := &deployment.Report{}
	return report, s.client.Do(context.Background(), "POST", "/api/wherry/deployments/"+id+"/rollback", in, report)
}

// TestRollback goes back and forth between versions: files, settings and
// resources are the former ones, what may hold data stays unless it may be lost.
func TestRollback(t *testing.T) {
	s, dir, ctx := newSite(t), t.TempDir(), context.Background()
	write(t, dir, map[string]string{"databricks.yml": first, "a.py": "old"})
	r, err := s.deploy(dir)
	check(t, err)
	id := r.DeploymentID
	if _, err := s.rollback(id, deployment.Rollback{}); wherry.CodeOf(err) != wherry.CodeInvalidState || !strings.Contains(err.Error(), "no version") {
		t.Errorf("a rollback of the first version: %v", err)
	}
	write(t, dir, map[string]string{"databricks.yml": second, "a.py": "new", "b.py": "b"})
	_, err = s.deploy(dir)
	check(t, err)

	back, err := s.service.Rollback(ctx, 1, id, bundle.LocalUser, deployment.Rollback{})
	check(t, err)
	if back.Version != 3 || back.Restores != 1 || len(back.Kept) != 1 || back.Kept[0] != "schemas.s" {
		t.Errorf("rollback: %+v", back)
	}
	if got := s.jobs(); !maps.Equal(got, map[string]string{"one": "old"}) || s.live("a.py") != "old" || s.live("b.py") != "none" || !s.schema("lab.made") {
		t.Errorf("after the rollback: jobs %v, files %q %q, schema %t", got, s.live("a.py"), s.live("b.py"), s.schema("lab.made"))
	}
	if _, err := s.rollback(id, deployment.Rollback{}); wherry.CodeOf(err) != wherry.CodeInvalidState {
		t.Errorf("a rollback of what restored the first version: %v", err)
	}
	forth, err := s.rollback(id, deployment.Rollback{Version: 2})
	check(t, err)
	if got := s.jobs(); forth.Version != 4 || !maps.Equal(got, map[string]string{"one": "new", "two": ""}) || s.live("b.py") != "b" {
		t.Errorf("after the way forth: %+v, jobs %v", forth, got)
	}
	if again, err := s.deploy(dir); err != nil || again.Changed {
		t.Errorf("the restored version is not what was deployed: %+v %v", again, err)
	}
	lossy, err := s.rollback(id, deployment.Rollback{Version: 1, AllowDataLoss: true})
	check(t, err)
	if len(lossy.Kept) > 0 || s.schema("lab.made") {
		t.Errorf("with data loss: %+v", lossy)
	}
	var h deployment.History
	check(t, s.client.Do(ctx, "GET", "/api/wherry/deployments/"+id+"/history", nil, &h))
	if len(h.Versions) != 5 || !h.Versions[0].Live || h.Versions[0].Restores != 1 || h.Versions[1].Restores != 2 || h.Versions[4].Live || !h.Versions[4].Restorable {
		t.Errorf("history: %+v", h.Versions)
	}
	for _, version := range []int64{9, -1} {
		if _, err := s.rollback(id, deployment.Rollback{Version: version}); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

// TestRollbackThatFailsKeepsWhatIsLive: as any other deploy.
func TestRollbackThatFailsKeepsWhatIsLive(t *testing.T) {
	s, dir := newSite(t), t.TempDir()
	write(t, dir, map[string]string{"databricks.yml": first, "a.py": "old"})
	r, err := s.deploy(dir)
	check(t, err)
	write(t, dir, map[string]string{"databricks.yml": strings.Replace(first, "old", "new", 1), "a.py": "new"})
	_, err = s.deploy(dir)
	check(t, err)
	s.service.OnStep(func(step string) error {
		if step == "files" {
			return deployments.ErrKilled
		}
		return nil
	})
	if _, err := s.rollback(r.DeploymentID, deployment.Rollback{}); err == nil {
		t.Fatal("a killed rollback did not fail")
	}
	s.start()
	if got := s.jobs(); got["one"] != "new" || s.live("a.py") != "new" {
		t.Errorf("jobs %v, file %q", got, s.live("a.py"))
	}
	back, err := s.rollback(r.DeploymentID, deployment.Rollback{})
	check(t, err)
	if got := s.jobs(); got["one"] != "old" || s.live("a.py") != "old" || back.Restores != 1 {
		t.Errorf("jobs %v, file %q, %+v", got, s.live("a.py"), back)
	}
}

// TestDeletionsComeAfterTheVersion: a server killed once a version is complete
// deletes at its next start; one whose last transaction fails has deleted
// nothing, and its metadata.json is the old one.
func TestDeletionsComeAfterTheVersion(t *testing.T) {
	s, dir := newSite(t), t.TempDir()
	metadata := filepath.Join(s.dir.Workspace(1), "Users", bundle.LocalUser, ".bundle/x/default/state/metadata.json")
	write(t, dir, map[string]string{"databricks.yml": second, "a.py": "old"})
	_, err := s.deploy(dir)
	check(t, err)
	before, err := os.ReadFile(metadata)
	check(t, err)
	write(t, dir, map[string]string{"databricks.yml": first, "a.py": "new"})
	lost := errors.New("the database is gone")
	s.service.OnStep(func(step string) error {
		if step == "files" {
			return lost
		}
		return nil
	})
	if _, err := s.deployLossy(dir); err == nil {
		t.Fatal("a deploy whose end failed did not fail")
	}
	after, err := os.ReadFile(metadata)
	if got := s.jobs(); err != nil || string(before) != string(after) || len(got) != 2 || !s.schema("lab.made") || s.live("a.py") != "old" {
		t.Errorf("after the failure: %v, jobs %v, metadata %s", err, got, after)
	}
	s.service.OnStep(func(step string) error {
		if step == "completed" {
			return deployments.ErrKilled
		}
		return nil
	})
	if _, err := s.deployLossy(dir); err == nil {
		t.Fatal("a killed deploy did not fail")
	}
	if got := s.jobs(); len(got) != 2 || got["one"] != "old" || s.live("a.py") != "new" {
		t.Errorf("killed once complete: jobs %v", got)
	}
	s.start()
	after, err = os.ReadFile(metadata)
	if got := s.jobs(); err != nil || string(before) == string(after) || len(got) != 1 || s.schema("lab.made") {
		t.Errorf("after the start: %v, jobs %v, metadata %s", err, got, after)
	}
	if again, err := s.deploy(dir); err != nil || again.Changed {
		t.Errorf("then: %+v %v", again, err)
	}
}
