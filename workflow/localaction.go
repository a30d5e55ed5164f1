package workflow

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/nektos/act/pkg/model"
	"github.com/rhysd/actionlint"
)

// workspace is what a job's folder may hold, at one of its steps, that the tree
// does not.
type workspace struct {
	maybe bool     // a step ran that may have made anything
	paths []string // where other things were checked out
}

// still are actions that leave the files of the job's folder as they are.
var still = []string{
	"actions/setup-python", "actions/setup-java", "actions/setup-node", "actions/upload-artifact", "astral-sh/setup-uv", "hashicorp/setup-terraform",
	"opentofu/setup-opentofu", "databricks/setup-cli", "azure/login", "slackapi/slack-github-action", "dawidd6/action-send-mail",
}

// note tells that a step ran: uses is its action, "" for a script, and with are
// the inputs, by names in lower case.
func (w *workspace) note(uses string, with map[string]string) {
	name, _, _ := strings.Cut(strings.ToLower(uses), "@")
	switch {
	case slices.Contains(still, name):
	case name != "actions/checkout":
		w.maybe = true
	case with["path"] != "":
		w.paths = append(w.paths, with["path"])
	case with["repository"] != "" || with["ref"] != "" || with["submodules"] != "":
		w.maybe = true
	}
}

// elsewhere tells that a folder comes from where a checkout put it.
func (w *workspace) elsewhere(dir string) bool {
	return slices.ContainsFunc(w.paths, func(p string) bool {
		p = path.Clean(p)
		return strings.Contains(p, "${{") || dir == p || strings.HasPrefix(dir, p+"/")
	})
}

// noteStep tells the workspace of a step of a job.
func (c *checker) noteStep(s *actionlint.Step) {
	e, ok := s.Exec.(*actionlint.ExecAction)
	if !ok || e.Uses == nil {
		c.made.note("", nil)
		return
	}
	if strings.HasPrefix(e.Uses.Value, "./") {
		return // localAction has told
	}
	with := map[string]string{}
	for name, in := range e.Inputs {
		if in.Value != nil {
			with[name] = in.Value.Value
		}
	}
	c.made.note(e.Uses.Value, with)
}

// localAction looks into an action of the repository itself.
func (c *checker) localAction(uses string, pos *actionlint.Pos, conditional bool) {
	dir := path.Clean(strings.TrimPrefix(uses, "./"))
	if slices.Contains(c.inside, dir) {
		return
	}
	text, err := c.readAction(dir)
	if errors.Is(err, fs.ErrNotExist) {
		c.missing(uses, dir, pos, conditional)
	}
	if err != nil {
		c.made.maybe = true
		return
	}
	action, err := model.ReadAction(strings.NewReader(string(text)))
	if err != nil {
		c.add(pos, "", "%s: %v", uses, err)
		return
	}
	c.inside = append(c.inside, dir)
	defer func() { c.inside = c.inside[:len(c.inside)-1] }()
	switch using := action.Runs.Using; {
	case using.IsDocker():
		c.add(pos, "", "the action %s is a container, and there is no container engine here", uses)
	case using.IsNode() && !c.machine.Node:
		c.add(pos, "install Node.js on this machine", "the action %s is JavaScript, and there is no node here", uses)
	case using.IsComposite():
		c.composite(action, pos, conditional)
		return
	}
	c.made.maybe = true
}

func (c *checker) composite(action *model.Action, pos *actionlint.Pos, conditional bool) {
	for i := range action.Runs.Steps {
		s := &action.Runs.Steps[i]
		if s.Uses != "" && !strings.Contains(s.Uses, "${{") {
			c.uses(s.Uses, pos, conditional || s.If.Value != "")
		}
		if !strings.HasPrefix(s.Uses, "./") {
			with := map[string]string{}
			for name, value := range s.With {
				with[strings.ToLower(name)] = value
			}
			c.made.note(s.Uses, with)
		}
	}
}

// errUnknown says that a file may be there or not.
var errUnknown = errors.New("the tree is not known")

// readAction returns the action.yml of a folder of the repository; fs.ErrNotExist
// if it has none.
func (c *checker) readAction(dir string) ([]byte, error) {
	names := []string{path.Join(dir, "action.yml"), path.Join(dir, "action.yaml")}
	for _, name := range names {
		if text, ok := c.files[name]; ok {
			return text, nil
		}
	}
	if strings.HasPrefix(dir, ".github/") {
		return nil, fs.ErrNotExist
	}
	if c.tree == nil || !fs.ValidPath(dir) {
		return nil, errUnknown // it may lie elsewhere in the repository, or come of an earlier step
	}
	for _, name := range names {
		if text, err := fs.ReadFile(c.tree, name); !errors.Is(err, fs.ErrNotExist) {
			return text, err
		}
	}
	return nil, fs.ErrNotExist
}

// missing tells of an action that is not in the repository: refused where nothing
// can have made it before its step.
func (c *checker) missing(uses, dir string, pos *actionlint.Pos, conditional bool) {
	const hint = "commit it there, or check out what holds it in an earlier step, with actions/checkout and its path"
	switch own := strings.HasPrefix(dir, ".github/"); {
	case !own && c.made.elsewhere(dir):
	case !own && (c.made.maybe || conditional):
		c.warnings = append(c.warnings, c.problem(pos, hint, "there is no action.yml in %s: the step fails unless an earlier one makes it", uses))
	default:
		c.add(pos, hint, "there is no action.yml in %s", uses)
	}
}
