package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/workflow"
)

// trivial is a workflow whose first step has nothing to wait for.
const trivial = `on: push
jobs:
  hello:
    runs-on: ubuntu-latest
    steps:
      - name: Say hello
        run: echo hello
`

// pushes measures from the start of `git push` to the first line of the log of
// the first step, as a client sees it through the API, and where it goes.
func (b *bench) pushes(ctx context.Context) error {
	r, err := b.repository(ctx, "pushes", "trivial")
	if err != nil {
		return err
	}
	if err := r.write(map[string]string{workflow.Dir + "/hello.yml": trivial}); err != nil {
		return err
	}
	var stages []stage
	for i := range 12 {
		sha, err := r.commit(ctx, fmt.Sprint("Change ", i))
		if err != nil {
			return err
		}
		list, err := r.firstLine(ctx, sha)
		if err != nil {
			return err
		}
		if i < 2 { // the first ones fill caches of files
			continue
		}
		for n, s := range list {
			if n == len(stages) {
				stages = append(stages, stage{name: s.name, aim: s.aim})
			}
			stages[n].took = append(stages[n].took, s.took...)
		}
	}
	for _, s := range stages {
		b.print(s.name, "ms", s.aim, s.took...)
	}
	return nil
}

// stage is a figure on its way.
type stage struct {
	name string
	aim  float64
	took []float64
}

// repository is a working folder whose origin is a server.
type repository struct {
	*client.Client
	name, dir string
}

// working is the working folder of a repository.
func (b *bench) working(name string) string { return filepath.Join(b.dir, "repositories", name) }

// repository starts a server in a state directory and makes a repository on it,
// whose working folder is made if it is not there.
func (b *bench) repository(ctx context.Context, at, name string) (*repository, error) {
	c, err := b.connected(ctx, b.state(at))
	if err != nil {
		return nil, err
	}
	r := &repository{c, name, b.working(name)}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return nil, err
	}
	if err := c.Do(ctx, "POST", "/api/wherry/repos", map[string]any{"name": name}, nil); err != nil {
		return nil, err
	}
	token, err := os.ReadFile(b.state(at).Path("admin-token"))
	if err != nil {
		return nil, err
	}
	url := strings.Replace(c.URL, "://", "://git:"+strings.TrimSpace(string(token))+"@", 1) + "/git/" + name + ".git"
	return r, errors.Join(r.git(ctx, "init", "--quiet", "--initial-branch", "main"), r.git(ctx, "remote", "add", "origin", url))
}

func (r *repository) git(ctx context.Context, args ...string) error {
	_, err := r.ask(ctx, args...)
	return err
}

func (r *repository) ask(ctx context.Context, args ...string) (string, error) {
	args = append([]string{"-C", r.dir, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgsign=false", "-c", "gc.auto=0"}, args...)
	c := exec.CommandContext(ctx, "git", args...)
	var complaint bytes.Buffer
	c.Stderr = &complaint
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("git %v: %w\n%s", args, err, complaint.String())
	}
	return strings.TrimSpace(string(out)), nil
}

func (r *repository) write(files map[string]string) error {
	for name, text := range files {
		name = filepath.Join(r.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			return err
		}
	}
	return nil
}

// commit commits all that is there, and returns the commit.
func (r *repository) commit(ctx context.Context, message string) (string, error) {
	if err := errors.Join(r.git(ctx, "add", "--all"), r.git(ctx, "commit", "--quiet", "--allow-empty", "--message", message)); err != nil {
		return "", err
	}
	return r.ask(ctx, "rev-parse", "HEAD")
}

// firstLine pushes a commit and waits for the first line of its run's log.
func (r *repository) firstLine(ctx context.Context, sha string) ([]stage, error) {
	started := time.Now()
	since := func(ms int64) float64 { return float64(ms) - float64(started.UnixMicro())/1000 }
	pushed := make(chan error, 1)
	var push time.Duration
	go func() {
		err := r.git(ctx, "push", "--quiet", "origin", "HEAD:main")
		push = time.Since(started)
		pushed <- err
	}()
	run, err := r.run(ctx, sha)
	if err != nil {
		return nil, err
	}
	for len(run.Jobs) == 0 || run.Jobs[0].State == workflow.Queued {
		if run, err = r.look(ctx, run.ID); err != nil {
			return nil, err
		}
	}
	job := run.Jobs[0]
	for seen := false; !seen; {
		if seen, err = r.hasLine(ctx, run.ID, job.ID); err != nil {
			return nil, err
		}
	}
	took := milliseconds(time.Since(started))
	if run, err = r.ended(ctx, run.ID); err != nil {
		return nil, err
	}
	if err := <-pushed; err != nil {
		return nil, err
	}
	job = run.Jobs[0]
	if len(job.Steps) == 0 {
		return nil, fmt.Errorf("run %d has no steps: %s", run.ID, job.Message)
	}
	return []stage{
		{"push → first line of the first step", 1500, []float64{took}},
		{"push → git push has ended", 0, []float64{milliseconds(push)}},
		{"push → the run is stored", 0, []float64{since(run.CreatedAt)}},
		{"push → its job is given to compute", 0, []float64{since(job.StartedAt)}},
		{"push → its first step begins", 0, []float64{since(job.Steps[0].StartedAt)}},
		{"push → the job has ended", 0, []float64{since(job.EndedAt)}},
	}, nil
}

// look asks for a run, not too often: to ask costs time too.
func (r *repository) look(ctx context.Context, id int64) (*workflow.Run, error) {
	run := &workflow.Run{}
	if err := wait(ctx); err != nil {
		return nil, err
	}
	return run, r.Do(ctx, "GET", fmt.Sprintf("/api/wherry/ci/runs/%d", id), nil, run)
}

// wait is the time between two questions.
func wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Millisecond):
		return nil
	}
}

// run waits for the run of a commit.
func (r *repository) run(ctx context.Context, sha string) (*workflow.Run, error) {
	for {
		var list struct {
			Runs []*workflow.Run `json:"runs"`
		}
		if err := r.Do(ctx, "GET", "/api/wherry/ci/runs?repo="+r.name+"&sha="+sha, nil, &list); err != nil {
			return nil, err
		}
		if len(list.Runs) > 0 {
			return list.Runs[0], nil
		}
		if err := wait(ctx); err != nil {
			return nil, err
		}
	}
}

// ended waits for the end of a run, which must be good.
func (r *repository) ended(ctx context.Context, id int64) (*workflow.Run, error) {
	for {
		run, err := r.look(ctx, id)
		if err != nil {
			return nil, err
		}
		if run.State != workflow.Completed {
			continue
		}
		if run.Conclusion != workflow.Success {
			return nil, fmt.Errorf("run %d of %s ended as %s: %s", id, r.name, run.Conclusion, run.Message)
		}
		return run, nil
	}
}

func (r *repository) hasLine(ctx context.Context, run, job int64) (bool, error) {
	if err := wait(ctx); err != nil {
		return false, err
	}
	res, err := r.Send(ctx, "GET", fmt.Sprintf("/api/wherry/ci/runs/%d/jobs/%d/log", run, job), nil, 0)
	if err != nil {
		return false, err
	}
	text, err := io.ReadAll(res.Body)
	return bytes.IndexByte(text, '\n') >= 0, errors.Join(err, res.Body.Close())
}
