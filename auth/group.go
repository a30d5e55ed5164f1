package auth

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// The two groups that are built in: those who administer, and everyone. Their
// members are not kept; their numbers are above those that are given out.
const (
	AdminsID int64 = 1_000_000_001
	UsersID  int64 = 1_000_000_002

	AdminsGroup = "admins"
	UsersGroup  = "users"
)

// BuiltInGroup reports whether a name is of a group that is built in, which no
// other may have.
func BuiltInGroup(name string) bool {
	return strings.EqualFold(name, AdminsGroup) || strings.EqualFold(name, UsersGroup)
}

// Group is a group that a principal or group is in.
type Group struct {
	ID     int64
	Name   string
	Direct bool // not through another group
}

// upwards are the groups above a directory object, through others too. UNION
// drops what was seen, so that groups in each other's circle end it.
const upwards = `WITH RECURSIVE up (id) AS (
		SELECT object_id FROM graph_link WHERE target_id = $1 AND rel = 'member'
		UNION SELECT l.object_id FROM graph_link l JOIN up ON l.target_id = up.id WHERE l.rel = 'member')
	SELECT g.principal_id, g.document, CASE WHEN EXISTS (SELECT 1 FROM graph_link d WHERE d.object_id = g.id AND d.target_id = $1 AND d.rel = 'member') THEN 1 ELSE 0 END
	FROM up JOIN graph_object g ON g.id = up.id WHERE g.kind = 'group' ORDER BY g.principal_id`

// GroupsAbove lists the groups that an object of the directory is in, directly or
// through other groups, without those that are built in.
func GroupsAbove(tx *store.Tx, object string) (list []Group, err error) {
	err = tx.Each(upwards, []any{object}, func(scan func(...any) error) error {
		var g Group
		var doc string
		if err := scan(&g.ID, &doc, &g.Direct); err != nil {
			return err
		}
		var shown struct {
			Name string `json:"displayName"`
		}
		if err := json.Unmarshal([]byte(doc), &shown); err != nil {
			return err
		}
		g.Name = shown.Name
		list = append(list, g)
		return nil
	})
	return list, err
}

// GroupsOf lists the groups of a principal, the built-in ones first.
func GroupsOf(tx *store.Tx, p wherry.Principal) ([]Group, error) {
	list := []Group{{UsersID, UsersGroup, true}}
	if p.Admin {
		list = append(list, Group{AdminsID, AdminsGroup, true})
	}
	above, err := GroupsAbove(tx, ObjectID(p))
	return append(list, above...), err
}

// Exists reports whether a name is of a user, a group, or, as a client id, of a
// service principal.
func Exists(tx *store.Tx, name string) (bool, error) {
	if BuiltInGroup(name) {
		return true, nil
	}
	for _, find := range []func(*store.Tx, string) (wherry.Principal, error){PrincipalByName, PrincipalByClient} {
		if _, err := find(tx, name); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			return err == nil, err
		}
	}
	exists := false
	err := tx.Each(`SELECT document FROM graph_object WHERE kind = 'group'`, nil, func(scan func(...any) error) error {
		var doc string
		if err := scan(&doc); err != nil {
			return err
		}
		var shown struct {
			Name string `json:"displayName"`
		}
		if err := json.Unmarshal([]byte(doc), &shown); err != nil {
			return err
		}
		exists = exists || strings.EqualFold(shown.Name, name)
		return nil
	})
	return exists, err
}

// InGroup reports whether a principal is in one of the groups, directly or
// through other groups. Names are compared without regard to case. One that is
// not active or was removed is in none.
func InGroup(tx *store.Tx, principalID int64, names []string) (bool, error) {
	p, err := scanPrincipal(tx.Row(`SELECT `+principalColumns+` FROM principal WHERE id = $1 AND active AND NOT removed`, principalID).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	list, err := GroupsOf(tx, p)
	return slices.ContainsFunc(list, func(g Group) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, g.Name) })
	}), err
}
