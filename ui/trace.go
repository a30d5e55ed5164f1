package ui

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/cicd"
	graph "github.com/wherry-ml/wherry/store/trace"
	"github.com/wherry-ml/wherry/trace"
)

type traceView struct {
	Kind, ID string
	Forward  bool
	Tree     *trace.Tree
	Cut      int // after how many things the tree ends, though there is more
	Kinds    []string
	Graph    traceGraph
}

// maxTraced is how many things the tree of a page names, the nearest ones.
const maxTraced = 200

// trace shows what a thing came of, or what came of it, as a tree.
func (s *Service) trace(w http.ResponseWriter, r *http.Request) error {
	ctx, q := r.Context(), r.URL.Query()
	v := traceView{
		Kind: q.Get("kind"), ID: strings.TrimSpace(q.Get("id")), Forward: q.Get("direction") == "forward",
		Kinds: []string{graph.ModelVersion, graph.TableVersion, graph.JobRun, graph.TaskRun, graph.MLflowRun, graph.Deployment, graph.WorkflowRun, graph.Commit},
	}
	if v.Kind != "" && !slices.Contains(v.Kinds, v.Kind) { // where the graph was walked to
		v.Kinds = append(v.Kinds, v.Kind)
	}
	if v.ID != "" {
		if err := s.cfg.Trace.Refresh(ctx); err != nil {
			return err
		}
		walk := s.cfg.Trace.Back
		if v.Forward {
			walk = s.cfg.Trace.Forward
		}
		g, err := walk(ctx, graph.Account, graph.Ref{Kind: v.Kind, Key: v.ID})
		if err != nil {
			return err
		}
		if len(g.Nodes) > maxTraced {
			g.Nodes, g.Truncated = g.Nodes[:maxTraced], true
		}
		v.Tree = g.AsTree(!v.Forward)
		if g.Truncated {
			v.Cut = len(g.Nodes)
		}
		if v.Graph, err = s.around(ctx, g.Nodes[0].Ref, v.Forward); err != nil {
			return err
		}
	}
	return s.render(w, r, http.StatusOK, "trace", page{Title: "Trace", Section: "trace", Body: v})
}

// node is what a page says of a node of the graph.
type node struct {
	Label  string // of its kind
	Name   string
	Detail string
	Link   string // to the thing's own page
	Trace  string // to what came of it
}

var labels = map[string]string{
	graph.Commit: "commit", graph.Deployment: "deployment", graph.JobRun: "job run", graph.TaskRun: "task run", graph.TableVersion: "table version",
	graph.MLflowRun: "MLflow run", graph.ModelVersion: "model version", graph.AliasChange: "alias", graph.External: "unknown writer",
	graph.RefEvent: "push", graph.WorkflowRun: "workflow run", graph.CIJob: "workflow job", graph.TestResults: "tests", graph.Artifact: "artifact",
	graph.Approval: "approval", graph.InfraApply: "terraform apply", graph.Verification: "verification", graph.Drift: "drift", graph.Notification: "notification",
}

// payload is what the payloads of nodes have that pages show, whichever kind a
// node is of.
type payload struct {
	Author, Message, Branch, Bundle, Target, Table, Operation, Path, Commit string

	Workflow, Repo, Job, Environment, Decision, By, Result, Resource, Ref, Name string

	DirtyDigest  string       `json:"dirty_digest"`
	JobName      string       `json:"job_name"`
	JobID        wherry.Int64 `json:"job_id"`
	TaskKey      string       `json:"task_key"`
	ExperimentID string       `json:"experiment_id"`
	RunName      string       `json:"run_name"`
	Suites       []struct{ Tests, Failures, Errors int }
}

func viewNode(n *graph.Node) node {
	v := node{Label: labels[n.Kind], Name: n.Key, Trace: "/trace?direction=forward&kind=" + url.QueryEscape(n.Kind) + "&id=" + url.QueryEscape(n.Key)}
	var p payload
	_ = json.Unmarshal(n.Payload, &p) // a payload of another shape says less
	switch n.Kind {
	case graph.Commit:
		v.Name = n.Key[:min(10, len(n.Key))]
		v.Detail = strings.TrimSpace(p.Message + separated(p.Author) + separated(p.Branch))
	case graph.Deployment:
		v.Name, v.Detail = p.Bundle, "to "+p.Target
		if p.Commit != "" && p.DirtyDigest != "" {
			v.Detail += separated("with changes that are in no commit")
		}
		if p.Bundle == "" {
			v.Name, v.Detail = n.Key, ""
		}
	case graph.JobRun:
		v.Detail, v.Link = p.JobName, runPath(int64(p.JobID), number(n.Key))
	case graph.TaskRun:
		v.Detail, v.Link = p.TaskKey+separated(p.Path), runPath(0, number(n.Key))
	case graph.TableVersion:
		if _, version, ok := strings.Cut(n.Key, "@"); ok && p.Table != "" {
			v.Name, v.Link = p.Table+" @ "+version, tablePath(p.Table)
		}
		v.Detail = p.Operation
	case graph.MLflowRun:
		v.Detail = p.RunName
		if p.ExperimentID != "" {
			v.Link = "/mlflow/#/experiments/" + url.PathEscape(p.ExperimentID) + "/runs/" + url.PathEscape(n.Key)
		}
	case graph.ModelVersion:
		if name, _, ok := strings.Cut(n.Key, "/"); ok {
			v.Link = "/models/" + url.PathEscape(name)
		}
	default:
		v.deliver(n, p)
	}
	return v
}

// deliver says what a page says of what lies between a push and a deployment.
func (v *node) deliver(n *graph.Node, p payload) {
	run, rest, _ := strings.Cut(n.Key, "/")
	switch n.Kind {
	case graph.RefEvent:
		_, at, _ := strings.Cut(n.Key, ":")
		at, _, _ = strings.Cut(at, "@")
		v.Name, v.Detail = strings.TrimPrefix(strings.TrimPrefix(at, "refs/heads/"), "refs/tags/"), "by "+whoever(n.Actor)
		if p.Repo != "" {
			v.Detail, v.Link = p.Repo+separated(v.Detail), "/repos/"+url.PathEscape(p.Repo)
		}
	case graph.WorkflowRun:
		v.Name, v.Detail, v.Link = cmp.Or(p.Workflow, n.Key), "run "+n.Key+separated(p.Repo), cicd.Page(number(run))
	case graph.CIJob:
		_, job, _ := strings.Cut(rest, "/")
		v.Name, v.Detail, v.Link = cmp.Or(p.Name, job, n.Key), "run "+run, cicd.Page(number(run))
	case graph.TestResults:
		tests, bad := 0, 0
		for _, s := range p.Suites {
			tests, bad = tests+s.Tests, bad+s.Failures+s.Errors
		}
		v.Name, v.Detail, v.Link = fmt.Sprintf("%d tests", tests), fmt.Sprintf("%d failed", bad), cicd.Page(number(run))
	case graph.Approval:
		v.Name = cmp.Or(p.Environment, n.Key)
		v.Detail, v.Link = strings.TrimSpace(p.Decision+" by "+whoever(cmp.Or(p.By, n.Actor))), environmentPath(v.Name)
	case graph.Verification:
		v.Name, v.Detail = cmp.Or(p.Result, n.Key), p.Environment
	case graph.Drift:
		v.Name, v.Detail, v.Link = cmp.Or(p.Resource, n.Key), "by "+whoever(n.Actor), "/drift/"+url.PathEscape(n.Key)
	case graph.Artifact:
		v.Name = cmp.Or(p.Name, n.Key[:min(10, len(n.Key))])
	}
}

func separated(s string) string {
	if s == "" {
		return ""
	}
	return " · " + s
}

func number(s string) (n int64) {
	_, _ = fmt.Sscan(s, &n) // keys of runs are numbers
	return n
}

// traceLink is the page of what a thing came of.
func traceLink(kind string, id any) string {
	return "/trace?kind=" + url.QueryEscape(kind) + "&id=" + url.QueryEscape(fmt.Sprint(id))
}
