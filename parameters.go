package wherry

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"unicode/utf8"
)

// Overriding are the parameters of older clients that replace or complete those
// of the tasks for one run.
type Overriding struct {
	Notebook    map[string]string `json:"notebook_params,omitempty"`
	Python      []string          `json:"python_params,omitempty"`
	PythonNamed map[string]string `json:"python_named_params,omitempty"`
	Jar         []string          `json:"jar_params,omitempty"`
	Submit      []string          `json:"spark_submit_params,omitempty"`
	SQL         map[string]string `json:"sql_params,omitempty"`
	Dbt         []string          `json:"dbt_commands,omitempty"`
	Pipeline    json.RawMessage   `json:"pipeline_params,omitempty"`
}

// maxLegacyParameters is the documented limit of each legacy parameter, as JSON.
const maxLegacyParameters = 10_000

// Validate checks the limits, and that a job with parameters of its own is not
// given legacy ones.
func (o *Overriding) Validate(jobHasParameters bool) error {
	fields := []struct {
		name string
		set  bool
		v    any
	}{
		{"notebook_params", o.Notebook != nil, o.Notebook},
		{"python_params", o.Python != nil, o.Python},
		{"python_named_params", o.PythonNamed != nil, o.PythonNamed},
		{"jar_params", o.Jar != nil, o.Jar},
		{"spark_submit_params", o.Submit != nil, o.Submit},
		{"sql_params", o.SQL != nil, o.SQL},
		{"dbt_commands", o.Dbt != nil, o.Dbt},
	}
	for _, f := range fields {
		if !f.set {
			continue
		}
		b, err := json.Marshal(f.v)
		if err != nil {
			return err
		}
		if len(b) > maxLegacyParameters {
			return Errorf(CodeInvalidParameter, "%s is larger than %d bytes of JSON", f.name, maxLegacyParameters)
		}
		if jobHasParameters {
			return Errorf(CodeInvalidParameter, "the job has job parameters: give job_parameters in the place of %s", f.name)
		}
	}
	if o.Notebook != nil && o.Jar != nil {
		return Errorf(CodeInvalidParameter, "notebook_params and jar_params cannot be combined")
	}
	for _, p := range slices.Concat(o.Python, o.Submit) {
		if len(p) != utf8.RuneCountInString(p) {
			return Errorf(CodeInvalidParameter, "python_params and spark_submit_params take ASCII characters only: %q", p)
		}
	}
	return nil
}

// RunParameters are the job parameters of a run: those of the settings, with
// the values given for this run; names the job does not know are passed on.
func RunParameters(defined []JobParameter, given map[string]string) []RunParameter {
	var list []RunParameter
	for _, p := range defined {
		value := p.Default
		if v, ok := given[p.Name]; ok {
			value = &v
		}
		list = append(list, RunParameter{Name: p.Name, Default: p.Default, Value: value})
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.ContainsFunc(defined, func(p JobParameter) bool { return p.Name == name }) {
			v := given[name]
			list = append(list, RunParameter{Name: name, Value: &v})
		}
	}
	return list
}

// resolveJobParameters computes the job parameters with their references.
func (x *References) resolveJobParameters() error {
	x.parameters = nil // a parameter that refers to a parameter stays as it is
	resolved := map[string]string{}
	for _, p := range x.Run.Parameters {
		if p.Value == nil {
			continue
		}
		v, err := x.Expand(*p.Value)
		if err != nil {
			return err
		}
		resolved[p.Name] = v
	}
	x.parameters = resolved
	return nil
}

// Resolve makes what compute is given of the attempt: parameters merged by
// their precedence and every reference replaced. A *Error is the task's own
// fault.
func (x *References) Resolve() (*Attempt, error) {
	task := x.Run.TaskOf(x.TaskRun)
	if task == nil {
		return nil, Errorf(CodeInvalidParameter, "the job has no task %q any more", x.TaskRun.Key)
	}
	if err := x.resolveJobParameters(); err != nil {
		return nil, err
	}
	doc, named, err := x.document(task)
	if err != nil {
		return nil, err
	}
	r, t := x.Run, x.TaskRun
	a := &Attempt{
		WorkspaceID: r.WorkspaceID, RunID: t.ID, JobRunID: r.ID, JobID: r.JobID, JobName: r.Name, TaskKey: t.Key, Number: t.Number,
		Task: doc, Parameters: named, ClusterID: task.ClusterID, NewCluster: task.NewCluster, Libraries: task.Libraries, RunAs: r.RunAs,
	}
	if len(r.Settings.Tags) > 0 {
		if a.Tags, err = json.Marshal(r.Settings.Tags); err != nil {
			return nil, err
		}
	}
	for _, c := range r.Settings.JobClusters {
		if task.JobClusterKey != "" && c.Key == task.JobClusterKey {
			a.ClusterKey, a.NewCluster = c.Key, c.NewCluster
		}
	}
	for _, e := range r.Settings.Environments {
		if task.EnvironmentKey != "" && e.Key == task.EnvironmentKey {
			a.Environment = e.Spec
		}
	}
	return a, nil
}

// document returns the task's document with its parameters as this run has
// them, and the parameters by name (nil for a task that takes none so).
func (x *References) document(task *Task) (doc json.RawMessage, named map[string]string, err error) {
	positional, replaced := x.positional(task)
	named, err = x.named(task)
	if err != nil {
		return nil, nil, err
	}
	if named == nil && !replaced && !bytes.Contains(task.Raw, []byte("{{")) {
		return task.Raw, nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(task.Raw))
	dec.UseNumber()
	var fields map[string]any
	if err := dec.Decode(&fields); err != nil {
		return nil, nil, err
	}
	inner, _ := fields[task.Kind()].(map[string]any)
	if inner == nil {
		inner = map[string]any{}
	}
	if replaced {
		list := []any{}
		for _, p := range positional {
			list = append(list, p)
		}
		inner["parameters"] = list
		delete(inner, "named_parameters") // of a wheel: the others replace them
	}
	if named != nil {
		inner[namedField(task)] = map[string]any{}
	}
	if task.ForEach == nil { // the nested task has references of its own, resolved for each element
		if _, err := x.expandStrings(inner); err != nil {
			return nil, nil, err
		}
	}
	if named != nil {
		inner[namedField(task)] = named
	}
	fields[task.Kind()] = inner
	doc, err = json.Marshal(fields)
	return doc, named, err
}

// namedField is the field that holds a task's parameters by name.
func namedField(task *Task) string {
	switch {
	case task.Notebook != nil:
		return "base_parameters"
	case task.Wheel != nil:
		return "named_parameters"
	default:
		return "job_parameters"
	}
}

// positional are the parameters of a task that takes a list, replaced true if
// the run gave others than the task has.
func (x *References) positional(task *Task) (list []string, replaced bool) {
	if x.Run.Overriding.Python != nil && (task.Python != nil || task.Wheel != nil) {
		return x.Run.Overriding.Python, true
	}
	return nil, false
}

// named merges the parameters of a task that takes them by name: the task's
// own, then the run's legacy map, then the job parameters, later ones winning.
func (x *References) named(task *Task) (map[string]string, error) {
	var own, legacy map[string]string
	switch {
	case task.Notebook != nil:
		own, legacy = task.Notebook.BaseParameters, x.Run.Overriding.Notebook
	case task.Wheel != nil:
		if x.Run.Overriding.Python != nil || len(task.Wheel.Parameters) > 0 {
			return nil, nil // positional: nothing is pushed down
		}
		own, legacy = task.Wheel.NamedParameters, x.Run.Overriding.PythonNamed
	case task.RunJob != nil:
		own = task.RunJob.JobParameters
	default:
		return nil, nil
	}
	merged := map[string]string{}
	for _, m := range []map[string]string{own, legacy} {
		for k, v := range m {
			e, err := x.Expand(v)
			if err != nil {
				return nil, err
			}
			merged[k] = e
		}
	}
	maps.Copy(merged, x.parameters)
	return merged, nil
}
