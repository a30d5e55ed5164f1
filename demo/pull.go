package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/workflow"
)

// broken opens a pull request with code that black would change: main takes
// only what ci-build-test finds good.
func (v *delivery) broken(ctx context.Context, s *Step) error {
	names, err := filepath.Glob(filepath.Join(v.Dir, "src", "*", "features.py"))
	if err != nil || len(names) != 1 {
		return errors.Join(err, errors.New("the project has no features.py"))
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		return err
	}
	if err := os.WriteFile(names[0], append(text, "\nx  =  {  }\n"...), 0o644); err != nil {
		return err
	}
	err = v.git(ctx,
		[]string{"checkout", "--quiet", "-b", "unformatted"}, []string{"commit", "--quiet", "--all", "--message", "Not formatted"},
		[]string{"push", "--quiet", "origin", "unformatted"}, []string{"checkout", "--quiet", "main"},
	)
	if err != nil {
		return err
	}
	r, err := v.await(ctx, "ci-build-test", "refs/heads/unformatted")
	if err != nil {
		return err
	}
	if err := v.follow(ctx, r, workflow.Failure); err != nil {
		return err
	}
	log, err := v.log(ctx, r)
	if err != nil {
		return err
	}
	if s.Tool, err = installed(log, "black"); err != nil {
		return err
	}
	s.Tool = version(ctx, "git", "--version") + ", " + s.Tool
	s.Detail = r.failure()
	refusal, err := v.refused(ctx)
	s.Detail += "; " + refusal
	return err
}

// refused opens the pull request, and is told why it is not merged.
func (v *delivery) refused(ctx context.Context) (refusal string, err error) {
	const repo = "/api/wherry/repos/" + projectName
	if err := v.Client.Do(ctx, "PUT", repo+"/protections", map[string]any{"pattern": "main", "required_checks": []string{"ci-build-test"}}, nil); err != nil {
		return "", err
	}
	var pull struct {
		Number int64 `json:"number"`
	}
	if err := v.Client.Do(ctx, "POST", repo+"/pulls", map[string]any{"head": "unformatted", "base": "main"}, &pull); err != nil {
		return "", err
	}
	err = v.Client.Do(ctx, "POST", fmt.Sprintf("%s/pulls/%d/merge", repo, pull.Number), map[string]any{}, nil)
	if err == nil {
		return "", errors.New("the pull request was merged")
	}
	if wherry.CodeOf(err) == "" {
		return "", err
	}
	runs, lerr := v.runs(ctx)
	for _, r := range runs {
		if r.Event.Name == "pull_request" && r.State != workflow.Completed {
			// It would find the same.
			lerr = errors.Join(lerr, v.Client.Do(ctx, "POST", fmt.Sprintf("/api/wherry/ci/runs/%d/cancel", r.ID), map[string]any{}, nil))
		}
	}
	return fmt.Sprintf("#%d: %v", pull.Number, err), lerr
}
