package deployments

import (
	"context"
	"errors"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Resource is one resource that a deployment holds.
type Resource struct {
	DeploymentID string
	Key          string // "jobs.nightly", "jobs.nightly.permissions"
	Kind         string // "jobs", …
	ResourceID   string
	State        string // JSON: the settings as deployed, references resolved
	Action       string
	Version      int64
	Owned        bool
	// Doomed is one that the live version has no more and that is yet to be
	// deleted.
	Doomed bool
	// Live is JSON: the settings as the resource's API gave them right after the
	// deploy, "" if nobody looked. Drift is what differs from them.
	Live string
}

const resourceColumns = `deployment_id, key, kind, resource_id, state, action, version, owned, doomed, live`

func scanResource(scan func(...any) error) (r Resource, err error) {
	err = scan(&r.DeploymentID, &r.Key, &r.Kind, &r.ResourceID, &r.State, &r.Action, &r.Version, &r.Owned, &r.Doomed, &r.Live)
	return r, err
}

func resourcesOf(tx *store.Tx, id string) (list []Resource, err error) {
	err = tx.Each(`SELECT `+resourceColumns+` FROM deployment_resource WHERE deployment_id = $1 ORDER BY key`, []any{id},
		func(scan func(...any) error) error {
			r, err := scanResource(scan)
			list = append(list, r)
			return err
		})
	return list, err
}

// Resources lists what a deployment holds, by key.
func (s *Store) Resources(ctx context.Context, id string) (list []Resource, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		list, err = resourcesOf(tx, id)
		return err
	})
	return list, err
}

func putResource(tx *store.Tx, r Resource) error {
	_, err := tx.Exec(`INSERT INTO deployment_resource (`+resourceColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, false, $9)
		ON CONFLICT (deployment_id, key) DO UPDATE SET kind = excluded.kind, resource_id = excluded.resource_id, state = excluded.state,
		action = excluded.action, version = excluded.version, owned = excluded.owned, doomed = false, live = excluded.live`,
		r.DeploymentID, r.Key, r.Kind, r.ResourceID, r.State, r.Action, r.Version, r.Owned, r.Live)
	return err
}

// PutResources stores what a deployment holds anew: one that was deleted and was
// made again, with what is set on it.
func (s *Store) PutResources(ctx context.Context, list ...Resource) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		for _, r := range list {
			if err := putResource(tx, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// Operation is one change that a version makes to a resource.
type Operation struct {
	DeploymentID string
	Version      int64
	Number       int64 // in the order begun
	Key          string
	Kind         string
	Action       string
	Status       string
	ResourceID   string
	Message      string
	State        string
	Before       string // JSON: the settings found, for taking the change back
	CreatedAt    int64
}

const operationColumns = `deployment_id, version, number, key, kind, action, status, resource_id, message, state, before, created_at`

func scanOperation(scan func(...any) error) (o Operation, err error) {
	err = scan(&o.DeploymentID, &o.Version, &o.Number, &o.Key, &o.Kind, &o.Action, &o.Status, &o.ResourceID, &o.Message, &o.State, &o.Before, &o.CreatedAt)
	return o, err
}

// PutOperation writes an operation, before and again after the change.
func (s *Store) PutOperation(ctx context.Context, o Operation) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO deployment_operation (`+operationColumns+`)
			VALUES ($1, $2, (SELECT coalesce(max(number), 0) + 1 FROM deployment_operation WHERE deployment_id = $1 AND version = $2), $3, $4, $5, $6, $7, $8, $9, $10, $11)
			ON CONFLICT (deployment_id, version, key) DO UPDATE SET action = excluded.action, status = excluded.status, resource_id = excluded.resource_id,
			message = excluded.message, state = excluded.state, before = excluded.before`,
			o.DeploymentID, o.Version, o.Key, o.Kind, o.Action, o.Status, o.ResourceID, o.Message, o.State, o.Before, now)
		return err
	})
}

// PublicOperation writes an operation that a client of the public API made, and
// what it says of the resource.
func (s *Store) PublicOperation(ctx context.Context, ws int64, o Operation) (out Operation, err error) {
	if _, err := s.Heartbeat(ctx, ws, o.DeploymentID, o.Version); err != nil {
		return out, err
	}
	if err := s.PutOperation(ctx, o); err != nil {
		return out, err
	}
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		if o.Status != OperationSucceeded {
			return nil
		}
		if o.Action == ActionDelete {
			_, err := tx.Exec(`DELETE FROM deployment_resource WHERE deployment_id = $1 AND key = $2`, o.DeploymentID, o.Key)
			return err
		}
		return putResource(tx, Resource{DeploymentID: o.DeploymentID, Key: o.Key, Kind: o.Kind, ResourceID: o.ResourceID, State: o.State, Action: o.Action, Version: o.Version, Owned: true})
	})
	if err != nil {
		return out, err
	}
	return s.Operation(ctx, ws, o.DeploymentID, o.Version, o.Key)
}

// Operations lists what a version did, in the order begun.
func (s *Store) Operations(ctx context.Context, id string, version int64) (list []Operation, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+operationColumns+` FROM deployment_operation WHERE deployment_id = $1 AND version = $2 ORDER BY number`,
			[]any{id, version}, func(scan func(...any) error) error {
				o, err := scanOperation(scan)
				list = append(list, o)
				return err
			})
	})
	return list, err
}

// Operation returns what a version did to one resource.
func (s *Store) Operation(ctx context.Context, ws int64, id string, version int64, key string) (o Operation, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		if _, err := get(tx, ws, id); err != nil {
			return err
		}
		o, err = scanOperation(tx.Row(`SELECT `+operationColumns+` FROM deployment_operation
			WHERE deployment_id = $1 AND version = $2 AND key = $3`, id, version, key).Scan)
		if errors.Is(err, store.ErrNoRows) {
			return wherry.Errorf(wherry.CodeDoesNotExist, "Version %d of deployment %s did nothing to %s.", version, id, key)
		}
		return err
	})
	return o, err
}

// StandIn is something made because a project takes it for granted.
type StandIn struct {
	WorkspaceID int64  `json:"-"`
	Kind        string `json:"kind"` // "catalog", "schema", "volume", "cluster", "secret scope", "folder", "principal"
	Name        string `json:"name"`
	ResourceID  string `json:"id,omitempty"`
	CreatedBy   string `json:"created_by"`
	CreatedAt   int64  `json:"created_at"`
}

// PutStandIn remembers a stand-in.
func (s *Store) PutStandIn(ctx context.Context, st StandIn) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO stand_in (workspace_id, kind, name, resource_id, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (workspace_id, kind, name) DO UPDATE SET resource_id = excluded.resource_id`,
			st.WorkspaceID, st.Kind, st.Name, st.ResourceID, st.CreatedBy, now)
		return err
	})
}

// StandIns lists a workspace's stand-ins.
func (s *Store) StandIns(ctx context.Context, ws int64) (list []StandIn, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT kind, name, resource_id, created_by, created_at FROM stand_in WHERE workspace_id = $1 ORDER BY kind, name`,
			[]any{ws}, func(scan func(...any) error) error {
				st := StandIn{WorkspaceID: ws}
				err := scan(&st.Kind, &st.Name, &st.ResourceID, &st.CreatedBy, &st.CreatedAt)
				list = append(list, st)
				return err
			})
	})
	return list, err
}
