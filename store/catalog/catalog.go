// Package catalog stores what the catalog names: catalogs, schemas, tables,
// volumes, functions, external locations, storage credentials, and what was
// granted on them. It is the only catalog: Spark, the SDKs and the pages all
// read these rows.
package catalog

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/drift"
)

// Default names of a new installation, as in a new workspace of the platform.
const (
	DefaultCatalog = "workspace"
	DefaultSchema  = "default"
)

// Topic tells that the catalog changed (DB.Watch).
const Topic = "catalog"

// Store keeps the catalog in db.
type Store struct {
	db *store.DB
	// Models tells of the registered models, which the model registry keeps;
	// nil if there are none.
	Models Models
}

// Models is what the catalog needs of the registry of models.
type Models interface {
	// ModelsIn counts the models of a schema.
	ModelsIn(tx *store.Tx, catalog, schema string) (int, error)
	// DropModels deletes all models of a schema.
	DropModels(tx *store.Tx, catalog, schema string) error
}

// New returns the store.
func New(db *store.DB) *Store { return &Store{db: db} }

// Bootstrap makes the metastore with the default catalog and schema in an
// empty store. It does nothing later: a default that was dropped stays dropped.
func (s *Store) Bootstrap(ctx context.Context, owner string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := metastore(tx); !errors.Is(err, store.ErrNoRows) {
			return err
		}
		id := newID()
		root := &wherry.Securable{Kind: wherry.SecurableMetastore, ID: id, ParentID: id, Name: "metastore", Owner: owner}
		if err := insert(tx, root, owner); err != nil {
			return err
		}
		catalog := &wherry.Securable{Kind: wherry.SecurableCatalog, ID: newID(), ParentID: id, Name: DefaultCatalog, Owner: owner}
		if err := insert(tx, catalog, owner); err != nil {
			return err
		}
		return insert(tx, &wherry.Securable{Kind: wherry.SecurableSchema, ID: newID(), ParentID: catalog.ID, Name: DefaultSchema, Owner: owner}, owner)
	})
}

// newID returns a random UUID (version 4), the form clients expect of ids.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// WorkspaceExists returns RESOURCE_DOES_NOT_EXIST if there is no such workspace.
func (s *Store) WorkspaceExists(ctx context.Context, id int64) error {
	return s.db.Read(ctx, func(tx *store.Tx) error { return store.WorkspaceExists(tx, id) })
}

// Metastore returns the one metastore.
func (s *Store) Metastore(ctx context.Context) (m *wherry.Securable, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		m, err = metastore(tx)
		return err
	})
	return m, err
}

func metastore(tx *store.Tx) (*wherry.Securable, error) {
	m, err := scan(tx.Row(`SELECT ` + columns + ` FROM securable WHERE kind = 'METASTORE'`).Scan)
	if err != nil {
		return nil, err
	}
	m.MetastoreID = m.ID
	return m, nil
}

const columns = `id, kind, parent_id, name, owner, table_type, location, doc, created_at, created_by, updated_at, updated_by, version`

func scan(scan func(...any) error) (*wherry.Securable, error) {
	s, doc := &wherry.Securable{}, ""
	err := scan(&s.ID, &s.Kind, &s.ParentID, &s.Name, &s.Owner, &s.TableType, &s.Location, &doc,
		&s.CreatedAt, &s.CreatedBy, &s.UpdatedAt, &s.UpdatedBy, &s.Version)
	if err != nil {
		return nil, err
	}
	return s, json.Unmarshal([]byte(doc), &s.Doc)
}

// Lookup finds a securable by its full name, in any case, within a transaction.
// The errors say which part of the name is missing.
func Lookup(tx *store.Tx, kind, fullName string) (*wherry.Securable, error) {
	m, err := metastore(tx)
	if err != nil {
		return nil, fmt.Errorf("read the metastore: %w", err)
	}
	if kind == wherry.SecurableMetastore {
		return m, nil
	}
	path := kindPath(kind)
	names := strings.Split(strings.ToLower(fullName), ".")
	if len(names) != len(path) {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%q is not the name of a %s: it needs %d part(s) joined by dots", fullName, noun(kind), len(path))
	}
	at := m
	for i, k := range path {
		s, err := scan(tx.Row(`SELECT `+columns+` FROM securable WHERE parent_id = $1 AND kind = $2 AND name = $3`, at.ID, k, names[i]).Scan)
		if errors.Is(err, store.ErrNoRows) {
			return nil, notFound(k, strings.Join(names[:i+1], "."))
		}
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", fullName, err)
		}
		place(s, at)
		at = s
	}
	return at, nil
}

// place sets what a securable has from its parent.
func place(s, parent *wherry.Securable) {
	s.MetastoreID = parent.MetastoreID
	switch parent.Kind {
	case wherry.SecurableCatalog:
		s.Catalog = parent.Name
	case wherry.SecurableSchema:
		s.Catalog, s.Schema = parent.Catalog, parent.Name
	}
}

// kindPath lists the kinds from the top down to kind: one per part of a name.
func kindPath(kind string) []string {
	switch kind {
	case wherry.SecurableSchema:
		return []string{wherry.SecurableCatalog, kind}
	case wherry.SecurableTable, wherry.SecurableVolume, wherry.SecurableFunction, wherry.SecurableModel:
		return []string{wherry.SecurableCatalog, wherry.SecurableSchema, kind}
	default:
		return []string{kind}
	}
}

func noun(kind string) string { return strings.ReplaceAll(strings.ToLower(kind), "_", " ") }

func notFound(kind, name string) error {
	code := wherry.CodeDoesNotExist
	switch kind {
	case wherry.SecurableCatalog:
		code = wherry.CodeCatalogNotFound
		if name == "samples" || name == "system" {
			return wherry.Errorf(code, "Catalog '%s' does not exist: wherry has none of the platform's own data; supply its tables yourself", name)
		}
	case wherry.SecurableSchema:
		code = wherry.CodeSchemaNotFound
	case wherry.SecurableTable:
		code = wherry.CodeTableNotFound
	}
	n := noun(kind)
	return wherry.Errorf(code, "%s '%s' does not exist.", strings.ToUpper(n[:1])+n[1:], name)
}

// CheckSchema fails with a clear error unless catalog.schema exists; areas that
// keep things in schemas (models) call it in their own transaction.
func CheckSchema(tx *store.Tx, catalog, schema string) error {
	_, err := Lookup(tx, wherry.SecurableSchema, catalog+"."+schema)
	return err
}

// Get returns the securable of a kind and full name.
func (s *Store) Get(ctx context.Context, kind, fullName string) (out *wherry.Securable, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		out, err = Lookup(tx, kind, fullName)
		return err
	})
	return out, err
}

// Table finds a table by its id, within a transaction; nil if there is none.
func Table(tx *store.Tx, id string) (*wherry.Securable, error) {
	return find(tx, `WHERE kind = 'TABLE' AND id = $1`, id)
}

// TableAt finds the table at a location (a URI, without a slash at the end),
// within a transaction; nil if there is none.
func TableAt(tx *store.Tx, location string) (*wherry.Securable, error) {
	return find(tx, `WHERE kind = 'TABLE' AND location = $1 ORDER BY created_at LIMIT 1`, strings.TrimRight(location, "/"))
}

func find(tx *store.Tx, where string, args ...any) (*wherry.Securable, error) {
	s, err := scan(tx.Row(`SELECT `+columns+` FROM securable `+where, args...).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for p := s; p.Kind != wherry.SecurableMetastore; {
		if p, err = scan(tx.Row(`SELECT `+columns+` FROM securable WHERE id = $1`, p.ParentID).Scan); err != nil {
			return nil, err
		}
		switch p.Kind {
		case wherry.SecurableSchema:
			s.Schema = p.Name
		case wherry.SecurableCatalog:
			s.Catalog = p.Name
		case wherry.SecurableMetastore:
			s.MetastoreID = p.ID
		}
	}
	return s, nil
}

// Page is a request for part of a list.
type Page struct {
	Max   int    // 0 is DefaultPage
	Token string // the name after which the page begins
}

// DefaultPage is how many a list gives if the client does not say, and at most.
const DefaultPage = 1000

// List returns the securables of a kind in parent (a full name, "" for the
// top), by name, and the token of the next page, "" at the end.
func (s *Store) List(ctx context.Context, kind, parent string, page Page) (list []*wherry.Securable, next string, err error) {
	if page.Max <= 0 || page.Max > DefaultPage {
		page.Max = DefaultPage
	}
	list = []*wherry.Securable{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		in, err := Lookup(tx, parentKind(kind), parent)
		if err != nil {
			return err
		}
		return tx.Each(`SELECT `+columns+` FROM securable WHERE parent_id = $1 AND kind = $2 AND name > $3 ORDER BY name LIMIT $4`,
			[]any{in.ID, kind, page.Token, page.Max + 1}, func(fn func(...any) error) error {
				one, err := scan(fn)
				if err != nil {
					return err
				}
				place(one, in)
				list = append(list, one)
				return nil
			})
	})
	if len(list) > page.Max {
		list = list[:page.Max]
		next = list[len(list)-1].Name
	}
	return list, next, err
}

func parentKind(kind string) string {
	if path := kindPath(kind); len(path) > 1 {
		return path[len(path)-2]
	}
	return wherry.SecurableMetastore
}

// Create stores a new securable in parent (a full name, "" for the top). Set
// Kind, Name, Doc and what the kind has; the rest is filled in. The owner is
// the actor unless set.
func (s *Store) Create(ctx context.Context, parent string, n wherry.Securable, actor string) (*wherry.Securable, error) {
	var err error
	if n.Name, err = wherry.CheckSecurableName(n.Name); err != nil {
		return nil, err
	}
	given := n.ID
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		n.ID = cmp.Or(given, newID())
		in, err := Lookup(tx, parentKind(n.Kind), parent)
		if err != nil {
			return err
		}
		n.ParentID, n.Owner = in.ID, cmp.Or(n.Owner, actor)
		place(&n, in)
		if err := free(tx, &n); err != nil {
			return err
		}
		if err := checkOverlap(tx, &n, "", "Create"); err != nil {
			return err
		}
		if n.Kind == wherry.SecurableTable && n.TableType == wherry.Managed {
			if err := s.claim(tx, in, &n, given); err != nil {
				return err
			}
		}
		if err := insert(tx, &n, actor); err != nil || n.Kind != wherry.SecurableCatalog {
			return err
		}
		// Each catalog begins with an empty schema "default", as on the platform.
		return insert(tx, &wherry.Securable{Kind: wherry.SecurableSchema, ID: newID(), ParentID: n.ID, Name: DefaultSchema, Owner: n.Owner}, actor)
	})
	if store.IsDuplicate(err) {
		err = exists(&n)
	}
	if err != nil {
		return nil, err
	}
	return &n, nil
}

// free fails if the name is taken.
func free(tx *store.Tx, n *wherry.Securable) error {
	var id string
	err := tx.Row(`SELECT id FROM securable WHERE parent_id = $1 AND kind = $2 AND name = $3`, n.ParentID, n.Kind, n.Name).Scan(&id)
	if errors.Is(err, store.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return exists(n)
}

func exists(n *wherry.Securable) error {
	code := wherry.CodeAlreadyExists
	switch n.Kind {
	case wherry.SecurableCatalog:
		code = wherry.CodeCatalogExists
	case wherry.SecurableSchema:
		code = wherry.CodeSchemaExists
	case wherry.SecurableTable:
		code = wherry.CodeTableExists
	}
	return wherry.Errorf(code, "%s '%s' already exists", noun(n.Kind), n.FullName())
}

func insert(tx *store.Tx, n *wherry.Securable, actor string) error {
	now := time.Now().UnixMilli()
	n.CreatedAt, n.UpdatedAt, n.CreatedBy, n.UpdatedBy, n.Version = now, now, actor, actor, 1
	if n.Doc == nil {
		n.Doc = map[string]json.RawMessage{}
	}
	doc, err := json.Marshal(n.Doc)
	if err != nil {
		return err
	}
	tx.Changed(Topic)
	_, err = tx.Exec(`INSERT INTO securable (`+columns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1)`,
		n.ID, n.Kind, n.ParentID, n.Name, n.Owner, n.TableType, n.Location, string(doc), now, actor, now, actor)
	return err
}

// Update changes a securable by edit, which may change Name, Owner, Location
// and Doc. The move of a renamed folder is noted (see Moves).
func (s *Store) Update(ctx context.Context, kind, fullName, actor string, edit func(*wherry.Securable) error) (out *wherry.Securable, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		out, err = Lookup(tx, kind, fullName)
		if err != nil {
			return err
		}
		before := *out
		claimed, err := claims(out)
		if err != nil {
			return err
		}
		if err := edit(out); err != nil {
			return err
		}
		if out.Name, err = wherry.CheckSecurableName(out.Name); err != nil {
			return err
		}
		if err := checkOverlap(tx, out, claimed, "Update"); err != nil {
			return err
		}
		if out.Name != before.Name {
			if err := s.rename(tx, out, &before); err != nil {
				return err
			}
		}
		doc, err := json.Marshal(out.Doc)
		if err != nil {
			return err
		}
		out.UpdatedAt, out.UpdatedBy = time.Now().UnixMilli(), actor
		tx.Changed(Topic)
		err = tx.ExecVersioned(`UPDATE securable SET name = $1, owner = $2, location = $3, doc = $4, updated_at = $5, updated_by = $6, version = version + 1
			WHERE id = $7 AND version = $8`, out.Name, out.Owner, out.Location, string(doc), out.UpdatedAt, actor, out.ID, out.Version)
		out.Version++
		if err != nil {
			return err
		}
		return drift.Touch(ctx, tx, deployedAs[kind], before.FullName())
	})
	if store.IsDuplicate(err) {
		err = exists(out)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// deployedAs are the kinds of a deployment's resources.
var deployedAs = map[string]string{
	wherry.SecurableCatalog: "catalogs", wherry.SecurableSchema: "schemas", wherry.SecurableVolume: "volumes",
	wherry.SecurableFunction: "registered_models", wherry.SecurableModel: "registered_models", wherry.SecurableExternalLocation: "external_locations",
}

// rename refuses a name that is taken, and the renaming of a schema or catalog
// that holds models, whose rows and files carry the full name.
func (s *Store) rename(tx *store.Tx, n, before *wherry.Securable) error {
	if err := free(tx, n); err != nil {
		return err
	}
	count, err := s.models(tx, before)
	if err != nil {
		return err
	}
	if count > 0 {
		return wherry.NotImplemented(fmt.Sprintf("renaming a %s with registered models", noun(n.Kind)))
	}
	if from, to := folder(before), folder(n); from != to {
		return noteMove(tx, from, to)
	}
	return nil
}

// TablesOf lists all tables and views of a catalog by full name.
func (s *Store) TablesOf(ctx context.Context, catalog string) (list []*wherry.Securable, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		in, err := Lookup(tx, wherry.SecurableCatalog, catalog)
		if err != nil {
			return err
		}
		return tx.Each(`SELECT s.name, t.id, t.name, t.table_type, t.location FROM securable t JOIN securable s ON s.id = t.parent_id
			WHERE s.parent_id = $1 AND s.kind = 'SCHEMA' AND t.kind = 'TABLE' ORDER BY s.name, t.name`, []any{in.ID}, func(scan func(...any) error) error {
			t := &wherry.Securable{Kind: wherry.SecurableTable, MetastoreID: in.MetastoreID, Catalog: in.Name}
			err := scan(&t.Schema, &t.ID, &t.Name, &t.TableType, &t.Location)
			list = append(list, t)
			return err
		})
	})
	// Sorted here: the databases order dots and dashes each in their own way.
	slices.SortFunc(list, func(a, b *wherry.Securable) int { return cmp.Compare(a.FullName(), b.FullName()) })
	return list, err
}

// Search finds the tables and views whose full name holds a text, in any case.
func (s *Store) Search(ctx context.Context, text string, limit int) (list []*wherry.Securable, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		list = nil
		return tx.Each(`SELECT c.name, s.name, t.id, t.name, t.table_type, t.location FROM securable t
			JOIN securable s ON s.id = t.parent_id JOIN securable c ON c.id = s.parent_id
			WHERE t.kind = 'TABLE' AND c.name || '.' || s.name || '.' || t.name LIKE $1 ESCAPE '!' ORDER BY c.name, s.name, t.name LIMIT $2`,
			[]any{store.Containing(strings.ToLower(text)), limit}, func(scan func(...any) error) error {
				t := &wherry.Securable{Kind: wherry.SecurableTable}
				err := scan(&t.Catalog, &t.Schema, &t.ID, &t.Name, &t.TableType, &t.Location)
				list = append(list, t)
				return err
			})
	})
	return list, err
}
