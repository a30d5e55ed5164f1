package ui

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"html/template"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/notebook"
	"github.com/wherry-ml/wherry/store/jobs"
)

// taskView is a task run as its page shows it.
type taskView struct {
	taskRow
	Run        *wherry.Run
	RunPath    string
	Output     jobs.Output
	Failure    *failure
	Parameters []wherry.RunParameter
	Argv       []string
	Iterations []taskRow
	// Note says that the cells are not those that ran, and why.
	Note    string
	Log     template.HTML
	LogSize int64
	LogCut  bool
	book    executed
}

// HasOutput reports whether there are cells to look at.
func (v *taskView) HasOutput() bool { return len(v.book.cells) > 0 }

// executed is a notebook with what came of it.
type executed struct {
	cells   []notebook.Cell
	results map[int]*notebook.Result
	exit    *string
	known   bool // the source that ran was kept
}

// notebook reads what a task run executed; no cells if it is not a notebook.
func (s *Service) notebook(ctx context.Context, runID int64) (b executed, err error) {
	doc, err := os.ReadFile(filepath.Join(s.cfg.State.Run(runID), "source.json"))
	if err == nil {
		b.known = true
		err = json.Unmarshal(doc, &b.cells)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return b, fmt.Errorf("source of run %d: %w", runID, err)
	}
	f, size, err := s.stream(ctx, runID, "events")
	if err != nil || f == nil {
		return b, err
	}
	defer f.Close()
	x, err := notebook.ReadExecution(io.NewSectionReader(f, 0, min(size, maxRead)))
	if err != nil {
		return b, err
	}
	b.results, b.exit = x.Results, x.Exit
	cut(b.results)
	if !b.known { // outputs without their source are better than none
		for _, i := range slices.Sorted(maps.Keys(b.results)) {
			b.cells = append(b.cells, notebook.Cell{Index: i, Kind: notebook.Code, Language: notebook.Python})
		}
	}
	return b, nil
}

const maxLog = 64 << 10

func (s *Service) viewTask(ctx context.Context, run *wherry.Run, t *wherry.TaskRun) (*taskView, error) {
	v := &taskView{Run: run, RunPath: runPath(run.JobID, run.ID)}
	v.taskRow = taskRow{TaskRun: t, Task: run.TaskOf(t), Path: taskPath(run, t)}
	for _, a := range run.Attempts {
		if a.Key == t.Key && a.ParentID == t.ParentID && a.Iteration == t.Iteration {
			v.Attempts = append(v.Attempts, a)
		}
	}
	for _, it := range run.Iterations(t.ID) {
		v.Iterations = append(v.Iterations, taskRow{TaskRun: it, Task: run.TaskOf(it), Path: taskPath(run, it)})
	}
	outputs, err := s.cfg.Jobs.Outputs(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	v.Output = outputs[t.ID]
	v.resolve()
	if v.book, err = s.notebook(ctx, t.ID); err != nil {
		return nil, err
	}
	if !v.book.known && len(v.book.cells) > 0 {
		v.Note = "The source that ran was not kept: only the outputs are shown."
	}
	text, size, err := s.tail(ctx, t.ID, maxLog)
	if err != nil {
		return nil, err
	}
	v.Log, v.LogSize, v.LogCut = ansi(text), size, size > maxLog
	if failing(t.Standing) {
		f, err := s.failure(ctx, t, v.Output)
		if err != nil {
			return nil, err
		}
		v.Failure = &f
	}
	return v, nil
}

// resolve shows the parameters as the attempt was given them.
func (v *taskView) resolve() {
	a := v.Output.Attempt
	if a == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(a.Parameters)) {
		value := a.Parameters[name]
		v.Parameters = append(v.Parameters, wherry.RunParameter{Name: name, Value: &value})
	}
	var t wherry.Task
	if json.Unmarshal(a.Task, &t) != nil {
		return
	}
	v.Task = &t
	switch {
	case t.Python != nil:
		v.Argv = t.Python.Parameters
	case t.Wheel != nil:
		v.Argv = t.Wheel.Parameters
	}
}

// findTask returns the task run of the path, and its run.
func (s *Service) findTask(r *http.Request) (*wherry.Run, *wherry.TaskRun, error) {
	id, err := pathID(r, "task")
	if err != nil {
		return nil, nil, err
	}
	run, t, err := s.find(r.Context(), id)
	if err == nil && t == nil {
		err = wherry.Errorf(wherry.CodeNotFound, "%d is not the run of a task", id)
	}
	return run, t, err
}

func (s *Service) task(w http.ResponseWriter, r *http.Request) error {
	run, t, err := s.findTask(r)
	if err != nil {
		return err
	}
	if p := taskPath(run, t); r.URL.Path != p {
		return seeOther(w, r, p)
	}
	v, err := s.viewTask(r.Context(), run, t)
	if err != nil {
		return err
	}
	sections, err := s.taskSections(v)
	if err != nil {
		return err
	}
	out := page{Title: fmt.Sprintf("%s · %s", t.Key, run.Name), Section: "runs", Output: true, Body: map[string]any{"Task": v, "Sections": sections}}
	if !t.Terminal() {
		out.Live = v.Path + "/live"
	}
	return s.render(w, r, http.StatusOK, "task", out)
}

// taskSections renders the live parts of a task run's page; each cell is one.
func (s *Service) taskSections(v *taskView) ([]section, error) {
	list, err := s.sections("task", v, "task-head", "task-failure", "task-facts")
	if err != nil {
		return nil, err
	}
	for _, c := range v.book.cells {
		var b bytes.Buffer
		if err := notebook.RenderCell(&b, c, v.book.results[c.Index]); err != nil {
			return nil, err
		}
		list = append(list, section{fmt.Sprintf("live-cell-%d", c.Index), frames(b.String(), taskFrames(v.TaskRun))})
	}
	if v.book.exit != nil {
		list = append(list, section{"task-exit", template.HTML(`<p class="nb-exit">Notebook exited: <code>` + html.EscapeString(*v.book.exit) + `</code></p>`)})
	}
	log, err := s.sections("task", v, "task-log")
	return append(list, log...), err
}

// A frame's document inherits the page's policy, which forbids its scripts; so
// frames are documents of their own, named by their content.
var framePattern = regexp.MustCompile(`<iframe class="nb-frame" sandbox="allow-scripts" loading="lazy" srcdoc="([^"]*)"></iframe>`)

func frameName(escaped string) string {
	sum := sha256.Sum256([]byte(escaped))
	return hex.EncodeToString(sum[:16])
}

// taskFrames is where the frames of a task run are; the ids of its job and run
// do not matter there.
func taskFrames(t *wherry.TaskRun) string {
	return fmt.Sprintf("%s/tasks/%d/frames/", runPath(0, t.JobRunID), t.ID)
}

func frames(rendered, base string) template.HTML {
	out := framePattern.ReplaceAllStringFunc(rendered, func(frame string) string {
		return `<iframe class="nb-frame" sandbox="allow-scripts" title="output" src="` + base + frameName(framePattern.FindStringSubmatch(frame)[1]) + `"></iframe>`
	})
	return template.HTML(out)
}

// framePolicy lets an output run its scripts without an origin, and load
// nothing.
const framePolicy = "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; " +
	"img-src data: blob:; font-src data:; media-src data: blob:; worker-src blob:; frame-ancestors 'self'"

func (s *Service) frame(w http.ResponseWriter, r *http.Request) error {
	_, t, err := s.findTask(r)
	if err != nil {
		return err
	}
	book, err := s.notebook(r.Context(), t.ID)
	if err != nil {
		return err
	}
	for _, c := range book.cells {
		var b bytes.Buffer
		if err := notebook.RenderCell(&b, c, book.results[c.Index]); err != nil {
			return err
		}
		for _, m := range framePattern.FindAllStringSubmatch(b.String(), -1) {
			if frameName(m[1]) == r.PathValue("frame") {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				w.Header().Set("Content-Security-Policy", framePolicy)
				w.Header().Set("Cache-Control", "private, max-age=3600")
				_, err := io.WriteString(w, html.UnescapeString(m[1]))
				return err
			}
		}
	}
	return wherry.Errorf(wherry.CodeNotFound, "there is no such output")
}

// log sends all that a task printed, as text.
func (s *Service) log(w http.ResponseWriter, r *http.Request) error {
	_, t, err := s.findTask(r)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'")
	f, size, err := s.stream(r.Context(), t.ID, "out")
	if err != nil || f == nil {
		return err
	}
	defer f.Close()
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	_, err = io.Copy(w, io.NewSectionReader(f, 0, size))
	return err
}
