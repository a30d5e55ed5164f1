package compute

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/drift"
)

const clusterColumns = `c.id, c.workspace_id, c.name, c.source, c.job_run_id, c.cluster_key, c.state, c.state_message, c.reason_code, c.reason_type,
	c.agent_id, c.pinned, c.spec, c.created_at, c.started_at, c.terminated_at, c.last_activity_at, c.version,
	p.id, p.kind, p.user_name, p.display_name, p.application_id, p.admin, p.active`

// TopicCluster tells that clusters changed (DB.Watch).
const TopicCluster = "clusters"

const fromCluster = ` FROM cluster c JOIN principal p ON p.id = c.principal_id `

func scanCluster(scan func(...any) error) (c wherry.Cluster, err error) {
	var spec string
	o := &c.Owner
	err = scan(&c.ID, &c.WorkspaceID, &c.Name, &c.Source, &c.JobRunID, &c.Key, &c.State, &c.Message, &c.ReasonCode, &c.ReasonType,
		&c.AgentID, &c.Pinned, &spec, &c.CreatedAt, &c.StartedAt, &c.TerminatedAt, &c.LastActivityAt, &c.Version,
		&o.ID, &o.Kind, &o.UserName, &o.DisplayName, &o.ApplicationID, &o.Admin, &o.Active)
	c.Spec = json.RawMessage(spec)
	return c, err
}

// Create stores a new cluster with its first event. A job cluster that exists
// already is returned as it is.
func (s *Store) Create(ctx context.Context, c wherry.Cluster) (out wherry.Cluster, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		if c.JobRunID > 0 {
			out, err = scanCluster(tx.Row(`SELECT `+clusterColumns+fromCluster+`WHERE c.job_run_id = $1 AND c.cluster_key = $2`, c.JobRunID, c.Key).Scan)
			if !errors.Is(err, store.ErrNoRows) {
				return err
			}
		}
		out = c
		out.CreatedAt, out.LastActivityAt, out.Version = time.Now().UnixMilli(), time.Now().UnixMilli(), 1
		_, err := tx.Exec(`INSERT INTO cluster (id, workspace_id, name, source, principal_id, creator, job_run_id, cluster_key, state, state_message,
			reason_code, reason_type, agent_id, spec, created_at, started_at, terminated_at, last_activity_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '', '', $11, $12, $13, $14, 0, $13)`,
			c.ID, c.WorkspaceID, c.Name, c.Source, c.Owner.ID, c.Owner.UserName, c.JobRunID, c.Key, c.State, c.Message,
			c.AgentID, string(c.Spec), out.CreatedAt, c.StartedAt)
		if err != nil {
			return err
		}
		tx.Changed(TopicCluster)
		return addEvent(tx, c.ID, "CREATING", map[string]string{"user": c.Owner.UserName})
	})
	return out, err
}

// Cluster returns a cluster of a workspace.
func (s *Store) Cluster(ctx context.Context, ws int64, id string) (c wherry.Cluster, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		c, err = clusterTx(tx, ws, id)
		return err
	})
	return c, err
}

func clusterTx(tx *store.Tx, ws int64, id string) (wherry.Cluster, error) {
	c, err := scanCluster(tx.Row(`SELECT `+clusterColumns+fromCluster+`WHERE c.workspace_id = $1 AND c.id = $2`, ws, id).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return c, wherry.Errorf(wherry.CodeInvalidParameter, "Cluster %s does not exist", id)
	}
	return c, err
}

// Clusters lists a workspace's clusters, newest first; ws 0 is all workspaces.
func (s *Store) Clusters(ctx context.Context, ws int64) (all []wherry.Cluster, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+clusterColumns+fromCluster+`WHERE c.workspace_id = $1 OR $1 = 0 ORDER BY c.created_at DESC, c.id`, []any{ws},
			func(scan func(...any) error) error {
				c, err := scanCluster(scan)
				all = append(all, c)
				return err
			})
	})
	return all, err
}

// ClustersFrom lists a workspace's clusters of one source, newest first.
func (s *Store) ClustersFrom(ctx context.Context, ws int64, source string, limit int) (all []wherry.Cluster, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		all = nil
		return tx.Each(`SELECT `+clusterColumns+fromCluster+`WHERE c.workspace_id = $1 AND c.source = $2 ORDER BY c.created_at DESC, c.id LIMIT $3`,
			[]any{ws, source, limit}, func(scan func(...any) error) error {
				c, err := scanCluster(scan)
				all = append(all, c)
				return err
			})
	})
	return all, err
}

// JobClusters lists the clusters of a run of a job that are not terminated.
func (s *Store) JobClusters(ctx context.Context, jobRunID int64) (all []wherry.Cluster, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+clusterColumns+fromCluster+`WHERE c.job_run_id = $1 AND c.state <> 'TERMINATED'`, []any{jobRunID},
			func(scan func(...any) error) error {
				c, err := scanCluster(scan)
				all = append(all, c)
				return err
			})
	})
	return all, err
}

// Update stores the changed fields of c (all but identity, creation and pinned) with an
// event, "" for none. It fails with ABORTED if c is not of the version stored.
func (s *Store) Update(ctx context.Context, c wherry.Cluster, event string, details any) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		var same bool
		if err := tx.Row(`SELECT name = $1 AND spec = $2 FROM cluster WHERE id = $3`, c.Name, string(c.Spec), c.ID).Scan(&same); err != nil && !errors.Is(err, store.ErrNoRows) {
			return err
		}
		if !same { // its state is no setting
			if err := drift.Touch(ctx, tx, "clusters", c.ID); err != nil {
				return err
			}
		}
		if err := tx.ExecVersioned(`UPDATE cluster SET name = $1, state = $2, state_message = $3, reason_code = $4, reason_type = $5, agent_id = $6,
			spec = $7, started_at = $8, terminated_at = $9, last_activity_at = $10, version = version + 1 WHERE id = $11 AND version = $12`,
			c.Name, c.State, c.Message, c.ReasonCode, c.ReasonType, c.AgentID,
			string(c.Spec), c.StartedAt, c.TerminatedAt, c.LastActivityAt, c.ID, c.Version); err != nil {
			return err
		}
		tx.Changed(TopicCluster)
		if event == "" {
			return nil
		}
		return addEvent(tx, c.ID, event, details)
	})
}

// Touch notes that a cluster was used.
func (s *Store) Touch(ctx context.Context, id string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE cluster SET last_activity_at = $1 WHERE id = $2`, time.Now().UnixMilli(), id)
		return err
	})
}

// maxPinned is how many clusters of a workspace may be pinned, as on the platform.
const maxPinned = 100

// Pin keeps a cluster from being deleted for good, or no longer does. It leaves
// the version: whoever starts the cluster meanwhile goes on.
func (s *Store) Pin(ctx context.Context, ws int64, id string, pinned bool, details any) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		c, err := clusterTx(tx, ws, id)
		if err != nil || c.Pinned == pinned {
			return err
		}
		event := "UNPINNED"
		if pinned {
			event = "PINNED"
			var n int
			if err := tx.Row(`SELECT count(*) FROM cluster WHERE workspace_id = $1 AND pinned`, ws).Scan(&n); err != nil {
				return err
			}
			if n >= maxPinned {
				return wherry.Errorf(wherry.CodeInvalidState, "%d clusters are pinned already: unpin one first", n)
			}
		}
		if _, err := tx.Exec(`UPDATE cluster SET pinned = $1 WHERE id = $2`, pinned, id); err != nil {
			return err
		}
		tx.Changed(TopicCluster)
		return addEvent(tx, id, event, details)
	})
}

// Delete removes a cluster and its history for good; INVALID_STATE if it is pinned.
func (s *Store) Delete(ctx context.Context, ws int64, id string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		c, err := clusterTx(tx, ws, id)
		if err != nil {
			return err
		}
		if err := c.Deletable(); err != nil {
			return err
		}
		if _, err := tx.Exec(`DELETE FROM cluster_event WHERE cluster_id = $1`, id); err != nil {
			return err
		}
		tx.Changed(TopicCluster)
		if _, err := tx.Exec(`DELETE FROM cluster WHERE id = $1`, id); err != nil {
			return err
		}
		return drift.Touch(ctx, tx, "clusters", id)
	})
}

func addEvent(tx *store.Tx, clusterID, kind string, details any) error {
	b, err := json.Marshal(details)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO cluster_event (cluster_id, number, at, type, details)
		VALUES ($1, (SELECT coalesce(max(number), 0) + 1 FROM cluster_event WHERE cluster_id = $1), $2, $3, $4)`,
		clusterID, time.Now().UnixMilli(), kind, string(b))
	return err
}

// Events returns a page of a cluster's history, newest first, and how many
// events there are in all.
func (s *Store) Events(ctx context.Context, clusterID string, offset, limit int64) (all []wherry.ClusterEvent, total int64, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		if err := tx.Row(`SELECT count(*) FROM cluster_event WHERE cluster_id = $1`, clusterID).Scan(&total); err != nil {
			return err
		}
		return tx.Each(`SELECT cluster_id, at, type, details FROM cluster_event WHERE cluster_id = $1 ORDER BY number DESC LIMIT $2 OFFSET $3`,
			[]any{clusterID, limit, offset}, func(scan func(...any) error) error {
				var e wherry.ClusterEvent
				var details string
				err := scan(&e.ClusterID, &e.Timestamp, &e.Type, &details)
				e.Details = json.RawMessage(details)
				all = append(all, e)
				return err
			})
	})
	return all, total, err
}
