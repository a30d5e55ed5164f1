package wherry

import (
	"encoding/json"
	"slices"
)

// Run is a job run with all attempts of its tasks: the input of Advance.
// Times are milliseconds since 1970, 0 for "not yet".
type Run struct {
	ID          int64
	WorkspaceID int64
	JobID       int64 // 0 for a run that was submitted without a job
	Name        string
	Type        string // RunTypeJob, RunTypeSubmit or RunTypeWorkflow
	Trigger     string // a Trigger* constant
	TriggerTime int64  // when a schedule was to fire, 0 otherwise
	// Settings are a copy as of the start, or of the last repair.
	Settings JobSettings
	// Parameters are the job parameters with their values.
	Parameters []RunParameter
	Overriding Overriding
	// Only holds the keys of the tasks of a partial run; nil is all of them.
	Only    []string
	Creator string
	RunAs   Principal
	Standing
	Queue     bool // wait, rather than be skipped, when too many runs are active
	CreatedAt int64
	QueuedAt  int64
	StartTime int64
	EndTime   int64
	// ParentTaskRun is the run_job attempt, or the notebook that called
	// dbutils.notebook.run, to which this run belongs; 0 for none. Level counts
	// such parents.
	ParentTaskRun int64
	Level         int
	// Warned says that it was told of as slow.
	Warned  bool
	Repairs []Repair
	// Attempts are in the order in which they were made.
	Attempts []*TaskRun
}

// Run types.
const (
	RunTypeJob      = "JOB_RUN"
	RunTypeSubmit   = "SUBMIT_RUN"
	RunTypeWorkflow = "WORKFLOW_RUN"
	// RunTypeCI is a job of a GitHub workflow: package cicd starts it, and the
	// Jobs API does not show it.
	RunTypeCI = "CI_RUN"
)

// Triggers of a run.
const (
	TriggerPeriodic = "PERIODIC"
	TriggerOneTime  = "ONE_TIME"
	TriggerRunJob   = "RUN_JOB_TASK"
)

// RunParameter is a job parameter of one run.
type RunParameter struct {
	Name    string  `json:"name"`
	Default *string `json:"default,omitempty"`
	Value   *string `json:"value,omitempty"`
}

// Repair is one repair of a run, as repair_history shows it.
type Repair struct {
	ID         int64   `json:"id"`
	StartTime  int64   `json:"start_time"`
	EndTime    int64   `json:"end_time"`
	Result     string  `json:"result"`
	Code       string  `json:"code"`
	Message    string  `json:"message"`
	TaskRunIDs []int64 `json:"task_run_ids"`
}

// TaskRun is one attempt of one task.
type TaskRun struct {
	ID       int64
	JobRunID int64
	Key      string
	// ParentID is the for_each attempt whose iteration this is, 0 for a task of
	// the job itself; Iteration counts from 0 and Input is the element.
	ParentID  int64
	Iteration int
	Input     json.RawMessage
	Number    int // attempt_number, from 0
	Repair    int // how many repairs the run had when this attempt was made
	Original  int64
	Standing
	NotBefore int64
	StartTime int64 // when compute was asked for
	EndTime   int64
	// Outcome is "true" or "false" of a condition task that was evaluated.
	Outcome  string
	ChildRun int64 // the run that a run_job task started
	// ClusterID is where the attempt ran; see Result for the two durations.
	ClusterID string
	// Warned says that it was told of as slow.
	Warned          bool
	SetupMillis     int64
	ExecutionMillis int64
}

// live reports whether the attempt uses compute or waits for iterations or a
// child run.
func (t *TaskRun) live() bool {
	return t.State == Pending || t.State == Running || t.State == Terminating
}

// latest holds the last attempt of each task of the job, and of each iteration
// of each for_each attempt.
type latest struct {
	tasks      map[string]*TaskRun
	iterations map[int64][]*TaskRun // by for_each attempt, in the order of iterations
}

func (r *Run) latest() latest {
	l := latest{tasks: map[string]*TaskRun{}, iterations: map[int64][]*TaskRun{}}
	for _, a := range r.Attempts {
		if a.ParentID == 0 {
			if old := l.tasks[a.Key]; old == nil || old.Number <= a.Number {
				l.tasks[a.Key] = a
			}
			continue
		}
		list := l.iterations[a.ParentID]
		i, found := slices.BinarySearchFunc(list, a.Iteration, func(t *TaskRun, n int) int { return t.Iteration - n })
		switch {
		case !found:
			l.iterations[a.ParentID] = slices.Insert(list, i, a)
		case list[i].Number <= a.Number:
			list[i] = a
		}
	}
	return l
}

// Latest returns the last attempt of a task of the job, which decides its
// result; nil if the task has none.
func (r *Run) Latest(key string) *TaskRun { return r.latest().tasks[key] }

// Iterations returns the last attempts of the iterations of a for_each attempt.
func (r *Run) Iterations(parent int64) []*TaskRun { return r.latest().iterations[parent] }

// Attempt returns the attempt with that id, or nil.
func (r *Run) Attempt(id int64) *TaskRun {
	for _, a := range r.Attempts {
		if a.ID == id {
			return a
		}
	}
	return nil
}

// TaskOf returns the settings of the task that an attempt runs: for an
// iteration, the nested task of its for_each. Nil if the settings lack it.
func (r *Run) TaskOf(a *TaskRun) *Task {
	if a.ParentID == 0 {
		return r.Settings.Task(a.Key)
	}
	p := r.Attempt(a.ParentID)
	if p == nil {
		return nil
	}
	t := r.Settings.Task(p.Key)
	if t == nil || t.ForEach == nil {
		return nil
	}
	return &t.ForEach.Task
}

// Selected reports whether the run includes a task.
func (r *Run) Selected(key string) bool { return r.Only == nil || slices.Contains(r.Only, key) }

// QueueMillis is how long the run, or the last of its repairs that had to wait,
// was in the queue; 0 if none was or it still is.
func (r *Run) QueueMillis() int64 {
	starts := []int64{r.StartTime}
	for _, p := range r.Repairs {
		starts = append(starts, p.StartTime)
	}
	for _, start := range starts {
		if r.QueuedAt > 0 && r.State != Queued && start >= r.QueuedAt {
			return start - r.QueuedAt
		}
	}
	return 0
}
