package workflow

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/nektos/act/pkg/workflowpattern"
	"github.com/rhysd/actionlint"
)

// Event is what starts workflows.
type Event struct {
	Name string `json:"name"` // push, pull_request, workflow_dispatch, schedule, workflow_run …
	// Action is the type of an event that has types, such as opened.
	Action string `json:"action,omitempty"`
	Ref    string `json:"ref"` // refs/heads/main, refs/tags/v1, refs/pull/3/merge
	SHA    string `json:"sha"`
	Before string `json:"before,omitempty"` // of a push: where the ref was
	// BaseRef and HeadRef are the branches of a pull request, without refs/heads/.
	BaseRef string `json:"base_ref,omitempty"`
	HeadRef string `json:"head_ref,omitempty"`
	// Paths are the files that changed; nil if that is not known, and then path
	// filters let the event through, as they do for a new branch. They decide
	// before a run is there, and may be many: a run does not keep them.
	Paths []string `json:"-"`
	// Inputs of workflow_dispatch.
	Inputs map[string]string `json:"inputs,omitempty"`
	// Workflow is the name of the workflow whose run ended, for workflow_run,
	// and Schedule the cron expression that fired.
	Workflow string `json:"workflow,omitempty"`
	Schedule string `json:"schedule,omitempty"`
	// Payload is github.event.
	Payload json.RawMessage `json:"payload,omitempty"`
}

// Branch is the branch of the event's ref, "" for a tag or a pull request.
func (e Event) Branch() string {
	b, ok := strings.CutPrefix(e.Ref, "refs/heads/")
	if !ok {
		return ""
	}
	return b
}

// Tag is the tag of the event's ref, "" for another ref.
func (e Event) Tag() string {
	t, ok := strings.CutPrefix(e.Ref, "refs/tags/")
	if !ok {
		return ""
	}
	return t
}

// RefName is the event's ref as GitHub calls it: main, v1.2, 3/merge.
func (e Event) RefName() string {
	for _, prefix := range []string{"refs/heads/", "refs/tags/", "refs/pull/"} {
		if name, ok := strings.CutPrefix(e.Ref, prefix); ok {
			return name
		}
	}
	return e.Ref
}

// Triggered reports whether the event starts the workflow, by its types and its
// filters of branches, tags and paths.
func (w *Workflow) Triggered(e Event) bool {
	for _, on := range w.ast.On {
		if on.EventName() != e.Name {
			continue
		}
		switch on := on.(type) {
		case *actionlint.WebhookEvent:
			return webhook(on, e)
		case *actionlint.ScheduledEvent:
			return slices.ContainsFunc(on.Schedules, func(s *actionlint.ScheduleEntry) bool { return s.Cron.Value == e.Schedule })
		case *actionlint.RepositoryDispatchEvent:
			return typed(on.Types, e.Action, nil)
		default:
			return true
		}
	}
	return false
}

// defaultTypes are the types that start a workflow that names none.
var defaultTypes = map[string][]string{
	"pull_request":        {"opened", "synchronize", "reopened"},
	"pull_request_target": {"opened", "synchronize", "reopened"},
}

func webhook(on *actionlint.WebhookEvent, e Event) bool {
	if !typed(on.Types, e.Action, defaultTypes[e.Name]) {
		return false
	}
	switch e.Name {
	case "push":
		return ref(on, e) && (e.Tag() != "" || paths(on, e.Paths))
	case "pull_request", "pull_request_target":
		return filter(on.Branches, on.BranchesIgnore, e.BaseRef) && paths(on, e.Paths)
	case "workflow_run":
		named := slices.ContainsFunc(on.Workflows, func(s *actionlint.String) bool { return s.Value == e.Workflow })
		return named && filter(on.Branches, on.BranchesIgnore, e.HeadRef)
	default:
		return true
	}
}

func typed(types []*actionlint.String, action string, otherwise []string) bool {
	if len(types) == 0 {
		return otherwise == nil || action == "" || slices.Contains(otherwise, action)
	}
	return slices.ContainsFunc(types, func(s *actionlint.String) bool { return s.Value == action })
}

// ref filters a push: with filters of branches only, tags start nothing, and
// the other way about.
func ref(on *actionlint.WebhookEvent, e Event) bool {
	branches := !on.Branches.IsEmpty() || !on.BranchesIgnore.IsEmpty()
	tags := !on.Tags.IsEmpty() || !on.TagsIgnore.IsEmpty()
	if tag := e.Tag(); tag != "" {
		return tags && filter(on.Tags, on.TagsIgnore, tag) || !tags && !branches
	}
	return branches && filter(on.Branches, on.BranchesIgnore, e.Branch()) || !tags && !branches
}

func paths(on *actionlint.WebhookEvent, changed []string) bool {
	return changed == nil || filter(on.Paths, on.PathsIgnore, changed...)
}

// filter reports whether the values pass: one of them matches a wanted pattern,
// or not all are ignored. Later patterns override earlier ones, ! negates.
func filter(want, ignore *actionlint.WebhookEventFilter, values ...string) bool {
	if !want.IsEmpty() && workflowpattern.Skip(patterns(want), values, &workflowpattern.EmptyTraceWriter{}) {
		return false
	}
	return ignore.IsEmpty() || !workflowpattern.Filter(patterns(ignore), values, &workflowpattern.EmptyTraceWriter{})
}

// patterns compiles a filter; Check has refused one that does not compile.
func patterns(f *actionlint.WebhookEventFilter) (list []*workflowpattern.WorkflowPattern) {
	for _, v := range f.Values {
		if p, err := workflowpattern.CompilePattern(v.Value); err == nil {
			list = append(list, p)
		}
	}
	return list
}

// Schedules lists the cron expressions of the workflow.
func (w *Workflow) Schedules() (crons []string) {
	for _, on := range w.ast.On {
		if s, ok := on.(*actionlint.ScheduledEvent); ok {
			for _, e := range s.Schedules {
				crons = append(crons, e.Cron.Value)
			}
		}
	}
	return crons
}
