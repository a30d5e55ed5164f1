package workflow

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/nektos/act/pkg/model"
)

// States of a run and of a job. A job that waits for others it needs does not
// exist yet.
const (
	Queued    = "queued"
	Waiting   = "waiting" // for an approval, or for its turn in a concurrency group
	Running   = "in_progress"
	Completed = "completed"
)

// Conclusions of a run or a job that is completed.
const (
	Success        = "success"
	Failure        = "failure"
	Cancelled      = "cancelled"
	Skipped        = "skipped"
	TimedOut       = "timed_out"
	StartupFailure = "startup_failure"
)

// Passed tells whether a conclusion is none of something that went wrong.
func Passed(conclusion string) bool { return conclusion == Success || conclusion == Skipped }

// Run is one run of a workflow, and the input of Advance. Times are
// milliseconds since 1970, 0 for "not yet".
type Run struct {
	ID          int64  `json:"id"`
	WorkspaceID int64  `json:"-"`
	Repo        string `json:"repo"` // name of the repository, without its owner
	Owner       string `json:"owner"`
	Path        string `json:"path"`
	Name        string `json:"name"`
	Title       string `json:"title"` // the run-name, or the pull request's title, or the commit's subject
	Event       Event  `json:"event"`
	Actor       string `json:"actor"`
	Number      int64  `json:"run_number"` // counts the runs of the workflow
	Attempt     int64  `json:"attempt"`    // counts from 1
	State       string `json:"status"`
	Conclusion  string `json:"conclusion"`
	Message     string `json:"message,omitempty"` // why it did not start
	// Cancel: somebody, or a newer run of the concurrency group, wants its end.
	Cancel bool `json:"cancel,omitempty"`
	// Fork marks a run for a pull request of another repository: no secrets.
	Fork bool `json:"fork,omitempty"`
	// Group is the concurrency group, "" for none.
	Group            string            `json:"concurrency_group,omitempty"`
	CancelInProgress bool              `json:"cancel_in_progress,omitempty"`
	Vars             map[string]string `json:"-"`
	CreatedAt        int64             `json:"created_at"`
	// QueuedAt is when this attempt was asked for, which orders a concurrency
	// group; HadTurn that it has had its turn there.
	QueuedAt  int64  `json:"queued_at"`
	HadTurn   bool   `json:"had_turn,omitempty"`
	StartedAt int64  `json:"started_at"`
	EndedAt   int64  `json:"ended_at"`
	Jobs      []*Job `json:"jobs"`
	// ServerURL is where people reach us, RetentionDays how long artifacts are
	// kept, 0 for GitHub's 90. Who loads a run sets them.
	ServerURL     string `json:"-"`
	RetentionDays int    `json:"-"`
}

// Job is one job of a run: of a job with a matrix, one of its combinations.
type Job struct {
	ID     int64          `json:"id"`
	Key    string         `json:"key"`  // of the workflow file
	Name   string         `json:"name"` // with the matrix
	Index  int            `json:"index"`
	Matrix map[string]any `json:"matrix,omitempty"`
	// Total is how many jobs there are of the key, FailFast whether the failure of
	// one ends the others, MaxParallel how many run at once.
	Total       int    `json:"total,omitempty"`
	FailFast    bool   `json:"fail_fast,omitempty"`
	MaxParallel int    `json:"max_parallel,omitempty"`
	State       string `json:"status"`
	Conclusion  string `json:"conclusion"`
	Message     string `json:"message,omitempty"`
	// Always: it came to be after the run was cancelled, because its condition
	// holds then too.
	Always bool `json:"always,omitempty"`
	// Stop: it runs, and is to be cancelled.
	Stop    bool              `json:"stop,omitempty"`
	Outputs map[string]string `json:"outputs,omitempty"`
	// Environment is where it deploys to, "" for nowhere. While the job waits,
	// Approved says that this wait is over.
	Environment    string `json:"environment,omitempty"`
	EnvironmentURL string `json:"environment_url,omitempty"`
	Approved       bool   `json:"approved,omitempty"`
	// Ready: its environment has let it through, and only its concurrency group
	// holds it.
	Ready bool `json:"ready,omitempty"`
	// Group is the job's own concurrency group.
	Group            string  `json:"concurrency_group,omitempty"`
	CancelInProgress bool    `json:"cancel_in_progress,omitempty"`
	TimeoutMinutes   float64 `json:"timeout_minutes,omitempty"` // 0 is GitHub's 360
	ContinueOnError  bool    `json:"continue_on_error,omitempty"`
	Steps            []Step  `json:"steps,omitempty"`
	StartedAt        int64   `json:"started_at"`
	EndedAt          int64   `json:"ended_at"`
	// JobRun and TaskRun are the job run and its attempt that carry it on a
	// server, 0 elsewhere.
	JobRun  int64 `json:"job_run,omitempty"`
	TaskRun int64 `json:"task_run,omitempty"`
}

// Leg names the job within its run: by its key, of a matrix with its place, as
// in test/2. Two jobs of a matrix may have one Name.
func (j *Job) Leg() string {
	if j.Total > 1 {
		return fmt.Sprintf("%s/%d", j.Key, j.Index+1)
	}
	return j.Key
}

// Step is one step of a job as it went.
type Step struct {
	Number     int    `json:"number"`
	Name       string `json:"name"`
	State      string `json:"status"`
	Conclusion string `json:"conclusion"`
	StartedAt  int64  `json:"started_at"`
	EndedAt    int64  `json:"ended_at"`
	// Offset is where the step's output begins in that of the job, in bytes, and
	// End where it ends.
	Offset  int64  `json:"offset"`
	End     int64  `json:"end"`
	Summary string `json:"summary,omitempty"` // Markdown of GITHUB_STEP_SUMMARY
}

// Record keeps the newest state of a step, by its number.
func Record(steps []Step, s Step) []Step {
	for i := range steps {
		if steps[i].Number == s.Number {
			steps[i] = s
			return steps
		}
	}
	return append(steps, s)
}

// Default time-out of a job, in minutes.
const defaultTimeout = 360

// Timeout is how long a job may take, in whole seconds.
func (j *Job) Timeout() int64 {
	if j.TimeoutMinutes <= 0 {
		return defaultTimeout * 60
	}
	return int64(math.Ceil(j.TimeoutMinutes * 60)) // 0 would be no bound
}

// Exceeded says that the job took longer than it may.
func (j *Job) Exceeded() string {
	minutes := j.TimeoutMinutes
	if minutes <= 0 {
		minutes = defaultTimeout
	}
	return "the job exceeded its time of " + strconv.FormatFloat(minutes, 'f', -1, 64) + " minutes"
}

// AskedAt is when this attempt was asked for, which of one that runs again is
// not when the run came to be.
func (r *Run) AskedAt() int64 { return cmp.Or(r.QueuedAt, r.CreatedAt) }

// Repository is OWNER/NAME.
func (r *Run) Repository() string { return r.Owner + "/" + r.Repo }

// github is the github context of a job that has not begun.
func (r *Run) github(job string) *model.GithubContext {
	event := map[string]any{}
	_ = json.Unmarshal(r.Event.Payload, &event) // none: empty
	refType := "branch"
	if r.Event.Tag() != "" {
		refType = "tag"
	}
	return &model.GithubContext{
		Event: event, Workflow: r.Name, RunAttempt: strconv.FormatInt(max(1, r.Attempt), 10), RunID: strconv.FormatInt(r.ID, 10),
		RunNumber: strconv.FormatInt(r.Number, 10), Actor: r.Actor, Repository: r.Repository(), EventName: r.Event.Name,
		Sha: r.Event.SHA, Ref: r.Event.Ref, RefName: r.Event.RefName(), RefType: refType, HeadRef: r.Event.HeadRef, BaseRef: r.Event.BaseRef,
		Job: job, RepositoryOwner: r.Owner, RetentionDays: strconv.Itoa(cmp.Or(r.RetentionDays, 90)), ServerURL: r.ServerURL, APIURL: r.ServerURL + "/api/v3",
		GraphQLURL: r.ServerURL + "/api/graphql",
	}
}

// Environ are the GITHUB_ variables of a job that say what it runs for.
func (r *Run) Environ(job *Job) map[string]string {
	g := r.github(job.Key)
	return map[string]string{
		"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_WORKFLOW": g.Workflow, "GITHUB_RUN_ID": g.RunID, "GITHUB_RUN_NUMBER": g.RunNumber,
		"GITHUB_RUN_ATTEMPT": g.RunAttempt, "GITHUB_REPOSITORY": g.Repository, "GITHUB_REPOSITORY_OWNER": g.RepositoryOwner,
		"GITHUB_REF": g.Ref, "GITHUB_REF_NAME": g.RefName, "GITHUB_REF_TYPE": g.RefType, "GITHUB_SHA": g.Sha, "SHA_REF": g.Sha,
		"GITHUB_BASE_REF": g.BaseRef, "GITHUB_HEAD_REF": g.HeadRef, "GITHUB_SERVER_URL": g.ServerURL, "GITHUB_API_URL": g.APIURL,
		"GITHUB_GRAPHQL_URL": g.GraphQLURL, "GITHUB_RETENTION_DAYS": g.RetentionDays, "GITHUB_JOB": job.Key, "GITHUB_ACTOR": r.Actor, "GITHUB_TRIGGERING_ACTOR": r.Actor,
		"GITHUB_EVENT_NAME": r.Event.Name, "GITHUB_WORKFLOW_REF": r.Repository() + "/" + r.Path + "@" + r.Event.Ref, "GITHUB_WORKFLOW_SHA": g.Sha,
		"GITHUB_REF_PROTECTED": "false", "RUNNER_ENVIRONMENT": "self-hosted", "RUNNER_NAME": "wherry",
	}
}
