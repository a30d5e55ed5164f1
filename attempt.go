package wherry

import "encoding/json"

// Attempt is one execution of one task as the scheduler hands it to compute:
// settings as of the start of the attempt, every reference resolved.
type Attempt struct {
	WorkspaceID int64  `json:"workspace_id"`
	RunID       int64  `json:"run_id"` // the attempt's own run id
	JobRunID    int64  `json:"job_run_id"`
	JobID       int64  `json:"job_id"` // 0 for a run that was submitted without a job
	JobName     string `json:"job_name"`
	TaskKey     string `json:"task_key"`
	Number      int    `json:"attempt_number"` // from 0
	// Task is the task's settings as the API received them, with references
	// resolved in its parameters and paths.
	Task json.RawMessage `json:"task"`
	// Parameters are the values of a task that takes them by name (widgets of
	// a notebook, named parameters of a wheel), job parameters merged in.
	Parameters map[string]string `json:"parameters"`
	// Exactly one of the next three says what to run on; all empty means
	// serverless.
	ClusterID   string          `json:"cluster_id,omitempty"`  // existing_cluster_id
	ClusterKey  string          `json:"cluster_key,omitempty"` // job_cluster_key: one cluster per job run and key
	NewCluster  json.RawMessage `json:"new_cluster,omitempty"` // the spec for ClusterKey, or the task's own new_cluster
	Environment json.RawMessage `json:"environment,omitempty"` // the environments[].spec that environment_key named
	Libraries   json.RawMessage `json:"libraries,omitempty"`
	RunAs       Principal       `json:"run_as"`
	Tags        json.RawMessage `json:"tags,omitempty"`
}

// Result is how an attempt ended.
type Result struct {
	// State is one of the Result* constants below.
	State string `json:"state"`
	// Code is the termination_details.code of the Jobs API.
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
	// Error is the last line of a failure, Trace its whole traceback.
	Error string `json:"error,omitempty"`
	Trace string `json:"error_trace,omitempty"`
	// ExitValue is what dbutils.notebook.exit was given; Exited tells an
	// empty value from none.
	ExitValue string `json:"exit_value,omitempty"`
	Exited    bool   `json:"exited,omitempty"`
	// SourceDigest is sha256 of the source as executed (all cells, %run included).
	SourceDigest string `json:"source_digest,omitempty"`
	// SetupMillis is from asking for compute to the first user line,
	// ExecutionMillis from there to the last.
	SetupMillis     int64 `json:"setup_ms"`
	ExecutionMillis int64 `json:"execution_ms"`
}

// Result states of the Jobs API.
const (
	ResultSuccess             = "SUCCESS"
	ResultFailed              = "FAILED"
	ResultTimedOut            = "TIMEDOUT"
	ResultCanceled            = "CANCELED"
	ResultMaxConcurrent       = "MAXIMUM_CONCURRENT_RUNS_REACHED"
	ResultExcluded            = "EXCLUDED"
	ResultSuccessWithFailures = "SUCCESS_WITH_FAILURES"
	ResultUpstreamFailed      = "UPSTREAM_FAILED"
	ResultUpstreamCanceled    = "UPSTREAM_CANCELED"
	ResultDisabled            = "DISABLED"
)
