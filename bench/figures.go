package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/wherry-ml/wherry/bundle/run"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/demo"
	"github.com/wherry-ml/wherry/examples"
	"github.com/wherry-ml/wherry/state"
)

// coldStart measures from the start of the process to the first good answer:
// in an empty directory, which makes database, keys and certificates, and in
// one that has been used.
func (b *bench) coldStart(ctx context.Context) error {
	var first, later []float64
	for i := range 5 {
		for again := range 3 {
			_, took, err := b.up(ctx, b.state(fmt.Sprintf("start%d", i)))
			if err != nil {
				return err
			}
			if err := b.stopServers(); err != nil {
				return err
			}
			if again == 0 {
				first = append(first, milliseconds(took))
			} else {
				later = append(later, milliseconds(took))
			}
		}
	}
	b.print("server start to /health 200, empty state directory", "ms", 0, first...)
	b.print("server cold start to /health 200", "ms", 150, later...)
	return nil
}

// idle measures the memory of a server that has nothing to do.
func (b *bench) idle(ctx context.Context) error {
	p, _, err := b.up(ctx, b.state("idle"))
	if err != nil {
		return err
	}
	select {
	case <-time.After(5 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	mb, err := pss(p.cmd.Process.Pid)
	if err != nil {
		return err
	}
	b.print("idle server, proportional set size", "MB", 60, mb)
	return nil
}

// chainLength is how many tasks the chain has.
const chainLength = 40

// tasks measures job runs on a warm cluster.
func (b *bench) tasks(ctx context.Context) error {
	c, err := b.connected(ctx, b.state("tasks"))
	if err != nil {
		return err
	}
	w := &warm{Client: c}
	if err := w.prepare(ctx); err != nil {
		return err
	}
	script := []any{w.task("one", "spark_python_task", map[string]any{"python_file": folder + "/one.py"})}
	var chain []any
	for i := range chainLength {
		task := w.task(fmt.Sprintf("t%d", i), "spark_python_task", map[string]any{"python_file": folder + "/one.py"})
		if i > 0 {
			task["depends_on"] = []any{map[string]any{"task_key": fmt.Sprintf("t%d", i-1)}}
		}
		chain = append(chain, task)
	}
	notebook := func(name string) []any {
		return []any{w.task("nb", "notebook_task", map[string]any{"notebook_path": folder + "/" + name})}
	}
	for _, f := range []struct {
		name  string
		n     int
		aim   float64
		tasks []any
	}{
		{"run-now to TERMINATED, spark_python of one line, warm cluster", b.repeat, 60, script},
		{"notebook of 10 trivial cells, warm cluster", b.repeat, 150, notebook("cells")},
		{"40-task chain of spark_python no-ops", max(b.repeat/4, 1), 2500, chain},
		{"notebook with spark.range(10).count(), warm cluster", b.repeat, 600, notebook("count")},
	} {
		values, err := w.time(ctx, f.tasks, f.n)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		b.print(f.name, "ms", f.aim, values...)
	}
	bare, err := sample(b.repeat, func() error { return exec.CommandContext(ctx, b.env.Python, "-c", "pass").Run() })
	if err != nil {
		return err
	}
	b.print("bare process: python -c pass", "ms", 0, bare...)
	return nil
}

const folder = "/Shared/bench"

// warm is a server with one cluster on which tasks have run.
type warm struct {
	*client.Client
	cluster string
}

// prepare uploads what the tasks run and creates their cluster.
func (w *warm) prepare(ctx context.Context) error {
	var cells strings.Builder
	cells.WriteString("# Databricks notebook source\n")
	for i := range 10 {
		if i > 0 {
			cells.WriteString("\n# COMMAND ----------\n\n")
		}
		fmt.Fprintf(&cells, "x%d = %d + 1\nprint(x%[1]d)\n", i, i)
	}
	if err := w.Do(ctx, "POST", "/api/2.0/workspace/mkdirs", map[string]any{"path": folder}, nil); err != nil {
		return err
	}
	for name, source := range map[string]string{
		"one.py": "print(1)\n", "cells": cells.String(), "count": "# Databricks notebook source\nspark.range(10).count()\n",
	} {
		in := map[string]any{"path": folder + "/" + name, "content": base64.StdEncoding.EncodeToString([]byte(source)), "overwrite": true, "format": "AUTO"}
		if !strings.HasSuffix(name, ".py") {
			in["format"], in["language"] = "SOURCE", "PYTHON"
		}
		if err := w.Do(ctx, "POST", "/api/2.0/workspace/import", in, nil); err != nil {
			return err
		}
	}
	var cluster struct {
		ID string `json:"cluster_id"`
	}
	spec := map[string]any{"cluster_name": "bench", "spark_version": "17.3.x-scala2.13", "node_type_id": "Standard_DS3_v2", "num_workers": 0}
	if err := w.Do(ctx, "POST", "/api/2.0/clusters/create", spec, &cluster); err != nil {
		return err
	}
	w.cluster = cluster.ID
	return w.warm(ctx)
}

// warmUp is how long a new cluster is kept at work before anything is measured:
// its zygote runs tasks at once and goes on importing libraries meanwhile.
const warmUp = 25 * time.Second

func (w *warm) warm(ctx context.Context) error {
	for started := time.Now(); time.Since(started) < warmUp; {
		task := w.task("one", "spark_python_task", map[string]any{"python_file": folder + "/one.py"})
		if _, err := w.time(ctx, []any{task}, 1); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	return nil
}

func (w *warm) task(key, kind string, what map[string]any) map[string]any {
	return map[string]any{"task_key": key, "existing_cluster_id": w.cluster, kind: what}
}

// time makes a job of tasks, runs it until it is warm, and then n times. A time
// is from before run-now is called until a client sees that the run has ended.
func (w *warm) time(ctx context.Context, tasks []any, n int) ([]float64, error) {
	var job struct {
		ID int64 `json:"job_id"`
	}
	if err := w.Do(ctx, "POST", "/api/2.2/jobs/create", map[string]any{"name": "bench", "tasks": tasks}, &job); err != nil {
		return nil, err
	}
	once := func() error {
		id, err := run.Start(ctx, w.Client, job.ID, run.Options{})
		if err != nil {
			return err
		}
		return w.ended(ctx, id)
	}
	for range 3 {
		if err := once(); err != nil {
			return nil, err
		}
	}
	return sample(n, once)
}

// ended waits until a run has ended well. It looks every 4 ms at first and
// more seldom later, as looking costs time too: a time is 2 % too long at most.
func (w *warm) ended(ctx context.Context, id int64) error {
	for started := time.Now(); ; {
		var r struct {
			State struct {
				LifeCycle string `json:"life_cycle_state"`
				Result    string `json:"result_state"`
				Message   string `json:"state_message"`
			} `json:"state"`
		}
		if err := w.Do(ctx, "GET", fmt.Sprintf("/api/2.2/jobs/runs/get?run_id=%d", id), nil, &r); err != nil {
			return err
		}
		switch {
		case r.State.Result == "SUCCESS":
			return nil
		case r.State.Result != "" || r.State.LifeCycle == "INTERNAL_ERROR":
			return fmt.Errorf("run %d: %+v", id, r.State)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(max(4*time.Millisecond, time.Since(started)/40), 50*time.Millisecond)):
		}
	}
}

// deploys measures `wherry bundle deploy` of the flights example when nothing
// has changed: the whole command.
func (b *bench) deploys(ctx context.Context) error {
	dir := b.state("deploys")
	if _, err := b.connected(ctx, dir); err != nil {
		return err
	}
	projects := filepath.Join(b.dir, "projects")
	if err := os.CopyFS(projects, examples.Flights); err != nil {
		return err
	}
	project := filepath.Join(projects, "flights")
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch", "main"},
		{"add", "--all"},
		{"-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgsign=false", "commit", "--quiet", "--message", "Flights"},
	} {
		if out, err := exec.CommandContext(ctx, "git", append([]string{"-C", project}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("git %v: %w\n%s", args, err, out)
		}
	}
	deploy := func() error {
		out, err := exec.CommandContext(ctx, b.wherry, "bundle", "deploy", "--state", string(dir), "--dir", project).CombinedOutput()
		if err != nil {
			return fmt.Errorf("bundle deploy: %w\n%s", err, out)
		}
		return nil
	}
	first, err := sample(1, deploy)
	if err != nil {
		return err
	}
	b.print("first bundle deploy of examples/flights", "ms", 0, first...)
	again, err := sample(10, deploy)
	if err != nil {
		return err
	}
	b.print("no-op bundle deploy of examples/flights", "ms", 200, again...)
	return b.deployFiles(ctx, dir)
}

// deployedFiles is how many files a deploy of many changed files has.
const deployedFiles = 200

// deployFiles measures deploys of a bundle in which every file changed.
func (b *bench) deployFiles(ctx context.Context, dir state.Dir) error {
	project := filepath.Join(b.dir, "files")
	if err := os.MkdirAll(filepath.Join(project, "src"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(project, "databricks.yml"), []byte("bundle: {name: files}\n"), 0o644); err != nil {
		return err
	}
	var values []float64
	for round := range 5 {
		for i := range deployedFiles {
			text := strings.Repeat(fmt.Sprintf("x%d = %d\n", i, round), 200)
			if err := os.WriteFile(filepath.Join(project, "src", fmt.Sprintf("f%d.py", i)), []byte(text), 0o644); err != nil {
				return err
			}
		}
		started := time.Now()
		out, err := exec.CommandContext(ctx, b.wherry, "bundle", "deploy", "--state", string(dir), "--dir", project).CombinedOutput()
		if err != nil {
			return fmt.Errorf("bundle deploy: %w\n%s", err, out)
		}
		values = append(values, milliseconds(time.Since(started)))
	}
	b.print(fmt.Sprintf("bundle deploy of %d changed files", deployedFiles), "ms", 2000, values...)
	return nil
}

// demo measures the whole demo, as the command that users type: with warm
// caches in an empty state directory, and once more in the same; then its tasks
// in one plain process.
func (b *bench) demo(ctx context.Context) error {
	dir := b.state("demo")
	var first float64 // seconds that the tasks took
	for _, name := range []string{"whole demo, empty state directory, warm caches", "whole demo, the second time"} {
		c := exec.CommandContext(ctx, b.wherry, "demo", "--state", string(dir), "--json")
		c.Stderr = os.Stderr
		started := time.Now()
		out, err := c.Output()
		took := time.Since(started)
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		var r demo.Report
		if err := json.Unmarshal(out, &r); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		b.print(name, "s", 60, took.Seconds())
		var execution, setup int64
		for _, t := range r.Tasks {
			execution += t.ExecutionMS
			setup += t.SetupMS
		}
		b.print(name+": sum of execution_ms", "s", 0, float64(execution)/1000)
		b.print(name+": sum of setup_ms", "s", 0, float64(setup)/1000)
		if first == 0 {
			first = float64(execution) / 1000
		}
	}
	return b.oneProcess(ctx, dir, first)
}
