package wherry

import (
	"encoding/json"
	"time"
)

// Event is one change of state, written in the transaction that made it.
// notify, ui and trace read events; they are the only history kept.
type Event struct {
	ID          int64           `json:"id"`
	WorkspaceID int64           `json:"workspace_id"`
	Kind        string          `json:"kind"`    // one of the constants below
	Subject     string          `json:"subject"` // id of the thing that changed
	Actor       string          `json:"actor"`   // user name of who did it
	RunID       int64           `json:"run_id"`  // the task run it happened in, or 0
	At          time.Time       `json:"at"`
	Payload     json.RawMessage `json:"payload"`
}

// Kinds of event. The payload of each is named in a comment; trace projects
// its graph from them, so a field once written keeps its meaning.
const (
	// {deployment_id, version, bundle, target, commit, branch, origin_url, author, message, dirty_digest, tree_digest, resources:[{key,id}], restores (version, if it brought one back),
	// ci_run (run/attempt/job of the workflow that deployed)}
	EventDeployment = "deployment.completed"
	// {deployment_id, version, bundle, target, root_path, namespace, note, and where a pull request's end did it repo, pull_request, state};
	// the actor is who destroyed it, or ended the pull request
	EventDestroyed = "deployment.destroyed"
	// {job_id, job_name, deployment_id, version, trigger}; Subject is the job run's id
	EventRunStarted = "run.started"
	// {job_id, result_state}
	EventRunFinished = "run.finished"
	// {job_id, job_name, job_run_id, task_key, seconds}; a run, or with a task_key an attempt, that takes longer than its health
	// rule allows; Subject is its id
	EventRunSlow = "run.slow"
	// {job_run_id, task_key, attempt_number, task_type, path, tree_digest}; Subject is the task run's id
	EventTaskStarted = "task.started"
	// {job_run_id, task_key, result_state, executed_digest}
	EventTaskFinished = "task.finished"
	// {table, table_id, location, version, operation, files_added}; a commit found in a _delta_log. RunID 0 means an unknown writer
	EventTableCommitted = "table.committed"
	// {table, table_id, version}; RunID is the reader
	EventTableRead = "table.read"
	// {experiment_id, run_name}; Subject is the MLflow run's id
	EventMLflowRun = "mlflow.run.created"
	// {name, version, mlflow_run_id, model_id, digest}; Subject is name/version
	EventModelVersion = "model.version.created"
	// {name, alias, version}
	EventModelAlias = "model.alias.set"
	// {name, version, stage}
	EventModelStage = "model.stage.set"
	// {name, version}; RunID is the task run that loaded the model
	EventModelRead = "model.version.read"

	// {name, before, after}: wherry.Environment each, one of them missing for an environment made or deleted; Subject is the name
	EventEnvironment = "environment.changed"
	// {deployment_id, version, environment, job_id, job_run_id, result: success|failed, gate, rolled_back_to, rollback_version,
	// aliases:[{name, alias, from, to}]}; Subject is deployment_id/version. rolled_back_to is 0 where nothing moved
	EventVerified = "deployment.verified"
	// {deployment_id, version, environment, state: rolling back|superseded, job_run_id, rolled_back_to, note}; the steps before, or
	// instead of, deployment.verified; Subject is deployment_id/version
	EventVerifying = "deployment.verifying"
	// {drift_id, deployment_id, version, target, bundle, resource: "jobs.nightly", resource_id, kind: changed|deleted,
	// fields:[{path, before, after}], digest}; before is as deployed, Actor is who changed it; Subject is the drift's id
	EventDriftFound = "drift.found"
	// {drift_id, deployment_id, source, resource, state: adopted|open, note, by}: it was adopted, or could not be healed and why;
	// Subject is the drift's id
	EventDriftMarked = "drift.marked"
	// {drift_id, deployment_id, resource, way: reverted|adopted|deployed|healed|ignored|gone, by}; Subject is the drift's id
	EventDriftSettled = "drift.settled"
	// {workspace, run_id, attempt, environment, commit, plan_digest, serial, resources:[{address, type, id, digest}]}; Subject is workspace@serial
	EventInfraApplied = "infra.applied"

	// {notification_id, kind, dedup_key, channel: email|destination, destination, run_id, attempts}; run_id is the job run it
	// told of, or 0; Subject is the notification's id
	EventNotificationSent = "notification.sent"

	// A workflow run is named by run_id and attempt; run_id is a number, or its text. Subject of all: run_id/attempt, Actor who started it.
	// {run_id, attempt, repo, origin_url, workflow, path, event, ref, sha, base_sha, pull_request, title, author, message, actor};
	// author and message are those of the commit sha
	EventCIRunStarted = "ci.run.started"
	// {run_id, attempt, repo, workflow, event, ref, sha, actor, result: success|failure|cancelled, jobs:[{job, name, result}]}
	EventCIRunFinished = "ci.run.finished"
	// {run_id, attempt, job, name, result, environment, runner, env_lock, log_digest, started_at, finished_at,
	// steps:[{name, uses, exit, result, log_digest}]}; job is the key in the workflow with its matrix values: "test (3.12)"
	EventCIJobFinished = "ci.job.finished"
	// {run_id, attempt, job, digest, suites:[{name, tests, failures, errors, skipped, seconds}], failed:[names]}; digest is of all cases
	EventCITest = "ci.test"
	// {run_id, attempt, environment, jobs:[keys], decision: approved|rejected, by, reason}; Actor is by
	EventCIApproval = "ci.approval"
	// {run_id, attempt, repo, workflow, sha}; Actor is who asked for it
	EventCIRunCancelled = "ci.run.cancelled"
	// {scope: repo:NAME|environment:NAME, name, secret, action: set|deleted}; Subject is scope/name
	EventCIValue = "ci.value"
	// {run_id, attempt, job, name, sha256, size}
	EventCIArtifact = "ci.artifact"
	// {repo, push_id, ref, old, new, forced}; Subject is repo:ref
	EventRefUpdated = "git.ref.updated"
	// {repo, action: opened|synchronize|closed|reopened, number, title, base, head, head_repo, base_sha, head_sha, merge_sha,
	// state: open|closed|merged, author}; head_repo is the fork's name or "". Subject is repo#number
	EventPullRequest = "git.pull_request"
	// {repo, action: created|protected|unprotected|mirrored|hook|default_branch, …}; Subject is repo
	EventRepo = "git.repo.changed"
	// {repo, forge, reason, delivery, remote}; a webhook whose sender did not prove who they are. Nothing was done
	EventHookRefused = "git.hook.refused"

	// {type, operation: created|updated|deleted}; Subject is the id of a resource of the management API
	EventAzureResource = "azure.resource"
	// {kind, operation: created|updated|deleted}; Subject is the object id of an application, service principal or group
	EventDirectory = "azure.directory"
)
