package demo

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/api/deployments"
	"github.com/wherry-ml/wherry/store/drift"
	graph "github.com/wherry-ml/wherry/store/trace"
	"github.com/wherry-ml/wherry/trace/rows"
	"github.com/wherry-ml/wherry/workflow"
)

// release pushes a tag, approves what waits for it, and sees prod verified.
func (v *delivery) release(ctx context.Context, s *Step) (err error) {
	if s.Tool, err = engines(ctx); err != nil {
		return err
	}
	s.Tool = version(ctx, "git", "--version") + ", " + s.Tool
	if err := v.ignore(ctx); err != nil {
		return err
	}
	if err := v.git(ctx, []string{"tag", "v1.2.0"}, []string{"push", "--quiet", "origin", "v1.2.0"}); err != nil {
		return err
	}
	r, err := v.await(ctx, "cd-deploy-databricks", "refs/tags/v1.2.0")
	if err != nil {
		return err
	}
	if err := v.follow(ctx, r, workflow.Success); err != nil {
		return err
	}
	return v.verified(ctx, s, "prod")
}

// provenance is what the trace of a prediction in prod must reach.
var provenance = []string{
	graph.TableVersion, graph.TaskRun, graph.JobRun, graph.ModelVersion, graph.MLflowRun, graph.Deployment, graph.Verification,
	graph.CIJob, graph.Approval, graph.WorkflowRun, graph.TestResults, graph.Commit,
}

// traced asks where a prediction in prod came from, and what its commit came to.
func (v *delivery) traced(ctx context.Context, s *Step) (err error) {
	if s.Tool, err = engines(ctx); err != nil {
		return err
	}
	const table = "my_project_prod.my_project.churn_predictions"
	found, err := rows.Find(ctx, v.Client, table, "true", 1, nil)
	if err != nil || len(found) == 0 {
		return errors.Join(err, errIf(len(found) == 0, table+" is empty"))
	}
	answer, err := rows.Trace(ctx, v.Client, table, found[0])
	if err != nil {
		return err
	}
	var commit string
	for _, n := range answer.Graph.Nodes {
		v.report.Trace = append(v.report.Trace, n.Ref)
		if n.Kind == graph.Commit {
			commit = n.Key
		}
	}
	v.report.Tree = answer.Graph.AsTree(true)
	if missing := unreached(v.report.Trace, provenance); len(missing) > 0 {
		return fmt.Errorf("the trace of a prediction does not reach: %s", strings.Join(missing, ", "))
	}
	forward, err := rows.Walk(ctx, v.Client, graph.Ref{Kind: graph.Commit, Key: commit}, false)
	if err != nil {
		return err
	}
	var touched []graph.Ref
	for _, n := range forward.Nodes {
		touched = append(touched, n.Ref)
	}
	if missing := unreached(touched, []string{graph.WorkflowRun, graph.Deployment, graph.ModelVersion, graph.TableVersion}); len(missing) > 0 {
		return fmt.Errorf("the commit %s is not seen to have touched: %s", commit, strings.Join(missing, ", "))
	}
	s.Detail = fmt.Sprintf("%v: %d steps back to commit %.8s, which touched %d things", found[0].Values["customer_id"], len(v.report.Trace), commit, len(touched))
	return nil
}

// unreached are the kinds that none of the nodes is of.
func unreached(nodes []graph.Ref, kinds []string) (missing []string) {
	for _, kind := range kinds {
		if !slices.ContainsFunc(nodes, func(n graph.Ref) bool { return n.Kind == kind }) {
			missing = append(missing, kind)
		}
	}
	return missing
}

// drift changes the job in prod as somebody in a hurry would, and settles it in
// both ways, as people do.
func (v *delivery) drift(ctx context.Context, s *Step) error {
	s.Tool = "wherry drift, " + version(ctx, "git", "--version")
	host, err := v.value(ctx, "prod", "DATABRICKS_HOST")
	if err != nil {
		return err
	}
	if v.cloud.tokens[host], err = v.cloud.token(ctx, databricksResource); err != nil {
		return err
	}
	for _, settle := range []struct {
		way  string
		runs int
	}{{"revert", 7}, {"adopt", 3}} {
		d, err := v.edit(ctx, host, settle.runs)
		if err != nil {
			return err
		}
		said, err := v.wherry(ctx, "drift", settle.way, "--target", "prod")
		if err != nil {
			return err
		}
		s.Detail += fmt.Sprintf("%s: %s %v → %v by %s: %s; ", d.Resource, d.Fields[0].Path, d.Fields[0].Before, d.Fields[0].After, d.Actor, settle.way)
		if settle.way == "adopt" && !strings.Contains(said, "\n+      max_concurrent_runs: 3\n") {
			return fmt.Errorf("adopted without a patch of the bundle: %s", said)
		}
	}
	found, err := v.drifted(ctx)
	if err != nil {
		return err
	}
	if open := found.Deployments[0].Drift; len(open) != 1 || open[0].State != drift.Adopted {
		return fmt.Errorf("after it was settled there is %+v", open)
	}
	return v.git(ctx, []string{"commit", "--quiet", "--all", "--message", "Three runs at once, as in prod"})
}

// edit changes the job by hand, and is the drift that it is told as.
func (v *delivery) edit(ctx context.Context, host string, runs int) (*drift.Drift, error) {
	var list struct {
		Jobs []struct {
			ID int64 `json:"job_id"`
		} `json:"jobs"`
	}
	if err := v.cloud.do(ctx, "GET", host+"/api/2.2/jobs/list?name="+projectName+"-pipeline", nil, &list); err != nil {
		return nil, err
	}
	if len(list.Jobs) != 1 {
		return nil, fmt.Errorf("prod has %d jobs of the name %s-pipeline", len(list.Jobs), projectName)
	}
	change := map[string]any{"job_id": list.Jobs[0].ID, "new_settings": map[string]any{"max_concurrent_runs": runs}}
	if err := v.cloud.do(ctx, "POST", host+"/api/2.2/jobs/update", change, nil); err != nil {
		return nil, err
	}
	found, err := v.drifted(ctx)
	if err != nil {
		return nil, err
	}
	if len(found.Deployments) != 1 || len(found.Deployments[0].Drift) != 1 {
		return nil, fmt.Errorf("one change was made in prod, and this is told: %+v", found.Deployments)
	}
	return &found.Deployments[0].Drift[0], nil
}

func (v *delivery) drifted(ctx context.Context) (*deployments.DriftReport, error) {
	out := &deployments.DriftReport{}
	return out, v.Client.Do(ctx, "GET", "/api/wherry/drift?target=prod", nil, out)
}

// wherry runs a command in the project's folder.
func (v *delivery) wherry(ctx context.Context, args ...string) (string, error) {
	c := exec.CommandContext(ctx, v.Program, append(args, "--state", string(v.State))...)
	c.Dir = v.Dir
	out, err := c.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("wherry %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// assignment is a role assignment of Azure.
type assignment struct {
	ID         string `json:"id"`
	Properties struct {
		Scope string `json:"scope"`
	} `json:"properties"`
}

// behind deletes a role assignment in Azure, and applies again.
func (v *delivery) behind(ctx context.Context, s *Step) error {
	const account = management + "/subscriptions/" + subscription + "/resourceGroups/rg-" + projectName + "-prod/providers/Microsoft.Storage/storageAccounts/stmyprojectprod"
	const version = "?api-version=2022-04-01"
	var list struct {
		Value []assignment `json:"value"`
	}
	if err := v.cloud.do(ctx, "GET", account+"/providers/Microsoft.Authorization/roleAssignments"+version, nil, &list); err != nil {
		return err
	}
	i := slices.IndexFunc(list.Value, func(a assignment) bool { return strings.EqualFold(management+a.Properties.Scope, account) })
	if i < 0 {
		return errors.New("nobody has a role on the lake")
	}
	if err := v.cloud.do(ctx, "DELETE", management+list.Value[i].ID+version, nil, nil); err != nil {
		return err
	}
	var found deployments.DriftReport
	if err := v.Client.Do(ctx, "GET", "/api/wherry/drift", nil, &found); err != nil {
		return err
	}
	if len(found.Infra) != 1 {
		return fmt.Errorf("one resource was deleted, and this is told: %+v", found.Infra)
	}
	gone := found.Infra[0]
	if err := v.infrastructure(ctx, s, "prod"); err != nil {
		return err
	}
	s.Detail = fmt.Sprintf("%s was %s by %s; applied again", gone.Resource, gone.Kind, gone.Actor)
	found = deployments.DriftReport{}
	if err := v.Client.Do(ctx, "GET", "/api/wherry/drift", nil, &found); err != nil {
		return err
	}
	return errIf(len(found.Infra) > 0, "it is told still, after the apply")
}
