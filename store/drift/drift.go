// Package drift stores what differs from what was deployed: which resources
// were written to and by whom, in the transaction that wrote, and what came of
// it.
package drift

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Topic is told when there is something to compare.
const Topic = "drift"

// States of a drift.
const (
	Open    = "open"
	Adopted = "adopted" // written into the project, and not deployed yet
	Settled = "settled"
)

// Ways in which a drift is settled.
const (
	WayReverted = "reverted" // the deployed settings were written back
	WayHealed   = "healed"   // the same, by the environment's self-heal
	WayAdopted  = "adopted"  // a deploy has what was changed
	WayDeployed = "deployed" // a deploy wrote over it
	WayUndone   = "undone"   // someone changed it back by hand
	WayIgnored  = "ignored"  // the environment ignores its fields now
	WayGone     = "gone"     // the deployment was destroyed
	WayApplied  = "applied"  // Terraform applied again
)

// Kinds of drift.
const (
	Changed = "changed"
	Deleted = "deleted"
)

// Field is one field that differs; a missing side is nil.
type Field struct {
	Path   string `json:"path"`
	Before any    `json:"before"` // as deployed
	After  any    `json:"after"`
}

// Drift is one resource that differs from what was deployed.
type Drift struct {
	ID           wherry.Int64 `json:"id"`
	WorkspaceID  int64        `json:"-"`
	DeploymentID string       `json:"deployment_id,omitempty"`
	// Source is the Terraform state that the resource is of, "" for one of a
	// deployment.
	Source     string  `json:"source,omitempty"`
	Version    int64   `json:"version"`
	Resource   string  `json:"resource"` // "jobs.nightly", "azurerm_storage_account.lake"
	ResourceID string  `json:"resource_id"`
	Kind       string  `json:"kind"`
	Fields     []Field `json:"fields,omitempty"`
	Digest     string  `json:"digest"` // of what there is now
	Actor      string  `json:"actor"`  // who changed it, "" if nobody saw
	RunID      int64   `json:"run_id,omitempty"`
	FoundAt    int64   `json:"found_at"` // milliseconds since 1970
	State      string  `json:"state"`
	Way        string  `json:"way,omitempty"`
	SettledBy  string  `json:"settled_by,omitempty"`
	SettledAt  int64   `json:"settled_at,omitempty"`
	Note       string  `json:"note,omitempty"`
}

// Store keeps drift in db.
type Store struct{ db *store.DB }

// New returns the store.
func New(db *store.DB) *Store { return &Store{db: db} }

// Touch notes, in the transaction of a write, that a resource was written to:
// kind is a deployment's ("jobs", "jobs.permissions"). It does nothing for a
// resource that no deployment holds, and for a deployment's own write.
func Touch(ctx context.Context, tx *store.Tx, kind, resourceID string) error {
	who := wherry.IdentityFrom(ctx)
	owners := map[string]string{}
	err := tx.Each(`SELECT d.id, r.key FROM deployment_resource r JOIN deployment d ON d.id = r.deployment_id
		WHERE r.kind = $1 AND r.resource_id = $2 AND NOT r.doomed AND d.destroyed_at = 0 AND d.root_path <> '' AND d.id <> $3`, []any{kind, resourceID, who.Deployment},
		func(scan func(...any) error) error {
			var id, key string
			err := scan(&id, &key)
			owners[id] = key
			return err
		})
	if err != nil {
		return err
	}
	for id, key := range owners {
		if err := check(tx, id, key, who.UserName, who.RunID, ""); err != nil {
			return err
		}
	}
	return nil
}

func check(tx *store.Tx, deployment, key, actor string, runID int64, way string) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO drift_check (deployment_id, resource, actor, run_id, way, at) VALUES ($1, $2, $3, $4, $5, $6)`, deployment, key, actor, runID, way, now)
	tx.Changed(Topic)
	return err
}

// Deployed has what drifted in a deployment compared again, after a deploy.
func Deployed(tx *store.Tx, deployment, actor string) error {
	keys, err := openKeys(tx, deployment)
	for _, key := range keys {
		if err == nil {
			err = check(tx, deployment, key, actor, 0, WayDeployed)
		}
	}
	return err
}

// Destroyed settles what drifted in a deployment that is no more.
func Destroyed(tx *store.Tx, deployment, actor string) error {
	if _, err := tx.Exec(`DELETE FROM drift_check WHERE deployment_id = $1`, deployment); err != nil {
		return err
	}
	keys, err := openKeys(tx, deployment)
	for _, key := range keys {
		if err == nil {
			_, err = Settle(tx, Drift{DeploymentID: deployment, Resource: key}, WayGone, actor)
		}
	}
	return err
}

func openKeys(tx *store.Tx, deployment string) (keys []string, err error) {
	err = tx.Each(`SELECT resource FROM drift WHERE deployment_id = $1 AND state <> $2 ORDER BY resource`, []any{deployment, Settled}, func(scan func(...any) error) error {
		key := ""
		err := scan(&key)
		keys = append(keys, key)
		return err
	})
	return keys, err
}

// Check is a resource that was written to and has yet to be compared.
type Check struct {
	ID           int64
	DeploymentID string
	Resource     string
	Actor        string
	RunID        int64
	Way          string // how it is settled if nothing differs any more
}

// Pending lists the oldest resources to compare.
func (s *Store) Pending(ctx context.Context, limit int) (list []Check, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT id, deployment_id, resource, actor, run_id, way FROM drift_check ORDER BY id LIMIT $1`, []any{limit}, func(scan func(...any) error) error {
			var c Check
			err := scan(&c.ID, &c.DeploymentID, &c.Resource, &c.Actor, &c.RunID, &c.Way)
			list = append(list, c)
			return err
		})
	})
	return list, err
}

// Compared stores what came of comparing a resource: a drift with its fields,
// or none (d.Kind ""), which settles what there was; way says how. The check
// that asked for it, 0 for none, is done. It returns the open drift.
func (s *Store) Compared(ctx context.Context, checkID int64, d Drift, way, actor string) (out Drift, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		if checkID != 0 {
			if n, err := tx.Exec(`DELETE FROM drift_check WHERE id = $1`, checkID); err != nil || n == 0 {
				return err // another pass was first
			}
		}
		if d.Kind == "" {
			_, err := Settle(tx, d, way, actor)
			return err
		}
		out, err = Record(tx, d)
		return err
	})
	return out, err
}

// Done forgets a check whose resource is deployed no more.
func (s *Store) Done(ctx context.Context, checkID int64) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM drift_check WHERE id = $1`, checkID)
		return err
	})
}

const columns = `id, workspace_id, deployment_id, source, version, resource, resource_id, kind, fields, digest, actor, run_id, found_at, state, way, settled_by, settled_at, note`

func scan(row func(...any) error) (d Drift, err error) {
	var fields string
	err = row((*int64)(&d.ID), &d.WorkspaceID, &d.DeploymentID, &d.Source, &d.Version, &d.Resource, &d.ResourceID, &d.Kind, &fields, &d.Digest, &d.Actor, &d.RunID,
		&d.FoundAt, &d.State, &d.Way, &d.SettledBy, &d.SettledAt, &d.Note)
	if err == nil {
		err = json.Unmarshal([]byte(fields), &d.Fields)
	}
	return d, err
}

func unsettled(tx *store.Tx, d Drift) (Drift, error) {
	return scan(tx.Row(`SELECT `+columns+` FROM drift WHERE deployment_id = $1 AND source = $2 AND resource = $3 AND state <> $4`,
		d.DeploymentID, d.Source, d.Resource, Settled).Scan)
}

// Record stores that a resource differs from what was deployed, with an event
// and a notice.
// Of a drift that is open it keeps the newest; one that says the same is left
// as it is.
func Record(tx *store.Tx, d Drift) (Drift, error) {
	slices.SortFunc(d.Fields, func(a, b Field) int { return strings.Compare(a.Path, b.Path) })
	fields, err := json.Marshal(d.Fields)
	if err != nil {
		return d, err
	}
	sum := sha256.Sum256(append([]byte(d.Kind+"\n"), fields...))
	d.Digest = hex.EncodeToString(sum[:])
	have, err := unsettled(tx, d)
	if err == nil && have.Digest == d.Digest {
		return have, nil
	}
	if err != nil && !errors.Is(err, store.ErrNoRows) {
		return d, err
	}
	if d.FoundAt, err = tx.Now(); err != nil {
		return d, err
	}
	d.ID, d.State = have.ID, Open
	if d.ID == 0 {
		id, err := tx.NextID("drift")
		if err != nil {
			return d, err
		}
		d.ID = wherry.Int64(id)
	}
	_, err = tx.Exec(`INSERT INTO drift (`+columns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, '', '', 0, '')
		ON CONFLICT (id) DO UPDATE SET version = excluded.version, resource_id = excluded.resource_id, kind = excluded.kind, fields = excluded.fields,
		digest = excluded.digest, actor = excluded.actor, run_id = excluded.run_id, found_at = excluded.found_at, state = excluded.state, note = ''`,
		int64(d.ID), d.WorkspaceID, d.DeploymentID, d.Source, d.Version, d.Resource, d.ResourceID, d.Kind, string(fields), d.Digest, d.Actor, d.RunID, d.FoundAt, d.State)
	if err != nil {
		return d, err
	}
	if err := tell(tx, d); err != nil {
		return d, err
	}
	return d, emit(tx, wherry.EventDriftFound, d, d.Actor, map[string]any{
		"version": d.Version, "resource_id": d.ResourceID, "kind": d.Kind, "fields": d.Fields, "digest": d.Digest,
	})
}

func emit(tx *store.Tx, kind string, d Drift, actor string, more map[string]any) error {
	payload := map[string]any{"drift_id": d.ID, "deployment_id": d.DeploymentID, "source": d.Source, "resource": d.Resource}
	for key, value := range more {
		payload[key] = value
	}
	b, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	return tx.Emit(wherry.Event{WorkspaceID: d.WorkspaceID, Kind: kind, Subject: fmt.Sprint(int64(d.ID)), Actor: actor, RunID: d.RunID, Payload: b})
}

// Settle ends the open drift of a resource (d.DeploymentID or d.Source, and
// d.Resource), with an event; it tells whether there was one.
func Settle(tx *store.Tx, d Drift, way, actor string) (bool, error) {
	have, err := unsettled(tx, d)
	if errors.Is(err, store.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	now, err := tx.Now()
	if err != nil {
		return false, err
	}
	if have.State == Adopted && way == WayDeployed {
		way = WayAdopted
	}
	if _, err := tx.Exec(`UPDATE drift SET state = $1, way = $2, settled_by = $3, settled_at = $4 WHERE id = $5`, Settled, way, actor, now, int64(have.ID)); err != nil {
		return false, err
	}
	have.RunID = 0
	return true, emit(tx, wherry.EventDriftSettled, have, actor, map[string]any{"way": way, "by": actor})
}

// Mark notes of an open drift that actor adopted it, or why it could not be
// healed, with an event unless that is noted already; of any workspace for ws 0.
func (s *Store) Mark(ctx context.Context, ws, id int64, state, note, actor string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		have, err := scan(tx.Row(`SELECT `+columns+` FROM drift WHERE id = $1 AND (workspace_id = $2 OR $2 = 0) AND state <> $3`, id, ws, Settled).Scan)
		if errors.Is(err, store.ErrNoRows) {
			return wherry.Errorf(wherry.CodeDoesNotExist, "there is no open drift %d", id)
		}
		if err != nil || have.State == state && have.Note == note {
			return err
		}
		if _, err := tx.Exec(`UPDATE drift SET state = $1, note = $2 WHERE id = $3`, state, note, id); err != nil {
			return err
		}
		have.RunID = 0
		return emit(tx, wherry.EventDriftMarked, have, actor, map[string]any{"state": state, "note": note, "by": actor})
	})
}

// Get returns one drift, settled or not; of any workspace for ws 0.
func (s *Store) Get(ctx context.Context, ws, id int64) (d Drift, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		d, err = scan(tx.Row(`SELECT `+columns+` FROM drift WHERE (workspace_id = $1 OR $1 = 0) AND id = $2`, ws, id).Scan)
		return err
	})
	if errors.Is(err, store.ErrNoRows) {
		return d, wherry.Errorf(wherry.CodeDoesNotExist, "there is no drift %d", id)
	}
	return d, err
}

// List returns the drift of a workspace, of all for ws 0, that is not settled,
// or all of it with settled, the newest first.
func (s *Store) List(ctx context.Context, ws int64, settled bool, limit int) (list []Drift, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+columns+` FROM drift WHERE (workspace_id = $1 OR $1 = 0) AND (state <> $2 OR $3) ORDER BY found_at DESC, id DESC LIMIT $4`,
			[]any{ws, Settled, settled, limit}, func(row func(...any) error) error {
				d, err := scan(row)
				list = append(list, d)
				return err
			})
	})
	return list, err
}
