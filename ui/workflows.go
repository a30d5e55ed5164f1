package ui

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/cicd"
	cistore "github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/jobs"
	"github.com/wherry-ml/wherry/workflow"
)

// workflowRoutes are the pages of workflows.
func (s *Service) workflowRoutes() []api.Route {
	const run = "/workflows/runs/{run}"
	return []api.Route{
		{Method: "GET", Path: "/workflows", Permission: api.Read, Summary: "Page of the runs of workflows", Handler: api.Raw(s.workflows)},
		{Method: "GET", Path: run, Permission: api.Own, Summary: "Page of a run of a workflow", Handler: api.Raw(s.workflowRun)},
		{Method: "GET", Path: run + "/live", Permission: api.Own, Summary: "Changes of a workflow run's page, as server-sent events", Handler: api.Raw(s.liveWorkflow)},
		{Method: "POST", Path: run + "/cancel", Permission: api.Write, Summary: "Cancel a run of a workflow, from its page", Handler: s.actWorkflow(s.cfg.Workflows.Cancel)},
		{Method: "POST", Path: run + "/rerun", Permission: api.Write, Summary: "Run a workflow again, from its page", Handler: s.actWorkflow(func(ctx context.Context, id int64) error { return s.cfg.Workflows.Rerun(ctx, id, false) })},
		{Method: "POST", Path: run + "/rerun-failed", Permission: api.Write, Summary: "Run the failed jobs of a workflow again, from its page", Handler: s.actWorkflow(func(ctx context.Context, id int64) error { return s.cfg.Workflows.Rerun(ctx, id, true) })},
		{Method: "POST", Path: run + "/review", Permission: api.SignedIn, Summary: "Approve or reject a deployment, from its page", Handler: api.Raw(s.reviewWorkflow)},
	}
}

// forgeRoutes lead from the addresses that a page has on GitHub to ours: workflows
// write them in messages.
func (s *Service) forgeRoutes() []api.Route {
	to := func(path func(*http.Request) string) api.Handler {
		return api.Raw(func(w http.ResponseWriter, r *http.Request) error { return seeOther(w, r, path(r)) })
	}
	repo := "/" + s.cfg.Owner + "/{repo}"
	repoPath := func(r *http.Request) string { return "/repos/" + url.PathEscape(r.PathValue("repo")) }
	return []api.Route{
		{Method: "GET", Path: repo, Permission: api.SignedIn, Summary: "A repository's page, at GitHub's address", Handler: to(repoPath)},
		{Method: "GET", Path: repo + "/pull/{number}", Permission: api.SignedIn, Summary: "The page of a pull request's repository, at GitHub's address", Handler: to(repoPath)},
		{Method: "GET", Path: repo + "/commit/{sha}", Permission: api.SignedIn, Summary: "A commit's page, at GitHub's address", Handler: to(func(r *http.Request) string { return commitPath(r.PathValue("repo"), r.PathValue("sha")) })},
		{Method: "GET", Path: repo + "/actions/runs/{run}", Permission: api.SignedIn, Summary: "A workflow run's page, at GitHub's address", Handler: to(func(r *http.Request) string { return "/workflows/runs/" + url.PathEscape(r.PathValue("run")) })},
	}
}

// viewCI is the state of a run or a job of a workflow, by shape and word.
func viewCI(state, conclusion string) stateView {
	switch {
	case state == workflow.Running:
		return stateView{"running", "Running"}
	case state == workflow.Waiting:
		return stateView{"waiting", "Waiting"}
	case state != workflow.Completed:
		return stateView{"queued", "Queued"}
	case conclusion == workflow.Success:
		return stateView{"ok", "Succeeded"}
	case conclusion == workflow.Skipped:
		return stateView{"skipped", "Skipped"}
	case conclusion == workflow.Cancelled:
		return stateView{"canceled", "Cancelled"}
	case conclusion == workflow.TimedOut:
		return stateView{"failed", "Timed out"}
	case conclusion == workflow.StartupFailure:
		return stateView{"failed", "Could not start"}
	default:
		return stateView{"failed", "Failed"}
	}
}

// workflowView is a run as its page shows it.
type workflowView struct {
	*cicd.Shown
	Jobs      []*ciJob
	DAG       ciDAG
	Tests     []jobTests
	Summaries []jobSummary
	Admin     bool // the reader is one: others only read, and decide what they review
}

// CanRerun: see the API.
func (v workflowView) CanRerun() bool {
	return v.State == workflow.Completed && v.Conclusion != workflow.StartupFailure
}

func (s *Service) workflows(w http.ResponseWriter, r *http.Request) error {
	f := cistore.Filter{WorkspaceID: wherry.IdentityFrom(r.Context()).WorkspaceID, Limit: 50}
	list, err := s.cfg.Workflows.Runs(r.Context(), f, r.URL.Query().Get("repo"))
	if err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "workflows", page{Title: "Workflows", Section: "workflows", Body: map[string]any{"Runs": list, "Repo": r.URL.Query().Get("repo")}})
}

func (s *Service) viewWorkflow(ctx context.Context, id int64) (*workflowView, error) {
	shown, err := s.cfg.Workflows.Shown(ctx, wherry.IdentityFrom(ctx).WorkspaceID, id)
	if err != nil {
		return nil, err
	}
	v := &workflowView{Shown: shown, DAG: layCI(shown), Jobs: s.ciJobs(shown.Run), Summaries: summaries(shown.Run), Admin: wherry.IdentityFrom(ctx).Admin}
	v.Tests, err = s.testsOf(ctx, shown)
	return v, err
}

// reviewCard is what waits for a decision, with whether its reader is an admin.
type reviewCard struct {
	cicd.Review
	Admin bool
}

func cards(ctx context.Context, list []cicd.Review) (cards []reviewCard) {
	for _, r := range list {
		cards = append(cards, reviewCard{r, wherry.IdentityFrom(ctx).Admin})
	}
	return cards
}

// linkedName is the name of what has a page, and whether to link to it.
type linkedName struct {
	Link bool
	Name string
}

func (s *Service) workflowSections(v *workflowView) ([]section, error) {
	return s.sections("workflow", v, "workflow-head", "workflow-review", "workflow-dag", "workflow-tests", "workflow-summaries", "workflow-jobs", "workflow-facts")
}

func (s *Service) workflowRun(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "run")
	if err != nil {
		return err
	}
	v, err := s.viewWorkflow(r.Context(), id)
	if err != nil {
		return err
	}
	list, err := s.workflowSections(v)
	if err != nil {
		return err
	}
	p := page{Title: v.Name, Section: "workflows", Output: true, Body: map[string]any{"Run": v, "Sections": list}}
	if v.State != workflow.Completed {
		p.Live = fmt.Sprintf("%s/live", cicd.Page(id))
	}
	return s.render(w, r, http.StatusOK, "workflow", p)
}

func (s *Service) liveWorkflow(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "run")
	if err != nil {
		return err
	}
	return s.live(w, r, []string{cistore.Topic, jobs.TopicRun}, func(ctx context.Context) ([]section, bool, error) {
		v, err := s.viewWorkflow(ctx, id)
		if err != nil {
			return nil, false, err
		}
		list, err := s.workflowSections(v)
		return list, v.State == workflow.Completed, err
	})
}

func (s *Service) actWorkflow(do func(context.Context, int64) error) api.Handler {
	return api.Raw(func(w http.ResponseWriter, r *http.Request) error {
		id, err := pathID(r, "run")
		if err != nil {
			return err
		}
		if _, err := form(w, r); err != nil {
			return err
		}
		if err := do(r.Context(), id); err != nil {
			return err
		}
		return seeOther(w, r, cicd.Page(id))
	})
}

func (s *Service) reviewWorkflow(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "run")
	if err != nil {
		return err
	}
	fields, err := form(w, r)
	if err != nil {
		return err
	}
	if err := s.cfg.Workflows.Review(r.Context(), id, fields.Get("environment"), fields.Get("decision"), fields.Get("reason")); err != nil {
		return err
	}
	return seeOther(w, r, cicd.Page(id))
}

// artifactPath is where an artifact is downloaded.
func artifactPath(run int64, name string) string {
	return fmt.Sprintf("/api/wherry/ci/runs/%d/artifacts/%s", run, url.PathEscape(name))
}
