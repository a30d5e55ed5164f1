package cluster

import (
	"context"
	"fmt"
	"maps"
	"regexp"

	"github.com/wherry-ml/wherry"
)

// secretReference is {{secrets/scope/key}} in a value of spark_conf or
// spark_env_vars; it may be a part of the value.
var secretReference = regexp.MustCompile(`\{\{\s*secrets/([^/{}\s]+)/([^/{}\s]+)\s*\}\}`)

// shapeOf is the shape of a cluster that is about to start: with the values of
// secrets where its settings refer to them, as its owner may read them.
func (m *Manager) shapeOf(ctx context.Context, c wherry.Cluster, spec Spec) (s shape, notes []string, err error) {
	if spec.SparkConf, err = m.revealed(ctx, c, "spark_conf", spec.SparkConf); err != nil {
		return s, nil, err
	}
	if spec.Env, err = m.revealed(ctx, c, "spark_env_vars", spec.Env); err != nil {
		return s, nil, err
	}
	return m.shape(c.WorkspaceID, c.Owner, spec)
}

func (m *Manager) revealed(ctx context.Context, c wherry.Cluster, field string, values map[string]string) (map[string]string, error) {
	values = maps.Clone(values)
	for name, value := range values {
		var failed error
		values[name] = secretReference.ReplaceAllStringFunc(value, func(found string) string {
			at := secretReference.FindStringSubmatch(found)
			secret, err := m.cfg.Secret(ctx, c.WorkspaceID, at[1], at[2], c.Owner)
			if err != nil {
				failed = &failure{wherry.TermInvalidCluster, fmt.Sprintf("%s.%s refers to the secret %s/%s: %v", field, name, at[1], at[2], err)}
			}
			return secret
		})
		if failed != nil {
			return nil, failed
		}
	}
	return values, nil
}
