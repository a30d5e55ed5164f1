package azure

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
)

// Kinds of directory object. Users are principals alone.
const (
	KindApplication      = "application"
	KindServicePrincipal = "servicePrincipal"
	KindGroup            = "group"
)

// Object is an application or group, or what Graph keeps of a service principal
// beside the principal.
type Object struct {
	ID          string // a GUID
	Kind        string
	AppID       string // the client id, "" for a group
	PrincipalID int64  // of an application and service principal; of a group its own number, which SCIM knows it by
	Document    Document
	CreatedAt   int64 // ms
}

const objectColumns = `id, kind, app_id, principal_id, document, created_at`

func scanObject(scan func(...any) error) (o Object, err error) {
	var doc string
	if err = scan(&o.ID, &o.Kind, &o.AppID, &o.PrincipalID, &doc, &o.CreatedAt); err == nil {
		err = json.Unmarshal([]byte(doc), &o.Document)
	}
	return o, err
}

func foundObject(what string, scan func(...any) error) (Object, error) {
	o, err := scanObject(scan)
	if errors.Is(err, store.ErrNoRows) {
		return o, wherry.Errorf(wherry.CodeDoesNotExist, "Resource '%s' does not exist or one of its queried reference-property objects are not present.", what)
	}
	return o, err
}

// FindObject returns an object by its id, or RESOURCE_DOES_NOT_EXIST.
func FindObject(tx *store.Tx, id string) (Object, error) {
	return foundObject(id, tx.Row(`SELECT `+objectColumns+` FROM graph_object WHERE id = $1`, strings.ToLower(id)).Scan)
}

// SCIMField is where a group's document keeps what only SCIM knows of it; Graph
// does not show it.
const SCIMField = "wherry.scim"

// NewGroup returns a group that is not stored yet, with an id and a document.
func NewGroup(doc Document) Object {
	return Object{ID: auth.NewGUID(), Kind: KindGroup, Document: doc}
}

// GroupByNumber returns the group that SCIM knows by a number, or
// RESOURCE_DOES_NOT_EXIST.
func GroupByNumber(tx *store.Tx, number int64) (Object, error) {
	return foundObject(strconv.FormatInt(number, 10), tx.Row(`SELECT `+objectColumns+` FROM graph_object WHERE kind = 'group' AND principal_id = $1`, number).Scan)
}

// ObjectOfApp returns the application or service principal with a client id, or
// RESOURCE_DOES_NOT_EXIST.
func ObjectOfApp(tx *store.Tx, kind, app string) (Object, error) {
	return foundObject(app, tx.Row(`SELECT `+objectColumns+` FROM graph_object WHERE kind = $1 AND app_id = $2`, kind, strings.ToLower(app)).Scan)
}

// Objects lists the objects of a kind, the oldest first.
func Objects(tx *store.Tx, kind string) (list []Object, err error) {
	err = tx.Each(`SELECT `+objectColumns+` FROM graph_object WHERE kind = $1 ORDER BY created_at, id`, []any{kind}, func(scan func(...any) error) error {
		o, err := scanObject(scan)
		list = append(list, o)
		return err
	})
	return list, err
}

// PutObject stores an object, new or changed.
func PutObject(tx *store.Tx, o Object, by string) error {
	doc, err := json.Marshal(o.Document)
	if err != nil {
		return err
	}
	operation := "updated"
	if o.CreatedAt == 0 {
		o.CreatedAt, operation = time.Now().UnixMilli(), "created"
	}
	if _, err = tx.Exec(`INSERT INTO graph_object (id, kind, app_id, principal_id, document, created_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE SET document = excluded.document, version = graph_object.version + 1`,
		o.ID, o.Kind, o.AppID, o.PrincipalID, string(doc), o.CreatedAt); err != nil {
		return err
	}
	return emit(tx, wherry.EventDirectory, o.ID, by, Document{"kind": o.Kind, "operation": operation})
}

// DropObject removes an object with its links and grants.
func DropObject(tx *store.Tx, o Object, by string) error {
	for _, q := range []string{
		`DELETE FROM workspace_assignment WHERE object_id = $1`, `DELETE FROM graph_link WHERE object_id = $1 OR target_id = $1`, `DELETE FROM graph_grant WHERE object_id = $1 OR resource_id = $1`, `DELETE FROM graph_object WHERE id = $1`,
	} {
		if _, err := tx.Exec(q, o.ID); err != nil {
			return err
		}
	}
	return emit(tx, wherry.EventDirectory, o.ID, by, Document{"kind": o.Kind, "operation": "deleted"})
}

// Relations between objects.
const (
	RelOwner  = "owner"
	RelMember = "member"
)

// Link makes target an owner or member of an object. One that it is already is
// RESOURCE_ALREADY_EXISTS.
func Link(tx *store.Tx, object, rel, target string) error {
	n, err := tx.Exec(`INSERT INTO graph_link (object_id, rel, target_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, strings.ToLower(object), rel, strings.ToLower(target))
	if err == nil && n == 0 {
		return wherry.Errorf(wherry.CodeAlreadyExists, "One or more added object references already exist for the following modified properties: '%ss'.", rel)
	}
	return err
}

// Unlink ends it; RESOURCE_DOES_NOT_EXIST if there was none.
func Unlink(tx *store.Tx, object, rel, target string) error {
	n, err := tx.Exec(`DELETE FROM graph_link WHERE object_id = $1 AND rel = $2 AND target_id = $3`, strings.ToLower(object), rel, strings.ToLower(target))
	if err == nil && n == 0 {
		return wherry.Errorf(wherry.CodeDoesNotExist, "Resource '%s' does not exist or one of its queried reference-property objects are not present.", target)
	}
	return err
}

// Linked returns the ids of an object's owners or members.
func Linked(tx *store.Tx, object, rel string) ([]string, error) {
	return column(tx, `SELECT target_id FROM graph_link WHERE object_id = $1 AND rel = $2 ORDER BY target_id`, strings.ToLower(object), rel)
}

// LinkedTo returns the ids of the objects whose owner or member target is.
func LinkedTo(tx *store.Tx, target, rel string) ([]string, error) {
	return column(tx, `SELECT object_id FROM graph_link WHERE target_id = $1 AND rel = $2 ORDER BY object_id`, strings.ToLower(target), rel)
}

func column(tx *store.Tx, query string, args ...any) (list []string, err error) {
	err = tx.Each(query, args, func(scan func(...any) error) error {
		var s string
		err := scan(&s)
		list = append(list, s)
		return err
	})
	return list, err
}

// AppRole is an app role of a resource that a principal has.
type AppRole struct {
	ID, ObjectID, ResourceID, Role string
	CreatedAt                      int64 // ms
}

// GrantRole gives a principal an app role.
func GrantRole(tx *store.Tx, g AppRole) error {
	have, err := AppRoles(tx, g.ObjectID)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(have, func(h AppRole) bool { return h.ResourceID == g.ResourceID && h.Role == g.Role }) {
		return wherry.Errorf(wherry.CodeAlreadyExists, "Permission being assigned already exists on the object")
	}
	_, err = tx.Exec(`INSERT INTO graph_grant (id, object_id, resource_id, app_role, created_at) VALUES ($1, $2, $3, $4, $5)`, g.ID, g.ObjectID, g.ResourceID, g.Role, g.CreatedAt)
	return err
}

// RevokeRole takes one away; RESOURCE_DOES_NOT_EXIST if there is none.
func RevokeRole(tx *store.Tx, id string) error {
	n, err := tx.Exec(`DELETE FROM graph_grant WHERE id = $1`, id)
	if err == nil && n == 0 {
		return wherry.Errorf(wherry.CodeDoesNotExist, "Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)
	}
	return err
}

// AppRoles lists the app roles of a principal or, given a resource, those that
// others have on it.
func AppRoles(tx *store.Tx, object string) (list []AppRole, err error) {
	err = tx.Each(`SELECT id, object_id, resource_id, app_role, created_at FROM graph_grant WHERE object_id = $1 OR resource_id = $1 ORDER BY created_at, id`, []any{strings.ToLower(object)},
		func(scan func(...any) error) error {
			var g AppRole
			err := scan(&g.ID, &g.ObjectID, &g.ResourceID, &g.Role, &g.CreatedAt)
			list = append(list, g)
			return err
		})
	return list, err
}
