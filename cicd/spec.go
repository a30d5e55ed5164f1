package cicd

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/workflow"
	"github.com/wherry-ml/wherry/workflow/runner"
)

// Input is what the process of a job is told: cluster.Config.CI.
func (s *Service) Input(ctx context.Context, jobID int64, token string) (json.RawMessage, error) {
	r, j, err := s.cfg.Store.Job(ctx, jobID)
	if err != nil {
		return nil, err
	}
	if j.State == workflow.Completed { // it was cancelled while it was launched
		return nil, wherry.Errorf(wherry.CodeInvalidState, "the job %s of run %d has ended: %s", j.Name, r.ID, j.Conclusion)
	}
	w, err := s.workflow(ctx, r)
	if err != nil {
		return nil, err
	}
	files, err := s.cfg.Store.Files(ctx, r.Files)
	if err != nil {
		return nil, err
	}
	secrets, err := s.secrets(ctx, r, j.Environment)
	if err != nil {
		return nil, err
	}
	vars, err := s.vars(ctx, r, j.Environment)
	if err != nil {
		return nil, err
	}
	run := *r.Run
	run.Jobs = nil
	secrets["GITHUB_TOKEN"] = token
	return json.Marshal(runner.Spec{
		Run: &run, Job: j, Text: w.Text(), Files: files, Needs: runner.NeedsOf(r.Run, w, j.Key), Secrets: secrets, Vars: vars, ServerURL: s.cfg.URL, RetentionDays: s.cfg.Retention.ArtifactDays,
		Env: s.environ(r, w, j, token), Tools: s.tools(r, j, token),
	})
}

// environ is for the steps beside what the run says of itself.
func (s *Service) environ(r *cicd.Record, w *workflow.Workflow, j *workflow.Job, token string) map[string]string {
	env := map[string]string{wherry.CIRunEnv: s.proof(j.ID), "ACTIONS_RUNTIME_TOKEN": token}
	if w.Permissions(j.Key)["id-token"] == "write" && !r.Fork {
		env["ACTIONS_ID_TOKEN_REQUEST_URL"] = s.cfg.URL + "/api/wherry/ci/id-token?api-version=2.0"
		env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = token
	}
	if s.cfg.Index != "" {
		env["PIP_INDEX_URL"], env["UV_DEFAULT_INDEX"] = s.cfg.Index, s.cfg.Index
		env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
	}
	return env
}

func (s *Service) subject(r *cicd.Record, environment string) string {
	context := "ref:" + r.Event.Ref
	switch {
	case environment != "":
		context = "environment:" + environment
	case strings.HasPrefix(r.Event.Name, "pull_request"):
		context = "pull_request"
	}
	return "repo:" + r.Repository() + ":" + context
}

// Scopes of secrets and variables.
func repoScope(name string) string        { return "repo:" + name }
func environmentScope(name string) string { return "environment:" + strings.ToLower(name) }

// secrets of a job: the repository's, and over them its environment's. A run
// for a pull request of a fork has none.
func (s *Service) secrets(ctx context.Context, r *cicd.Record, environment string) (map[string]string, error) {
	all := map[string]string{}
	if r.Fork {
		return all, nil
	}
	repo, err := s.cfg.Git.RepoByID(ctx, r.RepoID)
	if err != nil {
		return nil, err
	}
	if repo.ForkOf != "" { // a fork deploys nowhere, whatever environment its jobs name
		environment = ""
	}
	return all, s.values(ctx, r, environment, true, all)
}

func (s *Service) vars(ctx context.Context, r *cicd.Record, environment string) (map[string]string, error) {
	all := map[string]string{}
	return all, s.values(ctx, r, environment, false, all)
}

func (s *Service) values(ctx context.Context, r *cicd.Record, environment string, secret bool, into map[string]string) error {
	scopes := []string{repoScope(r.Repo)}
	if environment != "" {
		scopes = append(scopes, environmentScope(environment))
	}
	for _, scope := range scopes {
		list, err := s.cfg.Store.Values(ctx, r.WorkspaceID, scope)
		if err != nil {
			return err
		}
		for _, v := range list {
			if v.Secret != secret {
				continue
			}
			if !secret {
				into[v.Name] = v.Value
				continue
			}
			plain, err := s.cfg.Key.Open("ci:"+v.Scope, v.Name, []byte(v.Value))
			if err != nil {
				return fmt.Errorf("secret %s of %s: %w", v.Name, v.Scope, err)
			}
			into[v.Name] = string(plain)
		}
	}
	return nil
}

func artifactURL(base string, run int64) string {
	return fmt.Sprintf("%s/api/wherry/ci/runs/%d/artifacts", base, run)
}

func cacheURL(base string) string { return base + "/api/wherry/ci/caches" }

func cloneURL(base, repo string) string { return base + "/git/" + url.PathEscape(repo) + ".git" }
