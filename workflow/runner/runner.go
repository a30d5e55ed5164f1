// Package runner runs one job of a workflow, with the engine of nektos/act, in
// a process of its own: the child of an agent, or of `wherry ci run`.
//
// The engine gives its steps all of its process's environment, so the process
// must have been started with the environment that is meant for them.
package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nektos/act/pkg/common"
	"github.com/nektos/act/pkg/model"
	act "github.com/nektos/act/pkg/runner"
	log "github.com/sirupsen/logrus"

	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/workflow"
	"github.com/wherry-ml/wherry/workflow/action"
)

// Spec is all that a job's process is told, as JSON on its standard input: it
// holds secrets, so it is neither an argument nor a file.
type Spec struct {
	Run *workflow.Run `json:"run"` // without its jobs
	Job *workflow.Job `json:"job"`
	// Text is the workflow file, and Files what the repository has below .github.
	Text    []byte            `json:"text"`
	Files   workflow.Files    `json:"files"`
	Needs   map[string]Need   `json:"needs"`
	Secrets map[string]string `json:"secrets"`
	Vars    map[string]string `json:"vars"`
	// ServerURL is where the steps reach the forge, which is us.
	ServerURL string `json:"server_url"`
	// RetentionDays is how long the forge keeps artifacts.
	RetentionDays int `json:"retention_days"`
	// Env is for the steps beside what the run says, such as the addresses
	// of the token service.
	Env map[string]string `json:"env"`
	// Tools is what built-in actions use: where the sources are, what this
	// machine has.
	Tools action.Tools `json:"tools"`
	// Dir is the job's own folder, "" the current one; Exe is this program, for
	// built-in actions, "" if the process knows best.
	Dir string `json:"dir"`
	Exe string `json:"exe"`
}

// Need is what a job knows of one that it needs.
type Need struct {
	Result  string            `json:"result"`
	Outputs map[string]string `json:"outputs"`
}

// NeedsOf is what a job of a run is told of those that it needs; of a matrix, the
// last that sets an output.
func NeedsOf(r *workflow.Run, w *workflow.Workflow, key string) map[string]Need {
	needs := map[string]Need{}
	for _, n := range w.Needs(key) {
		need := Need{Result: r.Result(n), Outputs: map[string]string{}}
		for _, j := range r.Jobs {
			if j.Key == n {
				maps.Copy(need.Outputs, j.Outputs)
			}
		}
		needs[n] = need
	}
	return needs
}

// Event is one line of the events that the process writes.
type Event struct {
	Type string `json:"type"` // started, step, job
	T    int64  `json:"t"`    // milliseconds since 1970
	// Step of a type step: its state now.
	Step *workflow.Step `json:"step,omitempty"`
	// Of a type job, the last line.
	Conclusion     string            `json:"conclusion,omitempty"`
	Outputs        map[string]string `json:"outputs,omitempty"`
	EnvironmentURL string            `json:"environment_url,omitempty"`
	Message        string            `json:"message,omitempty"`
}

// Grace is how long a job that is cancelled, or late, may take to end: its steps
// with always() and cancelled() run yet.
const Grace = 5 * time.Minute

// Main runs the job of the spec that in holds. The steps' output goes to out,
// Events to events. It returns the process's exit code: 0 for success, 1 for a
// job that failed or could not run.
// Once canceled is done, the steps that run are ended, those whose condition asks
// for it run yet, and after Grace all is ended.
func Main(canceled context.Context, in io.Reader, out, events io.Writer) int {
	var s Spec
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		fmt.Fprintln(out, "Error: the job can not be read:", err)
		return 1
	}
	if err := errors.Join(s.place(), sandbox.Adopt()); err != nil {
		fmt.Fprintln(out, "Error:", err)
		return 1
	}
	defer reapOrphans()()
	ctx, stop := context.WithCancel(context.WithoutCancel(canceled))
	defer stop()
	defer context.AfterFunc(canceled, func() { time.AfterFunc(Grace, stop) })()
	s.Run.ServerURL, s.Run.RetentionDays = s.ServerURL, s.RetentionDays
	l := newLogger(canceled, out, events, &s)
	l.event(Event{Type: "started"})
	last := s.run(common.WithJobCancelContext(ctx, canceled), l)
	if canceled.Err() != nil {
		last.Conclusion, last.Message = workflow.Cancelled, ""
	}
	sandbox.EndDescendants(func() {}) // what the steps have left in the background
	last.Type = "job"
	l.event(last)
	if last.Conclusion != workflow.Success {
		return 1
	}
	return 0
}

// place fills in where the process is and what it runs, as it sees them itself:
// in a box both are elsewhere than outside.
func (s *Spec) place() (err error) {
	if s.Dir == "" {
		if s.Dir, err = os.Getwd(); err != nil {
			return err
		}
	}
	if s.Exe == "" {
		if s.Exe, err = os.Executable(); err != nil {
			return err
		}
	}
	s.Tools.Dir, s.Tools.Exe = s.Dir, s.Exe
	return nil
}

func (s *Spec) run(ctx context.Context, l *logger) Event {
	m, err := s.prepare()
	if err == nil {
		err = s.execute(ctx, m, l)
	}
	job := (*model.Job)(nil)
	if m != nil {
		job = m.Jobs[s.Job.Key]
	}
	if job != nil && job.Uses != "" && err == nil && job.Result == "" {
		job.Result = workflow.Success // the engine tells only of jobs that have steps, not of workflows that are called
	}
	if job == nil || job.Result == "" || err != nil && job.Result != workflow.Failure {
		message := "the job did not run"
		if err != nil {
			message = err.Error()
		}
		l.line("Error: " + message)
		return Event{Conclusion: workflow.Failure, Message: l.mask(message)}
	}
	end := Event{Conclusion: job.Result, Outputs: map[string]string{}}
	if job.Result == workflow.Failure {
		end.Message = l.failed
	}
	size := 0
	for name, value := range job.Outputs {
		size += len(name) + len(value)
		switch {
		case l.mask(value) != value && name == urlOutput:
			l.line("Warning: the environment's url holds a secret and is left out")
		case l.mask(value) != value:
			l.line("Warning: the output " + name + " holds a secret and is left out")
		case name == urlOutput:
			end.EnvironmentURL = value
		default:
			end.Outputs[name] = value
		}
	}
	if size > maxOutputs {
		message := fmt.Sprintf("the outputs of the job have %d KiB, and at most %d are kept", size>>10, maxOutputs>>10)
		l.line("Error: " + message)
		return Event{Conclusion: workflow.Failure, Message: message}
	}
	return end
}

// maxOutputs is how much the outputs of a job may come to, in bytes, as on GitHub.
const maxOutputs = 1 << 20

// urlOutput carries environment.url, which may use the outputs of steps, out of
// the engine.
const urlOutput = "wherry-environment-url"

// prepare makes the job's folders, and the workflow with this one job to run.
func (s *Spec) prepare() (*model.Workflow, error) {
	for name, text := range s.Files {
		var err error
		if text, err = s.called(name, text); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		name = filepath.Join(s.source(), filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, text, 0o644)); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(s.source(), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.event(), s.payload(), 0o644); err != nil {
		return nil, err
	}
	text, err := withContexts(s.Text, s.Job.Key, s.Job.Strategy())
	if err != nil {
		return nil, err
	}
	m, err := model.ReadWorkflow(bytes.NewReader(text), false)
	if err != nil {
		return nil, err
	}
	m.File, m.Name = filepath.Base(s.Run.Path), s.Run.Name
	job := m.Jobs[s.Job.Key]
	if job == nil {
		return nil, fmt.Errorf("the workflow has no job %s", s.Job.Key)
	}
	for key, need := range s.Needs {
		if up := m.Jobs[key]; up != nil {
			up.Result, up.Outputs = need.Result, need.Outputs
		}
	}
	job.If.Value = "always()" // it was decided when the job came to be
	if url := environmentURL(s.Text, s.Job.Key); url != "" {
		if job.Outputs == nil {
			job.Outputs = map[string]string{}
		}
		job.Outputs[urlOutput] = url
	}
	if s.Job.Matrix != nil {
		if err := setMatrix(job, s.Job.Matrix); err != nil {
			return nil, err
		}
	}
	s.addSteps(m, job)
	return m, nil
}

func (s *Spec) source() string    { return filepath.Join(s.Dir, "source") }
func (s *Spec) toolsFile() string { return filepath.Join(s.Dir, action.ToolsFile) }

func (s *Spec) event() string { return filepath.Join(s.Dir, "event.json") }

func (s *Spec) payload() []byte {
	if len(s.Run.Event.Payload) > 0 {
		return s.Run.Event.Payload
	}
	return []byte("{}")
}

func (s *Spec) execute(ctx context.Context, m *model.Workflow, l *logger) error {
	calls := &action.Catalogue{Exe: s.Exe, Tools: s.toolsFile()}
	if err := s.Tools.Write(calls.Tools); err != nil {
		return err
	}
	env := s.Run.Environ(s.Job)
	for k, v := range s.Env {
		env[k] = v
	}
	env["GITHUB_REPOSITORY"], env["GITHUB_REPOSITORY_OWNER"] = s.Run.Repository(), s.Run.Owner
	log.SetOutput(io.Discard) // what is not of the job
	r, err := act.New(&act.Config{
		Workdir: s.source(), ActionCacheDir: filepath.Join(s.Dir, "work"), EventName: s.Run.Event.Name, EventPath: s.event(), Actor: s.Run.Actor,
		Env: env, Secrets: s.Secrets, Vars: s.Vars, Token: s.Tools.Token, LogOutput: true, AutoRemove: true, NoSkipCheckout: true,
		Platforms: platforms(m.Jobs[s.Job.Key]), GitHubInstance: "github.com", ActionCache: calls, ConcurrentJobs: 1, DefaultBranch: "main",
	})
	if err != nil {
		return err
	}
	plan := &model.Plan{Stages: []*model.Stage{{Runs: []*model.Run{{Workflow: m, JobID: s.Job.Key}}}}}
	return r.NewPlanExecutor(plan)(act.WithJobLoggerFactory(ctx, l))
}

// platforms says of each label that this machine is it: which are was decided
// before.
func platforms(job *model.Job) map[string]string {
	p := map[string]string{"ubuntu-latest": "-self-hosted", "self-hosted": "-self-hosted", "linux": "-self-hosted", "x64": "-self-hosted"}
	for _, label := range job.RunsOn() {
		p[strings.ToLower(label)] = "-self-hosted"
	}
	return p
}
