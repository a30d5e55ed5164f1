package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/wherry-ml/wherry"
)

// Create makes an all-purpose cluster, which starts in the background.
func (m *Manager) Create(ctx context.Context, ws int64, owner wherry.Principal, raw json.RawMessage) (wherry.Cluster, error) {
	spec, err := parseSpec(raw)
	if err != nil {
		return wherry.Cluster{}, err
	}
	c := wherry.Cluster{
		ID: newID(), WorkspaceID: ws, Name: spec.Name, Source: wherry.ClusterSourceAPI, Owner: owner, State: wherry.ClusterPending,
		Message: "Starting", Spec: raw,
	}
	if c.Name == "" {
		c.Name = owner.UserName + "'s Cluster"
	}
	if c, err = m.cfg.Store.Create(ctx, c); err != nil {
		return c, err
	}
	m.startLater(c)
	return c, nil
}

// startLater has a cluster that is stored as PENDING or RESTARTING started; if
// that fails the cluster says why.
func (m *Manager) startLater(c wherry.Cluster) {
	m.do(func(ctx context.Context) error {
		spec, err := parseSpec(c.Spec)
		if err == nil {
			_, err = m.ensure(ctx, nil, c, spec)
		}
		if err != nil && ctx.Err() == nil {
			slog.Error("start cluster", "cluster", c.ID, "error", err)
		}
		return nil
	})
}

// StartCluster starts a terminated cluster.
func (m *Manager) StartCluster(ctx context.Context, ws int64, id string) error {
	c, err := m.cfg.Store.Cluster(ctx, ws, id)
	if err != nil {
		return err
	}
	if c.State != wherry.ClusterTerminated && c.State != wherry.ClusterError {
		return wherry.Errorf(wherry.CodeInvalidState, "Cluster %s is in unexpected state %s.", id, c.State)
	}
	if c.JobRunID > 0 {
		return wherry.Errorf(wherry.CodeInvalidState, "Cluster %s belongs to a run of a job and can not be started.", id)
	}
	c.State, c.Message = wherry.ClusterPending, "Starting"
	if err := m.cfg.Store.Update(ctx, c, "STARTING", who(ctx)); err != nil {
		return err
	}
	m.startLater(c)
	return nil
}

// RestartCluster ends a running cluster's processes and starts new ones.
func (m *Manager) RestartCluster(ctx context.Context, ws int64, id string) error {
	c, err := m.cfg.Store.Cluster(ctx, ws, id)
	if err != nil {
		return err
	}
	if c.State != wherry.ClusterRunning {
		return wherry.Errorf(wherry.CodeInvalidState, "Cluster %s is in unexpected state %s.", id, c.State)
	}
	return m.restart(ctx, c, "RESTARTING")
}

func (m *Manager) restart(ctx context.Context, c wherry.Cluster, event string) error {
	agent := m.agent(c.AgentID)
	c.State, c.AgentID, c.Message = wherry.ClusterRestarting, "", "Restarting"
	if err := m.cfg.Store.Update(ctx, c, event, who(ctx)); err != nil {
		return err
	}
	if agent != nil {
		agent.terminate(fmt.Sprintf("cluster %s was restarted while the task ran", c.ID))
	}
	m.startLater(c)
	return nil
}

// TerminateCluster ends a cluster; its settings stay. What runs on it fails.
func (m *Manager) TerminateCluster(ctx context.Context, ws int64, id string) error {
	defer m.lock("cluster:" + id)()
	c, err := m.cfg.Store.Cluster(ctx, ws, id)
	if err != nil || c.State == wherry.ClusterTerminated {
		return err
	}
	agent := m.agent(c.AgentID)
	user := wherry.IdentityFrom(ctx).UserName
	c.State, c.AgentID, c.TerminatedAt, c.ReasonCode, c.ReasonType = wherry.ClusterTerminated, "", time.Now().UnixMilli(), "USER_REQUEST", "SUCCESS"
	c.Message = "Terminated by " + user
	if err := m.cfg.Store.Update(ctx, c, "TERMINATING", map[string]any{
		"reason": map[string]any{"code": "USER_REQUEST", "type": "SUCCESS", "parameters": map[string]string{"username": user}},
	}); err != nil {
		return err
	}
	if agent != nil {
		agent.terminate(fmt.Sprintf("cluster %s was terminated by %s while the task ran", id, user))
	}
	return nil
}

// PinCluster keeps a cluster from being deleted for good, or no longer does.
func (m *Manager) PinCluster(ctx context.Context, ws int64, id string, pinned bool) error {
	return m.cfg.Store.Pin(ctx, ws, id, pinned, who(ctx))
}

// DeleteCluster terminates a cluster and forgets it; a pinned one is left as it is.
func (m *Manager) DeleteCluster(ctx context.Context, ws int64, id string) error {
	c, err := m.cfg.Store.Cluster(ctx, ws, id)
	if err != nil {
		return err
	}
	if err := c.Deletable(); err != nil {
		return err
	}
	if err := m.TerminateCluster(ctx, ws, id); err != nil {
		return err
	}
	return m.cfg.Store.Delete(ctx, ws, id)
}

// EditCluster replaces a cluster's settings; a running one restarts with them.
func (m *Manager) EditCluster(ctx context.Context, ws int64, id string, raw json.RawMessage) error {
	spec, err := parseSpec(raw)
	if err != nil {
		return err
	}
	c, err := m.cfg.Store.Cluster(ctx, ws, id)
	if err != nil {
		return err
	}
	if c.State != wherry.ClusterRunning && c.State != wherry.ClusterTerminated {
		return wherry.Errorf(wherry.CodeInvalidState, "Cluster %s is in unexpected state %s.", id, c.State)
	}
	libraries := installed(c.Spec)
	if c.Spec = raw; len(libraries) > 0 {
		if c.Spec, err = withLibraries(raw, libraries); err != nil {
			return err
		}
	}
	if spec.Name != "" {
		c.Name = spec.Name
	}
	if c.State == wherry.ClusterRunning {
		return m.restart(ctx, c, "EDITED")
	}
	return m.cfg.Store.Update(ctx, c, "EDITED", who(ctx))
}

// Libraries are those installed on a cluster for every task of it.
func (m *Manager) Libraries(ctx context.Context, ws int64, id string) ([]json.RawMessage, error) {
	c, err := m.cfg.Store.Cluster(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if raw := installed(c.Spec); len(raw) > 0 {
		err = json.Unmarshal(raw, &list)
	}
	return list, err
}

// InstallLibraries adds libraries to a cluster, or takes them away; it returns
// once they are there for the next task, or says why they can not be had.
func (m *Manager) InstallLibraries(ctx context.Context, ws int64, id string, libraries []json.RawMessage, remove bool) error {
	c, err := m.cfg.Store.Cluster(ctx, ws, id)
	if err != nil {
		return err
	}
	list, err := m.Libraries(ctx, ws, id)
	if err != nil {
		return err
	}
	for _, l := range libraries {
		list = slices.DeleteFunc(list, func(old json.RawMessage) bool { return sameJSON(old, l) })
		if !remove {
			list = append(list, l)
		}
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return err
	}
	var w wanted
	if err := m.addLibraries(ws, raw, &w); err != nil {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%v", err)
	}
	if m.cfg.Overlay != nil && !remove {
		if _, err := m.overlay(ctx, w); err != nil {
			return err
		}
	}
	if c.Spec, err = withLibraries(c.Spec, raw); err != nil {
		return err
	}
	return m.cfg.Store.Update(ctx, c, "", nil)
}

func withLibraries(spec, libraries json.RawMessage) (json.RawMessage, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(spec, &doc); err != nil {
		return nil, err
	}
	doc["libraries"] = libraries
	return json.Marshal(doc)
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}

func who(ctx context.Context) map[string]string {
	return map[string]string{"user": wherry.IdentityFrom(ctx).UserName}
}

// recoverClusters goes on with what an earlier server was asked for.
func (m *Manager) recoverClusters(ctx context.Context) error {
	clusters, err := m.cfg.Store.Clusters(ctx, 0)
	if err != nil {
		return err
	}
	for _, c := range clusters {
		switch agent := m.agent(c.AgentID); c.State {
		case wherry.ClusterRunning:
			if agent != nil {
				agent.setLease(c.ID)
			} else if c.JobRunID == 0 {
				m.startLater(c)
			}
		case wherry.ClusterPending, wherry.ClusterRestarting:
			if c.JobRunID == 0 {
				m.startLater(c)
			}
		}
	}
	return nil
}

// Size is what a cluster has of this machine.
func (m *Manager) Size(c wherry.Cluster) (cores, memoryMB int) {
	spec, _ := parseSpec(c.Spec) // it was valid when it was stored
	s, _, err := m.shape(c.WorkspaceID, c.Owner, spec)
	if err != nil {
		return 0, 0
	}
	return s.cores, s.memoryMB
}

// Notes say what of a cluster differs here from what was asked for.
func (m *Manager) Notes(c wherry.Cluster) []string {
	spec, _ := parseSpec(c.Spec) // it was valid when it was stored
	_, notes, err := m.shape(c.WorkspaceID, c.Owner, spec)
	if err != nil {
		return []string{err.Error()}
	}
	return notes
}

// NodeTypes are the machine types whose size is known, by id.
func NodeTypes() (ids []string) { return slices.Sorted(maps.Keys(nodeTypes)) }

// NodeType is the size of a machine type.
func NodeType(id string) (cores, memoryMB int) { return nodeTypes[id].cores, nodeTypes[id].memoryMB }

// runtimeName is the environment's name for people.
func (m *Manager) runtimeName() string {
	rt, err := m.cfg.Runtime(context.Background())
	if err != nil || rt.Name == "" {
		return "the installed environment"
	}
	return rt.Name
}
