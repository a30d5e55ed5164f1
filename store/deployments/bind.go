package deployments

import (
	"context"
	"errors"
	"fmt"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Bind ties a resource that exists to a key of the deployment at d.RootPath,
// which is made of d if there is none. A resource that the deployment holds by
// another key gets this one. One of another deployment is ALREADY_EXISTS, a key
// that has another resource INVALID_STATE.
func (s *Store) Bind(ctx context.Context, d Deployment, r Resource) (out Deployment, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		if out, err = atRoot(tx, d.WorkspaceID, d.RootPath); errors.Is(err, store.ErrNoRows) {
			out, err = create(tx, d)
		}
		if err != nil {
			return err
		}
		if err := idle(tx, out); err != nil {
			return err
		}
		held, err := holder(tx, d.WorkspaceID, r)
		if err != nil {
			return err
		}
		if held.DeploymentID != "" && held.DeploymentID != out.ID {
			return wherry.Errorf(wherry.CodeAlreadyExists, "%s %s belongs to deployment %s (%s): unbind it there first", r.Kind, r.ResourceID, held.DeploymentID, held.Key)
		}
		var has string
		err = tx.Row(`SELECT resource_id FROM deployment_resource WHERE deployment_id = $1 AND key = $2`, out.ID, r.Key).Scan(&has)
		if err == nil && has != r.ResourceID {
			return wherry.Errorf(wherry.CodeInvalidState, "%s is already %s: `wherry bundle deployment unbind` it first", r.Key, has)
		}
		if err == nil || !errors.Is(err, store.ErrNoRows) {
			return err
		}
		if held.DeploymentID == out.ID {
			return rekey(tx, out.ID, held.Key, r.Key)
		}
		r.DeploymentID = out.ID
		return putResource(tx, r)
	})
	return out, err
}

// holder is the resource row of any deployment that holds a resource; the zero
// Resource if none does.
func holder(tx *store.Tx, ws int64, r Resource) (found Resource, err error) {
	err = tx.Row(`SELECT r.deployment_id, r.key FROM deployment_resource r JOIN deployment d ON d.id = r.deployment_id
		WHERE d.workspace_id = $1 AND d.destroyed_at = 0 AND r.kind = $2 AND r.resource_id = $3`, ws, r.Kind, r.ResourceID).Scan(&found.DeploymentID, &found.Key)
	if errors.Is(err, store.ErrNoRows) {
		return Resource{}, nil
	}
	return found, err
}

// Sharers lists the live deployments besides one that hold a resource too.
func (s *Store) Sharers(ctx context.Context, ws int64, r Resource) (list []Deployment, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+deploymentColumns+` FROM deployment WHERE workspace_id = $1 AND destroyed_at = 0 AND id <> $2 AND id IN (
			SELECT deployment_id FROM deployment_resource WHERE kind = $3 AND resource_id = $4 AND NOT doomed) ORDER BY id`,
			[]any{ws, r.DeploymentID, r.Kind, r.ResourceID}, func(scan func(...any) error) error {
				d, err := scanDeployment(scan)
				list = append(list, d)
				return err
			})
	})
	return list, err
}

// PassOn makes a resource another live deployment's that has bound it too; passed
// is false if none has. Doing it twice is doing it once.
func (s *Store) PassOn(ctx context.Context, ws int64, r Resource) (passed bool, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(`UPDATE deployment_resource SET owned = true WHERE kind = $1 AND resource_id = $2 AND deployment_id IN (
			SELECT min(o.deployment_id) FROM deployment_resource o JOIN deployment d ON d.id = o.deployment_id
			WHERE d.workspace_id = $3 AND d.destroyed_at = 0 AND o.deployment_id <> $4 AND o.kind = $1 AND o.resource_id = $2 AND NOT o.doomed)`,
			r.Kind, r.ResourceID, ws, r.DeploymentID)
		passed = n > 0
		return err
	})
	return passed, err
}

func rekey(tx *store.Tx, id, from, to string) error {
	for _, suffix := range []string{"", ".permissions", ".grants"} {
		if _, err := tx.Exec(`UPDATE deployment_resource SET key = $1 WHERE deployment_id = $2 AND key = $3`, to+suffix, id, from+suffix); err != nil {
			return err
		}
	}
	return nil
}

// Unbind forgets a resource of a deployment, which itself stays.
func (s *Store) Unbind(ctx context.Context, ws int64, id, key string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		d, err := get(tx, ws, id)
		if err != nil {
			return err
		}
		if err := idle(tx, d); err != nil {
			return err
		}
		n, err := tx.Exec(`DELETE FROM deployment_resource WHERE deployment_id = $1 AND key = $2`, id, key)
		if err == nil && n == 0 {
			return wherry.Errorf(wherry.CodeDoesNotExist, "%s is not deployed to %s", key, lockedName(d))
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(`DELETE FROM deployment_resource WHERE deployment_id = $1 AND key IN ($2, $3)`, id, key+".permissions", key+".grants")
		return err
	})
}

// idle refuses while a version of a deployment is in progress.
func idle(tx *store.Tx, d Deployment) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	var by string
	err = tx.Row(`SELECT created_by FROM deployment_version WHERE deployment_id = $1 AND status = $2 AND expires_at > $3`, d.ID, VersionInProgress, now).Scan(&by)
	if errors.Is(err, store.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a deploy: %w", err)
	}
	return wherry.Errorf(wherry.CodeConflict, "%s is deploying %s: wait for it", by, lockedName(d))
}
