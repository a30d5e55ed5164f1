package deployments_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/databricks/databricks-sdk-go"
	sdkjobs "github.com/databricks/databricks-sdk-go/service/jobs"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api/deployments"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/drift"
	"github.com/wherry-ml/wherry/store/environments"
)

const watchedBundle = `
bundle: {name: w}
targets: {live: {}}
resources:
  schemas:
    s: {catalog_name: lab, name: made, comment: ours, grants: [{principal: users, privileges: [SELECT]}]}
  jobs:
    one:
      name: one
      max_concurrent_runs: 2
      tasks: [{task_key: a, spark_python_task: {python_file: a.py}}]
      permissions: [{group_name: users, level: CAN_VIEW}]
`

// drift asks for the report and returns the one deployment of it.
func (s *site) drift() deployments.Synced {
	s.t.Helper()
	var out deployments.DriftReport
	check(s.t, s.client.Do(context.Background(), "GET", "/api/wherry/drift", nil, &out))
	if len(out.Deployments) != 1 {
		s.t.Fatalf("%+v", out)
	}
	return out.Deployments[0]
}

func (s *site) workspace() *databricks.WorkspaceClient {
	s.t.Helper()
	w, err := databricks.NewWorkspaceClient(&databricks.Config{Host: s.client.URL, Token: "secret"})
	check(s.t, err)
	return w
}

func (s *site) job(id int64) *sdkjobs.Job {
	s.t.Helper()
	job, err := s.workspace().Jobs.GetByJobId(context.Background(), id)
	check(s.t, err)
	return job
}

func (s *site) revert(id wherry.Int64) {
	s.t.Helper()
	check(s.t, s.client.Do(context.Background(), "POST", fmt.Sprintf("/api/wherry/drift/%d/revert", int64(id)), map[string]any{}, nil))
}

// deployed deploys the bundle and returns the job's id.
func (s *site) deployed(dir string) int64 {
	s.t.Helper()
	write(s.t, dir, map[string]string{"databricks.yml": watchedBundle, "a.py": "a"})
	r, err := s.deploy(dir)
	check(s.t, err)
	for _, change := range r.Resources {
		if change.Key == "jobs.one" {
			id, err := strconv.ParseInt(change.ID, 10, 64)
			check(s.t, err)
			return id
		}
	}
	s.t.Fatal("no job was deployed")
	return 0
}

func describe(list []drift.Drift) string {
	var b strings.Builder
	for _, d := range list {
		fmt.Fprintf(&b, "%s %s by %s\n", d.Resource, d.Kind, d.Actor)
		for _, f := range d.Fields {
			fmt.Fprintf(&b, "  %s: %v → %v\n", f.Path, f.Before, f.After)
		}
	}
	return b.String()
}

// A job that someone updates by hand is drift at once, with who and what, and
// goes back to what was deployed.
func TestDriftOfAJob(t *testing.T) {
	s, ctx := newSite(t), context.Background()
	id := s.deployed(t.TempDir())
	if got := s.drift(); got.Sync != deployments.InSync || got.Health != deployments.Unknown {
		t.Fatalf("after the deploy: %s %s\n%s", got.Sync, got.Health, describe(got.Drift))
	}
	w := s.workspace()
	check(t, w.Jobs.Update(ctx, sdkjobs.UpdateJob{JobId: id, NewSettings: &sdkjobs.JobSettings{MaxConcurrentRuns: 9, TimeoutSeconds: 60}}))
	pending, err := drift.New(s.db).Pending(ctx, 10)
	if err != nil || len(pending) != 1 || pending[0].Actor != "admin@localhost" || pending[0].Resource != "jobs.one" {
		t.Fatalf("the write left %+v, %v", pending, err)
	}
	got := s.drift()
	want := "jobs.one changed by admin@localhost\n  max_concurrent_runs: 2 → 9\n  timeout_seconds: "
	if text := describe(got.Drift); got.Sync != deployments.Drifted || !strings.HasPrefix(text, want) || !strings.HasSuffix(text, "→ 60\n") {
		t.Errorf("%s:\n%swant\n%s", got.Sync, text, want)
	}
	if events := s.events(wherry.EventDriftFound); events != 1 {
		t.Errorf("%d events", events)
	}
	s.revert(got.Drift[0].ID)
	if got := s.drift(); got.Sync != deployments.InSync {
		t.Errorf("after the revert: %s", describe(got.Drift))
	}
	job, err := w.Jobs.GetByJobId(ctx, id)
	if err != nil || job.Settings.MaxConcurrentRuns != 2 || job.Settings.TimeoutSeconds != 0 {
		t.Errorf("after the revert: %+v, %v", job.Settings, err)
	}
	if events := s.events(wherry.EventDriftSettled); events != 1 {
		t.Errorf("%d events", events)
	}
}

func (s *site) events(kind string) (n int) {
	s.t.Helper()
	check(s.t, s.db.Read(context.Background(), func(tx *store.Tx) error {
		return tx.Row(`SELECT count(*) FROM event WHERE kind = $1`, kind).Scan(&n)
	}))
	return n
}

// TestBorrowedToken: the token that the server acts with for someone ends with
// what it was for, also when the client goes away meanwhile.
func TestBorrowedToken(t *testing.T) {
	s := newSite(t)
	tokens := func() (n int) {
		t.Helper()
		check(t, s.db.Read(context.Background(), func(tx *store.Tx) error {
			return tx.Row(`SELECT count(*) FROM token WHERE comment = 'reverting drift'`).Scan(&n)
		}))
		return n
	}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	check(t, s.service.Borrow(ctx, 1, bundle.LocalUser, "reverting drift", func() {
		if n := tokens(); n != 1 {
			t.Errorf("%d tokens", n)
		}
		leave()
	}))
	if n := tokens(); n != 0 {
		t.Errorf("%d tokens are left", n)
	}
}

// Someone who undoes a change settles it; a deploy writes over it; a deleted
// job is made anew, with its permissions; the deploys themselves are no drift.
func TestDriftEnds(t *testing.T) {
	s, ctx, dir := newSite(t), context.Background(), t.TempDir()
	id := s.deployed(dir)
	w := s.workspace()
	for _, n := range []int{9, 2} {
		check(t, w.Jobs.Update(ctx, sdkjobs.UpdateJob{JobId: id, NewSettings: &sdkjobs.JobSettings{MaxConcurrentRuns: n}}))
		if got := s.drift(); len(got.Drift) != map[int]int{9: 1, 2: 0}[n] {
			t.Errorf("at %d: %s", n, describe(got.Drift))
		}
	}
	check(t, w.Jobs.Update(ctx, sdkjobs.UpdateJob{JobId: id, NewSettings: &sdkjobs.JobSettings{MaxConcurrentRuns: 7}}))
	if got := s.drift(); got.Sync != deployments.Drifted {
		t.Error("no drift before the deploy")
	}
	_, err := s.deploy(dir)
	check(t, err)
	if got := s.drift(); got.Sync != deployments.InSync || got.Version != 2 {
		t.Errorf("after the second deploy: %s", describe(got.Drift))
	}
	check(t, w.Jobs.DeleteByJobId(ctx, id))
	got := s.drift()
	if text := describe(got.Drift); text != "jobs.one deleted by admin@localhost\n" {
		t.Errorf("deleted:\n%s", text)
	}
	s.revert(got.Drift[0].ID)
	if got = s.drift(); got.Sync != deployments.InSync {
		t.Errorf("made anew: %s", describe(got.Drift))
	}
	list, err := w.Jobs.ListAll(ctx, sdkjobs.ListJobsRequest{Name: "one"})
	if err != nil || len(list) != 1 || list[0].JobId == id {
		t.Errorf("%+v, %v", list, err)
	}
	if text := s.answer(fmt.Sprintf("/api/2.0/permissions/jobs/%d", list[0].JobId)); !strings.Contains(text, "CAN_VIEW") {
		t.Errorf("permissions: %s", text)
	}
}

// Permissions, grants and schemas too; what the environment ignores is none;
// with self-heal a change does not stay.
func TestDriftOfOthersAndSelfHeal(t *testing.T) {
	s, ctx := newSite(t), context.Background()
	id := s.deployed(t.TempDir())
	do := func(method, path string, body map[string]any) {
		t.Helper()
		check(t, s.client.Do(ctx, method, path, body, nil))
	}
	do("PATCH", "/api/2.1/unity-catalog/schemas/lab.made", map[string]any{"comment": "theirs"})
	do("PATCH", "/api/2.1/unity-catalog/permissions/schema/lab.made", map[string]any{"changes": []any{map[string]any{"principal": "eve", "add": []string{"MODIFY"}}}})
	do("PATCH", fmt.Sprintf("/api/2.0/permissions/jobs/%d", id), map[string]any{"access_control_list": []any{map[string]any{"group_name": "users", "permission_level": "CAN_MANAGE"}}})
	got := s.drift()
	text := describe(got.Drift)
	for _, want := range []string{"comment: ours → theirs", "eve: <nil> → [MODIFY]", "jobs.one.permissions changed"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, d := range got.Drift {
		s.revert(d.ID)
	}
	if got := s.drift(); got.Sync != deployments.InSync {
		t.Errorf("after the reverts: %s", describe(got.Drift))
	}
	env := environments.New(s.db)
	_, err := env.Put(ctx, wherry.Environment{Name: "live", Ignore: []string{"comment"}, SelfHeal: true}, "ada")
	check(t, err)
	do("PATCH", "/api/2.1/unity-catalog/schemas/lab.made", map[string]any{"comment": "again"})
	check(t, s.workspace().Jobs.Update(ctx, sdkjobs.UpdateJob{JobId: id, NewSettings: &sdkjobs.JobSettings{MaxConcurrentRuns: 5}}))
	if got := s.drift(); got.Sync != deployments.InSync {
		t.Errorf("with self-heal: %s", describe(got.Drift))
	}
	if text := s.answer("/api/wherry/drift?all=true"); !strings.Contains(text, `"way":"healed"`) {
		t.Errorf("nothing was healed: %s", text)
	}
	if text := s.answer("/api/2.1/unity-catalog/schemas/lab.made"); !strings.Contains(text, "again") {
		t.Errorf("an ignored field was healed: %s", text)
	}
}

// What the environment ignores stays as it is when other fields of the same
// resource are healed or reverted: of jobs, of items of lists.
func TestDriftKeepsIgnored(t *testing.T) {
	s, ctx := newSite(t), context.Background()
	id := s.deployed(t.TempDir())
	env := environments.New(s.db)
	ignore := []string{"schedule", "tasks[*].timeout_seconds", "comment"}
	put := func(heal bool) {
		_, err := env.Put(ctx, wherry.Environment{Name: "live", Ignore: ignore, SelfHeal: heal}, "ada")
		check(t, err)
	}
	put(false)
	job := s.job(id)
	tasks := job.Settings.Tasks
	tasks[0].TimeoutSeconds, tasks[0].MaxRetries = 77, 3
	paused := &sdkjobs.CronSchedule{QuartzCronExpression: "0 0 1 * * ?", TimezoneId: "UTC", PauseStatus: sdkjobs.PauseStatusPaused}
	check(t, s.workspace().Jobs.Update(ctx, sdkjobs.UpdateJob{JobId: id, NewSettings: &sdkjobs.JobSettings{
		Schedule: paused, Tasks: tasks, MaxConcurrentRuns: 5,
	}}))
	schema := func(comment string) {
		check(t, s.client.Do(ctx, "PATCH", "/api/2.1/unity-catalog/schemas/lab.made", map[string]any{"comment": comment}, nil))
	}
	schema("mine")
	got := s.drift()
	if text := describe(got.Drift); strings.Contains(text, "schedule") || strings.Contains(text, "timeout") || !strings.Contains(text, "max_concurrent_runs") {
		t.Errorf("drift:\n%s", text)
	}
	kept := func(when string) {
		t.Helper()
		if got := s.drift(); got.Sync != deployments.InSync {
			t.Errorf("%s: %s", when, describe(got.Drift))
		}
		now := s.job(id).Settings
		if now.Schedule == nil || now.Schedule.PauseStatus != sdkjobs.PauseStatusPaused || now.Tasks[0].TimeoutSeconds != 77 {
			t.Errorf("%s: ignored fields were written: %+v %v", when, now.Schedule, now.Tasks[0].TimeoutSeconds)
		}
		if now.MaxConcurrentRuns != 2 || now.Tasks[0].MaxRetries != 0 {
			t.Errorf("%s: not as deployed: %d %d", when, now.MaxConcurrentRuns, now.Tasks[0].MaxRetries)
		}
		if text := s.answer("/api/2.1/unity-catalog/schemas/lab.made"); !strings.Contains(text, "mine") {
			t.Errorf("%s: %s", when, text)
		}
	}
	for _, d := range got.Drift {
		s.revert(d.ID)
	}
	kept("reverted")
	put(true)
	check(t, s.workspace().Jobs.Update(ctx, sdkjobs.UpdateJob{JobId: id, NewSettings: &sdkjobs.JobSettings{MaxConcurrentRuns: 8}}))
	kept("healed")
}

// The patch that adopts a drift is made of the files that were deployed; where
// it cannot be made, it says why, and nothing of the server's own is run or read.
func TestDriftPatch(t *testing.T) {
	s, ctx := newSite(t), context.Background()
	dir := t.TempDir()
	id := s.deployed(dir)
	check(t, s.workspace().Jobs.Update(ctx, sdkjobs.UpdateJob{JobId: id, NewSettings: &sdkjobs.JobSettings{MaxConcurrentRuns: 9}}))
	who := wherry.WithIdentity(ctx, wherry.Identity{WorkspaceID: wherry.DefaultWorkspace})
	p, err := s.service.Patch(who, int64(s.drift().Drift[0].ID))
	if err != nil || !strings.Contains(p.Diff, "-      max_concurrent_runs: 2\n+      max_concurrent_runs: 9\n") || p.Why != "" || len(p.Left) > 0 || p.Bundle != "w" {
		t.Errorf("%v %+v", err, p)
	}
	report, err := s.service.Drift(who, false)
	if err != nil || len(report.Deployments) != 1 || report.Deployments[0].Sync != deployments.Drifted {
		t.Errorf("without looking: %v %+v", err, report)
	}
	check(t, s.workspace().Jobs.Delete(ctx, sdkjobs.DeleteJob{JobId: id}))
	for _, d := range s.drift().Drift {
		if p, err := s.service.Patch(who, int64(d.ID)); d.Kind == drift.Deleted && (err != nil || p.Diff != "" || !strings.Contains(p.Why, "it was deleted")) {
			t.Errorf("deleted: %v %+v", err, p)
		}
	}
	if _, err := s.service.Patch(who, 999); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
		t.Errorf("none: %v", err)
	}
}
