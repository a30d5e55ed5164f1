package main

import (
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/state"
)

//go:embed one_process.py
var oneProcessSource string

// oneProcess runs the tasks of the demo's job in one plain Python process, on
// a cluster of the same settings in the demo's own state directory, and prints
// what they cost there, and how much more execution_ms, their sum as the demo's
// tasks, is.
func (b *bench) oneProcess(ctx context.Context, dir state.Dir, execution float64) error {
	c, err := b.connected(ctx, dir)
	if err != nil {
		return err
	}
	var job struct {
		Settings struct {
			JobClusters []struct {
				NewCluster json.RawMessage `json:"new_cluster"`
			} `json:"job_clusters"`
		} `json:"settings"`
	}
	if err := c.Do(ctx, "GET", "/api/2.2/jobs/get?job_id=1", nil, &job); err != nil {
		return err
	}
	const path = "/Shared/one_process"
	if err := c.Do(ctx, "POST", "/api/2.0/workspace/import", map[string]any{
		"path": path, "content": base64.StdEncoding.EncodeToString([]byte(oneProcessSource)), "overwrite": true, "format": "SOURCE", "language": "PYTHON",
	}, nil); err != nil {
		return err
	}
	var spent map[string]float64
	if err := runNotebook(ctx, c, path, job.Settings.JobClusters[0].NewCluster, &spent); err != nil {
		return err
	}
	var sum float64
	for _, ms := range spent {
		sum += ms / 1000
	}
	b.print("the demo's tasks in one plain Python process, Spark started", "s", 0, sum)
	b.print("whole demo: sum of execution_ms / that process", "ratio", 1.15, execution/sum)
	return nil
}

// runNotebook runs a notebook on a new cluster and reads what it exited with.
func runNotebook(ctx context.Context, c *client.Client, path string, cluster json.RawMessage, out any) error {
	var run struct {
		ID int64 `json:"run_id"`
	}
	task := map[string]any{"task_key": "all", "new_cluster": cluster, "notebook_task": map[string]any{"notebook_path": path}}
	if err := c.Do(ctx, "POST", "/api/2.2/jobs/runs/submit", map[string]any{"run_name": "one process", "tasks": []any{task}}, &run); err != nil {
		return err
	}
	for {
		var r struct {
			State struct {
				LifeCycle string `json:"life_cycle_state"`
				Result    string `json:"result_state"`
				Message   string `json:"state_message"`
			} `json:"state"`
			Tasks []struct {
				RunID int64 `json:"run_id"`
			} `json:"tasks"`
		}
		if err := c.Do(ctx, "GET", fmt.Sprintf("/api/2.2/jobs/runs/get?run_id=%d", run.ID), nil, &r); err != nil {
			return err
		}
		if r.State.Result != "" || r.State.LifeCycle == "INTERNAL_ERROR" {
			var output struct {
				Error    string `json:"error"`
				Notebook struct {
					Result string `json:"result"`
				} `json:"notebook_output"`
			}
			if err := c.Do(ctx, "GET", fmt.Sprintf("/api/2.2/jobs/runs/get-output?run_id=%d", r.Tasks[0].RunID), nil, &output); err != nil {
				return err
			}
			if r.State.Result != "SUCCESS" {
				return fmt.Errorf("%s: %+v: %s", path, r.State, output.Error)
			}
			return json.Unmarshal([]byte(output.Notebook.Result), out)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
