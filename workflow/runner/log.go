package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/workflow"
	"github.com/wherry-ml/wherry/workflow/action"
)

// maxSummaries is how much the summaries of a job's steps may come to, in bytes.
const maxSummaries = 1 << 20

// logger turns the engine's log into the steps' output and into events. It is a
// formatter, because secrets are masked there and not in hooks; and it masks
// for itself, for what it writes as events.
type logger struct {
	dir    string // of the job
	mu     sync.Mutex
	out    io.Writer
	events io.Writer
	masks  []string
	offset int64
	// summaries is how much the summaries of the steps have come to, in bytes.
	summaries int
	steps     []*workflow.Step
	open      map[string]*workflow.Step // by stage and id
	failed    string                    // the first step that failed, and the job with it
	goesOn    bool                      // the step that is about to end has continue-on-error
	// pending began, and has not shown itself: the engine prepares and tidies up
	// each action, and mostly does nothing.
	pending *workflow.Step
	// canceled tells whether the job was cancelled, and interrupt ends its steps.
	canceled  context.Context
	interrupt *interrupter
}

func newLogger(canceled context.Context, out, events io.Writer, s *Spec) *logger {
	l := &logger{dir: s.Dir, out: out, events: events, open: map[string]*workflow.Step{}, canceled: canceled, interrupt: &interrupter{}}
	for _, v := range s.Secrets {
		l.addMask(v)
	}
	l.addMask(s.Tools.Token)
	l.addMask(s.Env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
	l.addMask(s.Env[wherry.CIRunEnv])
	return l
}

// addMask hides a value, and each line of one that has several.
func (l *logger) addMask(value string) {
	for line := range strings.SplitSeq(value, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			l.masks = append(l.masks, line)
		}
	}
	sort.Slice(l.masks, func(i, j int) bool { return len(l.masks[i]) > len(l.masks[j]) })
}

func (l *logger) mask(text string) string {
	for _, m := range l.masks {
		text = strings.ReplaceAll(text, m, "***")
	}
	return text
}

// WithJobLogger implements act's JobLoggerFactory.
func (l *logger) WithJobLogger() *logrus.Logger {
	g := logrus.New()
	g.SetOutput(io.Discard) // Format has written it
	g.SetFormatter(l)
	g.AddHook(l.interrupt)
	g.SetLevel(logrus.DebugLevel) // skipped steps are told of there
	return g
}

// Format implements logrus.Formatter.
func (l *logger) Format(e *logrus.Entry) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	command, _ := e.Data["command"].(string)
	if command == "add-mask" {
		if arg, ok := e.Data["arg"].(string); ok {
			l.addMask(arg)
		}
		return nil, nil
	}
	id := stepID(e)
	result := fmt.Sprint(e.Data["stepResult"])
	switch {
	case e.Data["raw_output"] == true:
		text, name, asked := strings.Cut(strings.TrimSuffix(e.Message, "\n"), action.SeenMark)
		if text != "" || !asked {
			l.write(text)
		}
		if asked {
			action.Answer(l.dir, name)
		}
	case command == "summary":
		s, ok := e.Data["content"].(string)
		switch {
		case !ok || l.current(e) == nil:
		case l.summaries+len(s) > maxSummaries:
			l.write(fmt.Sprintf("##[error]the summary has %d KiB and is not kept: those of a job come to at most %d", len(s)>>10, maxSummaries>>10))
		default:
			l.summaries += len(s)
			l.current(e).Summary = l.mask(s)
			l.step(l.current(e))
		}
	case command != "":
		l.command(command, e)
	case len(id) != 1 || id[0] == "--setup-job" || id[0] == "--complete-job":
		if e.Level <= logrus.ErrorLevel {
			l.write("Error: " + strings.TrimSpace(e.Message))
		}
	case e.Message == "Failed but continue next step":
		l.goesOn = true
	case e.Data["stepResult"] != nil:
		l.ended(e, id[0], result)
	case strings.HasPrefix(e.Message, "\u2B50 Run "):
		l.begun(e, id[0])
		l.limit(e)
	case e.Level <= logrus.ErrorLevel:
		l.write("Error: " + exitCode(strings.TrimSpace(e.Message)))
	}
	return nil, nil
}

func stepID(e *logrus.Entry) []string {
	for _, name := range []string{"stepID", "stepid"} {
		if id, ok := e.Data[name].([]string); ok {
			return id
		}
	}
	return nil
}

// exitCode says what everybody knows from GitHub in the place of the engine's
// words.
func exitCode(message string) string {
	if rest, ok := strings.CutPrefix(message, "exit status "); ok {
		return "Process completed with exit code " + rest + "."
	}
	return message
}

// command writes a workflow command as the step wrote it; groups, warnings and
// errors are for whoever shows the log.
func (l *logger) command(name string, e *logrus.Entry) {
	raw, _ := e.Data["raw"].(string)
	switch name {
	case "set-env", "set-output", "add-path", "save-state", "add-matcher", "debug", "ignored":
		if e.Level <= logrus.ErrorLevel {
			l.write("Error: " + strings.TrimSpace(e.Message))
		} else if name == "ignored" {
			l.write(strings.TrimSpace(raw))
		}
	default:
		if raw = strings.TrimSpace(raw); raw != "" {
			l.write(raw)
		}
	}
}

func (l *logger) current(e *logrus.Entry) *workflow.Step {
	if id := stepID(e); len(id) > 0 {
		return l.open[fmt.Sprint(e.Data["stage"], "/", id[0])]
	}
	return nil
}

func (l *logger) begun(e *logrus.Entry, id string) {
	stage := fmt.Sprint(e.Data["stage"])
	name, _ := unlimited(fmt.Sprint(e.Data["step"]))
	if stage == "Pre" || stage == "Post" {
		name = stage + " " + name
	} else if id == endStep {
		name = endName
	} else if first, _, more := strings.Cut(name, "\n"); more {
		name = first
	}
	s := &workflow.Step{Name: l.mask(stepName(name)), State: workflow.Running, StartedAt: time.Now().UnixMilli(), Offset: l.offset}
	l.open[stage+"/"+id] = s
	l.pending = s
	if stage == "Main" && id != endStep {
		l.show()
	}
}

// show counts and tells the step that has begun.
func (l *logger) show() {
	s := l.pending
	if l.pending = nil; s == nil {
		return
	}
	s.Number = len(l.steps) + 1
	l.steps = append(l.steps, s)
	l.step(s)
}

// stepName is what a step without a name is called: Run and its first line.
func stepName(name string) string {
	const most = 120
	if r := []rune(name); len(r) > most {
		return string(r[:most]) + "…"
	}
	return name
}

func (l *logger) ended(e *logrus.Entry, id, result string) {
	s := l.current(e)
	if s == nil { // it was skipped
		if fmt.Sprint(e.Data["stage"]) != "Main" || id == endStep {
			return
		}
		name, _, _ := strings.Cut(fmt.Sprint(e.Data["step"]), "\n")
		s = &workflow.Step{Number: len(l.steps) + 1, Name: l.mask(stepName(name)), Offset: l.offset, StartedAt: time.Now().UnixMilli()}
		l.steps = append(l.steps, s)
	}
	if s == l.pending && result == workflow.Success { // nothing was to be done
		l.pending = nil
		return
	}
	l.show()
	if result == workflow.Failure && l.canceled.Err() != nil {
		result = workflow.Cancelled
	}
	s.State, s.Conclusion, s.EndedAt, s.End = workflow.Completed, result, time.Now().UnixMilli(), l.offset
	if result == workflow.Failure && l.failed == "" && !l.goesOn {
		l.failed = "the step failed: " + s.Name
	}
	l.goesOn = false
	l.step(s)
}

func (l *logger) step(s *workflow.Step) { l.event(Event{Type: "step", Step: s}) }

// line writes a line of our own.
func (l *logger) line(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write(text)
}

func (l *logger) write(text string) {
	l.show()
	n, _ := io.WriteString(l.out, l.mask(text)+"\n") // whoever reads it has gone: the job goes on
	l.offset += int64(n)
}

func (l *logger) event(e Event) {
	e.T = time.Now().UnixMilli()
	if b, err := json.Marshal(e); err == nil {
		_, _ = l.events.Write(append(b, '\n'))
	}
}
