package jobs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/wherry-ml/wherry"
	store "github.com/wherry-ml/wherry/store/jobs"
)

// runOut is a run on the wire.
type runOut struct {
	JobID       int64                 `json:"job_id"`
	RunID       int64                 `json:"run_id"`
	JobRunID    int64                 `json:"job_run_id"`
	NumberInJob int64                 `json:"number_in_job"`
	Original    int64                 `json:"original_attempt_run_id,omitempty"`
	Attempt     int                   `json:"attempt_number"`
	Creator     string                `json:"creator_user_name"`
	RunName     string                `json:"run_name"`
	RunType     string                `json:"run_type"`
	Format      string                `json:"format"`
	PageURL     string                `json:"run_page_url"`
	State       wherry.LegacyState    `json:"state"`
	Status      wherry.RunStatus      `json:"status"`
	Trigger     string                `json:"trigger"`
	TriggerInfo *triggerInfo          `json:"trigger_info,omitempty"`
	Schedule    json.RawMessage       `json:"schedule,omitempty"`
	StartTime   int64                 `json:"start_time"`
	EndTime     int64                 `json:"end_time"`
	Setup       int64                 `json:"setup_duration"`
	Execution   int64                 `json:"execution_duration"`
	Cleanup     int64                 `json:"cleanup_duration"`
	Duration    int64                 `json:"run_duration,omitempty"`
	Queued      int64                 `json:"queue_duration,omitempty"`
	Parameters  []wherry.RunParameter `json:"job_parameters,omitempty"`
	Overriding  *wherry.Overriding    `json:"overriding_parameters,omitempty"`
	Cluster     *clusterInstance      `json:"cluster_instance,omitempty"`
	Tasks       []map[string]any      `json:"tasks,omitempty"`
	Iterations  []map[string]any      `json:"iterations,omitempty"`
	JobClusters []wherry.JobCluster   `json:"job_clusters,omitempty"`
	Repairs     []repairOutItem       `json:"repair_history,omitempty"`

	HasMore       bool   `json:"has_more,omitempty"`
	NextPageToken string `json:"next_page_token,omitempty"`
}

type triggerInfo struct {
	RunID int64 `json:"run_id"`
}

type clusterInstance struct {
	ClusterID string `json:"cluster_id"`
}

type repairOutItem struct {
	Type       string              `json:"type"`
	ID         int64               `json:"id,omitempty"`
	StartTime  int64               `json:"start_time"`
	EndTime    int64               `json:"end_time"`
	State      *wherry.LegacyState `json:"state,omitempty"`
	Status     *wherry.RunStatus   `json:"status,omitempty"`
	TaskRunIDs []int64             `json:"task_run_ids"`
}

// viewer renders one run.
type viewer struct {
	run     *wherry.Run
	outputs map[int64]store.Output // nil leaves out the resolved values
	base    string                 // scheme://host of the request
}

// PageURL is where people see a run or a task run.
func PageURL(base string, jobID, runID int64) string {
	return fmt.Sprintf("%s/jobs/%d/runs/%d", base, jobID, runID)
}

// plain is the run without its lists.
func (v *viewer) plain() *runOut {
	r := v.run
	out := &runOut{
		JobID: r.JobID, RunID: r.ID, JobRunID: r.ID, NumberInJob: r.ID, Original: r.ID, Creator: r.Creator, RunName: r.Name, RunType: r.Type,
		Format: "MULTI_TASK", PageURL: PageURL(v.base, r.JobID, r.ID), State: r.Legacy(), Status: r.Status(), Trigger: r.Trigger,
		StartTime: r.StartTime, EndTime: r.EndTime, Parameters: r.Parameters,
	}
	for _, t := range r.Attempts { // what compute is doing for it
		if !r.Terminal() && out.State.Message == "" && t.State == wherry.Pending {
			out.State.Message = t.Message
		}
	}
	if r.EndTime > 0 {
		out.Duration = r.EndTime - r.StartTime
	}
	out.Queued = r.QueueMillis()
	if r.Trigger == wherry.TriggerRunJob {
		out.TriggerInfo = &triggerInfo{r.ParentTaskRun}
	}
	if r.Settings.Schedule != nil && r.Trigger == wherry.TriggerPeriodic {
		out.Schedule, _ = json.Marshal(r.Settings.Schedule)
	}
	if o := r.Overriding; o.Notebook != nil || o.Python != nil || o.PythonNamed != nil || o.Jar != nil || o.Submit != nil || o.SQL != nil || o.Dbt != nil {
		out.Overriding = &o
	}
	return out
}

// whole is the run with a page of its lists.
func (v *viewer) whole(ver version, offset int, history bool) (*runOut, error) {
	out := v.plain()
	r := v.run
	var tasks []map[string]any
	for _, t := range r.Settings.Tasks {
		if run := r.Latest(t.Key); run != nil {
			one, err := v.task(run)
			if err != nil {
				return nil, err
			}
			tasks = append(tasks, one)
		}
	}
	out.Tasks, out.JobClusters = tasks, r.Settings.JobClusters
	if history {
		out.Repairs = v.history()
	}
	if !ver.paged {
		return out, nil
	}
	var more [4]bool
	out.Tasks, more[0] = page(out.Tasks, offset)
	out.JobClusters, more[1] = page(out.JobClusters, offset)
	out.Parameters, more[2] = page(out.Parameters, offset)
	out.Repairs, more[3] = page(out.Repairs, offset)
	out.HasMore = slices.Contains(more[:], true)
	return out, nil
}

// history lists the original run and its repairs.
func (v *viewer) history() []repairOutItem {
	r := v.run
	original := repairOutItem{Type: "ORIGINAL", StartTime: r.StartTime, EndTime: r.EndTime}
	state, status := r.Legacy(), r.Status()
	if len(r.Repairs) > 0 {
		original.EndTime = 0
	} else {
		original.State, original.Status = &state, &status
	}
	for _, t := range r.Attempts {
		if t.Repair == 0 && t.ParentID == 0 {
			original.TaskRunIDs = append(original.TaskRunIDs, t.ID)
			if len(r.Repairs) > 0 {
				original.EndTime = max(original.EndTime, t.EndTime)
			}
		}
	}
	list := []repairOutItem{original}
	for _, p := range r.Repairs {
		item := repairOutItem{Type: "REPAIR", ID: p.ID, StartTime: p.StartTime, EndTime: p.EndTime, TaskRunIDs: p.TaskRunIDs}
		s := r.Standing
		if p.EndTime > 0 {
			s = wherry.Standing{State: wherry.Terminated, Result: p.Result, Code: p.Code, Message: p.Message}
		}
		legacy, status := s.Legacy(), s.Status()
		item.State, item.Status = &legacy, &status
		list = append(list, item)
	}
	return list
}

// task renders an attempt: the task's settings as received, and how it stands.
func (v *viewer) task(t *wherry.TaskRun) (map[string]any, error) {
	r := v.run
	task := r.TaskOf(t)
	out := map[string]any{}
	if task != nil {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(task.Raw, &fields); err != nil {
			return nil, err
		}
		for k, f := range fields {
			out[k] = f
		}
	}
	maps.Copy(out, map[string]any{
		"run_id": t.ID, "task_key": t.Key, "attempt_number": t.Number, "original_attempt_run_id": t.Original,
		"state": t.Legacy(), "status": t.Status(), "start_time": t.StartTime, "end_time": t.EndTime, "setup_duration": t.SetupMillis,
		"execution_duration": t.ExecutionMillis, "cleanup_duration": 0, "run_page_url": PageURL(v.base, r.JobID, t.ID),
	})
	if t.StartTime == 0 { // it never ran: all is 0
		out["end_time"] = t.EndTime
	} else if t.EndTime > 0 {
		out["run_duration"] = t.EndTime - t.StartTime
	}
	if _, ok := out["run_if"]; !ok {
		out["run_if"] = wherry.AllSuccess
	}
	if t.ClusterID != "" {
		out["cluster_instance"] = clusterInstance{t.ClusterID}
	}
	if task == nil {
		return out, nil
	}
	switch {
	case task.Condition != nil && t.Outcome != "":
		out["condition_task"] = map[string]string{"op": task.Condition.Op, "left": task.Condition.Left, "right": task.Condition.Right, "outcome": t.Outcome}
	case task.ForEach != nil:
		out["for_each_task"] = v.forEach(t, task.ForEach)
	case task.RunJob != nil && t.ChildRun != 0:
		out["run_job_output"] = triggerInfo{t.ChildRun}
	}
	if o, ok := v.outputs[t.ID]; ok && o.Attempt != nil {
		out["resolved_values"] = resolved(o.Attempt)
	}
	return out, nil
}

// resolved shows the parameters as the attempt was given them.
func resolved(a *wherry.Attempt) map[string]any {
	var t wherry.Task
	if json.Unmarshal(a.Task, &t) != nil {
		return nil
	}
	var v any
	switch {
	case t.Notebook != nil:
		v = map[string]any{"base_parameters": a.Parameters}
	case t.Python != nil:
		v = map[string]any{"parameters": t.Python.Parameters}
	case t.Wheel != nil:
		v = map[string]any{"parameters": t.Wheel.Parameters, "named_parameters": a.Parameters}
	case t.Condition != nil:
		v = map[string]any{"left": t.Condition.Left, "right": t.Condition.Right}
	case t.RunJob != nil:
		v = map[string]any{"job_parameters": a.Parameters}
	default:
		return nil
	}
	return map[string]any{t.Kind(): v}
}

func (v *viewer) forEach(t *wherry.TaskRun, f *wherry.ForEachTask) map[string]any {
	stats := map[string]int{}
	for _, name := range []string{"total", "scheduled", "active", "completed", "failed", "succeeded"} {
		stats[name+"_iterations"] = 0
	}
	messages := map[string]int{}
	for _, it := range v.run.Iterations(t.ID) {
		stats["total_iterations"]++
		if it.State != wherry.Blocked {
			stats["scheduled_iterations"]++
		}
		switch {
		case it.Terminal() && it.Result == wherry.ResultSuccess:
			stats["completed_iterations"]++
			stats["succeeded_iterations"]++
		case it.Terminal():
			stats["completed_iterations"]++
			stats["failed_iterations"]++
			messages[it.Message]++
		case it.State != wherry.Blocked:
			stats["active_iterations"]++
		}
	}
	common := []map[string]any{}
	for _, m := range slices.SortedFunc(maps.Keys(messages), func(a, b string) int { return messages[b] - messages[a] }) {
		if len(common) < 3 {
			common = append(common, map[string]any{"error_message": m, "count": messages[m]})
		}
	}
	out := map[string]any{"inputs": f.Inputs, "task": f.Task, "stats": map[string]any{
		"task_run_stats": stats, "error_message_stats": common,
	}}
	if f.Concurrency > 0 {
		out["concurrency"] = f.Concurrency
	}
	return out
}

// taskAsRun is runs/get of a task run: a run with that one task.
func (v *viewer) taskAsRun(t *wherry.TaskRun) (*runOut, error) {
	out := v.plain()
	one, err := v.task(t)
	if err != nil {
		return nil, err
	}
	out.RunID, out.NumberInJob, out.Original, out.Attempt, out.RunName = t.ID, t.ID, t.Original, t.Number, t.Key
	out.State, out.Status, out.StartTime, out.EndTime = t.Legacy(), t.Status(), t.StartTime, t.EndTime
	out.Setup, out.Execution, out.Duration, out.Queued = t.SetupMillis, t.ExecutionMillis, 0, 0
	if t.StartTime > 0 && t.EndTime > 0 {
		out.Duration = t.EndTime - t.StartTime
	}
	out.PageURL = PageURL(v.base, v.run.JobID, t.ID)
	out.Tasks = []map[string]any{one}
	if t.ClusterID != "" {
		out.Cluster = &clusterInstance{t.ClusterID}
	}
	for _, it := range v.run.Iterations(t.ID) {
		one, err := v.task(it)
		if err != nil {
			return nil, err
		}
		out.Iterations = append(out.Iterations, one)
	}
	return out, nil
}
