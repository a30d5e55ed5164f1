// Package run starts a job of a deployed bundle and follows it to its end.
package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle/config"
	"github.com/wherry-ml/wherry/client"
)

// Options is what a run is started with.
type Options struct {
	// Parameters are job parameters; for a job that declares none they are its
	// notebooks' parameters.
	Parameters map[string]string
	// OfTasks are parameters for a kind of task, by their field of run-now, as
	// notebook_params; jobs that declare parameters take none.
	OfTasks map[string]any
	Only    []string // task keys, "+a" with what is above, "a+" with what is below
	// Restart cancels the job's runs that are going on, and waits for their end.
	Restart bool
}

// Start starts a run of a job and returns its id.
func Start(ctx context.Context, c *client.Client, jobID int64, opts Options) (int64, error) {
	in := map[string]any{"job_id": jobID}
	maps.Copy(in, opts.OfTasks)
	if len(opts.Only) > 0 {
		in["only"] = opts.Only
	}
	if len(opts.Parameters) > 0 {
		declared, err := declaredParameters(ctx, c, jobID)
		if err != nil {
			return 0, err
		}
		kind := "notebook_params"
		if len(declared) > 0 {
			kind = "job_parameters"
			if err := known(opts.Parameters, declared); err != nil {
				return 0, err
			}
		}
		in[kind] = opts.Parameters
	}
	if opts.Restart {
		if err := endRuns(ctx, c, jobID); err != nil {
			return 0, err
		}
	}
	var out struct {
		RunID int64 `json:"run_id"`
	}
	return out.RunID, c.Do(ctx, "POST", "/api/2.2/jobs/run-now", in, &out)
}

// declaredParameters are the names of a job's parameters, which the server
// gives in pages.
func declaredParameters(ctx context.Context, c *client.Client, jobID int64) (names []string, err error) {
	for token := ""; ; {
		var job struct {
			Settings struct {
				Parameters []struct {
					Name string `json:"name"`
				} `json:"parameters"`
			} `json:"settings"`
			Next string `json:"next_page_token"`
		}
		if err := c.Do(ctx, "GET", fmt.Sprintf("/api/2.2/jobs/get?job_id=%d&page_token=%s", jobID, url.QueryEscape(token)), nil, &job); err != nil {
			return nil, err
		}
		for _, p := range job.Settings.Parameters {
			names = append(names, p.Name)
		}
		if token = job.Next; token == "" {
			return names, nil
		}
	}
}

// known tells of a parameter that the job does not declare: it would reach no
// task.
func known(given map[string]string, declared []string) error {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if slices.Contains(declared, name) {
			continue
		}
		if near := config.Nearest(name, declared); near != "" {
			return fmt.Errorf("the job has no parameter %q: did you mean %q?", name, near)
		}
		return fmt.Errorf("the job has no parameter %q: it has %s", name, strings.Join(declared, ", "))
	}
	return nil
}

// endRuns cancels a job's runs and waits until none is going on.
func endRuns(ctx context.Context, c *client.Client, jobID int64) error {
	if err := c.Do(ctx, "POST", "/api/2.2/jobs/runs/cancel-all", map[string]any{"job_id": jobID}, nil); err != nil {
		return err
	}
	for {
		active, err := Active(ctx, c, jobID)
		if err != nil || len(active) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of run %d: %w", active[0], ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Active are the newest of a job's runs that go on, none if it is idle.
func Active(ctx context.Context, c *client.Client, jobID int64) (ids []int64, err error) {
	var out struct {
		Runs []struct {
			RunID int64 `json:"run_id"`
		} `json:"runs"`
	}
	err = c.Do(ctx, "GET", fmt.Sprintf("/api/2.2/jobs/runs/list?job_id=%d&active_only=true", jobID), nil, &out)
	for _, r := range out.Runs {
		ids = append(ids, r.RunID)
	}
	return ids, err
}

// Result is how a run ended.
type Result struct {
	RunID     int64  `json:"run_id"`
	JobID     int64  `json:"job_id"`
	State     string `json:"result_state"`
	Message   string `json:"state_message,omitempty"`
	PageURL   string `json:"run_page_url,omitempty"`
	StartTime int64  `json:"start_time"` // ms
	EndTime   int64  `json:"end_time"`
	Tasks     []Task `json:"tasks"`
	LifeCycle string `json:"life_cycle_state"`
	finished  bool
}

// Task is one task of a run, its last attempt.
type Task struct {
	Key         string `json:"task_key"`
	RunID       int64  `json:"run_id"`
	LifeCycle   string `json:"life_cycle_state"`
	State       string `json:"result_state,omitempty"`
	Message     string `json:"state_message,omitempty"`
	Attempt     int    `json:"attempt_number"`
	SetupMS     int64  `json:"setup_ms"`
	ExecutionMS int64  `json:"execution_ms"`
	StartTime   int64  `json:"start_time"`
	EndTime     int64  `json:"end_time"`
	// Output is dbutils.notebook.exit's value, or the end of a script's output.
	Output string `json:"output,omitempty"`
	Error  string `json:"error,omitempty"`
	Trace  string `json:"error_trace,omitempty"`
}

// Succeeded tells whether the run counts as a success.
func (r *Result) Succeeded() bool {
	return r.State == wherry.ResultSuccess || r.State == wherry.ResultSuccessWithFailures
}

// Failure is why a run did not succeed: its own words and those of its tasks.
func (r *Result) Failure() error {
	word := r.State
	if word == "" {
		word = r.LifeCycle
	}
	message := fmt.Sprintf("run %d ended as %s", r.RunID, word)
	if r.Message != "" {
		message += ": " + r.Message
	}
	for _, t := range r.Tasks {
		if t.Error != "" {
			message += fmt.Sprintf("\ntask %s: %s", t.Key, t.Error)
		}
		if t.Trace != "" {
			message += "\n" + strings.TrimRight(t.Trace, "\n")
		}
	}
	return errors.New(message)
}

type stateView struct {
	LifeCycle string `json:"life_cycle_state"`
	Result    string `json:"result_state"`
	Message   string `json:"state_message"`
}

type runView struct {
	RunID   int64     `json:"run_id"`
	JobID   int64     `json:"job_id"`
	State   stateView `json:"state"`
	PageURL string    `json:"run_page_url"`
	Start   int64     `json:"start_time"`
	End     int64     `json:"end_time"`
	Tasks   []struct {
		RunID     int64     `json:"run_id"`
		Key       string    `json:"task_key"`
		State     stateView `json:"state"`
		Attempt   int       `json:"attempt_number"`
		Setup     int64     `json:"setup_duration"`
		Execution int64     `json:"execution_duration"`
		Start     int64     `json:"start_time"`
		End       int64     `json:"end_time"`
	} `json:"tasks"`
	Next string `json:"next_page_token"`
}

// Get returns a run as it is now.
func Get(ctx context.Context, c *client.Client, id int64) (*Result, error) {
	r := &Result{}
	token := ""
	for {
		var v runView
		if err := c.Do(ctx, "GET", fmt.Sprintf("/api/2.2/jobs/runs/get?run_id=%d&page_token=%s", id, url.QueryEscape(token)), nil, &v); err != nil {
			return nil, err
		}
		r.RunID, r.JobID, r.State, r.Message, r.PageURL, r.StartTime, r.EndTime = v.RunID, v.JobID, v.State.Result, v.State.Message, v.PageURL, v.Start, v.End
		r.LifeCycle = v.State.LifeCycle
		r.finished = terminal(v.State.LifeCycle)
		for _, t := range v.Tasks {
			task := Task{Key: t.Key, RunID: t.RunID, LifeCycle: t.State.LifeCycle, State: t.State.Result, Message: t.State.Message, Attempt: t.Attempt, SetupMS: t.Setup, ExecutionMS: t.Execution, StartTime: t.Start, EndTime: t.End}
			i := slices.IndexFunc(r.Tasks, func(o Task) bool { return o.Key == t.Key })
			switch {
			case i < 0:
				r.Tasks = append(r.Tasks, task)
			case t.Attempt >= r.Tasks[i].Attempt:
				r.Tasks[i] = task
			}
		}
		if token = v.Next; token == "" {
			return r, nil
		}
	}
}

func terminal(lifeCycle string) bool {
	return lifeCycle == "TERMINATED" || lifeCycle == "SKIPPED" || lifeCycle == "INTERNAL_ERROR"
}

// Word is a task's state in one word.
func (t *Task) Word() string {
	if t.State != "" {
		return t.State
	}
	return t.LifeCycle
}

// poll is how often a run is looked at: often at first, for short runs.
const (
	pollMin = 50 * time.Millisecond
	pollMax = 500 * time.Millisecond
)

// away is how long Follow waits for a server that does not answer: a restart
// takes a fraction of it, and the run goes on meanwhile.
const away = time.Minute

// Follow looks at a run until it has ended, calling see after each look, and
// fetches the outputs. It stops looking when ctx ends; the run goes on. A
// server that is away for less than a minute is waited for.
func Follow(ctx context.Context, c *client.Client, id int64, see func(*Result)) (*Result, error) {
	wait := pollMin
	for {
		var r *Result
		err := patiently(ctx, func() (err error) {
			r, err = Get(ctx, c, id)
			return err
		})
		if err != nil {
			return nil, err
		}
		see(r)
		if r.finished {
			return r, patiently(ctx, func() error { return outputs(ctx, c, r) })
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(wait):
		}
		wait = min(wait*5/4, pollMax)
	}
}

// patiently repeats a read as long as the server cannot be reached.
func patiently(ctx context.Context, read func() error) error {
	for deadline := time.Now().Add(away); ; {
		err := read()
		if !unreachable(err) || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollMax):
		}
	}
}

// unreachable tells an answer that did not come, or was cut off, from one that
// says no.
func unreachable(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// outputs fetches what the tasks that ran gave back.
func outputs(ctx context.Context, c *client.Client, r *Result) error {
	for i := range r.Tasks {
		t := &r.Tasks[i]
		if t.StartTime == 0 || t.LifeCycle == "SKIPPED" {
			continue
		}
		var out struct {
			Notebook struct {
				Result string `json:"result"`
			} `json:"notebook_output"`
			Logs  string `json:"logs"`
			Error string `json:"error"`
			Trace string `json:"error_trace"`
		}
		err := c.Do(ctx, "GET", fmt.Sprintf("/api/2.2/jobs/runs/get-output?run_id=%d", t.RunID), nil, &out)
		if wherry.CodeOf(err) == wherry.CodeInvalidParameter { // a task without output
			continue
		}
		if err != nil {
			return err
		}
		t.Output, t.Error, t.Trace = out.Notebook.Result, out.Error, out.Trace
		if t.Output == "" {
			t.Output = out.Logs
		}
	}
	return nil
}

// Tail follows a run to its end and shows it on out: a table that changes if
// live is set, for a terminal, else a line for each change.
func Tail(ctx context.Context, c *client.Client, id int64, out io.Writer, live bool) (*Result, error) {
	show := lines(out)
	if live {
		show = table(out)
	}
	r, err := Follow(ctx, c, id, show)
	if r == nil || err != nil {
		return r, err
	}
	report(out, r, live)
	return r, nil
}

// lines prints a line for each change of a task; what its message has said
// already is not said again.
func lines(out io.Writer) func(*Result) {
	seen, said := map[string]string{}, map[string]bool{}
	return func(r *Result) {
		for _, t := range r.Tasks {
			var news []string
			for note := range strings.SplitSeq(t.Message, "; ") {
				if key := t.Key + " " + note; note != "" && !said[key] && !terminal(t.LifeCycle) {
					said[key] = true
					news = append(news, note)
				}
			}
			if terminal(t.LifeCycle) {
				news = []string{Duration(t.SetupMS + t.ExecutionMS)}
			}
			if seen[t.Key] == t.Word() && (len(news) == 0 || terminal(t.LifeCycle)) || t.LifeCycle == "BLOCKED" && seen[t.Key] == "" {
				continue
			}
			seen[t.Key] = t.Word()
			fmt.Fprintf(out, "%s %s: %s\n", time.Now().Format("15:04:05"), t.Key, strings.TrimSpace(t.Word()+" "+strings.Join(news, "; ")))
		}
	}
}

// table draws all tasks anew over the last drawing.
func table(out io.Writer) func(*Result) {
	drawn := 0
	return func(r *Result) {
		var b strings.Builder
		if drawn > 0 {
			fmt.Fprintf(&b, "\x1b[%dA", drawn)
		}
		drawn = 0
		width := 0
		for _, t := range r.Tasks {
			width = max(width, len(t.Key))
		}
		for _, t := range r.Tasks {
			spent := t.SetupMS + t.ExecutionMS
			if t.StartTime > 0 && !terminal(t.LifeCycle) {
				spent = time.Now().UnixMilli() - t.StartTime
			}
			message := t.Message
			if len(message) > 60 {
				message = message[:60]
			}
			if terminal(t.LifeCycle) {
				message = ""
			}
			fmt.Fprintf(&b, "\x1b[2K  %s %-*s  %-18s %8s  %s\n", mark(&t), width, t.Key, t.Word(), Duration(spent), strings.ReplaceAll(message, "\n", " "))
			drawn++
		}
		io.WriteString(out, b.String()) //nolint:errcheck // a terminal that went away
	}
}

func mark(t *Task) string {
	switch {
	case t.State == wherry.ResultSuccess:
		return "\x1b[32m✓\x1b[0m"
	case t.State != "" && t.State != wherry.ResultExcluded:
		return "\x1b[31m✗\x1b[0m"
	case t.LifeCycle == "RUNNING":
		return "\x1b[36m●\x1b[0m"
	}
	return "·"
}

// Duration writes milliseconds for people: "1.2 s", "3 min 4 s"; "" for 0.
func Duration(ms int64) string {
	switch {
	case ms <= 0:
		return ""
	case ms < 60_000:
		return fmt.Sprintf("%.1f s", float64(ms)/1000)
	}
	return fmt.Sprintf("%d min %d s", ms/60_000, ms%60_000/1000)
}

// outputLines is how much of a script's output is shown.
const outputLines = 30

// escapes are what terminals take as colours, moves and links (ECMA-48's CSI
// and OSC sequences).
var escapes = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\))")

// report shows outputs, errors and the result of a run that ended; colours that
// tasks wrote are for terminals only.
func report(out io.Writer, r *Result, colour bool) {
	plain := func(text string) string {
		if !colour {
			text = escapes.ReplaceAllString(text, "")
		}
		return text
	}
	tail := func(text string) string { return lastLines(plain(text), outputLines) }
	for _, t := range r.Tasks {
		if t.Output != "" {
			fmt.Fprintf(out, "\n── %s\n%s\n", t.Key, tail(t.Output))
		}
		if t.Error == "" && t.State == wherry.ResultFailed {
			t.Error = t.Message
		}
		if t.Error != "" {
			fmt.Fprintf(out, "\n── %s failed: %s\n", t.Key, plain(t.Error))
			if t.Trace != "" {
				fmt.Fprintln(out, tail(t.Trace))
			}
		}
	}
	word := r.State
	if word == "" {
		word = r.LifeCycle
	}
	fmt.Fprintf(out, "\nrun %d: %s %s\n", r.RunID, word, Duration(r.EndTime-r.StartTime))
	if r.Message != "" && !r.Succeeded() {
		fmt.Fprintln(out, plain(r.Message))
	}
	if r.PageURL != "" {
		fmt.Fprintln(out, r.PageURL)
	}
}

func lastLines(text string, n int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(all) <= n {
		return strings.Join(all, "\n")
	}
	return fmt.Sprintf("… %d lines before\n%s", len(all)-n, strings.Join(all[len(all)-n:], "\n"))
}
