package wherry

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// Job is a saved job: its settings and who it belongs to.
type Job struct {
	ID          int64
	WorkspaceID int64
	Creator     string // user name
	RunAs       Principal
	CreatedAt   int64 // milliseconds since 1970
	Settings    JobSettings
	Version     int64 // raised by each change of the settings
}

// JobSettings is what a client sends to make a job, and what one run keeps as
// its own copy. Raw is the document as received, so that unknown fields and
// explicit zeros survive; the fields are what the engine needs of it.
type JobSettings struct {
	Raw json.RawMessage `json:"-"`

	Name              string            `json:"name"`
	RunName           string            `json:"run_name"` // runs/submit has it in the place of name
	Description       string            `json:"description"`
	Tags              map[string]string `json:"tags"`
	Tasks             []Task            `json:"tasks"`
	JobClusters       []JobCluster      `json:"job_clusters"`
	Environments      []JobEnvironment  `json:"environments"`
	Parameters        []JobParameter    `json:"parameters"`
	MaxConcurrentRuns *int              `json:"max_concurrent_runs"`
	Queue             *QueueSettings    `json:"queue"`
	TimeoutSeconds    int64             `json:"timeout_seconds"`
	Schedule          *CronSchedule     `json:"schedule"`
	Trigger           *TriggerSettings  `json:"trigger"`
	Continuous        json.RawMessage   `json:"continuous"`
	Triggers          json.RawMessage   `json:"triggers"`
	RunAs             *RunAs            `json:"run_as"`
	Format            string            `json:"format"`
	GitSource         json.RawMessage   `json:"git_source"`
	Deployment        *Deployment       `json:"deployment"`
	EditMode          string            `json:"edit_mode"`
	PerformanceTarget string            `json:"performance_target"`
	BudgetPolicyID    string            `json:"budget_policy_id"`
	UsagePolicyID     string            `json:"usage_policy_id"`
	Notifications
}

// JobCluster is a cluster that the tasks of one run share.
type JobCluster struct {
	Key        string          `json:"job_cluster_key"`
	NewCluster json.RawMessage `json:"new_cluster"`
}

// JobEnvironment is a serverless environment, with its dependencies in Spec.
type JobEnvironment struct {
	Key  string          `json:"environment_key"`
	Spec json.RawMessage `json:"spec"`
}

// JobParameter is a parameter that every task of the job is given.
type JobParameter struct {
	Name    string  `json:"name"`
	Default *string `json:"default"`
}

// QueueSettings says whether a run waits when too many others are active.
type QueueSettings struct {
	Enabled bool `json:"enabled"`
}

// CronSchedule starts runs by a Quartz cron expression.
type CronSchedule struct {
	Expression   string          `json:"quartz_cron_expression"`
	Timezone     string          `json:"timezone_id"` // IANA name
	PauseStatus  string          `json:"pause_status"`
	SQLCondition json.RawMessage `json:"sql_condition,omitempty"`
}

// TriggerSettings starts runs by other means than a cron expression.
type TriggerSettings struct {
	PauseStatus string           `json:"pause_status"`
	Periodic    *PeriodicTrigger `json:"periodic"`
	FileArrival json.RawMessage  `json:"file_arrival"`
	Table       json.RawMessage  `json:"table"`
	TableUpdate json.RawMessage  `json:"table_update"`
	Model       json.RawMessage  `json:"model"`
}

// PeriodicTrigger starts a run each Interval units.
type PeriodicTrigger struct {
	Interval int64  `json:"interval"`
	Unit     string `json:"unit"` // MINUTES, HOURS, DAYS or WEEKS
}

// RunAs names the principal under whose identity the tasks run.
type RunAs struct {
	UserName             string `json:"user_name"`
	ServicePrincipalName string `json:"service_principal_name"`
	GroupName            string `json:"group_name"`
}

// Deployment ties a job to the bundle deployment that made it.
type Deployment struct {
	Kind         string `json:"kind"`
	MetadataPath string `json:"metadata_file_path"`
	DeploymentID string `json:"deployment_id"`
	VersionID    string `json:"version_id"`
}

// Paused is the pause_status of a schedule or trigger that starts nothing.
const Paused = "PAUSED"

// UnmarshalJSON keeps the document beside the fields.
func (s *JobSettings) UnmarshalJSON(b []byte) error {
	type plain JobSettings
	if err := json.Unmarshal(b, (*plain)(s)); err != nil {
		return err
	}
	s.Raw = bytes.Clone(b)
	return nil
}

// MarshalJSON writes the document as it was received.
func (s JobSettings) MarshalJSON() ([]byte, error) {
	if s.Raw == nil {
		return []byte("{}"), nil
	}
	return s.Raw, nil
}

// Task returns the task with that key, or nil. The key of a nested for_each
// task is not found here: see Task.ForEach.
func (s *JobSettings) Task(key string) *Task {
	i := slices.IndexFunc(s.Tasks, func(t Task) bool { return t.Key == key })
	if i < 0 {
		return nil
	}
	return &s.Tasks[i]
}

// Limit is max_concurrent_runs, 1 where it is not set.
func (s *JobSettings) Limit() int {
	if s.MaxConcurrentRuns == nil {
		return 1
	}
	return *s.MaxConcurrentRuns
}

// isSet reports whether a raw field was given and holds more than null, an
// empty object or an empty list.
func isSet(raw json.RawMessage) bool {
	s := strings.TrimSpace(string(raw))
	return s != "" && s != "null" && s != "{}" && s != "[]"
}

// NotEffective lists the settings that are stored with the job but change
// nothing yet, one whole sentence each, for the run page and doctor.
func (j *Job) NotEffective() []string { return j.Settings.NotEffective() }

// NotEffective is Job.NotEffective for settings that are not saved.
func (s *JobSettings) NotEffective() []string {
	var list []string
	say := func(set bool, what string) {
		if set {
			list = append(list, what)
		}
	}
	say(s.Notifications.notEffective() || slices.ContainsFunc(s.Tasks, func(t Task) bool { return t.Notifications.notEffective() }),
		"The backlog of streams (on_streaming_backlog_exceeded, STREAMING_BACKLOG rules of health) is stored; no stream is watched yet.")
	say(isSet(s.Continuous), "The continuous setting is stored; it starts no runs yet.")
	say(isSet(s.Triggers), "The list triggers is stored; it starts no runs yet.")
	if t := s.Trigger; t != nil {
		say(isSet(t.FileArrival), "The file_arrival trigger is stored; it starts no runs yet.")
		say(isSet(t.Table) || isSet(t.TableUpdate), "The table_update trigger is stored; it starts no runs yet.")
		say(isSet(t.Model), "The model trigger is stored; it starts no runs yet.")
	}
	say(s.Schedule != nil && isSet(s.Schedule.SQLCondition), "The sql_condition of the schedule is stored; runs start without it.")
	say(s.PerformanceTarget != "", "performance_target is stored; all runs are treated alike.")
	say(s.BudgetPolicyID != "" || s.UsagePolicyID != "", "Budget and usage policies are stored; nothing is metered.")
	return list
}
