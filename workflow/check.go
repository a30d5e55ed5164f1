package workflow

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/nektos/act/pkg/workflowpattern"
	"github.com/rhysd/actionlint"
)

// Machine is what workflows can use where they are to run.
type Machine struct {
	// Action says whether OWNER/NAME is built in; mapped actions of the user
	// count too.
	Action func(name string) bool
	// Actions lists the built-in actions, for the hint.
	Actions []string
	// Node says that JavaScript can be run: local actions and hashFiles need it.
	Node bool
	// Shell says whether a shell, such as pwsh, is there.
	Shell func(name string) bool
}

// Check looks for what is wrong in the file and for what could not be run
// here, so that a run is refused before anything starts. Warnings are what
// GitHub lets pass, such as an input that an action does not know. In tree the
// actions of the repository are looked for; nil if only files are known of it.
func (w *Workflow) Check(files Files, m Machine, tree fs.FS) (refused, warnings []Problem) {
	refused, warnings = w.lint()
	c := &checker{w: w, files: files, machine: m, tree: tree}
	for _, key := range w.Jobs() {
		c.job(w.job(key))
	}
	c.filters()
	return append(refused, c.problems...), append(warnings, c.warnings...)
}

// lint runs actionlint. Its findings of style, and of what GitHub takes for
// null, are warnings.
func (w *Workflow) lint() (errs, warnings []Problem) {
	linter, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{WorkingDir: "/", OnRulesCreated: func(rules []actionlint.Rule) []actionlint.Rule {
		// Reusable workflows and local actions are looked for on its disk; we have them in memory.
		return slices.DeleteFunc(rules, func(r actionlint.Rule) bool { return r.Name() == "workflow-call" })
	}})
	if err != nil {
		return []Problem{{Path: w.Path, Line: 1, Column: 1, Message: err.Error()}}, nil
	}
	found, err := linter.Lint("<stdin>", w.text, nil)
	if err != nil {
		return []Problem{{Path: w.Path, Line: 1, Column: 1, Message: err.Error()}}, nil
	}
	for _, e := range found {
		p := Problem{Path: w.Path, Line: max(1, e.Line), Column: max(1, e.Column), Message: e.Message}
		if fatal(e) {
			errs = append(errs, p)
		} else {
			warnings = append(warnings, p)
		}
	}
	return errs, warnings
}

// fatal tells what GitHub refuses too.
func fatal(e *actionlint.Error) bool {
	switch e.Kind {
	case "action", "if-cond", "deprecated-commands", "credentials", "runner-label":
		return false
	case "expression":
		for _, s := range []string{"undefined variable", "undefined function", "is not allowed here", "parsing", "unexpected", "got unexpected"} {
			if strings.Contains(e.Message, s) {
				return true
			}
		}
		return false
	default:
		return true
	}
}

type checker struct {
	w        *Workflow
	files    Files
	machine  Machine
	tree     fs.FS
	problems []Problem
	warnings []Problem
	made     workspace // at the step that is looked at
	inside   []string  // local actions and workflows that are being looked into
}

func (c *checker) add(pos *actionlint.Pos, hint, format string, args ...any) {
	c.problems = append(c.problems, c.problem(pos, hint, format, args...))
}

func (c *checker) problem(pos *actionlint.Pos, hint, format string, args ...any) Problem {
	return Problem{Path: c.w.Path, Line: pos.Line, Column: pos.Col, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func (c *checker) job(j *actionlint.Job) {
	if j.Container != nil {
		c.add(j.Container.Pos, "remove container: and install what it holds in a step", "job %q runs in a container, and there is no container engine here", j.ID.Value)
	}
	if j.Services != nil {
		c.add(j.Services.Pos, "start the service in a step", "job %q needs services, and there is no container engine here", j.ID.Value)
	}
	if j.WorkflowCall != nil {
		c.call(j)
		return
	}
	if j.RunsOn != nil {
		c.labels(j)
	}
	c.made = workspace{}
	for _, s := range j.Steps {
		c.step(j, s)
		c.noteStep(s)
	}
}

// Labels that are run here, on this machine.
func supported(label string) bool {
	label = strings.ToLower(label)
	return strings.HasPrefix(label, "ubuntu-") || slices.Contains([]string{"self-hosted", "linux", "x64"}, label)
}

func (c *checker) labels(j *actionlint.Job) {
	for _, l := range j.RunsOn.Labels {
		if !l.ContainsExpression() && !supported(l.Value) {
			c.add(l.Pos, "use ubuntu-latest or self-hosted", "no runner here has the label %q", l.Value)
		}
	}
	if j.RunsOn.Group != nil {
		c.add(j.RunsOn.Group.Pos, "use runs-on: ubuntu-latest", "runner groups are not supported")
	}
}

func (c *checker) step(j *actionlint.Job, s *actionlint.Step) {
	switch e := s.Exec.(type) {
	case *actionlint.ExecAction:
		if e.Uses != nil && !e.Uses.ContainsExpression() {
			c.uses(e.Uses.Value, e.Uses.Pos, s.If != nil)
		}
	case *actionlint.ExecRun:
		if shell := c.shell(j, e); shell != nil && !shell.ContainsExpression() {
			name := strings.Fields(shell.Value)
			if len(name) > 0 && c.machine.Shell != nil && !c.machine.Shell(name[0]) {
				c.add(shell.Pos, "install it on this machine, or use bash", "the shell %q is not here", name[0])
			}
		}
	}
}

func (c *checker) shell(j *actionlint.Job, e *actionlint.ExecRun) *actionlint.String {
	if e.Shell != nil {
		return e.Shell
	}
	for _, d := range []*actionlint.Defaults{j.Defaults, c.w.ast.Defaults} {
		if d != nil && d.Run != nil && d.Run.Shell != nil {
			return d.Run.Shell
		}
	}
	return nil
}

// uses looks at the action of a step, which is conditional if it may be skipped.
func (c *checker) uses(uses string, pos *actionlint.Pos, conditional bool) {
	switch {
	case strings.HasPrefix(uses, "docker://"):
		c.add(pos, "install what it holds in a step", "%s needs a container engine, and there is none here", uses)
	case strings.HasPrefix(uses, "./"):
		c.localAction(uses, pos, conditional)
	default:
		name, _, _ := strings.Cut(uses, "@")
		parts := strings.Split(name, "/")
		if len(parts) >= 2 && c.machine.Action != nil && c.machine.Action(parts[0]+"/"+parts[1]) {
			return
		}
		c.add(pos, "built in are "+strings.Join(c.machine.Actions, ", ")+"; a copy of another goes into the repository and is used as ./path",
			"the action %s is not built in, and none is fetched from elsewhere", name)
	}
}

// call looks at a job that calls a reusable workflow.
func (c *checker) call(j *actionlint.Job) {
	uses := j.WorkflowCall.Uses
	file, ok := strings.CutPrefix(uses.Value, "./")
	if !ok {
		c.add(uses.Pos, "copy it into .github/workflows", "a reusable workflow of another repository is not fetched: %s", uses.Value)
		return
	}
	text, ok := c.files[path.Clean(file)]
	if !ok {
		c.add(uses.Pos, "", "there is no workflow %s", file)
		return
	}
	if slices.Contains(c.inside, file) || len(c.inside) > 3 {
		c.add(uses.Pos, "", "reusable workflows call each other in a circle, or more than four deep: %s", file)
		return
	}
	called, problems := Parse(path.Clean(file), text)
	if called == nil {
		c.problems = append(c.problems, problems...)
		return
	}
	if !slices.Contains(called.Events(), "workflow_call") {
		c.add(uses.Pos, "add on: workflow_call to it", "%s can not be called", file)
	}
	sub := &checker{w: called, files: c.files, machine: c.machine, tree: c.tree, inside: append(slices.Clone(c.inside), file)}
	for _, key := range called.Jobs() {
		sub.job(called.job(key))
	}
	c.problems, c.warnings = append(c.problems, sub.problems...), append(c.warnings, sub.warnings...)
}

// filters refuses patterns that can not be read.
func (c *checker) filters() {
	for _, on := range c.w.ast.On {
		e, ok := on.(*actionlint.WebhookEvent)
		if !ok {
			continue
		}
		for _, f := range []*actionlint.WebhookEventFilter{e.Branches, e.BranchesIgnore, e.Tags, e.TagsIgnore, e.Paths, e.PathsIgnore} {
			if f == nil {
				continue
			}
			for _, v := range f.Values {
				if _, err := workflowpattern.CompilePattern(v.Value); err != nil {
					c.add(v.Pos, "", "the pattern %q can not be read: %v", v.Value, err)
				}
			}
		}
	}
}
