// Package azure stores what the management and Graph APIs know beside the
// things themselves: resources with their documents, role assignments, the
// objects of the directory, and the secrets of vaults.
package azure

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/drift"
)

// Store gives access to resources and directory objects.
type Store struct{ db *store.DB }

// New returns the store.
func New(db *store.DB) *Store { return &Store{db: db} }

// Document is a JSON object as a client sees it.
type Document = map[string]any

// Resource is a resource of the management API. Ids and types are compared
// without case.
type Resource struct {
	ID           string
	Subscription string
	Group        string // the resource group's name
	Type         string // Microsoft.Storage/storageAccounts
	Name         string
	Document     Document // what is answered, without id, name and type
	CreatedBy    string
	CreatedAt    int64 // ms
	UpdatedAt    int64 // ms
}

const resourceColumns = `id, subscription, resource_group, type, name, document, created_by, created_at, updated_at`

func scanResource(scan func(...any) error) (r Resource, err error) {
	var doc string
	if err = scan(&r.ID, &r.Subscription, &r.Group, &r.Type, &r.Name, &doc, &r.CreatedBy, &r.CreatedAt, &r.UpdatedAt); err == nil {
		err = json.Unmarshal([]byte(doc), &r.Document)
	}
	return r, err
}

// key is how ids are compared.
func key(id string) string { return strings.ToLower(strings.TrimSuffix(id, "/")) }

// Get returns a resource, or RESOURCE_DOES_NOT_EXIST.
func (s *Store) Get(ctx context.Context, id string) (r Resource, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) (err error) {
		r, err = Find(tx, id)
		return err
	})
	return r, err
}

// Find returns a resource inside a transaction.
func Find(tx *store.Tx, id string) (Resource, error) {
	r, err := scanResource(tx.Row(`SELECT `+resourceColumns+` FROM arm_resource WHERE id_key = $1`, key(id)).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return r, wherry.Errorf(wherry.CodeDoesNotExist, "The resource '%s' was not found.", id)
	}
	return r, err
}

// Put makes or changes a resource. edit gets the one that is there, nil for
// none, and returns the one to be; what else the resource stands for it changes
// in the same transaction.
func (s *Store) Put(ctx context.Context, id, by string, edit func(tx *store.Tx, old *Resource) (Resource, error)) (r Resource, created bool, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		var old *Resource
		have, err := Find(tx, id)
		switch {
		case err == nil:
			old = &have
		case wherry.CodeOf(err) != wherry.CodeDoesNotExist:
			return err
		}
		before := have.Document
		if old != nil {
			if before, err = plain(have.Document); err != nil { // edit may change it in place
				return err
			}
		}
		if r, err = edit(tx, old); err != nil {
			return err
		}
		r.UpdatedAt = time.Now().UnixMilli()
		r.CreatedAt, r.CreatedBy = r.UpdatedAt, by
		operation := "created"
		if created = old == nil; !created {
			r.ID, r.CreatedAt, r.CreatedBy, operation = old.ID, old.CreatedAt, old.CreatedBy, "updated"
			if err := changed(tx, r, before, by); err != nil {
				return err
			}
		}
		return put(tx, r, by, operation)
	})
	return r, created, err
}

// changed tells of what someone changed who did not make the resource: whom
// Terraform does not work as.
func changed(tx *store.Tx, r Resource, before Document, by string) error {
	if by == r.CreatedBy {
		return nil
	}
	after, err := plain(r.Document)
	if err != nil {
		return err
	}
	fields := compare(nil, "", before, after)
	if len(fields) == 0 {
		return nil
	}
	return drift.InfraChanged(tx, wherry.DefaultWorkspace, r.ID, drift.Changed, by, fields)
}

// plain is a document as it is read back from the store.
func plain(doc Document) (out Document, err error) {
	b, err := json.Marshal(doc)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	return out, err
}

// compare adds the fields in which two plain objects differ: "tags.team",
// "properties.accessTier".
func compare(fields []drift.Field, at string, before, after map[string]any) []drift.Field {
	all := maps.Clone(after)
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, before)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		x, y := before[key], after[key]
		was, isMap := x.(map[string]any)
		is, isMapToo := y.(map[string]any)
		switch {
		case isMap && isMapToo:
			fields = compare(fields, at+key+".", was, is)
		case !reflect.DeepEqual(x, y):
			fields = append(fields, drift.Field{Path: at + key, Before: x, After: y})
		}
	}
	return fields
}

func put(tx *store.Tx, r Resource, by, operation string) error {
	doc, err := json.Marshal(r.Document)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO arm_resource (id_key, id, subscription, resource_group, type, name, document, created_by, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (id_key) DO UPDATE SET document = excluded.document, updated_at = excluded.updated_at, version = arm_resource.version + 1`,
		key(r.ID), r.ID, strings.ToLower(r.Subscription), strings.ToLower(r.Group), strings.ToLower(r.Type), r.Name, string(doc), r.CreatedBy, r.CreatedAt, r.UpdatedAt)
	if err != nil {
		return err
	}
	return emit(tx, wherry.EventAzureResource, r.ID, by, Document{"type": r.Type, "operation": operation})
}

func emit(tx *store.Tx, kind, subject, by string, payload Document) error {
	b, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	if payload["operation"] == "deleted" { // which Terraform may not know
		if err := drift.InfraChanged(tx, wherry.DefaultWorkspace, subject, drift.Deleted, by, nil); err != nil {
			return err
		}
	}
	return tx.Emit(wherry.Event{WorkspaceID: wherry.DefaultWorkspace, Kind: kind, Subject: subject, Actor: by, Payload: b})
}

// Delete removes a resource with all below it, and the role assignments on
// them. gone is called for each, the deepest first, to remove what it stands
// for in the same transaction. It returns what it removed.
func (s *Store) Delete(ctx context.Context, id, by string, gone func(*store.Tx, Resource) error) (removed []Resource, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		removed = nil
		if _, err := Find(tx, id); err != nil {
			return err
		}
		if err := tx.Each(`SELECT `+resourceColumns+` FROM arm_resource WHERE id_key = $1 OR substr(id_key, 1, $2) = $3 ORDER BY length(id_key) DESC, id_key`,
			[]any{key(id), len(key(id)) + 1, key(id) + "/"}, func(scan func(...any) error) error {
				r, err := scanResource(scan)
				removed = append(removed, r)
				return err
			}); err != nil {
			return err
		}
		for _, r := range removed {
			if err := gone(tx, r); err != nil {
				return err
			}
			if _, err := tx.Exec(`DELETE FROM arm_resource WHERE id_key = $1`, key(r.ID)); err != nil {
				return err
			}
			if err := emit(tx, wherry.EventAzureResource, r.ID, by, Document{"type": r.Type, "operation": "deleted"}); err != nil {
				return err
			}
		}
		return deleteAssignments(tx, id, by)
	})
	return removed, err
}

// Was tells whether a subscription ever had a resource of a type and name, in
// any group.
func Was(tx *store.Tx, subscription, typ, name string) (bool, error) {
	var n int
	begins, ends := strings.ToLower("/subscriptions/"+subscription+"/"), strings.ToLower("/providers/"+typ+"/"+name)
	err := tx.Row(`SELECT count(*) FROM event WHERE kind = $1 AND substr(lower(subject), 1, $2) = $3 AND length(subject) > $4 AND substr(lower(subject), length(subject) - $4 + 1) = $5`,
		wherry.EventAzureResource, len(begins), begins, len(ends), ends).Scan(&n)
	return n > 0, err
}

// Query says which resources List returns: those of a subscription, in a group
// and of a type, each left out if it is "".
type Query struct{ Subscription, Group, Type string }

// List returns resources by id.
func (s *Store) List(ctx context.Context, q Query) (list []Resource, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+resourceColumns+` FROM arm_resource WHERE ($1 = '' OR subscription = $1) AND ($2 = '' OR resource_group = $2)
			AND ($3 = '' OR type = $3) ORDER BY id_key`, []any{strings.ToLower(q.Subscription), strings.ToLower(q.Group), strings.ToLower(q.Type)},
			func(scan func(...any) error) error {
				r, err := scanResource(scan)
				list = append(list, r)
				return err
			})
	})
	return list, err
}

// Named returns the resources of a type with a name, wherever they are: names
// of storage accounts and vaults are taken for everyone.
func Named(tx *store.Tx, kind, name string) (list []Resource, err error) {
	err = tx.Each(`SELECT `+resourceColumns+` FROM arm_resource WHERE type = $1 AND lower(name) = $2`, []any{strings.ToLower(kind), strings.ToLower(name)},
		func(scan func(...any) error) error {
			r, err := scanResource(scan)
			list = append(list, r)
			return err
		})
	return list, err
}

// Add stores a resource inside a transaction, if its id is free.
func Add(tx *store.Tx, r Resource, by string) error {
	if _, err := Find(tx, r.ID); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
		return err
	}
	r.CreatedBy, r.CreatedAt = by, time.Now().UnixMilli()
	r.UpdatedAt = r.CreatedAt
	return put(tx, r, by, "created")
}
