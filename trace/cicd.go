package trace

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/wherry-ml/wherry"
	graph "github.com/wherry-ml/wherry/store/trace"
)

// ciPayload holds the fields of the events of workflows, infrastructure,
// drift and verification that the graph needs.
type ciPayload struct {
	RunID       text     `json:"run_id"`
	Attempt     text     `json:"attempt"`
	Repo        string   `json:"repo"`
	OriginURL   string   `json:"origin_url"`
	Event       string   `json:"event"`
	Ref         string   `json:"ref"`
	New         string   `json:"new"`
	SHA         string   `json:"sha"`
	Author      string   `json:"author"`
	Message     string   `json:"message"`
	Job         string   `json:"job"`
	Jobs        []string `json:"jobs"`
	Digest      string   `json:"digest"`
	LogDigest   string   `json:"log_digest"`
	SHA256      string   `json:"sha256"`
	Environment string   `json:"environment"`
	Workspace   string   `json:"workspace"`
	Serial      text     `json:"serial"`
	PlanDigest  string   `json:"plan_digest"`
	Commit      string   `json:"commit"`
	// Of a deployment, and of its drift and verification.
	DeploymentID string       `json:"deployment_id"`
	Version      text         `json:"version"`
	JobRunID     wherry.Int64 `json:"job_run_id"`
	Restores     text         `json:"restores"`
	CIRun        string       `json:"ci_run"`
}

// workflowRun is the key of a run of a workflow: run/attempt.
func (p ciPayload) workflowRun() string {
	attempt := string(p.Attempt)
	if attempt == "" || attempt == "null" {
		attempt = "1"
	}
	return string(p.RunID) + "/" + attempt
}

// cicd turns the events of what happens between a push and a deployment into
// nodes and edges.
func (g *edges) cicd() error {
	var p ciPayload
	e := g.e
	if e.Kind == wherry.EventCIRunFinished {
		return nil // its jobs have told
	}
	if err := json.Unmarshal(e.Payload, &p); err != nil {
		return fmt.Errorf("event %d (%s): %w", e.ID, e.Kind, err)
	}
	switch e.Kind {
	case wherry.EventRefUpdated:
		if strings.Trim(p.New, "0") != "" { // not the end of a branch
			g.pushed(p.Repo, p.Ref, p.New, e.Payload)
		}
	case wherry.EventCIRunStarted:
		g.workflowStarted(p)
	case wherry.EventCIJobFinished:
		g.ciJob(p.workflowRun(), p.Job, p.LogDigest, e.Payload)
	case wherry.EventCITest:
		tests := ref(graph.TestResults, p.workflowRun()+"/"+p.Job)
		g.node(tests, p.Digest, e.Actor, e.Payload)
		g.edge(g.ciJob(p.workflowRun(), p.Job, "", nil), "produced", tests)
		if sha := g.shaOf(p); sha != "" { // they speak of the commit, whichever workflow deploys it
			g.edge(tests, "tested_by", ref(graph.Commit, sha))
		}
	case wherry.EventCIApproval:
		g.approval(p)
	case wherry.EventCIArtifact:
		artifact := ref(graph.Artifact, p.SHA256)
		g.node(artifact, p.SHA256, e.Actor, e.Payload)
		g.edge(g.ciJob(p.workflowRun(), p.Job, "", nil), "produced", artifact)
	case wherry.EventInfraApplied:
		g.applied(p)
	case wherry.EventVerified:
		g.verified(p)
	case wherry.EventDriftFound:
		d := ref(graph.Drift, e.Subject)
		g.node(d, p.Digest, e.Actor, e.Payload)
		if p.DeploymentID != "" {
			g.edge(ref(graph.Deployment, p.DeploymentID+"/"+string(p.Version)), "drifted_from", d)
		}
		g.inRun("changed", d)
	case wherry.EventNotificationSent:
		sent := ref(graph.Notification, e.Subject)
		g.node(sent, "", "", e.Payload)
		if p.RunID != "" && p.RunID != "0" {
			g.edge(ref(graph.JobRun, p.RunID), "notified", sent)
		}
	}
	return g.err
}

func (g *edges) commit(p ciPayload, sha string) graph.Ref {
	c := ref(graph.Commit, sha)
	var body json.RawMessage
	if p.Author != "" || p.Message != "" {
		body, g.err = json.Marshal(map[string]string{"author": p.Author, "message": p.Message, "branch": strings.TrimPrefix(p.Ref, "refs/heads/"), "origin_url": p.OriginURL})
	}
	g.node(c, "", p.Author, body)
	return c
}

// pushed is the node of a ref that moved to a commit.
func (g *edges) pushed(repo, name, sha string, payload json.RawMessage) graph.Ref {
	event := ref(graph.RefEvent, repo+":"+name+"@"+sha)
	c := ref(graph.Commit, sha)
	g.node(c, "", "", nil)
	actor := ""
	if payload != nil {
		actor = g.e.Actor
	}
	g.node(event, sha, actor, payload)
	g.edge(c, "pushed", event)
	return event
}

func (g *edges) workflowStarted(p ciPayload) {
	run := ref(graph.WorkflowRun, p.workflowRun())
	g.node(run, p.SHA, g.e.Actor, g.e.Payload)
	if p.SHA == "" {
		return
	}
	g.edge(g.commit(p, p.SHA), "checked_out", run)
	if p.Event == "push" {
		g.edge(g.pushed(p.Repo, p.Ref, p.SHA, nil), "triggered", run)
	}
}

// ciJob is the node of a job of a workflow run.
func (g *edges) ciJob(run, job, digest string, payload json.RawMessage) graph.Ref {
	workflow, node := ref(graph.WorkflowRun, run), ref(graph.CIJob, run+"/"+job)
	g.node(workflow, "", "", nil)
	g.node(node, digest, "", payload)
	g.edge(workflow, "ran_as", node)
	return node
}

// shaOf is the commit of the workflow run that an event names.
func (g *edges) shaOf(p ciPayload) string {
	if p.SHA != "" || g.err != nil {
		return p.SHA
	}
	n, err := graph.NodeIn(g.tx, graph.Account, ref(graph.WorkflowRun, p.workflowRun()))
	if err != nil {
		return "" // a run whose start nobody told
	}
	return n.Digest
}

func (g *edges) approval(p ciPayload) {
	run := p.workflowRun()
	approval := ref(graph.Approval, run+"/"+p.Environment)
	g.node(approval, "", g.e.Actor, g.e.Payload)
	if len(p.Jobs) == 0 {
		workflow := ref(graph.WorkflowRun, run)
		g.node(workflow, "", "", nil)
		g.edge(approval, "approved_by", workflow)
	}
	for _, job := range p.Jobs {
		g.edge(approval, "approved_by", g.ciJob(run, job, "", nil))
	}
}

func (g *edges) applied(p ciPayload) {
	apply := ref(graph.InfraApply, g.e.Subject)
	g.node(apply, p.PlanDigest, g.e.Actor, g.e.Payload)
	if p.RunID != "" && p.RunID != "0" {
		workflow := ref(graph.WorkflowRun, p.workflowRun())
		g.node(workflow, "", "", nil)
		g.edge(workflow, "applied", apply)
	}
	if p.Commit != "" {
		g.edge(g.commit(p, p.Commit), "configured_by", apply)
	}
	g.inRun("applied", apply)
}

func (g *edges) verified(p ciPayload) {
	d := ref(graph.Deployment, p.DeploymentID+"/"+string(p.Version))
	v := ref(graph.Verification, p.DeploymentID+"/"+string(p.Version))
	g.node(d, "", "", nil)
	g.node(v, "", g.e.Actor, g.e.Payload)
	if p.JobRunID != 0 {
		run := ref(graph.JobRun, int64(p.JobRunID))
		g.node(run, "", "", nil)
		g.edge(run, "proved", v)
	}
	g.edge(v, "verified_by", d)
}

// fromCI links a deployment with the workflow's job that made it (run/attempt/
// job, as the job's own calls say), if that run is known, and with the version
// that it brought back.
func (g *edges) fromCI(d graph.Ref) {
	var p ciPayload
	if g.err != nil || json.Unmarshal(g.e.Payload, &p) != nil {
		return
	}
	if p.Restores != "" && p.Restores != "0" {
		g.edge(ref(graph.Deployment, p.DeploymentID+"/"+string(p.Restores)), "restored_as", d)
	}
	parts := strings.SplitN(p.CIRun, "/", 3)
	if len(parts) != 3 {
		return
	}
	run := parts[0] + "/" + parts[1]
	if _, err := graph.NodeIn(g.tx, graph.Account, ref(graph.WorkflowRun, run)); err != nil {
		return // nobody told of such a run
	}
	g.edge(g.ciJob(run, parts[2], "", nil), "deployed_as", d)
}
