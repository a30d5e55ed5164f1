package notebook

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// Event is one line of a task's event stream, which the task's Python writes.
type Event struct {
	Type   string  `json:"type"` // started, cell, output, include, executed, exit, error, finished
	Time   int64   `json:"t"`    // milliseconds since 1970
	Index  int     `json:"index"`
	State  string  `json:"state,omitempty"` // of a cell: running, done, failed, skipped
	Millis int64   `json:"ms,omitempty"`
	Output *Output `json:"output,omitempty"`
	Path   string  `json:"path,omitempty"` // of an include
	Cells  []Cell  `json:"cells,omitempty"`
	Digest string  `json:"digest,omitempty"`
	Value  string  `json:"value,omitempty"` // of exit

	ErrorName  string   `json:"ename,omitempty"`
	ErrorValue string   `json:"evalue,omitempty"`
	Traceback  []string `json:"traceback,omitempty"`

	OK              bool  `json:"ok,omitempty"`
	ExecutionMillis int64 `json:"execution_ms,omitempty"`
}

// Output is an output of a cell in nbformat's shape.
type Output struct {
	Type       string                     `json:"output_type"` // stream, display_data, execute_result, error
	Name       string                     `json:"name,omitempty"`
	Text       string                     `json:"text,omitempty"`
	Data       map[string]json.RawMessage `json:"data,omitempty"`
	ErrorName  string                     `json:"ename,omitempty"`
	ErrorValue string                     `json:"evalue,omitempty"`
	Traceback  []string                   `json:"traceback,omitempty"`
}

// Result is what ran: a cell with how it went.
type Result struct {
	State    string // "" before it ran
	Millis   int64
	Outputs  []Output
	Includes []Event
}

// Execution is an event stream, read so far.
type Execution struct {
	Results map[int]*Result // by the cell's index
	Exit    *string
	Error   *Event
	// Finished is nil while it runs, and if the process died.
	Finished *Event
}

// ReadExecution reads an event stream; a last line that is not whole yet is left out.
func ReadExecution(r io.Reader) (*Execution, error) {
	x := &Execution{Results: map[int]*Result{}}
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return x, nil
		}
		if err != nil {
			return nil, err
		}
		var e Event
		if len(bytes.TrimSpace(line)) > 0 && json.Unmarshal(line, &e) == nil {
			x.Add(e)
		}
	}
}

// Add takes one more event in.
func (x *Execution) Add(e Event) {
	switch e.Type {
	case "cell":
		r := x.result(e.Index)
		r.State, r.Millis = e.State, e.Millis
	case "output":
		if e.Output != nil {
			x.result(e.Index).add(*e.Output)
		}
	case "include":
		r := x.result(e.Index)
		r.Includes = append(r.Includes, e)
	case "exit":
		x.Exit = &e.Value
	case "error":
		x.Error = &e
	case "finished":
		x.Finished = &e
	}
}

func (x *Execution) result(index int) *Result {
	r := x.Results[index]
	if r == nil {
		r = &Result{}
		x.Results[index] = r
	}
	return r
}

// add joins pieces of one stream, which come every tenth of a second.
func (r *Result) add(o Output) {
	if n := len(r.Outputs); n > 0 && o.Type == "stream" {
		last := &r.Outputs[n-1]
		if last.Type == "stream" && last.Name == o.Name {
			last.Text += o.Text
			return
		}
	}
	r.Outputs = append(r.Outputs, o)
}
