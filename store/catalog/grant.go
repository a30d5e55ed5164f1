package catalog

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/drift"
)

// Grant is what one principal was granted on one securable.
type Grant struct {
	Principal  string   `json:"principal"`
	Privileges []string `json:"privileges"`
}

// EffectiveGrant is what one principal may do, with where it comes from.
type EffectiveGrant struct {
	Principal  string               `json:"principal"`
	Privileges []EffectivePrivilege `json:"privileges"`
}

// EffectivePrivilege is a privilege; the inherited fields are empty if it was
// granted on the securable itself.
type EffectivePrivilege struct {
	Privilege         string `json:"privilege"`
	InheritedFromType string `json:"inherited_from_type,omitempty"`
	InheritedFromName string `json:"inherited_from_name,omitempty"`
}

// GrantChange adds and removes privileges of one principal.
type GrantChange struct {
	Principal string   `json:"principal"`
	Add       []string `json:"add"`
	Remove    []string `json:"remove"`
}

// privileges are those the platform knows, in its REST spelling.
var privileges = strings.Fields(`ACCESS ALL_PRIVILEGES APPLY_TAG BROWSE CREATE CREATE_CATALOG CREATE_CLEAN_ROOM CREATE_CONNECTION
	CREATE_EXTERNAL_LOCATION CREATE_EXTERNAL_TABLE CREATE_EXTERNAL_VOLUME CREATE_FEATURE CREATE_FOREIGN_CATALOG CREATE_FOREIGN_SECURABLE
	CREATE_FUNCTION CREATE_MANAGED_STORAGE CREATE_MATERIALIZED_VIEW CREATE_MODEL CREATE_MODEL_VERSION CREATE_PROVIDER CREATE_RECIPIENT CREATE_SCHEMA
	CREATE_SERVICE_CREDENTIAL CREATE_SHARE CREATE_STORAGE_CREDENTIAL CREATE_TABLE CREATE_VIEW CREATE_VOLUME EXECUTE
	EXTERNAL_USE_LOCATION EXTERNAL_USE_SCHEMA MANAGE MANAGE_ALLOWLIST MODIFY READ_FEATURE READ_FILES READ_METADATA READ_PRIVATE_FILES
	READ_VOLUME REFRESH SELECT SET_SHARE_PERMISSION USAGE USE_CATALOG USE_CONNECTION USE_MARKETPLACE_ASSETS USE_PROVIDER USE_RECIPIENT
	USE_SCHEMA USE_SHARE WRITE_FILES WRITE_PRIVATE_FILES WRITE_VOLUME`)

// privilege returns the REST spelling of what SQL or Unity Catalog's open
// source clients write with spaces.
func privilege(p string) (string, error) {
	n := strings.ReplaceAll(strings.ToUpper(strings.TrimSpace(p)), " ", "_")
	if !slices.Contains(privileges, n) {
		return "", wherry.Errorf(wherry.CodeInvalidParameter, "%q is not a privilege", p)
	}
	return n, nil
}

func grantKey(n *wherry.Securable) string { return n.Kind + ":" + n.ID }

// target finds what a grant is on. Of a model only the schema is looked up:
// its row is the registry's.
func target(tx *store.Tx, kind, fullName string) (key string, n *wherry.Securable, err error) {
	if kind == Column {
		return column(tx, fullName)
	}
	if kind != wherry.SecurableModel {
		if n, err = Lookup(tx, kind, fullName); err != nil {
			return "", nil, err
		}
		return grantKey(n), n, nil
	}
	parts := strings.Split(strings.ToLower(fullName), ".")
	if len(parts) != 3 {
		return "", nil, wherry.Errorf(wherry.CodeInvalidParameter, "%q is not the name of a model: it needs 3 parts joined by dots", fullName)
	}
	if n, err = Lookup(tx, wherry.SecurableSchema, parts[0]+"."+parts[1]); err != nil {
		return "", nil, err
	}
	m := &wherry.Securable{Kind: kind, Catalog: parts[0], Schema: parts[1], Name: parts[2], ParentID: n.ID, MetastoreID: n.MetastoreID}
	return modelKey(m.FullName()), m, nil
}

func modelKey(fullName string) string { return wherry.SecurableModel + ":" + strings.ToLower(fullName) }

// MoveModel takes the grants and tags of a registered model, which are kept by
// its name, along to another name; they end with the model if to is "".
func MoveModel(tx *store.Tx, from, to string) error {
	if to == "" {
		return forget(tx, modelKey(from))
	}
	if err := forget(tx, modelKey(to)); err != nil {
		return err
	}
	for _, table := range []string{"catalog_grant", "catalog_tag"} {
		if _, err := tx.Exec(`UPDATE `+table+` SET securable = $1 WHERE securable = $2`, modelKey(to), modelKey(from)); err != nil {
			return err
		}
	}
	return nil
}

// forget deletes the grants and tags of a key, and those of keys below it: a
// table's columns, and for a key that ends with a dot a schema's models.
func forget(tx *store.Tx, key string) error {
	below := key
	if !strings.HasSuffix(key, ".") {
		below += "/"
	}
	for _, table := range []string{"catalog_grant", "catalog_tag"} {
		_, err := tx.Exec(`DELETE FROM `+table+` WHERE securable = $1 OR substr(securable, 1, $2) = $3`, key, utf8.RuneCountInString(below), below)
		if err != nil {
			return err
		}
	}
	return nil
}

// Column is the kind of a table's column, for tags: its name is the table's
// full name, a dot, and the column's.
const Column = "COLUMN"

// column finds a column of a table in any case; its key is below the table's.
func column(tx *store.Tx, fullName string) (key string, n *wherry.Securable, err error) {
	parts := strings.SplitN(fullName, ".", 4)
	if len(parts) != 4 {
		return "", nil, wherry.Errorf(wherry.CodeInvalidParameter, "%q is not the name of a column: catalog.schema.table.column", fullName)
	}
	if n, err = Lookup(tx, wherry.SecurableTable, strings.Join(parts[:3], ".")); err != nil {
		return "", nil, err
	}
	var columns []struct {
		Name string `json:"name"`
	}
	if raw := n.Doc["columns"]; raw != nil {
		if err := json.Unmarshal(raw, &columns); err != nil {
			return "", nil, err
		}
	}
	for _, c := range columns {
		if strings.EqualFold(c.Name, parts[3]) {
			return grantKey(n) + "/" + strings.ToLower(c.Name), n, nil
		}
	}
	return "", nil, wherry.Errorf(wherry.CodeDoesNotExist, "Table '%s' has no column '%s'.", n.FullName(), parts[3])
}

// Grants returns what was granted on a securable itself, to one principal or,
// with "", to all.
func (s *Store) Grants(ctx context.Context, kind, fullName, principal string) (list []Grant, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		key, _, err := target(tx, kind, fullName)
		if err != nil {
			return err
		}
		list, err = grants(tx, key, principal)
		return err
	})
	return list, err
}

func grants(tx *store.Tx, key, principal string) ([]Grant, error) {
	list := []Grant{}
	err := tx.Each(`SELECT principal, privilege FROM catalog_grant WHERE securable = $1 AND ($2 = '' OR principal = $2) ORDER BY principal, privilege`,
		[]any{key, principal}, func(scan func(...any) error) error {
			var who, what string
			if err := scan(&who, &what); err != nil {
				return err
			}
			if len(list) == 0 || list[len(list)-1].Principal != who {
				list = append(list, Grant{Principal: who})
			}
			last := &list[len(list)-1]
			last.Privileges = append(last.Privileges, what)
			return nil
		})
	return list, err
}

// ChangeGrants applies changes and returns all grants on the securable.
func (s *Store) ChangeGrants(ctx context.Context, kind, fullName string, changes []GrantChange) (list []Grant, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		key, _, err := target(tx, kind, fullName)
		if err != nil {
			return err
		}
		for _, c := range changes {
			if err := changeGrant(tx, key, c); err != nil {
				return err
			}
		}
		if list, err = grants(tx, key, ""); err != nil {
			return err
		}
		return drift.Touch(ctx, tx, deployedAs[kind]+".grants", strings.ToLower(fullName))
	})
	return list, err
}

func changeGrant(tx *store.Tx, key string, c GrantChange) error {
	if c.Principal == "" {
		return wherry.Errorf(wherry.CodeInvalidParameter, "a change of grants needs a principal")
	}
	for _, raw := range c.Add {
		p, err := privilege(raw)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO catalog_grant (securable, principal, privilege) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, key, c.Principal, p); err != nil {
			return err
		}
	}
	for _, raw := range c.Remove {
		p, err := privilege(raw)
		if err != nil {
			return err
		}
		// Removing ALL PRIVILEGES removes each of them, as REVOKE does.
		if _, err := tx.Exec(`DELETE FROM catalog_grant WHERE securable = $1 AND principal = $2 AND (privilege = $3 OR $3 = 'ALL_PRIVILEGES')`, key, c.Principal, p); err != nil {
			return err
		}
	}
	return nil
}

// EffectiveGrants returns what holds on a securable: its own grants and those
// inherited from its schema, catalog and metastore.
func (s *Store) EffectiveGrants(ctx context.Context, kind, fullName, principal string) (list []EffectiveGrant, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		list = []EffectiveGrant{}
		key, n, err := target(tx, kind, fullName)
		if err != nil {
			return err
		}
		if list, err = inherit(tx, list, key, principal, "", ""); err != nil {
			return err
		}
		for n.Kind != wherry.SecurableMetastore {
			if n, err = find(tx, `WHERE id = $1`, n.ParentID); err != nil {
				return err
			}
			if list, err = inherit(tx, list, grantKey(n), principal, n.Kind, n.FullName()); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

func inherit(tx *store.Tx, list []EffectiveGrant, key, principal, fromType, fromName string) ([]EffectiveGrant, error) {
	own, err := grants(tx, key, principal)
	for _, g := range own {
		i := slices.IndexFunc(list, func(e EffectiveGrant) bool { return e.Principal == g.Principal })
		if i < 0 {
			list, i = append(list, EffectiveGrant{Principal: g.Principal}), len(list)
		}
		for _, p := range g.Privileges {
			list[i].Privileges = append(list[i].Privileges, EffectivePrivilege{Privilege: p, InheritedFromType: fromType, InheritedFromName: fromName})
		}
	}
	return list, err
}
