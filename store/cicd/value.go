package cicd

import (
	"context"
	"encoding/json"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Value is a secret or a variable of a scope: repo:NAME or environment:NAME.
type Value struct {
	WorkspaceID int64  `json:"-"`
	Scope       string `json:"scope"`
	Name        string `json:"name"`
	Secret      bool   `json:"secret"`
	Value       string `json:"value,omitempty"` // sealed, of a secret
	UpdatedBy   string `json:"updated_by"`
	UpdatedAt   int64  `json:"updated_at"` // ms
}

// event tells that somebody set or deleted the value, and never what it is.
func (v Value) event(tx *store.Tx, action string) error {
	b, err := json.Marshal(map[string]any{"scope": v.Scope, "name": v.Name, "secret": v.Secret, "action": action})
	if err != nil {
		return err
	}
	return tx.Emit(wherry.Event{WorkspaceID: v.WorkspaceID, Kind: wherry.EventCIValue, Subject: v.Scope + "/" + v.Name, Actor: v.UpdatedBy, Payload: b})
}

// SetValue stores a secret or a variable.
func (s *Store) SetValue(ctx context.Context, v Value) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO ci_value (workspace_id, scope, name, secret, value, updated_by, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (workspace_id, scope, secret, name) DO UPDATE SET value = excluded.value, updated_by = excluded.updated_by, updated_at = excluded.updated_at`,
			v.WorkspaceID, v.Scope, v.Name, v.Secret, v.Value, v.UpdatedBy, time.Now().UnixMilli())
		if err != nil {
			return err
		}
		return v.event(tx, "set")
	})
}

// DeleteValue deletes a secret or a variable, as its UpdatedBy asked;
// RESOURCE_DOES_NOT_EXIST if there is none.
func (s *Store) DeleteValue(ctx context.Context, v Value) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(`DELETE FROM ci_value WHERE workspace_id = $1 AND scope = $2 AND secret = $3 AND name = $4`, v.WorkspaceID, v.Scope, v.Secret, v.Name)
		if err != nil {
			return err
		}
		if n == 0 {
			return wherry.Errorf(wherry.CodeDoesNotExist, "there is no %s of that name in %s", v.Name, v.Scope)
		}
		return v.event(tx, "deleted")
	})
}

// Values lists the secrets and variables of a scope, or of all of a workspace
// for "".
func (s *Store) Values(ctx context.Context, ws int64, scope string) (list []Value, err error) {
	list = []Value{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT workspace_id, scope, name, secret, value, updated_by, updated_at FROM ci_value
			WHERE workspace_id = $1 AND ($2 = '' OR scope = $2) ORDER BY scope, secret, name`, []any{ws, scope}, func(row func(...any) error) error {
			var v Value
			err := row(&v.WorkspaceID, &v.Scope, &v.Name, &v.Secret, &v.Value, &v.UpdatedBy, &v.UpdatedAt)
			list = append(list, v)
			return err
		})
	})
	return list, err
}
