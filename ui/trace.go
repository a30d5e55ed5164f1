package ui

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/wherry-ml/wherry"
	graph "github.com/wherry-ml/wherry/store/trace"
	"github.com/wherry-ml/wherry/trace"
)

type traceView struct {
	Kind, ID string
	Forward  bool
	Tree     *trace.Tree
	Cut      int // after how many things the tree ends, though there is more
	Kinds    []string
}

// trace shows what a thing came of, or what came of it, as a tree.
func (s *Service) trace(w http.ResponseWriter, r *http.Request) error {
	ctx, q := r.Context(), r.URL.Query()
	v := traceView{
		Kind: q.Get("kind"), ID: strings.TrimSpace(q.Get("id")), Forward: q.Get("direction") == "forward",
		Kinds: []string{graph.ModelVersion, graph.TableVersion, graph.JobRun, graph.TaskRun, graph.MLflowRun, graph.Deployment, graph.WorkflowRun, graph.Commit},
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
		v.Tree = g.AsTree(!v.Forward)
		if g.Truncated {
			v.Cut = len(g.Nodes)
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

func viewNode(n *graph.Node) node {
	v := node{Label: labels[n.Kind], Name: n.Key, Trace: "/trace?direction=forward&kind=" + url.QueryEscape(n.Kind) + "&id=" + url.QueryEscape(n.Key)}
	var p struct {
		Author, Message, Branch, Bundle, Target, Table, Operation, Path, Commit string

		DirtyDigest  string       `json:"dirty_digest"`
		JobName      string       `json:"job_name"`
		JobID        wherry.Int64 `json:"job_id"`
		TaskKey      string       `json:"task_key"`
		ExperimentID string       `json:"experiment_id"`
		RunName      string       `json:"run_name"`
	}
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
	}
	return v
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
