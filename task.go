package wherry

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Task is one task of a job as a client sent it. Raw is the document as
// received; the fields are what the engine needs of it.
type Task struct {
	Raw json.RawMessage `json:"-"`
	// Kinds are the names of the task types that the document holds, such as
	// notebook_task: exactly one in a valid task.
	Kinds []string `json:"-"`

	Key              string          `json:"task_key"`
	DependsOn        []Dependency    `json:"depends_on"`
	RunIf            string          `json:"run_if"`
	Disabled         bool            `json:"disabled"`
	MaxRetries       int             `json:"max_retries"` // -1 for ever
	MinRetryInterval int64           `json:"min_retry_interval_millis"`
	RetryOnTimeout   bool            `json:"retry_on_timeout"`
	TimeoutSeconds   int64           `json:"timeout_seconds"` // 0 none
	JobClusterKey    string          `json:"job_cluster_key"`
	NewCluster       json.RawMessage `json:"new_cluster"`
	ClusterID        string          `json:"existing_cluster_id"`
	EnvironmentKey   string          `json:"environment_key"`
	Libraries        json.RawMessage `json:"libraries"`
	Notifications

	Notebook  *NotebookTask    `json:"notebook_task"`
	Python    *SparkPythonTask `json:"spark_python_task"`
	Wheel     *WheelTask       `json:"python_wheel_task"`
	Condition *ConditionTask   `json:"condition_task"`
	ForEach   *ForEachTask     `json:"for_each_task"`
	RunJob    *RunJobTask      `json:"run_job_task"`
	// CI is never part of a job that somebody sends.
	CI *CITask `json:"ci_job_task"`
}

// Dependency is one upstream task; Outcome is legal on condition tasks only.
type Dependency struct {
	TaskKey string `json:"task_key"`
	Outcome string `json:"outcome"` // "true" or "false", "" for any
}

// NotebookTask runs a notebook.
type NotebookTask struct {
	Path           string            `json:"notebook_path"`
	BaseParameters map[string]string `json:"base_parameters"`
	Source         string            `json:"source"`
}

// SparkPythonTask runs a Python file.
type SparkPythonTask struct {
	File       string   `json:"python_file"`
	Parameters []string `json:"parameters"`
	Source     string   `json:"source"`
}

// WheelTask calls an entry point of an installed package.
type WheelTask struct {
	PackageName     string            `json:"package_name"`
	EntryPoint      string            `json:"entry_point"`
	Parameters      []string          `json:"parameters"`
	NamedParameters map[string]string `json:"named_parameters"`
}

// ConditionTask compares two operands; see Evaluate.
type ConditionTask struct {
	Op    string `json:"op"`
	Left  string `json:"left"`
	Right string `json:"right"`
}

// ForEachTask runs its nested task once for each element of Inputs.
type ForEachTask struct {
	Inputs      string `json:"inputs"` // a JSON array, or a reference to one
	Concurrency int    `json:"concurrency"`
	Task        Task   `json:"task"`
}

// RunJobTask runs another job and waits for it.
type RunJobTask struct {
	JobID         Int64             `json:"job_id"`
	JobParameters map[string]string `json:"job_parameters"`
}

// CITask runs one job of a GitHub workflow.
type CITask struct {
	JobID int64 `json:"job_id"` // of package store/cicd
}

// The task types that are run, by the name of their field.
const (
	TaskNotebook  = "notebook_task"
	TaskPython    = "spark_python_task"
	TaskWheel     = "python_wheel_task"
	TaskCondition = "condition_task"
	TaskForEach   = "for_each_task"
	TaskRunJob    = "run_job_task"
)

// The values of run_if.
const (
	AllSuccess        = "ALL_SUCCESS"
	AllDone           = "ALL_DONE"
	NoneFailed        = "NONE_FAILED"
	AtLeastOneSuccess = "AT_LEAST_ONE_SUCCESS"
	AtLeastOneFailed  = "AT_LEAST_ONE_FAILED"
	AllFailed         = "ALL_FAILED"
)

// UnmarshalJSON keeps the document and finds the task types in it, those that
// the engine does not know included.
func (t *Task) UnmarshalJSON(b []byte) error {
	type plain Task
	if err := json.Unmarshal(b, (*plain)(t)); err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	t.Kinds = nil
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if strings.HasSuffix(name, "_task") && string(fields[name]) != "null" {
			t.Kinds = append(t.Kinds, name)
		}
	}
	t.Raw = bytes.Clone(b)
	return nil
}

// MarshalJSON writes the document as it was received.
func (t Task) MarshalJSON() ([]byte, error) {
	if t.Raw == nil {
		return []byte("{}"), nil
	}
	return t.Raw, nil
}

// Kind is the task's type, such as notebook_task; "" for an invalid task.
func (t *Task) Kind() string {
	if len(t.Kinds) != 1 {
		return ""
	}
	return t.Kinds[0]
}

// Settled reports whether the scheduler settles the task by itself, without an
// agent.
func (t *Task) Settled() bool {
	return t.Condition != nil || t.ForEach != nil || t.RunJob != nil
}

// Path is the notebook or script that the task runs, or the entry point of its
// wheel, for people and for the trace.
func (t *Task) Path() string {
	switch {
	case t.Notebook != nil:
		return t.Notebook.Path
	case t.Python != nil:
		return t.Python.File
	case t.Wheel != nil:
		return t.Wheel.PackageName + ":" + t.Wheel.EntryPoint
	default:
		return ""
	}
}
