package main

import (
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/wherry-ml/wherry/bundle/run"
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
	var submitted struct {
		ID int64 `json:"run_id"`
	}
	task := map[string]any{"task_key": "all", "new_cluster": cluster, "notebook_task": map[string]any{"notebook_path": path}}
	if err := c.Do(ctx, "POST", "/api/2.2/jobs/runs/submit", map[string]any{"run_name": "one process", "tasks": []any{task}}, &submitted); err != nil {
		return err
	}
	r, err := run.Follow(ctx, c, submitted.ID, func(*run.Result) {})
	if err != nil {
		return err
	}
	if !r.Succeeded() {
		return fmt.Errorf("%s: %s: %s", path, r.State, r.Tasks[0].Error)
	}
	return json.Unmarshal([]byte(r.Tasks[0].Output), out)
}
