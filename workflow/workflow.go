// Package workflow knows GitHub workflows: reads .github/workflows, checks them
// before anything starts, decides which event starts which, and advances a run
// from job to job. It runs nothing itself.
package workflow

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nektos/act/pkg/model"
	"github.com/rhysd/actionlint"
	"gopkg.in/yaml.v3"

	"github.com/wherry-ml/wherry"
)

// Dir is where a repository keeps its workflows.
const Dir = ".github/workflows"

// Files are the files of a repository below .github, by their path in it:
// workflows, and the local actions that they use.
type Files map[string][]byte

// Workflow is one workflow file.
type Workflow struct {
	Path string // .github/workflows/ci.yml
	// Name is what the file calls itself, or else its path.
	Name string
	text []byte
	ast  *actionlint.Workflow
}

// Problem is something wrong at a place of a workflow file.
type Problem struct {
	Path    string `json:"path"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	// Hint says what to do, "" where the message does.
	Hint string `json:"hint,omitempty"`
}

func (p Problem) String() string {
	s := fmt.Sprintf("%s:%d:%d: %s", p.Path, p.Line, p.Column, p.Message)
	if p.Hint != "" {
		s += ": " + p.Hint
	}
	return s
}

// Paths lists the workflow files among the files, sorted.
func (f Files) Paths() (paths []string) {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if ext := path.Ext(name); path.Dir(name) == Dir && (ext == ".yml" || ext == ".yaml") {
			paths = append(paths, name)
		}
	}
	return paths
}

// Parse reads one workflow file. A file with mistakes gives problems and nil:
// the other files of the folder are read for themselves.
func Parse(name string, text []byte) (*Workflow, []Problem) {
	if p := tooLarge(name, text); p != nil {
		return nil, []Problem{*p}
	}
	ast, errs := actionlint.Parse(text)
	if len(errs) > 0 {
		return nil, problems(name, errs)
	}
	w := &Workflow{Path: name, Name: name, text: text, ast: ast}
	if ast.Name != nil && ast.Name.Value != "" {
		w.Name = ast.Name.Value
	}
	m, err := w.model()
	if err != nil {
		if found, _ := w.lint(); len(found) > 0 { // says it better
			return nil, found
		}
		return nil, []Problem{place(name, err.Error())}
	}
	for key, job := range ast.Jobs {
		if m.Jobs[job.ID.Value] == nil {
			return nil, []Problem{{Path: name, Line: job.Pos.Line, Column: job.Pos.Col, Message: fmt.Sprintf("a job can not be called %s", key)}}
		}
	}
	return w, nil
}

// maxNodes of a file, those that its aliases repeat counted each time.
const maxNodes = 50_000

// tooLarge counts what a file comes to before anything makes it: aliases of
// aliases grow without bound.
func tooLarge(name string, text []byte) *Problem {
	var root yaml.Node
	if yaml.Unmarshal(text, &root) != nil {
		return nil // what is wrong the parser says
	}
	counted := map[*yaml.Node]int{}
	var count func(n *yaml.Node) int
	count = func(n *yaml.Node) int {
		total, known := counted[n]
		if known {
			return total
		}
		counted[n] = maxNodes // a node that holds itself
		total = 1
		if n.Alias != nil {
			total += count(n.Alias)
		}
		for _, child := range n.Content {
			total = min(total+count(child), maxNodes)
		}
		counted[n] = total
		return total
	}
	if count(&root) < maxNodes {
		return nil
	}
	return &Problem{Path: name, Line: 1, Column: 1, Message: fmt.Sprintf("the file is too large: more than %d values, with those that aliases repeat", maxNodes)}
}

var schemaLine = regexp.MustCompile(`Line: (\d+) Column (\d+): (.*)`)

// place finds, in the engine's account of all that it tried, the first thing
// that is wrong rather than not matched.
func place(name, text string) Problem {
	p := Problem{Path: name, Line: 1, Column: 1, Message: text}
	for _, m := range schemaLine.FindAllStringSubmatch(text, -1) {
		if strings.HasPrefix(m[3], "Failed to match") {
			continue
		}
		p.Line, _ = strconv.Atoi(m[1])
		p.Column, _ = strconv.Atoi(m[2])
		p.Message = strings.ToLower(m[3][:1]) + m[3][1:]
		break
	}
	return p
}

func problems(name string, errs []*actionlint.Error) []Problem {
	list := make([]Problem, 0, len(errs))
	for _, e := range errs {
		list = append(list, Problem{Path: name, Line: max(1, e.Line), Column: max(1, e.Column), Message: e.Message})
	}
	return list
}

// model is the file as the engine reads it, anew: the engine writes into it.
func (w *Workflow) model() (*model.Workflow, error) {
	m, err := model.ReadWorkflow(bytes.NewReader(w.text), false)
	if err != nil {
		return nil, err
	}
	m.File = path.Base(w.Path)
	m.Name = w.Name
	return m, nil
}

// Text is the file as it was read.
func (w *Workflow) Text() []byte { return w.text }

// Jobs lists the keys of the jobs in the order of the file.
func (w *Workflow) Jobs() []string {
	jobs := slices.SortedFunc(maps.Values(w.ast.Jobs), func(a, b *actionlint.Job) int {
		return cmp.Or(a.Pos.Line-b.Pos.Line, a.Pos.Col-b.Pos.Col)
	})
	keys := make([]string, len(jobs))
	for i, j := range jobs {
		keys[i] = j.ID.Value
	}
	return keys
}

// job returns a job by its key; keys differ in more than case.
func (w *Workflow) job(key string) *actionlint.Job { return w.ast.Jobs[strings.ToLower(key)] }

// Needs lists the jobs that a job waits for.
func (w *Workflow) Needs(key string) (needs []string) {
	j := w.job(key)
	if j == nil {
		return nil
	}
	for _, n := range j.Needs {
		if up := w.job(n.Value); up != nil {
			needs = append(needs, up.ID.Value)
		}
	}
	return needs
}

// JobName is a job's name as it is written, for a job that has not begun.
func (w *Workflow) JobName(key string) string {
	j := w.job(key)
	if j == nil || j.Name == nil || j.Name.Value == "" {
		return key
	}
	return j.Name.Value
}

// Events lists the names of the events that start the workflow.
func (w *Workflow) Events() (names []string) {
	for _, e := range w.ast.On {
		names = append(names, e.EventName())
	}
	return names
}

// Permissions are the scopes of the token of a job: what the job says, else
// what the workflow says, else reading contents only.
func (w *Workflow) Permissions(key string) map[string]string {
	p := w.ast.Permissions
	if j := w.job(key); j != nil && j.Permissions != nil {
		p = j.Permissions
	}
	if p == nil {
		return map[string]string{"contents": "read"}
	}
	scopes := map[string]string{}
	if p.All != nil {
		scopes["contents"], scopes["statuses"], scopes["pull-requests"], scopes["issues"], scopes["deployments"] = all(p.All.Value), all(p.All.Value), all(p.All.Value), all(p.All.Value), all(p.All.Value)
		if p.All.Value == "write-all" {
			scopes["id-token"] = "write"
		}
	}
	for _, s := range p.Scopes {
		scopes[s.Name.Value] = s.Value.Value
	}
	return scopes
}

func all(value string) string { return strings.TrimSuffix(value, "-all") }

// CheckInputs refuses inputs of workflow_dispatch that the workflow does not
// have, and values that its options do not list; those that are missing get
// their defaults in inputs.
func (w *Workflow) CheckInputs(inputs map[string]string) error {
	for _, on := range w.ast.On {
		d, ok := on.(*actionlint.WorkflowDispatchEvent)
		if !ok {
			continue
		}
		for name := range inputs {
			if d.Inputs[strings.ToLower(name)] == nil {
				return wherry.Errorf(wherry.CodeInvalidParameter, "the workflow has no input %q%s", name, inputsOf(d))
			}
		}
		for _, in := range d.Inputs {
			value, given := inputs[in.Name.Value]
			switch {
			case !given && in.Default != nil && inputs != nil:
				inputs[in.Name.Value] = in.Default.Value
			case !given && in.Required != nil && in.Required.Value && in.Default == nil:
				return wherry.Errorf(wherry.CodeInvalidParameter, "the input %s is required", in.Name.Value)
			case given && in.Type == actionlint.WorkflowDispatchEventInputTypeBoolean && value != "true" && value != "false":
				return wherry.Errorf(wherry.CodeInvalidParameter, "the input %s can not be %q: it is true or false", in.Name.Value, value)
			case given && in.Type == actionlint.WorkflowDispatchEventInputTypeNumber && !number(value):
				return wherry.Errorf(wherry.CodeInvalidParameter, "the input %s can not be %q: it is a number", in.Name.Value, value)
			case given && len(in.Options) > 0 && !slices.ContainsFunc(in.Options, func(o *actionlint.String) bool { return o.Value == value }):
				return wherry.Errorf(wherry.CodeInvalidParameter, "the input %s can not be %q: it is one of %s", in.Name.Value, value, optionsOf(in))
			}
		}
	}
	return nil
}

// inputsOf says which inputs there are.
func inputsOf(d *actionlint.WorkflowDispatchEvent) string {
	var names []string
	for _, in := range d.Inputs {
		names = append(names, in.Name.Value)
	}
	if len(names) == 0 {
		return ": it has none"
	}
	slices.Sort(names)
	return ": there are " + strings.Join(names, ", ")
}

func optionsOf(in *actionlint.DispatchInput) string {
	var options []string
	for _, o := range in.Options {
		options = append(options, o.Value)
	}
	return strings.Join(options, ", ")
}

func number(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err == nil
}
