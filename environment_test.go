package wherry_test

import (
	"slices"
	"testing"

	"github.com/wherry-ml/wherry"
)

func TestEnvironmentAllows(t *testing.T) {
	e := &wherry.Environment{Name: "prod", Branches: []string{"main", " release/* ", "refs/tags/v*", "main"}}
	e.Normalise()
	if want := []string{"refs/heads/main", "refs/heads/release/*", "refs/tags/v*"}; !slices.Equal(e.Branches, want) || e.DeploysFrom() != "prod" {
		t.Fatalf("normalised: %+v", e)
	}
	for ref, want := range map[string]bool{
		"refs/heads/main": true, "refs/heads/main2": false, "refs/heads/release/1.2": true, "refs/heads/release/a/b": false,
		"refs/tags/v1.2.3": true, "refs/heads/v1": false, "refs/pull/7/merge": false,
	} {
		if e.Allows(ref) != want {
			t.Errorf("%s: allowed %t", ref, !want)
		}
	}
	if free := (&wherry.Environment{Name: "dev"}); !free.Allows("refs/heads/any") {
		t.Error("an environment without patterns refuses a branch")
	}
}

func TestEnvironmentIgnores(t *testing.T) {
	e := &wherry.Environment{Ignore: []string{"max_concurrent_runs", "jobs.nightly.schedule", "tasks[*].timeout_seconds", "tags.**"}}
	for field, want := range map[string]bool{
		"max_concurrent_runs": true, "schedule.pause_status": true, "schedule": true, "tasks[a].timeout_seconds": true, "tasks[a].task_key": false,
		"tags.x.y": true, "name": false,
	} {
		if e.Ignores("jobs.nightly", field) != want {
			t.Errorf("%s: ignored %t", field, !want)
		}
	}
	if e.Ignores("jobs.other", "schedule.pause_status") {
		t.Error("a pattern of one resource covers another")
	}
}

func TestEnvironmentValidate(t *testing.T) {
	for _, e := range []wherry.Environment{
		{},
		{Name: "a/b"},
		{Name: "a", WaitMinutes: -1},
		{Name: "a", Gate: true},
		{Name: "a", PreventSelfReview: true},
		{Name: "a", Host: "file:///etc"},
		{Name: "a", Host: "https://u:p@h"},
	} {
		if wherry.CodeOf(e.Validate()) != wherry.CodeInvalidParameter {
			t.Errorf("%+v is taken", e)
		}
	}
	good := wherry.Environment{Name: "prod", Host: "https://adb-1.2.azuredatabricks.net", VerifyJob: "smoke", Gate: true, Reviewers: []string{"ada"}, PreventSelfReview: true}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}
