package wherry

import "encoding/json"

// Cluster is compute that tasks run on: all-purpose, or made for one run of a
// job. Times are milliseconds since 1970, 0 for never.
type Cluster struct {
	ID          string
	WorkspaceID int64
	Name        string
	Source      string // ClusterSourceAPI or ClusterSourceJob
	Owner       Principal
	// JobRunID and Key say whose job cluster it is; 0 and "" for all others.
	JobRunID int64
	Key      string

	State      string // a Cluster* state
	Message    string
	ReasonCode string // why it is TERMINATED
	ReasonType string
	// AgentID is the agent that does its work, "" while it has none.
	AgentID string
	Pinned  bool // kept from being deleted for good
	// Spec is the settings as received.
	Spec json.RawMessage

	CreatedAt      int64
	StartedAt      int64
	TerminatedAt   int64
	LastActivityAt int64
	Version        int64
}

// Deletable returns INVALID_STATE of a cluster that may not be deleted for good.
// The provider databricks of Terraform looks for the message's last words.
func (c *Cluster) Deletable() error {
	if c.Pinned {
		return Errorf(CodeInvalidState, "Cluster %s is pinned: unpin the cluster first", c.ID)
	}
	return nil
}

// States of a cluster.
const (
	ClusterPending     = "PENDING"
	ClusterRunning     = "RUNNING"
	ClusterRestarting  = "RESTARTING"
	ClusterTerminating = "TERMINATING"
	ClusterTerminated  = "TERMINATED"
	ClusterError       = "ERROR"
)

// Who asked for a cluster.
const (
	ClusterSourceAPI = "API"
	ClusterSourceJob = "JOB"
)

// ClusterEvent is one line of a cluster's history.
type ClusterEvent struct {
	ClusterID string          `json:"cluster_id"`
	Timestamp int64           `json:"timestamp"`
	Type      string          `json:"type"`
	Details   json.RawMessage `json:"details"`
}
