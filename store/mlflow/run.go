package mlflow

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Statuses of a run.
var runStatuses = []string{"", "RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"}

// RunStatus is a run's status; clients may send its number.
type RunStatus string

// UnmarshalJSON accepts "FINISHED" and 3.
func (s *RunStatus) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n < len(runStatuses) {
		text = runStatuses[n]
	}
	if text != "null" && !slices.Contains(runStatuses, text) {
		return invalid("Invalid run status %s", string(b))
	}
	*s = RunStatus(strings.TrimPrefix(text, "null"))
	return nil
}

// RunInfo is what a run is.
type RunInfo struct {
	RunID        string       `json:"run_id"`
	RunUUID      string       `json:"run_uuid"` // the same, for old clients
	Name         string       `json:"run_name"`
	ExperimentID string       `json:"experiment_id"`
	UserID       string       `json:"user_id"`
	Status       RunStatus    `json:"status"`
	StartTime    wherry.Int64 `json:"start_time"`
	EndTime      wherry.Int64 `json:"end_time,omitempty"`
	// ArtifactURI is rendered by the wire; the store puts the location of the
	// experiment's files there, "" for our own.
	ArtifactURI string `json:"artifact_uri"`
	Stage       string `json:"lifecycle_stage"`
	id          int64
}

// Run is a run with the newest value of its metrics.
type Run struct {
	Info    RunInfo    `json:"info"`
	Data    RunData    `json:"data"`
	Inputs  RunInputs  `json:"inputs"`
	Outputs RunOutputs `json:"outputs"`
}

// RunData holds what was logged.
type RunData struct {
	Metrics []Metric `json:"metrics,omitempty"`
	Params  []KV     `json:"params,omitempty"`
	Tags    []KV     `json:"tags,omitempty"`
}

// RunInputs holds what went into a run.
type RunInputs struct {
	Datasets []DatasetInput `json:"dataset_inputs,omitempty"`
	Models   []RunModel     `json:"model_inputs,omitempty"`
}

// RunOutputs holds what came out of a run.
type RunOutputs struct {
	Models []RunModel `json:"model_outputs,omitempty"`
}

// RunModel names a logged model beside a run.
type RunModel struct {
	ModelID string       `json:"model_id"`
	Step    wherry.Int64 `json:"step"`
}

// Dataset is data that a run used.
type Dataset struct {
	Name       string `json:"name"`
	Digest     string `json:"digest"`
	SourceType string `json:"source_type"`
	Source     string `json:"source"`
	Schema     string `json:"schema,omitempty"`
	Profile    string `json:"profile,omitempty"`
}

// DatasetInput is a dataset with the tags of this use (mlflow.data.context).
type DatasetInput struct {
	Tags    []KV    `json:"tags,omitempty"`
	Dataset Dataset `json:"dataset"`
}

const contextTag = "mlflow.data.context"

const (
	nameTag = "mlflow.runName"
	userTag = "mlflow.user"
)

// NewRun is what a client says of a run it starts.
type NewRun struct {
	ExperimentID string
	UserID       string
	Name         string
	StartTime    int64
	Tags         []KV
}

var runIDPattern = regexp.MustCompile(`^[a-zA-Z0-9][\w\-]{0,255}$`)

// CreateRun starts a run, and tells trace which task run it belongs to.
func (s *Store) CreateRun(ctx context.Context, who Who, n NewRun) (run *Run, err error) {
	for i := range n.Tags {
		if err := checkTag(&n.Tags[i]); err != nil {
			return nil, err
		}
		if n.Tags[i].Key == nameTag && n.Name == "" {
			n.Name = n.Tags[i].Value
		}
	}
	if n.Name == "" {
		n.Name = "run-" + newID()[:8]
	}
	if n.StartTime == 0 {
		n.StartTime = now()
	}
	n.setUser(who)
	found := map[string]int64{}
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		clear(found)
		e, err := experiment(tx, who.WorkspaceID, n.ExperimentID)
		if err != nil {
			return err
		}
		if e.Stage != Active {
			return invalid("The experiment %s must be in the 'active' state. Current state is %s.", e.ID, e.Stage)
		}
		run, err = s.insertRun(tx, who, n, e, found)
		return err
	})
	if err == nil {
		s.keys.add(found)
	}
	return run, err
}

// setUser makes the run its starter's. Clients say their process's user; within
// a task that is nobody, so the caller's name goes before it there.
func (n *NewRun) setUser(who Who) {
	i := slices.IndexFunc(n.Tags, func(t KV) bool { return t.Key == userTag })
	switch {
	case who.TaskRunID != 0 && who.User != "":
		n.UserID = who.User
	case n.UserID != "":
	case i >= 0:
		n.UserID = n.Tags[i].Value
	default:
		n.UserID = who.User
	}
	switch {
	case n.UserID == "": // nobody signs in to `mlflow serve`
	case i < 0:
		n.Tags = append(slices.Clip(n.Tags), KV{userTag, n.UserID})
	case who.TaskRunID != 0:
		n.Tags = slices.Clone(n.Tags)
		n.Tags[i].Value = n.UserID
	}
}

func (s *Store) insertRun(tx *store.Tx, who Who, n NewRun, e *Experiment, found map[string]int64) (*Run, error) {
	info := RunInfo{
		RunID: newID(), Name: n.Name, ExperimentID: e.ID, UserID: n.UserID, Status: "RUNNING",
		StartTime: wherry.Int64(n.StartTime), ArtifactURI: e.ArtifactLocation, Stage: Active,
	}
	info.RunUUID = info.RunID
	err := tx.Row(`INSERT INTO mlflow_run (workspace_id, uuid, experiment_id, name, user_id, status, stage, start_time, end_time, task_run_id)
		VALUES ($1, $2, $3, $4, $5, 'RUNNING', 'active', $6, NULL, $7) RETURNING id`,
		who.WorkspaceID, info.RunID, e.ID, n.Name, n.UserID, n.StartTime, who.TaskRunID).Scan(&info.id)
	if err != nil {
		return nil, err
	}
	tags := map[string]string{}
	if who.TaskRunID != 0 {
		if tags, err = TaskTags(tx, who.TaskRunID); err != nil {
			return nil, err
		}
	}
	for _, t := range n.Tags {
		tags[t.Key] = t.Value
	}
	tags[nameTag] = n.Name
	run := &Run{Info: info}
	for key, value := range tags {
		run.Data.Tags = append(run.Data.Tags, KV{key, value})
	}
	slices.SortFunc(run.Data.Tags, func(a, b KV) int { return strings.Compare(a.Key, b.Key) })
	for _, t := range run.Data.Tags {
		if err := s.setTag(tx, info.id, t, found); err != nil {
			return nil, err
		}
	}
	return run, s.emit(tx, who, wherry.EventMLflowRun, info.RunID, map[string]any{"experiment_id": e.ID, "run_name": n.Name})
}

const runColumns = `r.id, r.uuid, r.experiment_id, r.name, r.user_id, r.status, r.stage, r.start_time, COALESCE(r.end_time, 0), e.artifact_location`

const runTables = ` FROM mlflow_run r JOIN mlflow_experiment e ON e.id = r.experiment_id`

func scanRun(scan func(...any) error) (*Run, error) {
	r, experiment := &Run{}, int64(0)
	i := &r.Info
	err := scan(&i.id, &i.RunID, &experiment, &i.Name, &i.UserID, &i.Status, &i.Stage, &i.StartTime, &i.EndTime, &i.ArtifactURI)
	i.RunUUID, i.ExperimentID = i.RunID, strconv.FormatInt(experiment, 10)
	return r, err
}

func runInfo(tx *store.Tx, ws int64, runID string) (*Run, error) {
	if !runIDPattern.MatchString(runID) {
		return nil, invalid("Invalid value %q for parameter 'run_id' supplied.", runID)
	}
	r, err := scanRun(tx.Row(`SELECT `+runColumns+runTables+` WHERE r.uuid = $1 AND r.workspace_id = $2`, runID, ws).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return nil, missing("Run with id=%s not found", runID)
	}
	return r, err
}

// activeRun is runInfo for a change.
func activeRun(tx *store.Tx, ws int64, runID string) (*Run, error) {
	r, err := runInfo(tx, ws, runID)
	if err == nil && r.Info.Stage != Active {
		return nil, invalid("The run %s must be in the 'active' state. Current state is %s.", runID, r.Info.Stage)
	}
	return r, err
}

// Run returns a run with all that was logged.
func (s *Store) Run(ctx context.Context, ws int64, runID string) (run *Run, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		if run, err = runInfo(tx, ws, runID); err != nil {
			return err
		}
		return s.fill(tx, []*Run{run})
	})
	return run, err
}

// Info returns what a run is, without what was logged.
func (s *Store) Info(ctx context.Context, ws int64, runID string) (info RunInfo, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		run, err := runInfo(tx, ws, runID)
		if err == nil {
			info = run.Info
		}
		return err
	})
	return info, err
}

// UpdateRun sets what is not zero.
func (s *Store) UpdateRun(ctx context.Context, ws int64, runID string, status RunStatus, end int64, name string) (info RunInfo, err error) {
	found := map[string]int64{}
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		clear(found)
		run, err := activeRun(tx, ws, runID)
		if err != nil {
			return err
		}
		info = run.Info
		if status != "" {
			info.Status = status
		}
		if end != 0 {
			info.EndTime = wherry.Int64(end)
		}
		if name != "" {
			info.Name = name
			if err := s.setTag(tx, info.id, KV{nameTag, name}, found); err != nil {
				return err
			}
		}
		_, err = tx.Exec(`UPDATE mlflow_run SET status = $1, end_time = $2, name = $3 WHERE id = $4`,
			string(info.Status), nullZero(int64(info.EndTime)), info.Name, info.id)
		return err
	})
	if err == nil {
		s.keys.add(found)
	}
	return info, err
}

func nullZero(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

// SetRunStage deletes or restores a run.
func (s *Store) SetRunStage(ctx context.Context, ws int64, runID, stage string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		run, err := runInfo(tx, ws, runID)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`UPDATE mlflow_run SET stage = $1 WHERE id = $2`, stage, run.Info.id)
		return err
	})
}

// checkTag checks a run's tag and cuts its value to the limit.
func checkTag(t *KV) error {
	if err := checkKey("key", t.Key); err != nil {
		return err
	}
	t.Value = truncate(t.Value, maxTagLen)
	return checkText("value", t.Value)
}

func (s *Store) setTag(tx *store.Tx, runID int64, t KV, found map[string]int64) error {
	key, err := s.keyID(tx, t.Key, found)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO mlflow_tag (run_id, key_id, value) VALUES ($1, $2, $3)
		ON CONFLICT (run_id, key_id) DO UPDATE SET value = excluded.value`, runID, key, t.Value)
	if err == nil && t.Key == nameTag {
		_, err = tx.Exec(`UPDATE mlflow_run SET name = $1 WHERE id = $2`, t.Value, runID)
	}
	return err
}

// DeleteTag removes a run's tag; it must exist.
func (s *Store) DeleteTag(ctx context.Context, ws int64, runID, key string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		run, err := activeRun(tx, ws, runID)
		if err != nil {
			return err
		}
		id, err := s.knownKey(tx, key)
		if err != nil {
			return err
		}
		n, err := tx.Exec(`DELETE FROM mlflow_tag WHERE run_id = $1 AND key_id = $2`, run.Info.id, id)
		if err == nil && n == 0 {
			return missing("No tag with name: %s in run with id %s", key, runID)
		}
		return err
	})
}

// fill reads what was logged in the runs: a fixed number of queries for a page.
func (s *Store) fill(tx *store.Tx, runs []*Run) error {
	byID := make(map[int64]*Run, len(runs))
	ids := make([]any, 0, len(runs))
	for _, r := range runs {
		byID[r.Info.id] = r
		ids = append(ids, r.Info.id)
	}
	err := eachIn(tx, `SELECT run_id, key_id, value, at, step, is_nan FROM mlflow_latest_metric WHERE run_id IN (%s)`, ids, func(scan func(...any) error) error {
		var run, key int64
		var m Metric
		var nan bool
		if err := scan(&run, &key, &m.Value, &m.Timestamp, &m.Step, &nan); err != nil {
			return err
		}
		m.setNaN(nan)
		name, err := s.keyName(tx, key)
		m.Key = name
		byID[run].Data.Metrics = append(byID[run].Data.Metrics, m)
		return err
	})
	pairs := func(table string, list func(*Run) *[]KV) {
		if err != nil {
			return
		}
		err = eachIn(tx, `SELECT run_id, key_id, value FROM `+table+` WHERE run_id IN (%s)`, ids, func(scan func(...any) error) error {
			var run, key int64
			var kv KV
			if err := scan(&run, &key, &kv.Value); err != nil {
				return err
			}
			name, err := s.keyName(tx, key)
			kv.Key = name
			l := list(byID[run])
			*l = append(*l, kv)
			return err
		})
	}
	pairs("mlflow_param", func(r *Run) *[]KV { return &r.Data.Params })
	pairs("mlflow_tag", func(r *Run) *[]KV { return &r.Data.Tags })
	if err != nil {
		return err
	}
	for _, r := range runs {
		slices.SortFunc(r.Data.Metrics, func(a, b Metric) int { return strings.Compare(a.Key, b.Key) })
		slices.SortFunc(r.Data.Params, func(a, b KV) int { return strings.Compare(a.Key, b.Key) })
		slices.SortFunc(r.Data.Tags, func(a, b KV) int { return strings.Compare(a.Key, b.Key) })
	}
	return fillInputs(tx, byID, ids)
}

func fillInputs(tx *store.Tx, byID map[int64]*Run, ids []any) error {
	err := eachIn(tx, `SELECT i.run_id, i.tags, d.name, d.digest, d.source_type, d.source, d.schema, d.profile
		FROM mlflow_input i JOIN mlflow_dataset d ON d.id = i.dataset_id WHERE i.run_id IN (%s) ORDER BY i.run_id, i.dataset_id`, ids, func(scan func(...any) error) error {
		var run int64
		var tags string
		var in DatasetInput
		d := &in.Dataset
		if err := scan(&run, &tags, &d.Name, &d.Digest, &d.SourceType, &d.Source, &d.Schema, &d.Profile); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(tags), &in.Tags); err != nil {
			return err
		}
		byID[run].Inputs.Datasets = append(byID[run].Inputs.Datasets, in)
		return nil
	})
	if err != nil {
		return err
	}
	return eachIn(tx, `SELECT run_id, direction, model_id, step FROM mlflow_run_model WHERE run_id IN (%s) ORDER BY run_id, direction, step, model_id`, ids, func(scan func(...any) error) error {
		var run int64
		var direction string
		var m RunModel
		if err := scan(&run, &direction, &m.ModelID, &m.Step); err != nil {
			return err
		}
		if direction == "input" {
			byID[run].Inputs.Models = append(byID[run].Inputs.Models, m)
		} else {
			byID[run].Outputs.Models = append(byID[run].Outputs.Models, m)
		}
		return nil
	})
}
