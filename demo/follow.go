package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/workflow"
)

// ciRun is a run of a workflow, as far as the demo reads it.
type ciRun struct {
	workflow.Run
	Undecided []string `json:"undecided"` // environments that wait for a reviewer
}

// failure is the first thing that went wrong.
func (r *ciRun) failure() string {
	for _, j := range r.Jobs {
		for _, s := range j.Steps {
			if s.Conclusion == workflow.Failure {
				return j.Name + ": " + s.Name
			}
		}
		if j.Conclusion == workflow.Failure {
			return j.Name + ": " + j.Message
		}
	}
	return r.Message
}

// summaries are what the steps wrote to GITHUB_STEP_SUMMARY.
func (r *ciRun) summaries() string {
	var b strings.Builder
	for _, j := range r.Jobs {
		for _, s := range j.Steps {
			b.WriteString(s.Summary)
		}
	}
	return b.String()
}

// pause waits a little before the next question.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(300 * time.Millisecond):
		return nil
	}
}

// appear is how long a run may take to come to be after a push.
const appear = time.Minute

// ignore leaves out of await what ran before: an apply of the infrastructure
// starts a deployment too.
func (v *delivery) ignore(ctx context.Context) error {
	runs, err := v.runs(ctx)
	for _, r := range runs {
		v.seen[r.ID] = true
	}
	return err
}

func (v *delivery) runs(ctx context.Context) ([]*ciRun, error) {
	var list struct {
		Runs []*ciRun `json:"runs"`
	}
	err := v.Client.Do(ctx, "GET", "/api/wherry/ci/runs?repo="+projectName, nil, &list)
	return list.Runs, err
}

// Quiet cancels the runs that have not ended, and waits until they have: their
// agents outlive the server, and would wait for it.
func (d *Delivery) Quiet(ctx context.Context) error {
	v := &delivery{Delivery: d}
	for {
		runs, err := v.runs(ctx)
		if err != nil {
			return err
		}
		open := slices.DeleteFunc(runs, func(r *ciRun) bool { return r.State == workflow.Completed })
		if len(open) == 0 {
			return nil
		}
		for _, r := range open {
			err := v.Client.Do(ctx, "POST", fmt.Sprintf("/api/wherry/ci/runs/%d/cancel", r.ID), nil, nil)
			if err != nil && wherry.CodeOf(err) != wherry.CodeInvalidState { // it has ended meanwhile
				return err
			}
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// await finds the newest run of a workflow for a ref that has jobs to do; one
// that its conditions skipped is none.
func (v *delivery) await(ctx context.Context, name, ref string) (*ciRun, error) {
	limit := time.Now().Add(appear)
	for {
		runs, err := v.runs(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			if r.Name == name && r.Event.Ref == ref && !v.seen[r.ID] && !skippedRun(r) {
				v.seen[r.ID] = true
				return r, nil
			}
		}
		if time.Now().After(limit) {
			return nil, fmt.Errorf("no run of %s came for %s", name, ref)
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

// skippedRun reports a run none of whose jobs had anything to do, or that
// nobody's commit started.
func skippedRun(r *ciRun) bool {
	if r.Event.Name == "workflow_dispatch" {
		return true
	}
	for _, j := range r.Jobs {
		if j.Conclusion != workflow.Skipped {
			return false
		}
	}
	return r.State == workflow.Completed
}

// follow tells what a run does until it has ended, and approves what waits for
// an approval with the command that people type.
func (v *delivery) follow(ctx context.Context, r *ciRun, want string) error {
	v.Say("   %s: %s/workflows/runs/%d", r.Name, v.Client.URL, r.ID)
	told := map[string]bool{}
	id := r.ID
	for {
		*r = ciRun{} // an answer leaves out what is empty
		if err := v.Client.Do(ctx, "GET", fmt.Sprintf("/api/wherry/ci/runs/%d", id), nil, r); err != nil {
			return err
		}
		for _, j := range r.Jobs {
			v.tell(told, j)
		}
		for _, e := range r.Undecided {
			if err := v.approve(ctx, r.ID, e); err != nil {
				return err
			}
		}
		if r.State == workflow.Completed {
			break
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	if r.Conclusion != want {
		log, err := v.log(ctx, r)
		if err == nil && len(log) > 3000 {
			log = "…" + log[len(log)-3000:]
		}
		return errors.Join(fmt.Errorf("%s ended with %s: %s\n%s", r.Name, r.Conclusion, r.failure(), log), err)
	}
	return nil
}

// approve runs wherry promote, and shows it with what it printed.
func (v *delivery) approve(ctx context.Context, run int64, environment string) error {
	const reason = "shown in the demo"
	out, err := v.wherry(ctx, "promote", strconv.FormatInt(run, 10), "--env", environment, "--reason", reason)
	if err != nil {
		return err
	}
	v.Say("   $ wherry promote %d --env %s --reason '%s'\n   %s", run, environment, reason, strings.TrimSpace(out))
	return nil
}

// tell says each step once.
func (v *delivery) tell(told map[string]bool, j *workflow.Job) {
	for _, s := range j.Steps {
		key := fmt.Sprint(j.ID, "/", s.Number)
		if s.State == workflow.Completed && s.Conclusion != workflow.Skipped && !told[key] {
			told[key] = true
			v.Say("   %s %s (%.1f s)", s.Conclusion, s.Name, float64(s.EndedAt-s.StartedAt)/1000)
		}
	}
}

// log is all that the jobs of a run wrote.
func (v *delivery) log(ctx context.Context, r *ciRun) (string, error) {
	var b strings.Builder
	for _, j := range r.Jobs {
		if j.TaskRun == 0 {
			continue
		}
		res, err := v.Client.Send(ctx, "GET", fmt.Sprintf("/api/wherry/ci/runs/%d/jobs/%d/log", r.ID, j.ID), nil, 0)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(&b, res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// value is a variable of an environment.
func (v *delivery) value(ctx context.Context, environment, name string) (string, error) {
	var list struct {
		Values []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"values"`
	}
	err := v.Client.Do(ctx, "GET", "/api/wherry/ci/values?environment="+url.QueryEscape(environment), nil, &list)
	for _, x := range list.Values {
		if x.Name == name {
			return x.Value, nil
		}
	}
	return "", errors.Join(err, fmt.Errorf("%s has no variable %s", environment, name))
}
