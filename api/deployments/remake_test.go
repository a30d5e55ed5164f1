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
