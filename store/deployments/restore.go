package deployments

import (
	"context"
	"errors"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Restorable returns a version and the request that it was deployed from. to 0
// is the version that was live before the one that is. A version that did not
// complete well, or whose request is not known, is INVALID_STATE.
func (s *Store) Restorable(ctx context.Context, ws int64, id string, to int64) (v Version, request string, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		d, err := get(tx, ws, id)
		if err != nil {
			return err
		}
		if d.DestroyedAt > 0 {
			return wherry.Errorf(wherry.CodeInvalidState, "Deployment %s was destroyed: deploy it anew.", id)
		}
		if to == 0 {
			if to, err = before(tx, d); err != nil {
				return err
			}
		}
		v, request, err = requestOf(tx, id, to)
		if err == nil && v.Reason != ReasonSuccess {
			return wherry.Errorf(wherry.CodeInvalidState, "Version %d of %s was never live: it ended with %s.", to, lockedName(d), v.Reason)
		}
		if err == nil && request == "" {
			return wherry.Errorf(wherry.CodeInvalidState, "Version %d of %s cannot be restored: what it was deployed from is not stored.", to, lockedName(d))
		}
		return err
	})
	return v, request, err
}

// before finds the version that was live before the live one. One that brought
// back another stands for that other.
func before(tx *store.Tx, d Deployment) (version int64, err error) {
	var from, restores int64
	err = tx.Row(`SELECT version, restores FROM deployment_version WHERE deployment_id = $1 AND reason = $2
		ORDER BY version DESC LIMIT 1`, d.ID, ReasonSuccess).Scan(&from, &restores)
	if errors.Is(err, store.ErrNoRows) {
		return 0, wherry.Errorf(wherry.CodeInvalidState, "Nothing was deployed to %s yet.", lockedName(d))
	}
	for err == nil && restores > 0 {
		from = restores
		err = tx.Row(`SELECT restores FROM deployment_version WHERE deployment_id = $1 AND version = $2`, d.ID, from).Scan(&restores)
	}
	if err != nil {
		return 0, err
	}
	err = tx.Row(`SELECT version FROM deployment_version WHERE deployment_id = $1 AND reason = $2 AND version < $3 AND request <> ''
		ORDER BY version DESC LIMIT 1`, d.ID, ReasonSuccess, from).Scan(&version)
	if errors.Is(err, store.ErrNoRows) {
		return 0, wherry.Errorf(wherry.CodeInvalidState, "There is no version of %s before version %d to go back to.", lockedName(d), from)
	}
	return version, err
}

func requestOf(tx *store.Tx, id string, version int64) (v Version, request string, err error) {
	v, err = scanVersion(tx.Row(`SELECT `+versionFields+` FROM deployment_version WHERE deployment_id = $1 AND version = $2`, id, version).Scan)
	if err == nil {
		err = tx.Row(`SELECT request FROM deployment_version WHERE deployment_id = $1 AND version = $2`, id, version).Scan(&request)
	}
	if errors.Is(err, store.ErrNoRows) {
		err = wherry.Errorf(wherry.CodeDoesNotExist, "Version %d of deployment %s does not exist.", version, id)
	}
	return v, request, err
}

// Request returns what a version was deployed from, "" if that is not known.
func (s *Store) Request(ctx context.Context, id string, version int64) (request string, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		_, request, err = requestOf(tx, id, version)
		return err
	})
	return request, err
}

// Unsettled lists completed versions, of all workspaces, after which something
// is still to be done: a killed server left them.
func (s *Store) Unsettled(ctx context.Context) (list []Version, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+versionFields+` FROM deployment_version WHERE NOT settled`, nil, func(scan func(...any) error) error {
			v, err := scanVersion(scan)
			list = append(list, v)
			return err
		})
	})
	return list, err
}

// Settle forgets the resources that were deleted, by key, and notes that nothing
// is left to be done after a version.
func (s *Store) Settle(ctx context.Context, v Version, deleted []string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		for _, key := range deleted {
			if _, err := tx.Exec(`DELETE FROM deployment_resource WHERE deployment_id = $1 AND key = $2 AND doomed`, v.DeploymentID, key); err != nil {
				return err
			}
		}
		_, err := tx.Exec(`UPDATE deployment_version SET settled = true WHERE deployment_id = $1 AND version = $2`, v.DeploymentID, v.Version)
		return err
	})
}

// Requests returns what the live version of each of a workspace's deployments
// was deployed from, by deployment id; those of which it is not known are left
// out.
func (s *Store) Requests(ctx context.Context, ws int64) (found map[string]string, err error) {
	found = map[string]string{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT v.deployment_id, v.request FROM deployment_version v JOIN deployment d ON d.id = v.deployment_id
			WHERE d.workspace_id = $1 AND d.destroyed_at = 0 AND v.request <> '' AND v.version = (SELECT max(l.version) FROM deployment_version l
				WHERE l.deployment_id = d.id AND l.reason = $2)`, []any{ws, ReasonSuccess}, func(scan func(...any) error) error {
			var id, request string
			err := scan(&id, &request)
			found[id] = request
			return err
		})
	})
	return found, err
}

// Below lists the root paths of deployments that are below another's.
func (s *Store) Below(ctx context.Context, ws int64, root string) (list []string, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT root_path FROM deployment WHERE workspace_id = $1 AND destroyed_at = 0 AND substr(root_path, 1, $2) = $3`,
			[]any{ws, len([]rune(root)) + 1, root + "/"}, func(scan func(...any) error) error {
				at := ""
				err := scan(&at)
				list = append(list, at)
				return err
			})
	})
	return list, err
}
