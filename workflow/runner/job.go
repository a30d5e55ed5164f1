package runner

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/nektos/act/pkg/model"
	"gopkg.in/yaml.v3"

	"github.com/wherry-ml/wherry/workflow/action"
)

// setMatrix leaves the job with one combination, whatever its matrix was.
func setMatrix(job *model.Job, combination map[string]any) error {
	raw := yaml.Node{}
	if err := raw.Encode(map[string]any{"include": []any{combination}}); err != nil {
		return fmt.Errorf("matrix: %w", err)
	}
	if job.Strategy == nil {
		job.Strategy = &model.Strategy{}
	}
	job.Strategy.RawMatrix = raw
	// A label that comes of the matrix was checked when the job came to be.
	job.RawRunsOn = yaml.Node{Kind: yaml.ScalarNode, Value: "self-hosted"}
	return nil
}

// addSteps makes the engine do what it leaves out: steps without a terminal,
// and the work that built-in actions have left for the end. It takes the steps'
// time-outs from it, for which it kills one process and lets its children be.
func (s *Spec) addSteps(m *model.Workflow, job *model.Job) {
	uses := false
	for _, step := range job.Steps {
		if step == nil {
			continue
		}
		uses = uses || step.Uses != ""
		step.Name = cmp.Or(step.Name, unnamed(step.Uses, step.Run))
		if step.Run != "" {
			step.Shell = s.shell(cmp.Or(step.Shell, job.Defaults.Run.Shell, m.Defaults.Run.Shell))
		}
		if limits && step.TimeoutMinutes != "" {
			step.Name += limitMark + step.TimeoutMinutes
			step.TimeoutMinutes = ""
		}
	}
	if !uses {
		return
	}
	end := &model.Step{ID: endStep, Name: endName, Run: action.Command(s.Exe, "end", s.toolsFile()), Shell: "sh", RawContinueOnError: "true"}
	end.If = yaml.Node{Kind: yaml.ScalarNode, Value: "success()"}
	job.Steps = append(job.Steps, end)
}

// unnamed is what GitHub calls a step without a name.
func unnamed(uses, run string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(run), "\n")
	return "Run " + cmp.Or(uses, first)
}

// shell is what runs a step's script; the templates are those of GitHub's
// runner. One that is an expression stays as it is.
func (s *Spec) shell(name string) string {
	template, ok := map[string]string{
		"": "bash -e {0}", "bash": "bash --noprofile --norc -e -o pipefail {0}", "sh": "sh -e {0}", "python": "python {0}",
	}[name]
	switch {
	case strings.Contains(name, "${{"):
		return name
	case !ok:
		template = name
	}
	return action.Shell(s.Exe, s.toolsFile(), template)
}

const (
	endStep = "wherry-end"
	endName = "Finish actions"
)

// environmentURL is the url of a job's environment as it is written.
func environmentURL(text []byte, key string) string {
	var w struct {
		Jobs map[string]struct {
			Environment yaml.Node `yaml:"environment"`
		} `yaml:"jobs"`
	}
	if yaml.Unmarshal(text, &w) != nil {
		return ""
	}
	job := w.Jobs[key]
	var environment struct {
		URL string `yaml:"url"`
	}
	if job.Environment.Kind != yaml.MappingNode || job.Environment.Decode(&environment) != nil {
		return ""
	}
	return environment.URL
}
