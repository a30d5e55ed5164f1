package cicd

import (
	"testing"

	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/workflow"
)

// A job whose approval was given is not said to wait for it until the next pass.
func TestForgetDecided(t *testing.T) {
	const message = "waits for an approval of prod: `wherry promote 1`"
	for name, tt := range map[string]struct {
		job  workflow.Job
		a    cicd.Approval
		want string
	}{
		"given":                  {workflow.Job{Environment: "Prod"}, cicd.Approval{Attempt: 2, Environment: "prod"}, ""},
		"of the attempt before":  {workflow.Job{Environment: "prod"}, cicd.Approval{Attempt: 1, Environment: "prod"}, message},
		"of another environment": {workflow.Job{Environment: "prod"}, cicd.Approval{Attempt: 2, Environment: "staging"}, message},
		"seen already":           {workflow.Job{Environment: "prod", Approved: true}, cicd.Approval{Attempt: 2, Environment: "prod"}, message},
	} {
		tt.job.State, tt.job.Message = workflow.Waiting, message
		s := &Shown{Run: &workflow.Run{Attempt: 2, Jobs: []*workflow.Job{&tt.job}}, Approvals: []cicd.Approval{tt.a}}
		if s.forgetDecided(); tt.job.Message != tt.want {
			t.Errorf("%s: %q, want %q", name, tt.job.Message, tt.want)
		}
	}
}
