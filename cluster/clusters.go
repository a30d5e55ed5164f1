package cluster

import (
	"context"

	"github.com/wherry-ml/wherry"
)

// recoverClusters goes on with what an earlier server was asked for.
func (m *Manager) recoverClusters(ctx context.Context) error {
	clusters, err := m.cfg.Store.Clusters(ctx, 0)
	if err != nil {
		return err
	}
	for _, c := range clusters {
		if agent := m.agent(c.AgentID); agent != nil && c.State == wherry.ClusterRunning {
			agent.setLease(c.ID)
		}
	}
	return nil
}

// runtimeName is the environment's name for people.
func (m *Manager) runtimeName() string {
	rt, err := m.cfg.Runtime(context.Background())
	if err != nil || rt.Name == "" {
		return "the installed environment"
	}
	return rt.Name
}
