// Package trace stores the graph that leads from a commit to a prediction, and
// how far its sources were read.
package trace

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Kinds of node.
const (
	Commit       = "commit"        // key: sha
	Deployment   = "deployment"    // key: id/version
	JobRun       = "job_run"       // key: run id
	TaskRun      = "task_run"      // key: run id of the attempt
	TableVersion = "table_version" // key: table id@version
	MLflowRun    = "mlflow_run"    // key: run id
	ModelVersion = "model_version" // key: name/version
	AliasChange  = "alias_change"  // key: name@alias/version
	External     = "unknown_writer"

	RefEvent     = "ref_event"    // key: repo:ref@sha
	WorkflowRun  = "workflow_run" // key: run/attempt; digest: the commit
	CIJob        = "ci_job"       // key: run/attempt/job, of a matrix run/attempt/job/place; its payload has the steps
	TestResults  = "test_results" // key: that of its job; its payload has the suites
	Artifact     = "artifact"     // key: sha256
	Approval     = "approval"     // key: run/attempt/environment
	InfraApply   = "infra_apply"  // key: state@serial
	Verification = "verification" // key: deployment id/version
	Drift        = "drift_event"  // key: the drift's id
	Notification = "notification" // key: the notification's id
)

// Ref names a node.
type Ref struct {
	Kind string `json:"kind"`
	Key  string `json:"id"`
}

// Node is a thing of the graph.
type Node struct {
	Ref
	Digest  string          `json:"digest,omitempty"`
	Actor   string          `json:"actor,omitempty"`
	At      time.Time       `json:"at"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// Edge says that Dst came of Src.
type Edge struct {
	Src, Dst Ref
	Rel      string
	At       time.Time
	EventID  int64 // the evidence
}

// Store gives access to the graph.
type Store struct{ db *store.DB }

// New returns the store.
func New(db *store.DB) *Store { return &Store{db: db} }

// Account is whose the graph is: one for all workspaces, as a workflow runs in
// one and deploys to another, and tables are everybody's.
const Account = wherry.DefaultWorkspace

// AddNode adds a node that is only mentioned; one that is there stays as it is.
func AddNode(tx *store.Tx, ws int64, n Node) error {
	_, err := tx.Exec(`INSERT INTO trace_node (workspace_id, kind, key, digest, actor, at, payload) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (workspace_id, kind, key) DO NOTHING`, ws, n.Kind, n.Key, n.Digest, n.Actor, n.At.UnixMilli(), string(n.Payload))
	return err
}

// PutNode adds a node, or what an event says of one that is there. Its time is
// that of the event that describes it.
func PutNode(tx *store.Tx, ws int64, n Node) error {
	if n.Payload == nil {
		n.Payload = json.RawMessage("{}")
	}
	_, err := tx.Exec(`INSERT INTO trace_node (workspace_id, kind, key, digest, actor, at, payload) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (workspace_id, kind, key) DO UPDATE SET
		digest = CASE WHEN excluded.digest = '' THEN trace_node.digest ELSE excluded.digest END,
		at = CASE WHEN excluded.payload = '{}' THEN trace_node.at ELSE excluded.at END,
		actor = CASE WHEN excluded.actor = '' THEN trace_node.actor ELSE excluded.actor END,
		payload = CASE WHEN excluded.payload = '{}' THEN trace_node.payload ELSE excluded.payload END`,
		ws, n.Kind, n.Key, n.Digest, n.Actor, n.At.UnixMilli(), string(n.Payload))
	return err
}

// PutEdge adds an edge; one that is there stays.
func PutEdge(tx *store.Tx, ws int64, e Edge) error {
	_, err := tx.Exec(`INSERT INTO trace_edge (workspace_id, src_kind, src_key, rel, dst_kind, dst_key, at, event_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		ws, e.Src.Kind, e.Src.Key, e.Rel, e.Dst.Kind, e.Dst.Key, e.At.UnixMilli(), e.EventID)
	return err
}

// Node returns a node, or RESOURCE_DOES_NOT_EXIST.
func (s *Store) Node(ctx context.Context, ws int64, ref Ref) (n *Node, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		n, err = node(tx, ws, ref)
		return err
	})
	return n, err
}

// NodeIn is Node inside of a transaction.
func NodeIn(tx *store.Tx, ws int64, ref Ref) (*Node, error) { return node(tx, ws, ref) }

func node(tx *store.Tx, ws int64, ref Ref) (*Node, error) {
	n := &Node{Ref: ref}
	var at int64
	var payload string
	err := tx.Row(`SELECT digest, actor, at, payload FROM trace_node WHERE workspace_id = $1 AND kind = $2 AND key = $3`, ws, ref.Kind, ref.Key).
		Scan(&n.Digest, &n.Actor, &at, &payload)
	if errors.Is(err, store.ErrNoRows) {
		return nil, wherry.Errorf(wherry.CodeDoesNotExist, "nothing is known of %s %s", ref.Kind, ref.Key)
	}
	n.At, n.Payload = time.UnixMilli(at), json.RawMessage(payload)
	return n, err
}

// Newest returns the node of a kind that came last of those whose key begins
// with prefix.
func (s *Store) Newest(ctx context.Context, ws int64, kind, prefix string) (r Ref, ok bool, err error) {
	r.Kind = kind
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Row(`SELECT key FROM trace_node WHERE workspace_id = $1 AND kind = $2 AND key >= $3 AND key < $4 ORDER BY at DESC, key DESC LIMIT 1`,
			ws, kind, prefix, prefix+"\uffff").Scan(&r.Key)
	})
	if errors.Is(err, store.ErrNoRows) {
		return r, false, nil
	}
	return r, err == nil, err
}

// Find returns the nodes of a kind whose key begins with prefix, at most ten:
// a commit may be named by the first digits of its sha.
func (s *Store) Find(ctx context.Context, ws int64, kind, prefix string) (found []Ref, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT key FROM trace_node WHERE workspace_id = $1 AND kind = $2 AND key >= $3 AND key < $4 ORDER BY key LIMIT 10`,
			[]any{ws, kind, prefix, prefix + "\uffff"}, func(scan func(...any) error) error {
				r := Ref{Kind: kind}
				err := scan(&r.Key)
				found = append(found, r)
				return err
			})
	})
	return found, err
}
