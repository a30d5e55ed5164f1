package deployments_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdkjobs "github.com/databricks/databricks-sdk-go/service/jobs"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api/deployments"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/store/environments"
)

// Reverting the deletion of a job or a schema leaves one job and no schema
// without its grants, also where the server died amid it and it is begun anew.
func TestRevertOfADeletedResourceBrokenOff(t *testing.T) {
	for _, at := range []string{"made ", "moved "} {
		t.Run(strings.TrimSpace(at), func(t *testing.T) {
			s, ctx := newSite(t), context.Background()
			id := s.deployed(t.TempDir())
			w := s.workspace()
			check(t, w.Jobs.DeleteByJobId(ctx, id))
			check(t, s.client.Do(ctx, "DELETE", "/api/2.1/unity-catalog/schemas/lab.made", nil, nil))
			found := s.drift().Drift
			if len(found) != 2 {
				t.Fatalf("drift:\n%s", describe(found))
			}
			s.service.OnStep(dieAt(at))
			for _, d := range found {
				if err := s.service.Revert(request(ctx), int64(d.ID)); !errors.Is(err, deployments.ErrKilled) {
					t.Errorf("%s: %v", d.Resource, err)
				}
			}
			s.start()
			for _, d := range found {
				s.revert(d.ID)
			}
			if text := s.answer("/api/2.1/unity-catalog/permissions/schema/lab.made"); !strings.Contains(text, "SELECT") {
				t.Errorf("grants: %s", text)
			}
			if got := s.drift(); got.Sync != deployments.InSync {
				t.Errorf("at last: %s", describe(got.Drift))
			}
			list, err := w.Jobs.ListAll(ctx, sdkjobs.ListJobsRequest{Name: "one"})
			if err != nil || len(list) != 1 {
				t.Errorf("%d jobs, %v", len(list), err)
			}
		})
	}
}

// dieAt leaves what is going on as a killed server would, at the first step of
// that name.
func dieAt(prefix string) func(string) error {
	return func(step string) error {
		if strings.HasPrefix(step, prefix) {
			return deployments.ErrKilled
		}
		return nil
	}
}

func request(ctx context.Context) *http.Request {
	who := wherry.Identity{WorkspaceID: wherry.DefaultWorkspace, Principal: wherry.Principal{UserName: bundle.LocalUser}}
	r := httptest.NewRequestWithContext(wherry.WithIdentity(ctx, who), "POST", "/", nil)
	r.Header.Set("Authorization", "Bearer secret")
	return r
}

// A revert comes to its end though its client leaves amid it.
func TestRevertOutlivesItsClient(t *testing.T) {
	s := newSite(t)
	id := s.deployed(t.TempDir())
	check(t, s.workspace().Jobs.DeleteByJobId(context.Background(), id))
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	s.service.OnStep(func(step string) error {
		if step == "made jobs.one" {
			leave()
		}
		return nil
	})
	check(t, s.service.Revert(request(ctx), int64(s.drift().Drift[0].ID)))
	if ctx.Err() == nil {
		t.Error("the client never left")
	}
	if got := s.drift(); got.Sync != deployments.InSync {
		t.Errorf("after the revert: %s", describe(got.Drift))
	}
}

// Self-heal keeps away from a deployment that a deploy began on after it was
// looked at: what the deploy writes is not written over, and the check waits.
func TestSelfHealBesideADeploy(t *testing.T) {
	s, ctx, dir := newSite(t), context.Background(), t.TempDir()
	id := s.deployed(dir)
	_, err := environments.New(s.db).Put(ctx, wherry.Environment{Name: "live", SelfHeal: true}, "ada")
	check(t, err)
	job := func(runs int) {
		check(t, s.workspace().Jobs.Update(ctx, sdkjobs.UpdateJob{JobId: id, NewSettings: &sdkjobs.JobSettings{MaxConcurrentRuns: runs}}))
	}
	write(t, dir, map[string]string{"databricks.yml": strings.Replace(watchedBundle, "max_concurrent_runs: 2", "max_concurrent_runs: 4", 1)})
	for name, amid := range map[string]bool{"a deploy goes on": true, "a deploy has ended": false} {
		job(9)
		entered, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		s.service.OnStep(func(step string) error {
			if step == "heals jobs.one" {
				s.service.OnStep(func(step string) error {
					if step == "jobs.one" && amid {
						close(entered)
						<-goOn
					}
					return nil
				})
				go func() { _, err := s.deploy(dir); ended <- err }()
				if amid {
					<-entered
				} else {
					check(t, <-ended)
				}
			}
			return nil
		})
		later, troubles, err := s.service.Compare(ctx)
		if !later || err != nil || len(troubles) > 0 {
			t.Errorf("%s: later %v, %v, %v", name, later, troubles, err)
		}
		if got := s.job(id).Settings.MaxConcurrentRuns; got != 4 {
			t.Errorf("%s: healed to %d", name, got)
		}
		if amid {
			close(goOn)
			check(t, <-ended)
		}
		s.service.OnStep(func(string) error { return nil })
		if later, _, err = s.service.Compare(ctx); later || err != nil {
			t.Errorf("%s: at last %v, %v", name, later, err)
		}
		if got := s.job(id).Settings.MaxConcurrentRuns; got != 4 {
			t.Errorf("%s: at last %d", name, got)
		}
	}
}
