package wherry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Documented limits of a job's settings.
const (
	maxTasks       = 1000
	maxName        = 4096 // bytes
	maxDescription = 27_700
	maxTags        = 25
	maxParallel    = 1000
	maxForEach     = 100
)

var (
	keyPattern       = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)
	parameterPattern = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
)

// Validate says what is wrong with the settings, naming the field. A feature
// that wherry does not have is a NOT_IMPLEMENTED error that names it.
func (s *JobSettings) Validate() error {
	bad := func(format string, args ...any) error { return Errorf(CodeInvalidParameter, format, args...) }
	switch {
	case len(s.Name) > maxName:
		return bad("name is longer than %d bytes", maxName)
	case len([]rune(s.Description)) > maxDescription:
		return bad("description is longer than %d characters", maxDescription)
	case len(s.Tags) > maxTags:
		return bad("a job has at most %d tags, and %d were given", maxTags, len(s.Tags))
	case len(s.Tasks) > maxTasks:
		return bad("a job has at most %d tasks, and %d were given", maxTasks, len(s.Tasks))
	case s.Limit() < 0 || s.Limit() > maxParallel:
		return bad("max_concurrent_runs is between 0 and %d", maxParallel)
	case s.TimeoutSeconds < 0:
		return bad("timeout_seconds must not be negative")
	case s.Schedule != nil && isSet(s.Continuous):
		return bad("schedule and continuous exclude each other")
	case isSet(s.Triggers) && (s.Schedule != nil || s.Trigger != nil || isSet(s.Continuous)):
		return bad("triggers excludes schedule, trigger and continuous")
	case s.singleTask() != "":
		return NotImplemented(fmt.Sprintf("the single-task format (%s beside the name: put it into an entry of tasks)", s.singleTask()))
	case isSet(s.GitSource):
		return NotImplemented("git_source (tasks whose files come from a Git repository)")
	}
	if err := s.Notifications.validate(""); err != nil {
		return err
	}
	if err := s.validateTriggers(); err != nil {
		return err
	}
	if err := s.validateLists(); err != nil {
		return err
	}
	return s.validateTasks()
}

// singleTask names the task type of settings in the format that API 2.0 began
// with, "" for the present one.
func (s *JobSettings) singleTask() string {
	if len(s.Tasks) > 0 || !bytes.Contains(s.Raw, []byte(`_task"`)) {
		return ""
	}
	var t Task
	if json.Unmarshal(s.Raw, &t) != nil || len(t.Kinds) == 0 {
		return ""
	}
	return t.Kinds[0]
}

func (s *JobSettings) validateTriggers() error {
	status := func(field, v string) error {
		if v != "" && v != "PAUSED" && v != "UNPAUSED" {
			return Errorf(CodeInvalidParameter, "%s.pause_status is PAUSED or UNPAUSED, not %q", field, v)
		}
		return nil
	}
	if s.Schedule != nil {
		if s.Schedule.Expression == "" {
			return Errorf(CodeInvalidParameter, "schedule.quartz_cron_expression is missing")
		}
		if s.Schedule.Timezone == "" {
			return Errorf(CodeInvalidParameter, "schedule.timezone_id is missing")
		}
		if err := status("schedule", s.Schedule.PauseStatus); err != nil {
			return err
		}
	}
	if t := s.Trigger; t != nil {
		if err := status("trigger", t.PauseStatus); err != nil {
			return err
		}
		if p := t.Periodic; p != nil {
			if p.Interval <= 0 {
				return Errorf(CodeInvalidParameter, "trigger.periodic.interval must be positive")
			}
			if !slices.Contains([]string{"MINUTES", "HOURS", "DAYS", "WEEKS"}, p.Unit) {
				return Errorf(CodeInvalidParameter, "trigger.periodic.unit is MINUTES, HOURS, DAYS or WEEKS, not %q", p.Unit)
			}
		}
	}
	return nil
}

func (s *JobSettings) validateLists() error {
	bad := func(format string, args ...any) error { return Errorf(CodeInvalidParameter, format, args...) }
	seen := map[string]bool{}
	for _, p := range s.Parameters {
		switch {
		case !parameterPattern.MatchString(p.Name):
			return bad("parameters: the name %q may hold letters, digits, _, . and - only", p.Name)
		case p.Default == nil:
			return bad("parameters: %q has no default", p.Name)
		case seen[p.Name]:
			return bad("parameters: %q is there twice", p.Name)
		}
		seen[p.Name] = true
		if err := CheckReferences(*p.Default, func(string) bool { return false }); err != nil {
			return bad("parameters: %q: %v", p.Name, err)
		}
	}
	clusters := map[string]bool{}
	for _, c := range s.JobClusters {
		switch {
		case c.Key == "":
			return bad("job_clusters: a cluster has no job_cluster_key")
		case clusters[c.Key]:
			return bad("job_clusters: the key %q is there twice", c.Key)
		case !isSet(c.NewCluster):
			return bad("job_clusters: %q has no new_cluster", c.Key)
		}
		clusters[c.Key] = true
	}
	environments := map[string]bool{}
	for _, e := range s.Environments {
		switch {
		case e.Key == "":
			return bad("environments: an environment has no environment_key")
		case environments[e.Key]:
			return bad("environments: the key %q is there twice", e.Key)
		}
		environments[e.Key] = true
	}
	return nil
}

func (s *JobSettings) validateTasks() error {
	byKey := map[string]*Task{}
	for i := range s.Tasks {
		t := &s.Tasks[i]
		if t.Key == "" {
			return Errorf(CodeInvalidParameter, "tasks[%d] has no task_key", i)
		}
		if byKey[t.Key] != nil {
			return Errorf(CodeInvalidParameter, "the task_key %q is there twice: keys are unique in a job", t.Key)
		}
		byKey[t.Key] = t
	}
	for i := range s.Tasks {
		if err := s.validateDependencies(&s.Tasks[i], byKey); err != nil {
			return err
		}
	}
	if cycle := findCycle(s.Tasks); cycle != nil {
		return Errorf(CodeInvalidParameter, "depends_on forms a cycle: %s", strings.Join(cycle, " → "))
	}
	for i := range s.Tasks {
		t := &s.Tasks[i]
		upstream := ancestors(t, byKey)
		if err := s.validateTask(t, func(key string) bool { return upstream[key] }, false); err != nil {
			return err
		}
	}
	return nil
}

func (s *JobSettings) validateDependencies(t *Task, byKey map[string]*Task) error {
	seen := map[Dependency]bool{}
	for _, d := range t.DependsOn {
		up := byKey[d.TaskKey]
		switch {
		case up == nil:
			return Errorf(CodeInvalidParameter, "task %q depends on the task %q, which does not exist", t.Key, d.TaskKey)
		case seen[d]:
			return Errorf(CodeInvalidParameter, "task %q depends on %q twice", t.Key, d.TaskKey)
		case d.Outcome != "" && up.Condition == nil:
			return Errorf(CodeInvalidParameter, "task %q: outcome is legal on a dependency on a condition_task only, and %q is none", t.Key, d.TaskKey)
		case d.Outcome != "" && d.Outcome != "true" && d.Outcome != "false":
			return Errorf(CodeInvalidParameter, `task %q: outcome is "true" or "false", not %q`, t.Key, d.Outcome)
		}
		seen[d] = true
	}
	return nil
}

func (s *JobSettings) validateTask(t *Task, upstream func(string) bool, nested bool) error {
	bad := func(format string, args ...any) error {
		return Errorf(CodeInvalidParameter, "task %q: %s", t.Key, fmt.Sprintf(format, args...))
	}
	switch {
	case !keyPattern.MatchString(t.Key):
		return bad("a task_key has at most 100 letters, digits, _ and -")
	case len(t.Kinds) == 0:
		return bad("one task type is needed, such as notebook_task or spark_python_task")
	case len(t.Kinds) > 1:
		return bad("exactly one task type is allowed, and it has %s", strings.Join(t.Kinds, ", "))
	case !slices.Contains([]string{"", AllSuccess, AllDone, NoneFailed, AtLeastOneSuccess, AtLeastOneFailed, AllFailed}, t.RunIf):
		return bad("%q is not a value of run_if", t.RunIf)
	case t.MaxRetries < -1:
		return bad("max_retries is -1 (for ever), 0 or more")
	case t.MinRetryInterval < 0 || t.TimeoutSeconds < 0:
		return bad("min_retry_interval_millis and timeout_seconds must not be negative")
	}
	if err := t.Notifications.validate(fmt.Sprintf("task %q: ", t.Key)); err != nil {
		return err
	}
	if err := s.validateKind(t, upstream, nested, bad); err != nil {
		return err
	}
	if err := s.validateCompute(t, bad); err != nil {
		return err
	}
	if t.ForEach != nil {
		return nil // the references of the nested task were checked with it
	}
	if err := CheckReferences(string(t.Raw), upstream); err != nil {
		return bad("%v", err)
	}
	return nil
}

func (s *JobSettings) validateKind(t *Task, upstream func(string) bool, nested bool, bad func(string, ...any) error) error {
	switch t.Kind() {
	case TaskNotebook:
		if t.Notebook.Path == "" {
			return bad("notebook_task.notebook_path is missing")
		}
		if t.Notebook.Source == "GIT" {
			return NotImplemented("a notebook_task with the source GIT")
		}
	case TaskPython:
		if t.Python.File == "" {
			return bad("spark_python_task.python_file is missing")
		}
		if t.Python.Source == "GIT" {
			return NotImplemented("a spark_python_task with the source GIT")
		}
	case TaskWheel:
		if t.Wheel.PackageName == "" || t.Wheel.EntryPoint == "" {
			return bad("python_wheel_task needs package_name and entry_point")
		}
		if len(t.Wheel.Parameters) > 0 && len(t.Wheel.NamedParameters) > 0 {
			return bad("python_wheel_task takes parameters or named_parameters, not both")
		}
	case TaskCondition:
		if !slices.Contains([]string{OpEqual, OpNotEqual, OpGreater, OpGreaterOrEqual, OpLess, OpLessOrEqual}, t.Condition.Op) {
			return bad("%q is not an operator of condition_task", t.Condition.Op)
		}
	case TaskForEach:
		return s.validateForEach(t, upstream, nested, bad)
	case TaskRunJob:
		if t.RunJob.JobID <= 0 {
			return bad("run_job_task.job_id is missing")
		}
	default:
		return NotImplemented(fmt.Sprintf("the task type %s (task %q)", t.Kind(), t.Key))
	}
	return nil
}

func (s *JobSettings) validateForEach(t *Task, upstream func(string) bool, nested bool, bad func(string, ...any) error) error {
	f := t.ForEach
	switch {
	case nested:
		return bad("a for_each_task cannot hold a for_each_task")
	case f.Concurrency < 0 || f.Concurrency > maxForEach:
		return bad("for_each_task.concurrency is between 1 and %d", maxForEach)
	case strings.TrimSpace(f.Inputs) == "":
		return bad("for_each_task.inputs is missing")
	case len(f.Task.DependsOn) > 0:
		return bad("the nested task of a for_each_task has no depends_on")
	case f.Task.Raw == nil:
		return bad("for_each_task.task is missing")
	}
	if err := CheckReferences(f.Inputs, upstream); err != nil {
		return bad("for_each_task.inputs: %v", err)
	}
	if !strings.Contains(f.Inputs, "{{") {
		if _, err := f.Elements(f.Inputs); err != nil {
			return bad("%v", err)
		}
	}
	return s.validateTask(&f.Task, upstream, true)
}

func (s *JobSettings) validateCompute(t *Task, bad func(string, ...any) error) error {
	var given []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"job_cluster_key", t.JobClusterKey != ""},
		{"new_cluster", isSet(t.NewCluster)},
		{"existing_cluster_id", t.ClusterID != ""},
		{"environment_key", t.EnvironmentKey != ""},
	} {
		if f.set {
			given = append(given, f.name)
		}
	}
	if len(given) > 1 {
		return bad("only one of %s may be given", strings.Join(given, " and "))
	}
	if t.JobClusterKey != "" && !slices.ContainsFunc(s.JobClusters, func(c JobCluster) bool { return c.Key == t.JobClusterKey }) {
		return bad("job_cluster_key %q is not among job_clusters", t.JobClusterKey)
	}
	if t.EnvironmentKey != "" && !slices.ContainsFunc(s.Environments, func(e JobEnvironment) bool { return e.Key == t.EnvironmentKey }) {
		return bad("environment_key %q is not among environments", t.EnvironmentKey)
	}
	return nil
}
