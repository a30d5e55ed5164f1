package databricks

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/bundle/run"
	"github.com/wherry-ml/wherry/client"
)

const jobsAPI = "/api/2.2/jobs/"

// paged are the lists of jobs and runs that version 2.2 gives in pages.
var paged = []string{"tasks", "job_clusters", "parameters", "job_parameters", "environments", "iterations"}

var getRun = call{
	use: "get-run RUN_ID", short: "Show a run", method: "GET", path: jobsAPI + "runs/get", merge: paged,
	flags: []string{"include_history bool: with its repairs", "include_resolved_values bool: with the values of its references"},
}

var jobs = group{name: "jobs", short: "Jobs and their runs", calls: []call{
	{
		use: "list", short: "List jobs", method: "GET", path: jobsAPI + "list", list: "jobs", columns: []string{"ID=job_id", "NAME=settings.name", "CREATOR=creator_user_name"},
		flags: []string{"name: the exact name", "expand_tasks bool: with tasks and clusters", "limit int: how many a page"},
	},
	{use: "get JOB_ID", short: "Show a job", method: "GET", path: jobsAPI + "get", merge: paged},
	{use: "create", short: "Create a job from --json", method: "POST", path: jobsAPI + "create"},
	{use: "reset JOB_ID", short: "Replace a job's settings: --json with new_settings", method: "POST", path: jobsAPI + "reset"},
	{use: "update JOB_ID", short: "Change a job's settings: --json with new_settings or fields_to_remove", method: "POST", path: jobsAPI + "update"},
	{use: "delete JOB_ID", short: "Delete a job", method: "POST", path: jobsAPI + "delete"},
	{
		use: "run-now JOB_ID", short: "Run a job and wait for its end; fails if the run does", method: "POST", path: jobsAPI + "run-now", wait: runEnds,
		flags: []string{"idempotency_token: starts one run however often it is sent"},
	},
	{
		use: "submit", short: "Run tasks of --json without a job and wait for their end", method: "POST", path: jobsAPI + "runs/submit", wait: runEnds,
		flags: []string{"run_name: the run's name", "timeout_seconds int: how long the run may take", "idempotency_token: starts one run however often it is sent"},
	},
	{
		use: "list-runs", short: "List runs", method: "GET", path: jobsAPI + "runs/list", list: "runs",
		columns: []string{"JOB ID=job_id", "RUN ID=run_id", "STATE=state.life_cycle_state", "RESULT=state.result_state", "URL=run_page_url"},
		flags: []string{
			"job_id int: of this job", "active_only bool: that go on", "completed_only bool: that have ended", "expand_tasks bool: with their tasks", "limit int: how many a page",
			"run_type: JOB_RUN, WORKFLOW_RUN or SUBMIT_RUN", "start_time_from int: begun after, in milliseconds", "start_time_to int: begun before, in milliseconds",
		},
	},
	getRun,
	{use: "get-run-output RUN_ID", short: "Show what a task gave back", method: "GET", path: jobsAPI + "runs/get-output"},
	{use: "cancel-run RUN_ID", short: "Cancel a run and wait for its end", method: "POST", path: jobsAPI + "runs/cancel", wait: runCancelled},
	{
		use: "cancel-all-runs", short: "Cancel all runs of a job", method: "POST", path: jobsAPI + "runs/cancel-all",
		flags: []string{"job_id int: of this job", "all_queued_runs bool: only those that wait"},
	},
	{
		use: "repair-run RUN_ID", short: "Run tasks of a run again and wait for its end", method: "POST", path: jobsAPI + "runs/repair", wait: runEnds,
		flags: []string{"latest_repair_id int: of the repair before", "rerun_all_failed_tasks bool: those that failed", "rerun_dependent_tasks bool: and what depends on them"},
	},
	{use: "delete-run RUN_ID", short: "Delete a run that has ended", method: "POST", path: jobsAPI + "runs/delete"},
	{use: "export-run RUN_ID", short: "Export a run's notebooks as pages", method: "GET", path: jobsAPI + "runs/export", flags: []string{"views_to_export: CODE, DASHBOARDS or ALL"}},
}}

// Jobs is the group of jobs and runs, for whichever server connect gives.
func Jobs(connect Connector) *cobra.Command { return jobs.command(connect) }

var runEnds = &wait{until: "ended", run: func(ctx context.Context, c *client.Client, fields map[string]any, answer json.RawMessage, say func(string)) (any, error) {
	id, err := runID(fields, answer)
	if err != nil {
		return nil, err
	}
	say(fmt.Sprintf("run %d has begun", id))
	result, err := run.Follow(ctx, c, id, changes(say))
	if err != nil {
		return nil, err
	}
	whole, err := getRun.pages(ctx, c, map[string]any{"run_id": id})
	if err != nil {
		return nil, err
	}
	if !result.Succeeded() {
		return whole, result.Failure()
	}
	return whole, nil
}}

// runCancelled waits for the end of a run, however it ends.
var runCancelled = &wait{until: "ended", run: func(ctx context.Context, c *client.Client, fields map[string]any, answer json.RawMessage, say func(string)) (any, error) {
	id, err := runID(fields, answer)
	if err != nil {
		return nil, err
	}
	if _, err := run.Follow(ctx, c, id, changes(say)); err != nil {
		return nil, err
	}
	return getRun.pages(ctx, c, map[string]any{"run_id": id})
}}

// runID is the id that a call answered, or was called with.
func runID(fields map[string]any, answer json.RawMessage) (int64, error) {
	var out struct {
		RunID int64 `json:"run_id"`
	}
	if err := json.Unmarshal(answer, &out); err != nil || out.RunID != 0 {
		return out.RunID, err
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return 0, err
	}
	return out.RunID, json.Unmarshal(raw, &out)
}

// changes says each state that a run or one of its tasks comes to.
func changes(say func(string)) func(*run.Result) {
	seen := map[string]string{}
	note := func(what, state string) {
		if seen[what] != state {
			seen[what] = state
			say(what + ": " + state)
		}
	}
	return func(r *run.Result) {
		for _, t := range r.Tasks {
			note(t.Key, t.Word())
		}
		note(fmt.Sprintf("run %d", r.RunID), strings.TrimSpace(r.LifeCycle+" "+r.State))
	}
}
