// Package local runs workflows on a working tree, without a server: what
// `wherry ci run` does.
package local

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/workflow"
	"github.com/wherry-ml/wherry/workflow/action"
	"github.com/wherry-ml/wherry/workflow/runner"
)

// Options say what runs, and how.
type Options struct {
	Tree    *Tree
	Exe     string // this program
	Tools   action.Tools
	Secrets map[string]string
	Vars    map[string]string
	// Env is the whole environment of the jobs' processes, HOME excepted.
	Env []string
	// Only are keys of jobs; with what they need, they are all that runs. nil is
	// all jobs.
	Only []string
	// Jobs is how many run at once, 0 for one.
	Jobs int
	// Tell is called, by one goroutine at a time, with what happens.
	Tell func(Update)
}

// Update is one thing that happened in a run: a job began or ended, a step did,
// or a line was written.
type Update struct {
	Run  *workflow.Run
	Job  *workflow.Job
	Step *workflow.Step
	Line []byte
}

// Run runs one workflow to its end. Its jobs' folders are deleted.
func Run(ctx context.Context, w *workflow.Workflow, event workflow.Event, o Options) (*workflow.Run, error) {
	r := &workflow.Run{
		ID: time.Now().UnixMilli(), Repo: o.Tree.Name, Owner: o.Tree.Owner, Title: o.Tree.Subject, Event: event, Actor: o.Tree.Author,
		Number: 1, Attempt: 1, Vars: o.Vars, CreatedAt: time.Now().UnixMilli(), ServerURL: "https://github.com",
	}
	if err := w.Open(r); err != nil {
		return nil, err
	}
	only := closure(w, o.Only)
	p := &play{o: o, w: w, r: r, ended: make(chan *workflow.Job), locks: &sync.Mutex{}}
	defer p.hurry()()
	running := 0
	for {
		if ctx.Err() != nil {
			r.Cancel = true
		}
		if err := r.Advance(w, time.Now().UnixMilli()); err != nil {
			return r, err
		}
		for _, j := range r.Jobs {
			if j.State == workflow.Waiting { // nobody is here to approve, and nobody else to wait for
				j.State = workflow.Queued
			}
			if j.State == workflow.Queued && only != nil && !only[j.Key] {
				j.State, j.Conclusion = workflow.Completed, workflow.Skipped
			}
		}
		for _, j := range r.Startable() {
			if running >= max(1, o.Jobs) || p.hurried.Load() {
				break
			}
			running++
			j.State, j.StartedAt = workflow.Running, time.Now().UnixMilli()
			needs := runner.NeedsOf(r, w, j.Key)
			of := ctx
			if r.Cancel { // a job with always(), which begins yet
				of = context.WithoutCancel(ctx)
			}
			go func() { p.job(of, j, needs); p.ended <- j }()
		}
		if running > 0 {
			<-p.ended
			running--
			continue
		}
		if p.hurried.Load() {
			r.State, r.Conclusion = workflow.Completed, workflow.Cancelled
		}
		if r.State == workflow.Completed {
			return r, nil
		}
	}
}

// hurry ends at once what runs when a second signal comes: the first asks it to
// end, which may take its time.
func (p *play) hurry() (stop func()) {
	signals, done := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for range 2 {
			select {
			case <-signals:
			case <-done:
				return
			}
		}
		p.hurried.Store(true)
		sandbox.EndDescendants(func() {})
	}()
	return func() { signal.Stop(signals); close(done) }
}

// closure is the wanted jobs with all that they need; nil for all jobs.
func closure(w *workflow.Workflow, only []string) map[string]bool {
	if len(only) == 0 {
		return nil
	}
	all := map[string]bool{}
	for len(only) > 0 {
		key := only[0]
		only = append(only[1:], w.Needs(key)...)
		all[key] = true
	}
	return all
}

// play is one run on its way.
type play struct {
	o     Options
	w     *workflow.Workflow
	r     *workflow.Run
	ended chan *workflow.Job
	locks *sync.Mutex // around Tell
	// hurried: no job begins any more.
	hurried atomic.Bool
}

func (p *play) tell(u Update) {
	p.locks.Lock()
	defer p.locks.Unlock()
	u.Run = p.r
	if p.o.Tell != nil {
		p.o.Tell(u)
	}
}

// job runs one job in its own process and folder. What it changes of j nobody
// else reads until it has ended.
func (p *play) job(ctx context.Context, j *workflow.Job, needs map[string]runner.Need) {
	p.tell(Update{Job: j})
	conclusion, message := workflow.Failure, ""
	dir, err := os.MkdirTemp("", "wherry-ci-")
	if err == nil {
		defer removeAll(dir)
		conclusion, err = p.execute(ctx, j, needs, dir)
	}
	if err != nil {
		message = err.Error()
	}
	j.State, j.Conclusion, j.EndedAt = workflow.Completed, conclusion, time.Now().UnixMilli()
	if message != "" {
		j.Message = message
	}
	p.tell(Update{Job: j})
}

// removeAll deletes a folder of which steps may have made parts read-only.
func removeAll(dir string) {
	_ = filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(name, 0o700) //nolint:gosec // to be deleted
		}
		return nil
	})
	_ = os.RemoveAll(dir)
}

func (p *play) execute(ctx context.Context, j *workflow.Job, needs map[string]runner.Need, dir string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(j.Timeout())*time.Second)
	defer cancel()
	tools := p.o.Tools
	tools.Dir, tools.Exe, tools.Worktree, tools.SHA, tools.Ref, tools.Repository = dir, p.o.Exe, p.o.Tree.Root, p.r.Event.SHA, p.r.Event.Ref, p.r.Repository()
	run := *p.r
	run.Jobs = nil
	spec, err := json.Marshal(runner.Spec{
		Run: &run, Job: j, Text: p.w.Text(), Files: p.o.Tree.Files, Needs: needs, Secrets: p.o.Secrets, Vars: p.o.Vars,
		ServerURL: run.ServerURL, Tools: tools, Dir: dir, Exe: p.o.Exe,
	})
	if err != nil {
		return workflow.Failure, err
	}
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		return workflow.Failure, err
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return workflow.Failure, err
	}
	eventsRead, eventsWrite, err := os.Pipe()
	if err != nil {
		return workflow.Failure, errors.Join(err, outRead.Close(), outWrite.Close())
	}
	cmd := exec.CommandContext(ctx, p.o.Exe, "ci-job")
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Dir = bytes.NewReader(spec), outWrite, outWrite, dir
	cmd.Env = append(append([]string{}, p.o.Env...), "HOME="+home)
	cmd.ExtraFiles = []*os.File{eventsWrite}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = runner.Grace + settle
	err = cmd.Start()
	_, _ = outWrite.Close(), eventsWrite.Close()
	if err != nil {
		return workflow.Failure, errors.Join(err, outRead.Close(), eventsRead.Close())
	}
	if p.hurried.Load() { // it began while all others were ended
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	last := p.follow(j, outRead, eventsRead)
	err = cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind
	return conclude(ctx, j, last, err)
}

// settle is how long a job's process may take to say how it ended, once its time
// to end is over.
const settle = 15 * time.Second

// follow passes on what the process writes until it has closed both pipes: the
// events between the lines where they happened.
func (p *play) follow(j *workflow.Job, out, events io.ReadCloser) (last runner.Event) {
	var readers sync.WaitGroup
	read := &position{}
	read.more = sync.NewCond(&read.mu)
	readers.Go(func() {
		defer out.Close()
		defer read.move(1 << 62)
		lines := bufio.NewReaderSize(out, 64<<10)
		for {
			line, err := lines.ReadBytes('\n')
			if len(line) > 0 {
				p.tell(Update{Job: j, Line: bytes.TrimSuffix(line, []byte("\n"))})
				read.move(int64(len(line)))
			}
			if err != nil {
				return
			}
		}
	})
	readers.Go(func() {
		defer events.Close()
		decoder := json.NewDecoder(events)
		for {
			var e runner.Event
			if decoder.Decode(&e) != nil {
				return
			}
			switch e.Type {
			case "step":
				read.wait(max(e.Step.Offset, e.Step.End))
				j.Steps = workflow.Record(j.Steps, *e.Step)
				p.tell(Update{Job: j, Step: e.Step})
			case "job":
				last = e
			}
		}
	})
	readers.Wait()
	return last
}

// position is how far the output was read.
type position struct {
	mu   sync.Mutex
	more *sync.Cond
	at   int64
}

func (p *position) move(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at += n
	p.more.Broadcast()
}

func (p *position) wait(at int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.at < at {
		p.more.Wait()
	}
}

// conclude says how a job ended: as it said itself, or as its process did.
func conclude(ctx context.Context, j *workflow.Job, last runner.Event, err error) (string, error) {
	j.Outputs, j.EnvironmentURL, j.Message = last.Outputs, last.EnvironmentURL, last.Message
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return workflow.TimedOut, errors.New(j.Exceeded())
	case ctx.Err() != nil:
		return workflow.Cancelled, nil
	case last.Conclusion != "":
		return last.Conclusion, nil
	case err != nil:
		return workflow.Failure, fmt.Errorf("the job's process ended: %w", err)
	default:
		return workflow.Failure, errors.New("the job's process ended without a word")
	}
}
