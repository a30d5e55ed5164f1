package runner

import (
	"cmp"
	"maps"
	"path"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/wherry-ml/wherry/workflow"
	"github.com/wherry-ml/wherry/workflow/action"
)

// called is a file of the repository as the engine is to read it. It runs the
// jobs of a reusable workflow itself, in the job that calls it: what addSteps
// does to a job's steps is written into the file here. Other files stay as they are.
func (s *Spec) called(name string, text []byte) ([]byte, error) {
	if path.Dir(name) != workflow.Dir || name == s.Run.Path {
		return text, nil
	}
	var doc yaml.Node
	if yaml.Unmarshal(text, &doc) != nil || len(doc.Content) == 0 { // it is none that is called
		return text, nil
	}
	root := inline(doc.Content[0])
	jobs := child(root, "jobs")
	if on := child(root, "on"); jobs == nil || jobs.Kind != yaml.MappingNode || on == nil || on.Value != call && child(on, call) == nil && !slices.ContainsFunc(on.Content, isCall) {
		return text, nil
	}
	(&contextWriter{}).walk(jobs, false)
	for i := 1; i < len(jobs.Content); i += 2 {
		s.calledJob(root, jobs.Content[i])
	}
	return yaml.Marshal(root)
}

// call is the event of a workflow that others call.
const call = "workflow_call"

func isCall(n *yaml.Node) bool { return n.Value == call }

// calledJob prepares one job. One that calls on passes the secrets that it has
// itself: to inherit is to the engine to have all of the run.
func (s *Spec) calledJob(root, job *yaml.Node) {
	if secrets := child(job, "secrets"); secrets != nil && secrets.Value == "inherit" {
		*secrets = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
			set(secrets, name, "${{ secrets."+name+" }}")
		}
	}
	steps := child(job, "steps")
	if steps == nil {
		return
	}
	uses := false
	for _, step := range steps.Content {
		text := func(n *yaml.Node, key string) string {
			if c := child(n, key); c != nil {
				return c.Value
			}
			return ""
		}
		name, run := text(step, "name"), text(step, "run")
		uses = uses || run == ""
		if name == "" {
			name = unnamed(text(step, "uses"), run)
		}
		if run != "" {
			shell := func(n *yaml.Node) string { return text(child(child(n, "defaults"), "run"), "shell") }
			set(step, "shell", s.shell(cmp.Or(text(step, "shell"), shell(job), shell(root))))
		}
		if minutes := child(step, "timeout-minutes"); limits && minutes != nil {
			name += limitMark + minutes.Value
			minutes.SetString("0") // none, to the engine
		}
		set(step, "name", name)
	}
	if uses {
		end := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, kv := range [][2]string{{"id", endStep}, {"name", endName}, {"run", action.Command(s.Exe, "end", s.toolsFile())}, {"shell", "sh"}, {"if", "success()"}} {
			set(end, kv[0], kv[1])
		}
		steps.Content = append(steps.Content, end)
	}
}

// set sets a key of a mapping to a text.
func set(n *yaml.Node, key, value string) {
	if c := child(n, key); c != nil {
		c.SetString(value)
		return
	}
	k, v := &yaml.Node{}, &yaml.Node{}
	k.SetString(key)
	v.SetString(value)
	n.Content = append(n.Content, k, v)
}
