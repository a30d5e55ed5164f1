package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle/run"
	graph "github.com/wherry-ml/wherry/store/trace"
	"github.com/wherry-ml/wherry/trace"
	"github.com/wherry-ml/wherry/trace/rows"
)

// Report is what came out of the demo; its JSON is what --json prints.
type Report struct {
	RunID       int64              `json:"run_id"`
	ResultState string             `json:"result_state"`
	Tasks       []Task             `json:"tasks"`
	Metrics     map[string]float64 `json:"metrics"`
	// Previous are the metrics of the model version before, null for the first.
	Previous    map[string]float64 `json:"previous_metrics"`
	Model       Model              `json:"model"`
	Predictions Predictions        `json:"predictions"`
	Trace       []graph.Ref        `json:"trace"`
	URLs        map[string]string  `json:"urls"`
	Seconds     float64            `json:"seconds"`

	// Tree is the trace laid out for people.
	Tree *trace.Tree `json:"-"`
}

// Task is a line of the task table.
type Task struct {
	Key         string `json:"task_key"`
	ResultState string `json:"result_state"`
	SetupMS     int64  `json:"setup_ms"`
	ExecutionMS int64  `json:"execution_ms"`
}

// Model is the registered model.
type Model struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Aliases []string `json:"aliases"`
}

// Predictions is the table of predictions with five rows of this run.
type Predictions struct {
	Table  string           `json:"table"`
	Rows   int64            `json:"rows"`
	Sample []map[string]any `json:"sample"`
}

func (r *Report) fill(result *run.Result) {
	r.RunID, r.ResultState = result.RunID, result.State
	for _, t := range result.Tasks {
		r.Tasks = append(r.Tasks, Task{t.Key, t.State, t.SetupMS, t.ExecutionMS})
	}
	r.URLs = map[string]string{"run": result.PageURL}
	for _, t := range result.Tasks {
		switch t.Key {
		case "evaluate":
			var exit struct {
				Version string `json:"model_version"`
			}
			_ = json.Unmarshal([]byte(t.Output), &exit) // checked in report
			r.Model.Version = exit.Version
		case "batch_inference":
			_ = json.Unmarshal([]byte(t.Output), &r.Predictions)
		}
	}
}

// report asks the server for what came out, and fails if any of it is missing.
func (d *Demo) report(ctx context.Context, r *Report) error {
	schema := strings.TrimSuffix(r.Predictions.Table, ".predictions")
	if schema == r.Predictions.Table || r.Model.Version == "" {
		return errors.New("the notebooks did not say which model and table they wrote")
	}
	r.Model.Name = schema + ".late_arrival"
	r.URLs["mlflow"] = d.Client.URL + "/mlflow/"
	if err := d.model(ctx, r); err != nil {
		return fmt.Errorf("read the model: %w", err)
	}
	if err := d.predictions(ctx, r); err != nil {
		return fmt.Errorf("read the predictions: %w", err)
	}
	return r.complete()
}

type modelVersion struct {
	Version wherry.Int64 `json:"version"`
	RunID   string       `json:"run_id"`
	Aliases []struct {
		Name string `json:"alias_name"`
	} `json:"aliases"`
}

func (d *Demo) model(ctx context.Context, r *Report) error {
	base := "/api/2.1/unity-catalog/models/" + url.PathEscape(r.Model.Name)
	var v modelVersion
	if err := d.Client.Do(ctx, "GET", base+"/versions/"+r.Model.Version+"?include_aliases=true", nil, &v); err != nil {
		return err
	}
	for _, a := range v.Aliases {
		r.Model.Aliases = append(r.Model.Aliases, a.Name)
	}
	var champion modelVersion
	if err := d.Client.Do(ctx, "GET", base+"/aliases/champion", nil, &champion); err != nil {
		return err
	}
	var err error
	if r.Metrics, err = d.metrics(ctx, v.RunID); err != nil || v.Version == 1 {
		return err
	}
	var before modelVersion
	if err := d.Client.Do(ctx, "GET", fmt.Sprintf("%s/versions/%d", base, v.Version-1), nil, &before); err != nil {
		return err
	}
	r.Previous, err = d.metrics(ctx, before.RunID)
	return err
}

// metrics are the validation metrics of an MLflow run.
func (d *Demo) metrics(ctx context.Context, runID string) (map[string]float64, error) {
	var out struct {
		Run struct {
			Data struct {
				Metrics []struct {
					Key   string  `json:"key"`
					Value float64 `json:"value"`
				} `json:"metrics"`
			} `json:"data"`
		} `json:"run"`
	}
	if err := d.Client.Do(ctx, "GET", "/api/2.0/mlflow/runs/get?run_id="+runID, nil, &out); err != nil {
		return nil, err
	}
	metrics := map[string]float64{}
	for _, m := range out.Run.Data.Metrics {
		if strings.HasPrefix(m.Key, "val_") {
			metrics[m.Key] = m.Value
		}
	}
	return metrics, nil
}

// predictions reads five rows of this run, on the cluster that the job used,
// and traces the first.
func (d *Demo) predictions(ctx context.Context, r *Report) error {
	var job struct {
		Job struct {
			Clusters []struct {
				Spec json.RawMessage `json:"new_cluster"`
			} `json:"job_clusters"`
		} `json:"settings"`
	}
	var of struct {
		JobID int64 `json:"job_id"`
	}
	if err := d.Client.Do(ctx, "GET", "/api/2.2/jobs/runs/get?run_id="+strconv.FormatInt(r.RunID, 10), nil, &of); err != nil {
		return err
	}
	if err := d.Client.Do(ctx, "GET", "/api/2.2/jobs/get?job_id="+strconv.FormatInt(of.JobID, 10), nil, &job); err != nil {
		return err
	}
	var cluster json.RawMessage
	if len(job.Job.Clusters) > 0 {
		cluster = job.Job.Clusters[0].Spec
	}
	found, err := rows.Find(ctx, d.Client, r.Predictions.Table, fmt.Sprintf("run_id = '%d'", r.RunID), 5, cluster)
	if err != nil || len(found) == 0 {
		return errors.Join(err, errIf(len(found) == 0, "the table holds no row of this run"))
	}
	for _, row := range found {
		r.Predictions.Sample = append(r.Predictions.Sample, row.Values)
	}
	answer, err := rows.Trace(ctx, d.Client, r.Predictions.Table, found[0])
	if err != nil {
		return err
	}
	for _, n := range answer.Graph.Nodes {
		r.Trace = append(r.Trace, n.Ref)
	}
	r.Tree = answer.Graph.AsTree(true)
	return nil
}

func errIf(wrong bool, message string) error {
	if wrong {
		return errors.New(message)
	}
	return nil
}

// complete fails if a part of the story is missing.
func (r *Report) complete() error {
	missing := unreached(r.Trace, []string{graph.TableVersion, graph.TaskRun, graph.JobRun, graph.Deployment, graph.Commit, graph.ModelVersion, graph.MLflowRun})
	switch {
	case len(missing) > 0:
		return fmt.Errorf("the trace of a prediction does not reach: %s", strings.Join(missing, ", "))
	case len(r.Predictions.Sample) == 0 || r.Predictions.Rows == 0:
		return errors.New("there are no predictions")
	case len(r.Metrics) == 0:
		return errors.New("the model's run has no validation metrics")
	}
	return nil
}
