package ui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/notebook"
	"github.com/wherry-ml/wherry/store/jobs"
)

// failure is what went wrong in a task: the failing cell if it is a notebook,
// else the end of what it printed.
type failure struct {
	wherry.Standing
	Key, Path   string
	Error       string
	Cell, Trace template.HTML
	Link        string // to the cell, on the task's page
}

// maxFailures bounds how many failures a run's page opens.
const maxFailures = 3

func (s *Service) failures(ctx context.Context, run *wherry.Run, tasks []taskRow) (list []failure, err error) {
	var outputs map[int64]jobs.Output
	for _, t := range tasks {
		if !failing(t.Standing) || len(list) == maxFailures {
			continue
		}
		if outputs == nil {
			if outputs, err = s.cfg.Jobs.Outputs(ctx, run.ID); err != nil {
				return nil, err
			}
		}
		f, err := s.failure(ctx, t.TaskRun, outputs[t.ID])
		if err != nil {
			return nil, err
		}
		f.Path = t.Path
		list = append(list, f)
	}
	return list, nil
}

func (s *Service) failure(ctx context.Context, t *wherry.TaskRun, o jobs.Output) (failure, error) {
	f := failure{Standing: t.Standing, Key: t.Key, Error: o.Error}
	if f.Error == "" {
		f.Error = t.Message
	}
	book, err := s.notebook(ctx, t.ID)
	if err != nil {
		return f, err
	}
	for _, c := range book.cells {
		if r := book.results[c.Index]; r != nil && r.State == "failed" {
			var b bytes.Buffer
			if err := notebook.RenderCell(&b, c, r); err != nil {
				return f, err
			}
			id := fmt.Sprintf("cell-%d", c.Index) // belongs to the cell among the others, on the task's page
			f.Cell = frames(strings.Replace(b.String(), ` id="`+id+`"`, "", 1), taskFrames(t))
			f.Link = "#" + id
			return f, nil
		}
	}
	if o.Trace != "" {
		f.Trace = ansi(o.Trace)
		return f, nil
	}
	out, _, err := s.tail(ctx, t.ID, 4<<10)
	f.Trace = ansi(out)
	return f, err
}

func ansi(text string) template.HTML { return template.HTML(notebook.ANSI(text)) }

// maxRead bounds what is read of a stream of events.
const maxRead = 128 << 20

// stream opens what was stored of an output stream of a task run: "out" or
// "events". An attempt that printed nothing yet has an empty one.
func (s *Service) stream(ctx context.Context, runID int64, name string) (f *os.File, size int64, err error) {
	f, err = os.Open(filepath.Join(s.cfg.State.Run(runID), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	size = info.Size()
	a, err := s.cfg.Compute.Attempt(ctx, runID)
	switch {
	case err == nil && name == "out":
		size = min(size, a.Offsets.Out)
	case err == nil:
		size = min(size, a.Offsets.Events)
	case wherry.CodeOf(err) != wherry.CodeDoesNotExist:
		f.Close()
		return nil, 0, err
	}
	return f, size, nil
}

// tail reads the last n bytes of a task's log, from a line's beginning on.
func (s *Service) tail(ctx context.Context, runID, n int64) (text string, size int64, err error) {
	f, size, err := s.stream(ctx, runID, "out")
	if err != nil || f == nil {
		return "", 0, err
	}
	defer f.Close()
	skip := max(0, size-n)
	b, err := io.ReadAll(io.NewSectionReader(f, skip, size-skip))
	if err != nil {
		return "", 0, err
	}
	text = strings.ToValidUTF8(string(b), "\uFFFD")
	if skip > 0 {
		if _, rest, ok := strings.Cut(text, "\n"); ok {
			text = rest
		}
	}
	return text, size, nil
}

// maxText bounds one printed output on a page.
const maxText = 64 << 10

// cut leaves out the middle of what a cell printed too much.
func cut(results map[int]*notebook.Result) {
	for _, r := range results {
		for i := range r.Outputs {
			if text := r.Outputs[i].Text; len(text) > 2*maxText {
				r.Outputs[i].Text = strings.ToValidUTF8(text[:maxText], "") + fmt.Sprintf("\n… %d bytes left out …\n", len(text)-2*maxText) +
					strings.ToValidUTF8(text[len(text)-maxText:], "")
			}
		}
	}
}
