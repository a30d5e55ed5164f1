package auth

import (
	"context"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Levels of a workspace's assignment.
const (
	WorkspaceUser  = "USER"
	WorkspaceAdmin = "ADMIN"
)

// Assign gives a principal or group, by its object id, a workspace that is not
// the first, at a level; "" takes it away.
func Assign(tx *store.Tx, workspace int64, object, level string) error {
	if level == "" {
		_, err := tx.Exec(`DELETE FROM workspace_assignment WHERE workspace_id = $1 AND object_id = $2`, workspace, object)
		return err
	}
	_, err := tx.Exec(`INSERT INTO workspace_assignment (workspace_id, object_id, permission) VALUES ($1, $2, $3)
		ON CONFLICT (workspace_id, object_id) DO UPDATE SET permission = excluded.permission`, workspace, object, level)
	return err
}

// Assignments are the levels in a workspace, by object id.
func Assignments(tx *store.Tx, workspace int64) (map[string]string, error) {
	out := map[string]string{}
	err := tx.Each(`SELECT object_id, permission FROM workspace_assignment WHERE workspace_id = $1`, []any{workspace}, func(scan func(...any) error) error {
		var object, level string
		err := scan(&object, &level)
		out[object] = level
		return err
	})
	return out, err
}

// Administers reports whether a principal was assigned a workspace as its admin,
// itself or through a group.
func (s *Service) Administers(ctx context.Context, p wherry.Principal, workspace int64) (bool, error) {
	var n int
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Row(`WITH RECURSIVE who (id) AS (SELECT CAST($1 AS TEXT) UNION SELECT l.object_id FROM graph_link l JOIN who w ON l.target_id = w.id WHERE l.rel = 'member')
			SELECT count(*) FROM workspace_assignment a JOIN who ON who.id = a.object_id WHERE a.workspace_id = $2 AND a.permission = 'ADMIN'`, ObjectID(p), workspace).Scan(&n)
	})
	return n > 0, err
}
