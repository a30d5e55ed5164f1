package deployments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/drift"
)

const versionColumns = `deployment_id, version, kind, status, reason, display_name, target, mode, cli_version, git, dirty_digest, tree_digest,
	created_by, created_at, completed_by, completed_at, expires_at, resumable, restores, note`

// versionFields are versionColumns and what is computed of others.
const versionFields = versionColumns + `, request <> ''`

func scanVersion(scan func(...any) error) (v Version, err error) {
	git := ""
	err = scan(&v.DeploymentID, &v.Version, &v.Kind, &v.Status, &v.Reason, &v.DisplayName, &v.Target, &v.Mode, &v.CLIVersion, &git, &v.DirtyDigest, &v.TreeDigest,
		&v.CreatedBy, &v.CreatedAt, &v.CompletedBy, &v.CompletedAt, &v.ExpiresAt, &v.Resumable, &v.Restores, &v.Note, &v.Restorable)
	if err == nil && git != "" {
		err = json.Unmarshal([]byte(git), &v.Git)
	}
	return v, err
}

// Begin stores the next version of a deployment and so locks it. v.Version 0
// takes the next number; any other must be it, else ABORTED. While another
// version is in progress it fails with RESOURCE_CONFLICT, unless that one's
// lease is over or force is set: then the other is completed as such.
func (s *Store) Begin(ctx context.Context, ws int64, v Version, force bool) (out Version, err error) {
	for range 3 { // on PostgreSQL two may begin at once: who lost sees the other's version the next time
		err = s.db.Write(ctx, func(tx *store.Tx) error {
			out = v
			return begin(tx, ws, &out, force)
		})
		if !store.IsDuplicate(err) {
			return out, err
		}
	}
	return out, wherry.Errorf(wherry.CodeConflict, "others began to deploy at the same moment: wait for them")
}

func begin(tx *store.Tx, ws int64, v *Version, force bool) error {
	d, err := get(tx, ws, v.DeploymentID)
	if err != nil {
		return err
	}
	if d.DestroyedAt > 0 {
		return wherry.Errorf(wherry.CodeInvalidState, "Deployment %s was destroyed.", d.ID)
	}
	now, err := tx.Now()
	if err != nil {
		return err
	}
	if err := unlock(tx, d, now, force); err != nil {
		return err
	}
	next := d.LastVersion + 1
	if v.Version != 0 && v.Version != next {
		return wherry.Errorf(wherry.CodeAborted, "the next version of deployment %s is %d, not %d", d.ID, next, v.Version)
	}
	v.Version, v.Status, v.CreatedAt, v.ExpiresAt = next, VersionInProgress, now, now+Lease.Milliseconds()
	if _, err := tx.Exec(`INSERT INTO deployment_version (`+versionColumns+`)
		VALUES ($1, $2, $3, $4, '', $5, $6, $7, $8, $9, $10, $11, $12, $13, '', 0, $14, $15, $16, $17)`,
		v.DeploymentID, v.Version, v.Kind, v.Status, v.DisplayName, v.Target, v.Mode, v.CLIVersion, rawJSON(v.Git), v.DirtyDigest, v.TreeDigest,
		v.CreatedBy, v.CreatedAt, v.ExpiresAt, v.Resumable, v.Restores, v.Note); err != nil {
		return err
	}
	return tx.ExecVersioned(`UPDATE deployment SET last_version = $1, status = $2, updated_at = $3 WHERE id = $4 AND last_version = $5`,
		next, StatusInProgress, now, d.ID, d.LastVersion)
}

// unlock ends the version in progress if its lease is over or force is set.
func unlock(tx *store.Tx, d Deployment, now int64, force bool) error {
	v, err := scanVersion(tx.Row(`SELECT `+versionFields+` FROM deployment_version WHERE deployment_id = $1 AND status = $2`, d.ID, VersionInProgress).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	reason := ReasonExpired
	if v.ExpiresAt > now {
		if !force {
			return wherry.Errorf(wherry.CodeConflict, "%s has been deploying %s since %s (version %d): wait for it, or take the lock with --force-lock",
				v.CreatedBy, lockedName(d), time.UnixMilli(v.CreatedAt).UTC().Format(time.RFC3339), v.Version)
		}
		reason = ReasonForce
	}
	if v.Resumable && force && v.ExpiresAt > now {
		return wherry.Errorf(wherry.CodeConflict, "the server itself is at work on version %d of %s: it ends by itself", v.Version, lockedName(d))
	}
	_, err = tx.Exec(`UPDATE deployment_version SET status = $1, reason = $2, completed_at = $3 WHERE deployment_id = $4 AND version = $5`,
		VersionCompleted, reason, now, d.ID, v.Version)
	return err
}

func lockedName(d Deployment) string {
	if d.RootPath != "" {
		return d.RootPath
	}
	return "deployment " + d.ID
}

// Heartbeat prolongs the lease of a version in progress and returns when it
// ends, in milliseconds.
func (s *Store) Heartbeat(ctx context.Context, ws int64, id string, version int64) (expires int64, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := get(tx, ws, id); err != nil {
			return err
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		expires = now + Lease.Milliseconds()
		n, err := tx.Exec(`UPDATE deployment_version SET expires_at = $1 WHERE deployment_id = $2 AND version = $3 AND status = $4`,
			expires, id, version, VersionInProgress)
		if err == nil && n == 0 {
			return wherry.Errorf(wherry.CodeAborted, "version %d of deployment %s is not in progress", version, id)
		}
		return err
	})
	return expires, err
}

// Version returns one version.
func (s *Store) Version(ctx context.Context, ws int64, id string, version int64) (v Version, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		if _, err := get(tx, ws, id); err != nil {
			return err
		}
		v, err = scanVersion(tx.Row(`SELECT `+versionFields+` FROM deployment_version WHERE deployment_id = $1 AND version = $2`, id, version).Scan)
		if errors.Is(err, store.ErrNoRows) {
			return wherry.Errorf(wherry.CodeDoesNotExist, "Version %d of deployment %s does not exist.", version, id)
		}
		return err
	})
	return v, err
}

// Versions lists versions, the newest first.
func (s *Store) Versions(ctx context.Context, ws int64, id string, limit, offset int) (list []Version, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		if _, err := get(tx, ws, id); err != nil {
			return err
		}
		return tx.Each(`SELECT `+versionFields+` FROM deployment_version WHERE deployment_id = $1 ORDER BY version DESC LIMIT $2 OFFSET $3`,
			[]any{id, limit, offset}, func(scan func(...any) error) error {
				v, err := scanVersion(scan)
				list = append(list, v)
				return err
			})
	})
	return list, err
}

// LastDeployed returns the newest version that completed well; ok is false if
// there is none.
func (s *Store) LastDeployed(ctx context.Context, id string) (v Version, ok bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		v, err = lastDeployed(tx, id)
		return err
	})
	if errors.Is(err, store.ErrNoRows) {
		return v, false, nil
	}
	return v, err == nil, err
}

func lastDeployed(tx *store.Tx, id string) (Version, error) {
	return scanVersion(tx.Row(`SELECT `+versionFields+` FROM deployment_version WHERE deployment_id = $1 AND reason = $2
		ORDER BY version DESC LIMIT 1`, id, ReasonSuccess).Scan)
}

// Live is a deployment with the version that is live.
type Live struct {
	Deployment
	Current Version
}

// Live lists what is deployed from a bundle target, by bundle and root path; of
// all workspaces for ws 0.
func (s *Store) Live(ctx context.Context, ws int64, target string) (list []Live, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		if err := tx.Each(`SELECT `+deploymentColumns+` FROM deployment WHERE (workspace_id = $1 OR $1 = 0) AND target = $2 AND destroyed_at = 0
			ORDER BY bundle, root_path, id`, []any{ws, target}, func(scan func(...any) error) error {
			d, err := scanDeployment(scan)
			list = append(list, Live{Deployment: d})
			return err
		}); err != nil {
			return err
		}
		kept := list[:0]
		for _, l := range list {
			l.Current, err = lastDeployed(tx, l.ID)
			if errors.Is(err, store.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			kept = append(kept, l)
		}
		list = kept
		return nil
	})
	return list, err
}

// InProgress tells whether a version of a deployment is in progress whose lease
// is not over.
func (s *Store) InProgress(ctx context.Context, id string) (busy bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		n := 0
		err = tx.Row(`SELECT count(*) FROM deployment_version WHERE deployment_id = $1 AND status = $2 AND expires_at > $3`, id, VersionInProgress, now).Scan(&n)
		busy = n > 0
		return err
	})
	return busy, err
}

// Unfinished lists the server's own versions in progress, of all workspaces:
// what a killed server left.
func (s *Store) Unfinished(ctx context.Context) (list []Version, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+versionFields+` FROM deployment_version WHERE status = $1 AND resumable`, []any{VersionInProgress},
			func(scan func(...any) error) error {
				v, err := scanVersion(scan)
				list = append(list, v)
				return err
			})
	})
	return list, err
}

// Fail completes a version that did not come to its end. What was live before
// stays live.
func (s *Store) Fail(ctx context.Context, v Version, reason, actor string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		return complete(tx, v, reason, actor, StatusFailed)
	})
}

func complete(tx *store.Tx, v Version, reason, actor, status string) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	n, err := tx.Exec(`UPDATE deployment_version SET status = $1, reason = $2, completed_by = $3, completed_at = $4
		WHERE deployment_id = $5 AND version = $6 AND status = $7`, VersionCompleted, reason, actor, now, v.DeploymentID, v.Version, VersionInProgress)
	if err == nil && n == 0 {
		return wherry.Errorf(wherry.CodeAborted, "version %d is not in progress any more: its lease was over, or someone took the lock", v.Version)
	}
	if err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE deployment SET status = $1, updated_at = $2 WHERE id = $3 AND last_version = $4 AND destroyed_at = 0`,
		status, now, v.DeploymentID, v.Version)
	return err
}

// Done is what a successful version leaves.
type Done struct {
	Files    string // the tree's digest, "" for none
	FilePath string
	Target   string
	Mode     string
	Display  string
	Upserts  []Resource
	// Deletes are the keys of resources to be deleted once this is stored: see
	// Doomed.
	Deletes []string
	// Forget are keys that resources had before, whose rows go.
	Forget []string
	// Request is what Restorable returns later, "" for nothing.
	Request   string
	RunID     int64 // of the caller, for the event
	Workspace int64
	Event     map[string]any // the payload; resources, deployment_id and version are added
}

// Succeed completes a version, makes its files and resources the current ones,
// and tells of it, in one transaction. A version that the server deployed is
// then settled with Settle.
func (s *Store) Succeed(ctx context.Context, v Version, actor string, done Done) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		if err := complete(tx, v, ReasonSuccess, actor, StatusActive); err != nil {
			return err
		}
		for _, key := range done.Forget {
			if _, err := tx.Exec(`DELETE FROM deployment_resource WHERE deployment_id = $1 AND key = $2`, v.DeploymentID, key); err != nil {
				return err
			}
		}
		for _, r := range done.Upserts {
			r.DeploymentID, r.Version = v.DeploymentID, v.Version
			if err := putResource(tx, r); err != nil {
				return err
			}
		}
		for _, key := range done.Deletes {
			if _, err := tx.Exec(`UPDATE deployment_resource SET doomed = true WHERE deployment_id = $1 AND key = $2`, v.DeploymentID, key); err != nil {
				return err
			}
		}
		if v.Kind == KindDestroy {
			if err := drift.Destroyed(tx, v.DeploymentID, actor); err != nil {
				return err
			}
			if err := markDeleted(tx, v.DeploymentID, actor); err != nil {
				return err
			}
			return emitDestroyed(tx, v, actor, done)
		}
		if _, err := tx.Exec(`UPDATE deployment_version SET request = $1, settled = $2 WHERE deployment_id = $3 AND version = $4`,
			done.Request, !v.Resumable, v.DeploymentID, v.Version); err != nil {
			return err
		}
		if err := drift.Deployed(tx, v.DeploymentID, actor); err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE deployment SET tree_digest = $1, file_path = $2, target = $3, mode = $4, display_name = $5 WHERE id = $6`,
			done.Files, done.FilePath, done.Target, done.Mode, done.Display, v.DeploymentID); err != nil {
			return err
		}
		return emit(tx, v, actor, done)
	})
}

func emit(tx *store.Tx, v Version, actor string, done Done) error {
	resources, err := resourcesOf(tx, v.DeploymentID)
	if err != nil {
		return err
	}
	list := []map[string]string{}
	for _, r := range resources {
		if r.Doomed {
			continue
		}
		list = append(list, map[string]string{"key": r.Key, "id": r.ResourceID})
	}
	payload := map[string]any{
		"deployment_id": v.DeploymentID, "version": v.Version, "resources": list, "tree_digest": v.TreeDigest, "dirty_digest": v.DirtyDigest,
		"commit": v.Git.Commit, "branch": v.Git.Branch, "origin_url": v.Git.OriginURL, "author": v.Git.Author, "message": v.Git.Message, "target": v.Target,
	}
	if v.Restores > 0 {
		payload["restores"] = v.Restores
	}
	for key, value := range done.Event {
		payload[key] = value
	}
	return tx.Emit(wherry.Event{
		WorkspaceID: done.Workspace, Kind: wherry.EventDeployment, Subject: fmt.Sprintf("%s/%d", v.DeploymentID, v.Version), Actor: actor,
		RunID: done.RunID, Payload: json.RawMessage(rawJSON(payload)),
	})
}

// Complete ends a version of the public API, where the client did the work.
func (s *Store) Complete(ctx context.Context, ws int64, v Version, reason, actor string, runID int64) error {
	if reason != ReasonSuccess {
		return s.Fail(ctx, v, reason, actor)
	}
	d, err := s.Get(ctx, ws, v.DeploymentID)
	if err != nil {
		return err
	}
	return s.Succeed(ctx, v, actor, Done{
		Files: d.TreeDigest, FilePath: d.FilePath, Target: v.Target, Mode: v.Mode, Display: d.DisplayName, RunID: runID, Workspace: ws,
		Event: map[string]any{"bundle": d.Bundle},
	})
}
