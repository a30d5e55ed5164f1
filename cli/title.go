package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	graph "github.com/wherry-ml/wherry/store/trace"
)

// title names a node for people, with the words of its payload.
func title(n *graph.Node) string {
	var p struct {
		Table, Author, Message, Branch, Target, Bundle string
		TaskKey                                        string `json:"task_key"`
		JobName                                        string `json:"job_name"`
		Version                                        any
		Operation                                      string
		Commit                                         string
		DirtyDigest                                    string `json:"dirty_digest"`
	}
	_ = json.Unmarshal(n.Payload, &p) // fields of another shape stay empty
	kind := strings.ReplaceAll(n.Kind, "_", " ")
	if line := cicdTitle(n); line != "" {
		return line
	}
	switch {
	case n.Kind == graph.TableVersion && p.Table != "":
		return strings.TrimSpace(fmt.Sprintf("%s %s version %v %s", kind, p.Table, p.Version, p.Operation))
	case n.Kind == graph.TaskRun && p.TaskKey != "":
		return fmt.Sprintf("%s %s %s", kind, n.Key, p.TaskKey)
	case n.Kind == graph.JobRun && p.JobName != "":
		return fmt.Sprintf("%s %s %s", kind, n.Key, p.JobName)
	case n.Kind == graph.Commit:
		subject, _, _ := strings.Cut(p.Message, "\n")
		return fmt.Sprintf("%s %.12s %s %s", kind, n.Key, p.Author, subject)
	case n.Kind == graph.Deployment && p.Target != "":
		text := fmt.Sprintf("%s %s of %s to %s by %s", kind, n.Key, p.Bundle, p.Target, n.Actor)
		if p.Commit != "" && p.DirtyDigest != "" {
			text += " with changes that are in no commit"
		}
		return text
	case n.Kind == graph.External:
		return "unknown writer"
	}
	return kind + " " + n.Key
}

// cicdTitle names what happens between a push and a deployment, "" for others.
func cicdTitle(n *graph.Node) string {
	var p struct {
		Repo, Ref, Workflow, Event, Title, Job, Result, Environment, Decision, By, Reason, Name, Workspace, Resource, Kind, Channel string

		RunID      any `json:"run_id"`
		Serial     any
		JobRunID   any `json:"job_run_id"`
		RolledBack any `json:"rolled_back_to"`
		Suites     []testSuite
		LeftOut    string `json:"left_out"`
	}
	_ = json.Unmarshal(n.Payload, &p) // fields of another shape stay empty
	switch n.Kind {
	case graph.RefEvent:
		where, _, _ := strings.Cut(n.Key, "@")
		repo, name, _ := strings.Cut(where, ":")
		return words("push to", repo, shortRef(name), by(n.Actor))
	case graph.WorkflowRun:
		run, attempt, _ := strings.Cut(n.Key, "/")
		if attempt == "1" {
			return words("workflow run", run, p.Workflow, on(p.Event, p.Ref), by(n.Actor))
		}
		return words("workflow run", run, "attempt", attempt, p.Workflow, on(p.Event, p.Ref), by(n.Actor))
	case graph.CIJob:
		job := n.Key
		if parts := strings.SplitN(n.Key, "/", 3); len(parts) == 3 {
			job = parts[2]
		}
		return words("workflow job", cmp.Or(p.Name, job), p.Result)
	case graph.TestResults:
		line := fmt.Sprintf("tests of %s: %s", cmp.Or(p.Name, p.Job), counts(p.Suites))
		if p.LeftOut != "" {
			line += "; left out: " + p.LeftOut
		}
		return line
	case graph.Approval:
		reason := ""
		if p.Reason != "" {
			reason = ": " + p.Reason
		}
		return words(p.Decision, "for", p.Environment, by(n.Actor)) + reason
	case graph.Artifact:
		return words("artifact", p.Name)
	case graph.InfraApply:
		return words("terraform apply of", p.Workspace, fmt.Sprintf("serial %v", p.Serial), by(n.Actor))
	case graph.Verification:
		line := words("verification in", p.Environment+":", p.Result)
		if back := fmt.Sprint(p.RolledBack); p.RolledBack != nil && back != "0" {
			line += ", rolled back to version " + back
		}
		return line
	case graph.Drift:
		return words("drift of", p.Resource+":", p.Kind, by(n.Actor))
	case graph.Notification:
		return words("notification", p.Kind, p.Channel)
	}
	return ""
}

// testSuite counts the cases of one suite; Tests are all.
type testSuite struct{ Tests, Failures, Errors, Skipped int }

// counts says how the cases of suites ended.
func counts(suites []testSuite) string {
	tests, failed, skipped := 0, 0, 0
	for _, s := range suites {
		tests, failed, skipped = tests+s.Tests, failed+s.Failures+s.Errors, skipped+s.Skipped
	}
	return fmt.Sprintf("%d passed, %d failed, %d skipped", tests-failed-skipped, failed, skipped)
}

// words joins those that are not empty.
func words(list ...string) string {
	var kept []string
	for _, w := range list {
		if w != "" {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, " ")
}

func by(actor string) string {
	if actor == "" {
		return ""
	}
	return "by " + actor
}

func on(event, ref string) string {
	if event == "" {
		return ""
	}
	return words("on", event, shortRef(ref))
}

func shortRef(ref string) string {
	return strings.TrimPrefix(strings.TrimPrefix(ref, "refs/heads/"), "refs/tags/")
}
