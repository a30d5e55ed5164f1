// Package provenance says, signed, where a deployment or a version of a model
// came from: SLSA v1 provenance as an in-toto statement, made from the graph of
// the trace.
package provenance

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	graph "github.com/wherry-ml/wherry/store/trace"
	"github.com/wherry-ml/wherry/trace"
)

// Types of in-toto and SLSA.
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://slsa.dev/provenance/v1"

	buildType = "https://github.com/wherry-ml/wherry/buildtypes/"
)

// Statement is an in-toto statement v1 with SLSA provenance v1.
type Statement struct {
	Type          string     `json:"_type"`
	Subject       []Resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     Predicate  `json:"predicate"`
}

// Resource is in-toto's ResourceDescriptor.
type Resource struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	Annotations map[string]any    `json:"annotations,omitempty"`
}

// Predicate is SLSA's provenance.
type Predicate struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition says what was built from what.
type BuildDefinition struct {
	BuildType            string         `json:"buildType"`
	ExternalParameters   map[string]any `json:"externalParameters"`
	InternalParameters   map[string]any `json:"internalParameters,omitempty"`
	ResolvedDependencies []Resource     `json:"resolvedDependencies,omitempty"`
}

// RunDetails says who built it, and when.
type RunDetails struct {
	Builder    Builder    `json:"builder"`
	Metadata   Metadata   `json:"metadata"`
	Byproducts []Resource `json:"byproducts,omitempty"`
}

// Builder is the installation, named by the key that signs.
type Builder struct {
	ID string `json:"id"`
}

// Metadata is of the one build.
type Metadata struct {
	InvocationID string `json:"invocationId,omitempty"`
	FinishedOn   string `json:"finishedOn,omitempty"`
}

// About tells whether a statement is about what it is taken for: a subject by
// its name (deployment/ID/VERSION, or ID/VERSION) and by its SHA-256, each of
// which may be "". A statement that verifies may be of another deploy.
func (s *Statement) About(name, digest string) error {
	names := []string{}
	for _, r := range s.Subject {
		_, short, _ := strings.Cut(r.Name, "/")
		if (name == "" || name == r.Name || name == short) && (digest == "" || strings.EqualFold(digest, r.Digest["sha256"])) {
			return nil
		}
		names = append(names, r.Name+" (sha256:"+r.Digest["sha256"]+")")
	}
	wanted := strings.TrimSpace(name + " " + digest)
	return wherry.Errorf(wherry.CodeInvalidParameter, "the provenance is of %s, not of %s", strings.Join(names, ", "), wanted)
}

// Of makes the statement of the first node of a graph, a deployment or a
// version of a model, from all that it came of. builder names the installation.
func Of(g *trace.Graph, builder string) (*Statement, error) {
	if len(g.Nodes) == 0 {
		return nil, wherry.Errorf(wherry.CodeDoesNotExist, "nothing is known of it")
	}
	if g.Truncated {
		return nil, wherry.Errorf(wherry.CodeExhausted, "it came of more than %d things: provenance that leaves some out is not signed", len(g.Nodes))
	}
	n := g.Nodes[0]
	kind := map[string]string{graph.Deployment: "deployment/v1", graph.ModelVersion: "model/v1"}[n.Kind]
	if kind == "" {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "provenance is of a deployment or a model version, not of a %s", strings.ReplaceAll(n.Kind, "_", " "))
	}
	sum := strings.TrimPrefix(n.Digest, "sha256:")
	if len(sum) != 64 {
		return nil, wherry.Errorf(wherry.CodeInvalidState, "no digest of %s %s is known, so provenance could be of anything", strings.ReplaceAll(n.Kind, "_", " "), n.Key)
	}
	s := &Statement{
		Type: StatementType, PredicateType: PredicateType,
		Subject: []Resource{{Name: n.Kind + "/" + n.Key, Digest: map[string]string{"sha256": sum}}},
		Predicate: Predicate{
			BuildDefinition: BuildDefinition{BuildType: buildType + kind, ExternalParameters: parameters(n)},
			RunDetails:      RunDetails{Builder: Builder{ID: builder}, Metadata: Metadata{FinishedOn: n.At.UTC().Format(time.RFC3339)}},
		},
	}
	for _, other := range g.Nodes[1:] {
		s.add(other)
	}
	return s, nil
}

// parameters are what whoever made a node asked for.
func parameters(n *graph.Node) map[string]any {
	all := payload(n)
	out := map[string]any{}
	for _, key := range []string{"bundle", "target", "version", "branch", "origin_url", "deployment_id", "dirty_digest", "name", "mlflow_run_id", "restores"} {
		if v, ok := all[key]; ok && v != "" && v != nil {
			out[key] = v
		}
	}
	out["actor"] = n.Actor
	return out
}

func payload(n *graph.Node) map[string]any {
	all := map[string]any{}
	_ = json.Unmarshal(n.Payload, &all) // a node that is only named says nothing
	return all
}

// add puts what the subject came of in its place: materials, and records of
// what was done on the way.
func (s *Statement) add(n *graph.Node) {
	all := payload(n)
	text := func(key string) string {
		if all[key] == nil {
			return ""
		}
		return fmt.Sprint(all[key])
	}
	run := &s.Predicate.RunDetails
	build := &s.Predicate.BuildDefinition
	switch n.Kind {
	case graph.Commit:
		uri := "git+" + text("origin_url")
		if branch := text("branch"); branch != "" {
			uri += "@refs/heads/" + strings.TrimPrefix(branch, "refs/heads/")
		}
		build.ResolvedDependencies = append(build.ResolvedDependencies, Resource{
			Name: "commit/" + n.Key, URI: uri, Digest: map[string]string{"gitCommit": n.Key}, Annotations: kept(all, "author", "message"),
		})
	case graph.TableVersion:
		build.ResolvedDependencies = append(build.ResolvedDependencies, Resource{Name: "table_version/" + n.Key, URI: text("location"), Annotations: kept(all, "table", "version", "operation")})
	case graph.ModelVersion, graph.Deployment:
		build.ResolvedDependencies = append(build.ResolvedDependencies, described(n, all, "bundle", "target", "version", "branch", "dirty_digest"))
	case graph.WorkflowRun:
		if run.Metadata.InvocationID == "" {
			run.Metadata.InvocationID = "workflow_run/" + n.Key
		}
		run.Byproducts = append(run.Byproducts, described(n, all, "repo", "workflow", "path", "event", "ref", "sha"))
	case graph.CIJob, graph.TestResults, graph.Approval, graph.Verification, graph.JobRun, graph.TaskRun, graph.MLflowRun:
		run.Byproducts = append(run.Byproducts, described(n, all, "job", "result", "steps", "suites", "failed", "left_out", "environment", "decision", "reason", "job_name", "task_key", "result_state"))
	}
}

// described is a node as a resource, with some fields of its payload.
func described(n *graph.Node, all map[string]any, fields ...string) Resource {
	r := Resource{Name: n.Kind + "/" + n.Key, Annotations: kept(all, fields...)}
	if n.Actor != "" {
		if r.Annotations == nil {
			r.Annotations = map[string]any{}
		}
		r.Annotations["actor"] = n.Actor
	}
	if sum := strings.TrimPrefix(n.Digest, "sha256:"); len(sum) == 64 {
		r.Digest = map[string]string{"sha256": sum}
	}
	return r
}

func kept(all map[string]any, fields ...string) map[string]any {
	var out map[string]any
	for _, key := range fields {
		if v, ok := all[key]; ok && v != nil && v != "" {
			if out == nil {
				out = map[string]any{}
			}
			out[key] = v
		}
	}
	return out
}
