package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	store "github.com/wherry-ml/wherry/store/jobs"
)

// own is the task run whose token made the call.
func own(ctx context.Context, what string) (wherry.Identity, error) {
	id := wherry.IdentityFrom(ctx)
	if id.RunID == 0 {
		return id, wherry.Errorf(wherry.CodeInvalidState, "%s is for tasks of a job: this token belongs to none", what)
	}
	return id, nil
}

type valueIn struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

func (s *Service) setValue(ctx context.Context, in *valueIn) (*api.Empty, error) {
	id, err := own(ctx, "dbutils.jobs.taskValues.set")
	if err != nil {
		return nil, err
	}
	if in.Value == nil {
		in.Value = json.RawMessage("null")
	}
	return &api.Empty{}, s.store.SetValue(ctx, id.RunID, in.Key, in.Value)
}

type valueQuery struct {
	TaskKey string `json:"task_key"`
	Key     string `json:"key"`
}

type valueOut struct {
	Value json.RawMessage `json:"value"`
}

// getValue answers RESOURCE_DOES_NOT_EXIST for a value that was not set.
func (s *Service) getValue(ctx context.Context, in *valueQuery) (*valueOut, error) {
	id, err := own(ctx, "dbutils.jobs.taskValues.get")
	if err != nil {
		return nil, err
	}
	v, ok, err := s.store.Value(ctx, id.RunID, in.TaskKey, in.Key)
	if err == nil && !ok {
		err = wherry.Errorf(wherry.CodeDoesNotExist, "the task %q has set no value %q", in.TaskKey, in.Key)
	}
	if err != nil {
		return nil, err
	}
	return &valueOut{v}, nil
}

type notebookRunIn struct {
	Path      string            `json:"path"` // relative to the caller's folder, or absolute
	Timeout   int64             `json:"timeout_seconds"`
	Arguments map[string]string `json:"arguments"`
	Token     string            `json:"idempotency_token"` // of a caller that repeats a call whose answer was lost
}

// notebookRun starts a notebook as a run of its own, on the compute of the
// attempt that asks.
func (s *Service) notebookRun(ctx context.Context, in *notebookRunIn) (*submitOut, error) {
	id, err := own(ctx, "dbutils.notebook.run")
	if err != nil {
		return nil, err
	}
	run, task, err := s.store.Run(ctx, id.WorkspaceID, id.RunID)
	if err != nil {
		return nil, err
	}
	outputs, err := s.store.Outputs(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	caller := outputs[id.RunID].Attempt
	if task == nil || caller == nil || task.Terminal() {
		return nil, wherry.Errorf(wherry.CodeInvalidState, "the task run %d does not run", id.RunID)
	}
	if run.Level >= maxNotebookLevels {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "dbutils.notebook.run is nested deeper than %d levels", maxNotebookLevels)
	}
	if in.Path == "" || in.Timeout < 0 {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "dbutils.notebook.run needs a path and a timeout that is not negative")
	}
	settings, err := notebookSettings(in, caller, task.ClusterID)
	if err != nil {
		return nil, err
	}
	token := in.Token
	if token != "" { // it is the caller's own: no other task or client has it
		token = fmt.Sprintf("child/%d/%s", id.RunID, token)
	}
	child, err := s.store.Launch(ctx, store.Launch{
		WorkspaceID: id.WorkspaceID, Settings: *settings, RunAs: run.RunAs, Type: wherry.RunTypeWorkflow, Trigger: wherry.TriggerOneTime,
		Creator: run.Creator, ParentTaskRun: id.RunID, Level: run.Level + 1, Token: token,
	})
	if err != nil {
		return nil, err
	}
	return &submitOut{child}, nil
}

// maxNotebookLevels keeps notebooks that run themselves from filling the machine.
const maxNotebookLevels = 10

func notebookSettings(in *notebookRunIn, caller *wherry.Attempt, clusterID string) (*wherry.JobSettings, error) {
	var parent wherry.Task
	if err := json.Unmarshal(caller.Task, &parent); err != nil {
		return nil, err
	}
	name := in.Path
	if !strings.HasPrefix(name, "/") {
		name = path.Join(path.Dir(parent.Path()), name)
	}
	task := map[string]any{
		"task_key":      taskKey(name),
		"notebook_task": map[string]any{"notebook_path": name, "base_parameters": in.Arguments, "source": "WORKSPACE"},
	}
	if clusterID != "" {
		task["existing_cluster_id"] = clusterID
	}
	if len(caller.Libraries) > 0 {
		task["libraries"] = caller.Libraries
	}
	doc := map[string]any{"run_name": path.Base(name), "timeout_seconds": in.Timeout, "tasks": []any{task}}
	if len(caller.Environment) > 0 && clusterID == "" {
		task["environment_key"] = "caller"
		doc["environments"] = []any{map[string]any{"environment_key": "caller", "spec": caller.Environment}}
	}
	if len(caller.Tags) > 0 {
		doc["tags"] = caller.Tags
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	settings := &wherry.JobSettings{}
	return settings, json.Unmarshal(b, settings)
}

// taskKey makes a legal key of a notebook's name.
func taskKey(name string) string {
	key := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, path.Base(name))
	return key[:min(len(key), 100)]
}

// cancelNotebookRun ends a run that the calling attempt has started.
func (s *Service) cancelNotebookRun(ctx context.Context, in *runIn) (*api.Empty, error) {
	id, err := own(ctx, "cancelling a notebook run")
	if err != nil {
		return nil, err
	}
	run, _, err := s.store.Run(ctx, id.WorkspaceID, int64(in.RunID))
	if err != nil {
		return nil, err
	}
	if run.ParentTaskRun != id.RunID {
		return nil, wherry.Errorf(wherry.CodePermissionDenied, "run %d was not started by this task", in.RunID)
	}
	return &api.Empty{}, s.store.Cancel(ctx, id.WorkspaceID, run.ID)
}
