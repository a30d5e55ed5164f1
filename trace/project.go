package trace

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	graph "github.com/wherry-ml/wherry/store/trace"
)

// payload holds the fields of all events that the graph needs.
type payload struct {
	DeploymentID   string       `json:"deployment_id"`
	Version        text         `json:"version"`
	Commit         string       `json:"commit"`
	DirtyDigest    string       `json:"dirty_digest"`
	TreeDigest     string       `json:"tree_digest"`
	Author         string       `json:"author"`
	Message        string       `json:"message"`
	Branch         string       `json:"branch"`
	OriginURL      string       `json:"origin_url"`
	JobRunID       wherry.Int64 `json:"job_run_id"`
	TableID        string       `json:"table_id"`
	Name           string       `json:"name"`
	Alias          string       `json:"alias"`
	MLflowRunID    string       `json:"mlflow_run_id"`
	Digest         string       `json:"digest"`
	ExecutedDigest string       `json:"executed_digest"`
}

// text is a value that some events write as a number and others as a string.
type text string

// UnmarshalJSON keeps the digits of a number and the characters of a string.
func (t *text) UnmarshalJSON(b []byte) error {
	*t = text(strings.Trim(string(b), `"`))
	return nil
}

// edges collects what one event adds.
type edges struct {
	tx  *store.Tx
	e   wherry.Event
	err error
}

func (g *edges) node(ref graph.Ref, digest, actor string, payload json.RawMessage) {
	if g.err == nil {
		g.err = graph.PutNode(g.tx, graph.Account, graph.Node{Ref: ref, Digest: digest, Actor: actor, At: g.e.At, Payload: payload})
	}
}

func (g *edges) edge(src graph.Ref, rel string, dst graph.Ref) {
	if g.err == nil {
		g.err = graph.PutEdge(g.tx, graph.Account, graph.Edge{Src: src, Dst: dst, Rel: rel, At: g.e.At, EventID: g.e.ID})
	}
}

func ref(kind string, key any) graph.Ref { return graph.Ref{Kind: kind, Key: fmt.Sprint(key)} }

// inRun links the task run in which the event happened.
func (g *edges) inRun(rel string, dst graph.Ref) {
	if g.e.RunID != 0 {
		run := ref(graph.TaskRun, g.e.RunID)
		g.node(run, "", "", nil)
		g.edge(run, rel, dst)
	}
}

// project turns an event into nodes and edges. It is the only place that
// knows what an event means to the graph.
func project(tx *store.Tx, e wherry.Event) error {
	switch e.Kind {
	case wherry.EventRefUpdated, wherry.EventCIRunStarted, wherry.EventCIRunFinished, wherry.EventCIJobFinished, wherry.EventCITest, wherry.EventCIApproval,
		wherry.EventCIArtifact, wherry.EventInfraApplied, wherry.EventVerified, wherry.EventDriftFound, wherry.EventNotificationSent:
		return (&edges{tx: tx, e: e}).cicd()
	}
	var p payload
	if err := json.Unmarshal(e.Payload, &p); err != nil {
		return fmt.Errorf("event %d (%s): %w", e.ID, e.Kind, err)
	}
	g := &edges{tx: tx, e: e}
	switch e.Kind {
	case wherry.EventDeployment:
		g.deployment(p)
	case wherry.EventRunStarted:
		run := ref(graph.JobRun, e.Subject)
		g.node(run, "", e.Actor, e.Payload)
		if p.DeploymentID != "" {
			deployment := ref(graph.Deployment, p.DeploymentID+"/"+string(p.Version))
			g.node(deployment, "", "", nil)
			g.edge(deployment, "ran_as", run)
		}
	case wherry.EventTaskStarted:
		task := ref(graph.TaskRun, e.Subject)
		g.node(task, "", e.Actor, e.Payload)
		run := ref(graph.JobRun, int64(p.JobRunID))
		g.node(run, "", "", nil)
		g.edge(run, "ran_as", task)
	case wherry.EventTaskFinished: // the digest of what ran; the node keeps its first payload
		g.node(ref(graph.TaskRun, e.Subject), p.ExecutedDigest, "", nil)
	case wherry.EventTableCommitted, wherry.EventTableRead:
		g.table(p)
	case wherry.EventMLflowRun:
		run := ref(graph.MLflowRun, e.Subject)
		g.node(run, "", e.Actor, e.Payload)
		g.inRun("trained", run)
	case wherry.EventModelVersion, wherry.EventModelAlias, wherry.EventModelRead:
		g.model(p)
	}
	return g.err
}

func (g *edges) deployment(p payload) {
	d := ref(graph.Deployment, p.DeploymentID+"/"+string(p.Version))
	g.node(d, p.TreeDigest, g.e.Actor, g.e.Payload)
	g.fromCI(d)
	if p.Commit == "" {
		return // a project without git
	}
	c := ref(graph.Commit, p.Commit)
	body, err := json.Marshal(map[string]string{"author": p.Author, "message": p.Message, "branch": p.Branch, "origin_url": p.OriginURL})
	if err != nil {
		g.err = err
		return
	}
	g.node(c, "", p.Author, body)
	g.edge(c, "deployed_as", d)
}

func (g *edges) table(p payload) {
	version := ref(graph.TableVersion, p.TableID+"@"+string(p.Version))
	if g.e.Kind == wherry.EventTableRead {
		if g.e.RunID != 0 {
			run := ref(graph.TaskRun, g.e.RunID)
			g.node(run, "", "", nil)
			if g.err == nil { // what its commit says of it stays
				g.err = graph.AddNode(g.tx, graph.Account, graph.Node{Ref: version, At: g.e.At, Payload: g.e.Payload})
			}
			g.edge(version, "read", run)
		}
		return
	}
	g.node(version, "", g.e.Actor, g.e.Payload)
	if g.e.RunID == 0 {
		unknown := ref(graph.External, p.TableID+"@"+string(p.Version))
		g.node(unknown, "", "", nil)
		g.edge(unknown, "wrote", version)
	}
	g.inRun("wrote", version)
}

func (g *edges) model(p payload) {
	version := ref(graph.ModelVersion, p.Name+"/"+string(p.Version))
	switch g.e.Kind {
	case wherry.EventModelVersion:
		g.node(version, p.Digest, g.e.Actor, g.e.Payload)
		if p.MLflowRunID != "" {
			run := ref(graph.MLflowRun, p.MLflowRunID)
			g.node(run, "", "", nil)
			g.edge(run, "registered_as", version)
		}
		g.inRun("registered", version)
	case wherry.EventModelAlias:
		alias := ref(graph.AliasChange, p.Name+"@"+p.Alias+"/"+string(p.Version)+"#"+strconv.FormatInt(g.e.ID, 10))
		g.node(version, "", "", nil)
		g.node(alias, "", g.e.Actor, g.e.Payload)
		g.edge(version, "aliased_as", alias)
	case wherry.EventModelRead:
		if g.e.RunID != 0 {
			run := ref(graph.TaskRun, g.e.RunID)
			g.node(version, "", "", nil)
			g.node(run, "", "", nil)
			g.edge(version, "predicted", run)
		}
	}
}
