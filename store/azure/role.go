package azure

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Assignment gives a role on a scope to a principal or group.
type Assignment struct {
	ID        string
	Scope     string // the id of a subscription, resource group or resource; "" is all
	Role      string // the GUID of the role's definition
	ObjectID  string // whose
	Document  Document
	CreatedBy string
	CreatedAt int64 // ms
}

const assignmentColumns = `id, scope_key, role, object_id, document, created_by, created_at`

func scanAssignment(scan func(...any) error) (a Assignment, err error) {
	var doc string
	if err = scan(&a.ID, &a.Scope, &a.Role, &a.ObjectID, &doc, &a.CreatedBy, &a.CreatedAt); err == nil {
		err = json.Unmarshal([]byte(doc), &a.Document)
	}
	return a, err
}

// Assign stores an assignment. One that is the same stays; another one with the
// same id or for the same role, scope and principal is RESOURCE_ALREADY_EXISTS.
func (s *Store) Assign(ctx context.Context, a Assignment, by string) (_ Assignment, created bool, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		created = false
		old, err := scanAssignment(tx.Row(`SELECT `+assignmentColumns+` FROM role_assignment WHERE id_key = $1 OR (scope_key = $2 AND role = $3 AND object_id = $4)`,
			key(a.ID), key(a.Scope), a.Role, strings.ToLower(a.ObjectID)).Scan)
		same := key(old.ID) == key(a.ID) && key(old.Scope) == key(a.Scope) && old.Role == a.Role && strings.EqualFold(old.ObjectID, a.ObjectID)
		switch {
		case err == nil && same:
			a = old
			return nil
		case err == nil:
			return wherry.Errorf(wherry.CodeAlreadyExists, "The role assignment already exists. The ID of the existing role assignment is %s.", old.ID[strings.LastIndex(old.ID, "/")+1:])
		case !errors.Is(err, store.ErrNoRows):
			return err
		}
		created = true
		a.CreatedAt, a.CreatedBy = time.Now().UnixMilli(), by
		doc, err := json.Marshal(a.Document)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO role_assignment (id_key, id, scope_key, role, object_id, document, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			key(a.ID), a.ID, key(a.Scope), a.Role, strings.ToLower(a.ObjectID), string(doc), by, a.CreatedAt); err != nil {
			return err
		}
		return emit(tx, wherry.EventAzureResource, a.ID, by, Document{"type": "Microsoft.Authorization/roleAssignments", "operation": "created"})
	})
	return a, created, err
}

// Assignment returns an assignment, or RESOURCE_DOES_NOT_EXIST.
func (s *Store) Assignment(ctx context.Context, id string) (a Assignment, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		a, err = scanAssignment(tx.Row(`SELECT `+assignmentColumns+` FROM role_assignment WHERE id_key = $1`, key(id)).Scan)
		if errors.Is(err, store.ErrNoRows) {
			return wherry.Errorf(wherry.CodeDoesNotExist, "The role assignment '%s' is not found.", id[strings.LastIndex(id, "/")+1:])
		}
		return err
	})
	return a, err
}

// Unassign removes an assignment and returns it; RESOURCE_DOES_NOT_EXIST if
// there is none.
func (s *Store) Unassign(ctx context.Context, id, by string) (a Assignment, err error) {
	if a, err = s.Assignment(ctx, id); err != nil {
		return a, err
	}
	return a, s.db.Write(ctx, func(tx *store.Tx) error { return deleteAssignment(tx, a.ID, by) })
}

func deleteAssignment(tx *store.Tx, id, by string) error {
	if _, err := tx.Exec(`DELETE FROM role_assignment WHERE id_key = $1`, key(id)); err != nil {
		return err
	}
	return emit(tx, wherry.EventAzureResource, id, by, Document{"type": "Microsoft.Authorization/roleAssignments", "operation": "deleted"})
}

// deleteAssignments removes the assignments on a scope and below it.
func deleteAssignments(tx *store.Tx, scope, by string) error {
	return eachID(tx, `SELECT id FROM role_assignment WHERE scope_key = $1 OR substr(scope_key, 1, $2) = $3`,
		[]any{key(scope), len(key(scope)) + 1, key(scope) + "/"}, func(id string) error { return deleteAssignment(tx, id, by) })
}

// eachID runs a query for ids and then fn for each: what fn writes does not
// disturb the query.
func eachID(tx *store.Tx, query string, args []any, fn func(id string) error) error {
	var ids []string
	if err := tx.Each(query, args, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		ids = append(ids, id)
		return err
	}); err != nil {
		return err
	}
	for _, id := range ids {
		if err := fn(id); err != nil {
			return err
		}
	}
	return nil
}

// Assignments returns the assignments at a scope, above it and below it: what
// the management API lists. object is whose, "" for all.
func (s *Store) Assignments(ctx context.Context, scope, object string) (list []Assignment, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+assignmentColumns+` FROM role_assignment WHERE (scope_key = $1 OR substr(scope_key, 1, length($1) + 1) = $2
			OR substr($2, 1, length(scope_key) + 1) = scope_key || '/') AND ($3 = '' OR object_id = $3) ORDER BY id_key`,
			[]any{key(scope), key(scope) + "/", strings.ToLower(object)}, func(scan func(...any) error) error {
				a, err := scanAssignment(scan)
				list = append(list, a)
				return err
			})
	})
	return list, err
}

// Roles returns the GUIDs of the roles that an object has at a scope: those
// given there and above it, to itself and to the groups that it is in.
func (s *Store) Roles(ctx context.Context, object, scope string) (roles []string, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`WITH RECURSIVE who (id) AS (SELECT CAST($1 AS TEXT) UNION SELECT l.object_id FROM graph_link l JOIN who w ON l.target_id = w.id WHERE l.rel = 'member')
			SELECT DISTINCT a.role FROM role_assignment a JOIN who w ON a.object_id = w.id WHERE substr($2, 1, length(a.scope_key) + 1) = a.scope_key || '/'`,
			[]any{strings.ToLower(object), key(scope) + "/"}, func(scan func(...any) error) error {
				var role string
				err := scan(&role)
				roles = append(roles, role)
				return err
			})
	})
	return roles, err
}

// Subscriptions returns the ids of the subscriptions that hold something, or
// that object has a role in; object "" is all that hold something.
func (s *Store) Subscriptions(ctx context.Context, object string) (ids []string, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		query, args := `SELECT DISTINCT subscription FROM arm_resource WHERE subscription <> '' ORDER BY subscription`, []any{}
		if object != "" {
			query = `WITH RECURSIVE who (id) AS (SELECT CAST($1 AS TEXT) UNION SELECT l.object_id FROM graph_link l JOIN who w ON l.target_id = w.id WHERE l.rel = 'member')
				SELECT DISTINCT substr(a.scope_key, 16, 36) FROM role_assignment a JOIN who w ON a.object_id = w.id WHERE substr(a.scope_key, 1, 15) = '/subscriptions/'`
			args = []any{strings.ToLower(object)}
		}
		return tx.Each(query, args, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			ids = append(ids, id)
			return err
		})
	})
	return ids, err
}
