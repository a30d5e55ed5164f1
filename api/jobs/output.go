package jobs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/wherry-ml/wherry"
)

// maxOutput is how much of the logs (the end) and of a notebook's result (the
// beginning) get-output shows.
const maxOutput = 5 << 20

type notebookOutput struct {
	Result    string `json:"result"`
	Truncated bool   `json:"truncated"`
}

type outputOut struct {
	Metadata      *runOut         `json:"metadata"`
	Notebook      *notebookOutput `json:"notebook_output,omitempty"`
	Logs          string          `json:"logs,omitempty"`
	LogsTruncated bool            `json:"logs_truncated,omitempty"`
	Error         string          `json:"error,omitempty"`
	Trace         string          `json:"error_trace,omitempty"`
	Info          string          `json:"info,omitempty"`
	RunJob        *triggerInfo    `json:"run_job_output,omitempty"`
}

// output gives what a task run left. The id of a job run with one task means
// that task.
func (s *Service) output(ctx context.Context, in *runIn) (*outputOut, error) {
	r, t, err := s.taskRun(ctx, int64(in.RunID), "Retrieving the output")
	if err != nil {
		return nil, err
	}
	outputs, err := s.store.Outputs(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	view := viewer{run: r, outputs: outputs, base: wherry.IdentityFrom(ctx).BaseURL}
	meta, err := view.taskAsRun(t)
	if err != nil {
		return nil, err
	}
	o := outputs[t.ID]
	out := &outputOut{Metadata: meta, Error: o.Error, Trace: o.Trace}
	if out.Error == "" && t.Terminal() && t.Result != wherry.ResultSuccess {
		out.Error = t.Message
	}
	if !t.Terminal() {
		out.Info = t.Message
	}
	if t.ChildRun != 0 {
		out.RunJob = &triggerInfo{t.ChildRun}
	}
	task := r.TaskOf(t)
	switch {
	case task != nil && task.Notebook != nil:
		if o.Exited {
			text, cut := head(o.ExitValue, maxOutput)
			out.Notebook = &notebookOutput{text, cut}
		}
	case task != nil && !task.Settled():
		out.Logs, out.LogsTruncated, err = tail(filepath.Join(s.dir.Run(t.ID), "out"))
	}
	return out, err
}

// taskRun finds the task run that a caller of doing means.
func (s *Service) taskRun(ctx context.Context, id int64, doing string) (*wherry.Run, *wherry.TaskRun, error) {
	r, t, err := s.find(ctx, id)
	if err != nil || t != nil {
		return r, t, err
	}
	if len(r.Settings.Tasks) != 1 {
		return nil, nil, wherry.Errorf(wherry.CodeInvalidParameter, "%s of runs with multiple tasks is not supported. "+
			"Please retrieve the output of each individual task run instead.", doing)
	}
	if t = r.Latest(r.Settings.Tasks[0].Key); t == nil {
		return nil, nil, wherry.Errorf(wherry.CodeInvalidParameter, "Run %d has no task run.", r.ID)
	}
	return r, t, nil
}

// head returns the first n bytes of text, not cutting a character.
func head(text string, n int) (string, bool) {
	if len(text) <= n {
		return text, false
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n], true
}

// tail reads the end of a file, "" if there is none.
func tail(name string) (text string, cut bool, err error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", false, err
	}
	skip := max(0, info.Size()-maxOutput)
	b, err := io.ReadAll(io.NewSectionReader(f, skip, maxOutput))
	return strings.ToValidUTF8(string(b), "\uFFFD"), skip > 0, err
}
