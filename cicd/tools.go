package cicd

import (
	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/workflow"
	"github.com/wherry-ml/wherry/workflow/action"
)

// tools are what the built-in actions of a job use; the folder and the program
// are as the job's own process finds them.
func (s *Service) tools(r *cicd.Record, j *workflow.Job, token string) action.Tools {
	t := s.cfg.Tools()
	t.Token, t.Repository, t.Ref, t.SHA = token, r.Repository(), r.Event.Ref, r.Event.SHA
	t.CloneURL, t.GitURL = cloneURL(s.cfg.URL, r.Repo), s.cfg.URL+"/git"
	t.Artifacts, t.Caches = artifactURL(s.cfg.URL, r.ID), cacheURL(s.cfg.URL)
	t.InfraURL, t.Approved = s.cfg.URL+"/api/wherry/ci/infra", j.Approved
	return t
}

// Keep lists what a box must show of this machine for the tools to be found at
// their places.
func Keep(t action.Tools) (keep []string) {
	for _, program := range append(append([]string{}, t.Pythons...), t.UV, t.Terraform, t.Tofu, t.Node) {
		if program != "" {
			keep = append(keep, sandbox.KeepProgram(program)...)
		}
	}
	if t.TerraformMirror != "" {
		keep = append(keep, t.TerraformMirror)
	}
	return append(keep, t.Javas...)
}
