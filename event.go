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
	// {deployment_id, version, bundle, target, commit, branch, origin_url, author, message, dirty_digest, tree_digest, resources:[{key,id}]}
	EventDeployment = "deployment.completed"
	// {job_id, job_name, deployment_id, version, trigger}; Subject is the job run's id
	EventRunStarted = "run.started"
	// {job_id, result_state}
	EventRunFinished = "run.finished"
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
)
