package workspace

import (
	"context"
	"errors"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/drift"
)

// Access is what one principal may do with one object. Exactly one of the
// names is set.
type Access struct {
	UserName             string `json:"user_name,omitempty"`
	GroupName            string `json:"group_name,omitempty"`
	ServicePrincipalName string `json:"service_principal_name,omitempty"`
	Level                string `json:"permission_level"`
}

// Principal returns the kind of principal and its name; an error unless one is set.
func (a Access) Principal() (kind, name string, err error) {
	for k, n := range map[string]string{"user_name": a.UserName, "group_name": a.GroupName, "service_principal_name": a.ServicePrincipalName} {
		if n == "" {
			continue
		}
		if name != "" {
			return "", "", wherry.Errorf(wherry.CodeInvalidParameter, "an entry of access_control_list names %q and %q: one principal each", name, n)
		}
		kind, name = k, n
	}
	if name == "" {
		return "", "", wherry.Errorf(wherry.CodeInvalidParameter, "an entry of access_control_list needs user_name, group_name or service_principal_name")
	}
	return kind, name, nil
}

// Permissions returns what was set on an object, in the order of names.
func (s *Store) Permissions(ctx context.Context, ws int64, objectType, id string) (list []Access, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		list, err = permissions(tx, ws, objectType, id)
		return err
	})
	return list, err
}

func permissions(tx *store.Tx, ws int64, objectType, id string) (list []Access, err error) {
	err = tx.Each(`SELECT principal_kind, principal, level FROM object_permission WHERE workspace_id = $1 AND object_type = $2 AND object_id = $3
		ORDER BY principal_kind DESC, principal`, []any{ws, objectType, id}, func(scan func(...any) error) error {
		var kind, name string
		var a Access
		if err := scan(&kind, &name, &a.Level); err != nil {
			return err
		}
		switch kind {
		case "user_name":
			a.UserName = name
		case "group_name":
			a.GroupName = name
		default:
			a.ServicePrincipalName = name
		}
		list = append(list, a)
		return nil
	})
	return list, err
}

// ChangePermissions replaces what is set on an object by what edit makes of it.
func (s *Store) ChangePermissions(ctx context.Context, ws int64, objectType, id string, edit func([]Access) ([]Access, error)) (list []Access, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		have, err := permissions(tx, ws, objectType, id)
		if err != nil {
			return err
		}
		if list, err = edit(have); err != nil {
			return err
		}
		if err := PutPermissions(ctx, tx, ws, objectType, id, list); err != nil {
			return err
		}
		list, err = permissions(tx, ws, objectType, id)
		return err
	})
	return list, err
}

// PutPermissions sets the permissions on an object, in the transaction of what
// else is done with it.
func PutPermissions(ctx context.Context, tx *store.Tx, ws int64, objectType, id string, list []Access) error {
	if _, err := tx.Exec(`DELETE FROM object_permission WHERE workspace_id = $1 AND object_type = $2 AND object_id = $3`, ws, objectType, id); err != nil {
		return err
	}
	for _, a := range list {
		kind, name, err := a.Principal()
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO object_permission (workspace_id, object_type, object_id, principal_kind, principal, level)
			VALUES ($1, $2, $3, $4, $5, $6)`, ws, objectType, id, kind, name, a.Level); err != nil {
			return err
		}
	}
	if objectType == "registered-models" {
		objectType = "models" // as a bundle calls them
	}
	return drift.Touch(ctx, tx, objectType+".permissions", id)
}

// Setting returns a setting of the workspace, nil if it was never set.
func (s *Store) Setting(ctx context.Context, ws int64, name string) (value *string, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		err := tx.Row(`SELECT value FROM setting WHERE workspace_id = $1 AND name = $2`, ws, "conf/"+name).Scan(&value)
		if errors.Is(err, store.ErrNoRows) {
			return nil
		}
		return err
	})
	return value, err
}

// Set changes settings of the workspace.
func (s *Store) Set(ctx context.Context, ws int64, values map[string]string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		for k, v := range values {
			if _, err := tx.Exec(`INSERT INTO setting (workspace_id, name, value) VALUES ($1, $2, $3)
				ON CONFLICT (workspace_id, name) DO UPDATE SET value = excluded.value`, ws, "conf/"+k, v); err != nil {
				return err
			}
		}
		return nil
	})
}
