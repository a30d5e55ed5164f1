package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store/compute"
)

// How many agents wait for work, and how long.
const (
	warmAgents = 2
	warmTime   = 20 * time.Minute
)

// serverless is the lease of an agent that all serverless tasks of a principal
// share.
const serverless = "serverless"

// leaseEnding is that of an agent that was told to end.
const leaseEnding = "ending"

// acquire returns an agent for an attempt, with the attempt attached to it, and
// the id of its cluster, "" for serverless.
func (m *Manager) acquire(ctx context.Context, r *run) (*remote, string, error) {
	switch {
	case r.ci() != nil:
		agent, err := m.acquireSingle(ctx, r)
		return agent, "", err
	case r.ClusterID != "":
		return m.acquireExisting(ctx, r)
	case len(r.NewCluster) > 0:
		return m.acquireJobCluster(ctx, r)
	case r.ClusterKey != "":
		return nil, "", &failure{wherry.TermInvalidCluster, fmt.Sprintf("the job has no cluster with the key %q", r.ClusterKey)}
	}
	shape, notes, err := m.shape(r.WorkspaceID, r.RunAs, Spec{})
	if err != nil {
		return nil, "", err
	}
	agent, err := m.acquireAgent(ctx, r, shape, serverless, notes)
	if err != nil {
		return nil, "", err
	}
	agent.attach(r)
	return agent, "", nil
}

// acquireSingle starts an agent for one job of a workflow: nothing that ran
// before left anything in its box, and it sees no data of the workspace.
func (m *Manager) acquireSingle(ctx context.Context, r *run) (*remote, error) {
	s := shape{workspaceID: r.WorkspaceID, user: r.RunAs.UserName, cores: runtime.NumCPU(), memoryMB: hostMemoryMB(), single: true, key: fmt.Sprintf("run:%d", r.RunID)}
	agent, err := m.spawn(ctx, s, s.key)
	if err == nil {
		agent.attach(r)
	}
	return agent, err
}

// acquireAgent takes a warm agent of the shape or starts one.
func (m *Manager) acquireAgent(ctx context.Context, r *run, s shape, lease string, notes []string) (*remote, error) {
	if lease == serverless { // tasks that come at once share one start
		defer m.lock(serverless + s.key)()
	}
	agent := m.warm(s.key, lease)
	doing := ""
	if agent == nil {
		doing = "starting compute"
	}
	if r != nil {
		r.notes = notes
		if err := m.say(ctx, r, doing); err != nil {
			return nil, err
		}
	}
	if agent != nil {
		return agent, nil
	}
	return m.spawn(ctx, s, lease)
}

// say tells what compute is doing for an attempt, after what is different from
// what was asked for; nothing if there is neither.
func (m *Manager) say(ctx context.Context, r *run, doing string) error {
	notes := slices.Clone(r.notes)
	if doing != "" {
		notes = append(notes, doing)
	}
	if text := sentence(notes); text != r.said {
		r.said = text
		return m.cfg.Runs.Message(ctx, r.RunID, text)
	}
	return nil
}

// warm lends a live agent of the shape: for serverless the one that has that
// lease, else one that nobody uses.
func (m *Manager) warm(key, lease string) *remote {
	m.mu.Lock()
	defer m.mu.Unlock()
	var free *remote
	for _, a := range m.agents {
		if a.config.Shape != key || !a.isUsable() {
			continue
		}
		a.mu.Lock()
		switch {
		case lease == serverless && a.lease == serverless:
			a.mu.Unlock()
			return a
		case a.lease == "", a.lease == serverless && !a.hasTasks():
			free = a
		}
		a.mu.Unlock()
	}
	if free != nil {
		free.setLease(lease)
	}
	return free
}

func (r *remote) setLease(lease string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lease = lease
	r.used = time.Now()
}

// acquireJobCluster returns the cluster of the job's run with the attempt's
// key, which the first task makes; a task's own new_cluster is its alone.
func (m *Manager) acquireJobCluster(ctx context.Context, r *run) (*remote, string, error) {
	key := r.ClusterKey
	if key == "" {
		key = fmt.Sprintf("task:%d", r.RunID)
	}
	defer m.lock(fmt.Sprintf("job:%d/%s", r.JobRunID, key))()
	spec, err := parseSpec(r.NewCluster)
	if err != nil {
		return nil, "", &failure{wherry.TermInvalidCluster, err.Error()}
	}
	clusters, err := m.cfg.Store.JobClusters(ctx, r.JobRunID)
	if err != nil {
		return nil, "", err
	}
	for _, c := range clusters {
		if c.Key == key {
			return m.onCluster(ctx, r, c, spec)
		}
	}
	c := wherry.Cluster{
		ID: newID(), WorkspaceID: r.WorkspaceID, Name: fmt.Sprintf("job-%d-run-%d-%s", r.JobID, r.JobRunID, key), Source: wherry.ClusterSourceJob,
		Owner: r.RunAs, JobRunID: r.JobRunID, Key: key, State: wherry.ClusterPending, Spec: r.NewCluster,
	}
	s, notes, err := m.shapeOf(ctx, c, spec)
	if err != nil {
		return nil, "", err
	}
	if agent := m.warm(s.key, c.ID); agent != nil { // one commit instead of two
		c.State, c.AgentID, c.StartedAt, c.Message = wherry.ClusterRunning, agent.id, time.Now().UnixMilli(), sentence(notes)
		if _, err := m.cfg.Store.Create(ctx, c); err != nil {
			return nil, "", err
		}
		r.notes = notes
		if err := m.say(ctx, r, ""); err != nil {
			return nil, "", err
		}
		agent.attach(r)
		return agent, c.ID, nil
	}
	if c, err = m.cfg.Store.Create(ctx, c); err != nil {
		return nil, "", err
	}
	return m.onCluster(ctx, r, c, spec)
}

func (m *Manager) acquireExisting(ctx context.Context, r *run) (*remote, string, error) {
	c, err := m.cfg.Store.Cluster(ctx, r.WorkspaceID, r.ClusterID)
	if err != nil {
		if wherry.CodeOf(err) == wherry.CodeInvalidParameter {
			return nil, "", &failure{wherry.TermInvalidCluster, err.Error()}
		}
		return nil, "", err
	}
	spec, err := parseSpec(c.Spec)
	if err != nil {
		return nil, "", &failure{wherry.TermInvalidCluster, err.Error()}
	}
	return m.onCluster(ctx, r, c, spec)
}

// onCluster attaches the attempt to the cluster's agent, which is started if
// it does not live.
func (m *Manager) onCluster(ctx context.Context, r *run, c wherry.Cluster, spec Spec) (*remote, string, error) {
	agent, err := m.ensure(ctx, r, c, spec)
	if err != nil {
		return nil, "", err
	}
	agent.attach(r)
	return agent, c.ID, nil
}

// ensure makes a cluster RUNNING with a live agent. r is the attempt that asks,
// nil if people do: they may have changed their minds, and get no agent then.
func (m *Manager) ensure(ctx context.Context, r *run, c wherry.Cluster, spec Spec) (*remote, error) {
	defer m.lock("cluster:" + c.ID)()
	c, err := m.cfg.Store.Cluster(ctx, c.WorkspaceID, c.ID) // as it is now that we have the lock
	if err != nil {
		return nil, err
	}
	if agent := m.agent(c.AgentID); agent != nil && c.State == wherry.ClusterRunning && agent.isUsable() {
		return agent, nil
	}
	if r == nil && c.State == wherry.ClusterTerminated {
		return nil, nil
	}
	agent, notes, err := m.agentOf(ctx, r, c, spec)
	if err != nil {
		c.State, c.Message, c.ReasonCode, c.ReasonType = wherry.ClusterTerminated, err.Error(), "DRIVER_UNREACHABLE", "SERVICE_FAULT"
		c.TerminatedAt = time.Now().UnixMilli()
		if uerr := m.cfg.Store.Update(ctx, c, "DRIVER_UNAVAILABLE", map[string]string{"message": err.Error()}); uerr != nil {
			slog.Error("cluster", "cluster", c.ID, "error", uerr)
		}
		return nil, err
	}
	now := time.Now().UnixMilli()
	c.State, c.AgentID, c.StartedAt, c.LastActivityAt, c.TerminatedAt = wherry.ClusterRunning, agent.id, now, now, 0
	c.Message, c.ReasonCode, c.ReasonType = sentence(notes), "", ""
	if err := m.cfg.Store.Update(ctx, c, "RUNNING", map[string]any{"current_num_workers": 0}); err != nil {
		return nil, err
	}
	return agent, nil
}

// agentOf takes or starts the agent of a cluster; notes are what differs from
// what was asked for.
func (m *Manager) agentOf(ctx context.Context, r *run, c wherry.Cluster, spec Spec) (agent *remote, notes []string, err error) {
	s, notes, err := m.shapeOf(ctx, c, spec)
	if err != nil {
		return nil, nil, err
	}
	agent, err = m.acquireAgent(ctx, r, s, c.ID, notes)
	return agent, notes, err
}

// release terminates a cluster; its agent is lent to the next.
func (m *Manager) release(ctx context.Context, c wherry.Cluster, reason string) error {
	defer m.lock("cluster:" + c.ID)()
	c, err := m.cfg.Store.Cluster(ctx, c.WorkspaceID, c.ID)
	if err != nil || c.State == wherry.ClusterTerminated {
		return err
	}
	agent := m.agent(c.AgentID)
	c.State, c.AgentID, c.TerminatedAt, c.ReasonCode, c.ReasonType = wherry.ClusterTerminated, "", time.Now().UnixMilli(), reason, "SUCCESS"
	if err := m.cfg.Store.Update(ctx, c, "TERMINATING", map[string]any{"reason": map[string]string{"code": reason, "type": "SUCCESS"}}); err != nil {
		return err
	}
	if agent != nil {
		agent.setLease("")
		m.trim()
	}
	return nil
}

// trim ends warm agents beyond what is kept.
func (m *Manager) trim() {
	m.mu.Lock()
	var idle []*remote
	for _, a := range m.agents {
		a.mu.Lock()
		if a.lease == "" && !a.hasTasks() && !a.dead {
			idle = append(idle, a)
		}
		a.mu.Unlock()
	}
	m.mu.Unlock()
	slices.SortFunc(idle, func(a, b *remote) int { return b.used.Compare(a.used) })
	for i, a := range idle {
		if i >= warmAgents || time.Since(a.used) > warmTime {
			_ = a.end(false)
		}
	}
}

// end has the agent end, with force even if tasks run on it. It is not lent
// again.
func (r *remote) end(force bool) error {
	r.setLease(leaseEnding)
	return r.send(protocol.Message{Type: protocol.End, Force: force})
}

// endAgents is the clean end of the server: agents with nothing to do end at
// once, the others go on and wait for the next server.
func (m *Manager) endAgents() {
	m.mu.Lock()
	agents := make([]*remote, 0, len(m.agents))
	for _, a := range m.agents {
		agents = append(agents, a)
	}
	m.mu.Unlock()
	var ending []*remote
	for _, a := range agents {
		if (m.cfg.StopAgents || !a.busy()) && a.end(m.cfg.StopAgents) == nil {
			ending = append(ending, a)
		}
	}
	for _, a := range ending {
		a.waitGone()
	}
	for _, a := range agents {
		a.close()
	}
}

// expire ends clusters and agents that nobody has used for long, and removes
// what dead agents left.
func (m *Manager) expire(ctx context.Context) error {
	clusters, err := m.cfg.Store.Clusters(ctx, 0)
	if err != nil {
		return err
	}
	for _, c := range clusters {
		if m.idleTooLong(c) {
			if err := m.release(ctx, c, "INACTIVITY"); err != nil {
				return err
			}
		}
	}
	m.mu.Lock()
	for _, a := range m.agents {
		a.mu.Lock()
		if a.lease == serverless && !a.hasTasks() && time.Since(a.used) > warmTime {
			a.lease = ""
		}
		a.mu.Unlock()
	}
	m.mu.Unlock()
	m.trim()
	return m.cleanAgents(ctx)
}

func (m *Manager) idleTooLong(c wherry.Cluster) bool {
	if c.State != wherry.ClusterRunning || c.JobRunID > 0 {
		return false
	}
	spec, err := parseSpec(c.Spec)
	if err != nil || spec.AutoterminationMinutes == 0 {
		return false
	}
	last := time.UnixMilli(c.LastActivityAt)
	if a := m.agent(c.AgentID); a != nil {
		if a.busy() {
			return false
		}
		a.mu.Lock()
		if a.used.After(last) {
			last = a.used
		}
		a.mu.Unlock()
	}
	return time.Since(last) > time.Duration(spec.AutoterminationMinutes)*time.Minute
}

// cleanAgents removes the folders of agents that are dead and settled.
func (m *Manager) cleanAgents(ctx context.Context) error {
	entries, err := os.ReadDir(m.cfg.State.Path("agents"))
	if err != nil {
		return err
	}
	stored, err := m.cfg.Store.Active(ctx)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || m.agent(e.Name()) != nil || time.Since(info.ModTime()) < time.Minute {
			continue // it may be about to start
		}
		wanted := slices.ContainsFunc(stored, func(s compute.Attempt) bool { return s.AgentID == e.Name() })
		if lock, err := protocol.Lock(m.cfg.State.Agent(e.Name())); err == nil && lock != nil {
			if !wanted {
				_ = state.RemoveAll(m.cfg.State.Agent(e.Name()))
			}
			lock.Close()
		}
	}
	return nil
}
