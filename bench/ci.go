package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/wherry-ml/wherry/workflow"
)

// ciWorkflow is the workflow of the generated project that is measured.
const ciWorkflow = "ci-build-test"

// ciRatio is how much longer than a shell a workflow may take.
const ciRatio = 1.3

// timing is how long one step took, in seconds.
type timing struct {
	name string
	took float64
}

// ci measures the project that `wherry init` writes: the commands of its
// ci-build-test typed in a shell, the same by `wherry ci run`, and by a push to a
// server. All install from the server's package index, and have their caches
// from a run before.
func (b *bench) ci(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, b.wherry, "init", "--yes", b.working("generated")).CombinedOutput(); err != nil {
		return fmt.Errorf("init: %w\n%s", err, out)
	}
	r, err := b.repository(ctx, "ci", "generated")
	if err != nil {
		return err
	}
	pip := []string{"PIP_CACHE_DIR=" + filepath.Join(b.dir, "pip"), "PIP_INDEX_URL=" + r.URL + "/pypi/simple/"}
	sides := []struct {
		name string
		run  func(sha string) ([]timing, error)
	}{
		{"typed in a shell", func(string) ([]timing, error) { return b.typed(ctx, r.dir, pip) }},
		{"by a push", func(sha string) ([]timing, error) { return r.pushed(ctx, sha) }},
		{"by wherry ci run", func(string) ([]timing, error) { return b.runLocally(ctx, r.dir, pip) }}, // with the shell's cache of pip
	}
	var shell float64
	for round, caches := range []string{"empty caches", "warm caches"} {
		sha, err := r.commit(ctx, fmt.Sprint("Round ", round))
		if err != nil {
			return err
		}
		for i, side := range sides[:2+round] {
			list, err := side.run(sha)
			if err != nil {
				return fmt.Errorf("%s: %w", side.name, err)
			}
			b.printSide(fmt.Sprintf("CI of the generated project %s, %s", side.name, caches), list)
			if i == 0 {
				shell = list[0].took
			} else if round > 0 {
				b.print(fmt.Sprintf("CI %s / typed in a shell, %s", side.name, caches), "ratio", ciRatio, list[0].took/shell)
			}
		}
	}
	return nil
}

// printSide prints the whole, which is the first of list, and each step.
func (b *bench) printSide(name string, list []timing) {
	b.print(name, "s", 0, list[0].took)
	for _, t := range list[1:] {
		b.print(name+": "+t.name, "s", 0, t.took)
	}
}

// runLocally is the workflow by `wherry ci run`.
func (b *bench) runLocally(ctx context.Context, repository string, pip []string) ([]timing, error) {
	c := exec.CommandContext(ctx, b.wherry, "ci", "run", ciWorkflow, "--output", "json", "--dir", repository, "--state", filepath.Join(b.dir, "ci"))
	c.Env = append(append(os.Environ(), pip...), "XDG_CACHE_HOME="+filepath.Join(b.dir, "cache"))
	var complaint bytes.Buffer
	c.Stderr = &complaint
	started := time.Now()
	out, err := c.Output()
	took := time.Since(started).Seconds()
	if err != nil {
		return nil, fmt.Errorf("ci run: %w\n%s%s", err, complaint.String(), out)
	}
	var answer struct {
		Runs []*workflow.Run `json:"runs"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("ci run: %w", err)
	}
	return timings(took, answer.Runs), nil
}

// pushed is the workflow by a push, from before `git push` until a client sees
// that the run has ended.
func (r *repository) pushed(ctx context.Context, sha string) ([]timing, error) {
	started := time.Now()
	if err := r.git(ctx, "push", "--quiet", "origin", "HEAD:ci"); err != nil {
		return nil, err
	}
	run, err := r.run(ctx, sha)
	if err != nil {
		return nil, err
	}
	if run, err = r.ended(ctx, run.ID); err != nil {
		return nil, err
	}
	return timings(time.Since(started).Seconds(), []*workflow.Run{run}), nil
}

func timings(all float64, runs []*workflow.Run) []timing {
	list := []timing{{"all", all}}
	for _, r := range runs {
		for _, j := range r.Jobs {
			for _, s := range j.Steps {
				list = append(list, timing{s.Name, float64(s.EndedAt-s.StartedAt) / 1000})
			}
		}
	}
	return list
}
