package mlflow

import (
	"context"
	"errors"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/drift"
)

// Account is the workspace id of Unity Catalog's models, which belong to no
// workspace.
const Account int64 = 0

// RegisteredModel is a name whose versions are models.
type RegisteredModel struct {
	Name           string          `json:"name"`
	CreatedAt      wherry.Int64    `json:"creation_timestamp"`
	UpdatedAt      wherry.Int64    `json:"last_updated_timestamp"`
	UserID         string          `json:"user_id,omitempty"`
	Description    string          `json:"description,omitempty"`
	LatestVersions []*ModelVersion `json:"latest_versions,omitempty"` // the newest of each stage
	Tags           []KV            `json:"tags,omitempty"`
	Aliases        []Alias         `json:"aliases,omitempty"`
	id, scope      int64
}

// Alias names a version of a model.
type Alias struct {
	Alias   string `json:"alias"`
	Version string `json:"version"`
}

// Split gives the parts of a three-level name; ok is false for other names.
func Split(name string) (catalog, schema, model string, ok bool) {
	p := strings.Split(name, ".")
	if len(p) != 3 || p[0] == "" || p[1] == "" || p[2] == "" {
		return "", "", "", false
	}
	return p[0], p[1], p[2], true
}

// scope tells which registry holds a name: a plain client's catalog.schema.model
// is Unity Catalog's if that schema exists, else a model of the workspace.
func (s *Store) scope(tx *store.Tx, ws int64, name string) (int64, error) {
	catalog, schema, _, three := Split(name)
	if ws == Account {
		if !three {
			return 0, invalid("'%s' is not a Unity Catalog model name: it must have three levels, catalog.schema.model", name)
		}
		return Account, nil
	}
	if three && s.CheckSchema != nil && s.CheckSchema(tx, catalog, schema) == nil {
		return Account, nil
	}
	return ws, nil
}

// checkModelName refuses names that could not stand in a URI or a path.
func checkModelName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return invalid("Registered model name cannot be empty.")
	case len(name) > 256:
		return invalid("Registered model name exceeds the maximum length of 256 characters")
	case strings.ContainsAny(name, "/:%\\\x00") || name == "." || name == ".." || strings.Contains(name, ".."):
		return invalid(`Invalid name '%s'. Registered model names cannot contain / : %% \ or ".."`, name)
	}
	return checkText("name", name)
}

func checkModelTag(t KV) error {
	if err := checkKey("key", t.Key); err != nil {
		return err
	}
	if err := checkText("value", t.Value); err != nil {
		return err
	}
	return checkLen("value", t.Value, maxRegistryTagLen)
}

func checkDescription(text string) error {
	if err := checkText("description", text); err != nil {
		return err
	}
	return checkLen("description", text, maxDescriptionLen)
}

// CreateModel makes a registered model without versions.
func (s *Store) CreateModel(ctx context.Context, who Who, ws int64, name, description string, tags []KV) (m *RegisteredModel, err error) {
	if err := errors.Join(checkModelName(name), checkDescription(description)); err != nil {
		return nil, err
	}
	for _, t := range tags {
		if err := checkModelTag(t); err != nil {
			return nil, err
		}
	}
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		scope, err := s.scope(tx, ws, name)
		if err != nil {
			return err
		}
		if catalog, schema, _, _ := Split(name); scope == Account && s.CheckSchema != nil {
			if err := s.CheckSchema(tx, catalog, schema); err != nil {
				return err
			}
		}
		t, id := now(), int64(0)
		err = tx.Row(`INSERT INTO mlflow_registered_model (workspace_id, name, description, user_id, next_version, created_at, updated_at)
			VALUES ($1, $2, $3, $4, 1, $5, $5) ON CONFLICT (workspace_id, name) DO NOTHING RETURNING id`, scope, name, description, who.User, t).Scan(&id)
		if errors.Is(err, store.ErrNoRows) {
			return wherry.Errorf(wherry.CodeAlreadyExists, "Registered Model (name=%s) already exists.", name)
		}
		if err != nil {
			return err
		}
		if err := setModelPairs(tx, "mlflow_registered_model_tag", id, tags); err != nil {
			return err
		}
		m, err = s.model(tx, ws, name)
		return err
	})
	return m, err
}

const modelColumns = `m.id, m.workspace_id, m.name, m.description, m.user_id, m.created_at, m.updated_at`

func scanModel(scan func(...any) error) (*RegisteredModel, error) {
	m := &RegisteredModel{}
	err := scan(&m.id, &m.scope, &m.Name, &m.Description, &m.UserID, &m.CreatedAt, &m.UpdatedAt)
	return m, err
}

func (s *Store) model(tx *store.Tx, ws int64, name string) (*RegisteredModel, error) {
	scope, err := s.scope(tx, ws, name)
	if err != nil {
		return nil, err
	}
	m, err := scanModel(tx.Row(`SELECT `+modelColumns+` FROM mlflow_registered_model m WHERE m.workspace_id = $1 AND m.name = $2`, scope, name).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return nil, missing("Registered Model with name=%s not found", name)
	}
	if err != nil {
		return nil, err
	}
	return m, fillModels(tx, []*RegisteredModel{m})
}

func fillModels(tx *store.Tx, list []*RegisteredModel) error {
	byID := map[int64]*RegisteredModel{}
	var ids []any
	for _, m := range list {
		byID[m.id] = m
		ids = append(ids, m.id)
	}
	if err := eachIn(tx, `SELECT model_id, name, value FROM mlflow_registered_model_tag WHERE model_id IN (%s) ORDER BY model_id, name`, ids, func(scan func(...any) error) error {
		var id int64
		var t KV
		err := scan(&id, &t.Key, &t.Value)
		if err == nil {
			byID[id].Tags = append(byID[id].Tags, t)
		}
		return err
	}); err != nil {
		return err
	}
	if err := eachIn(tx, `SELECT model_id, alias, version FROM mlflow_model_alias WHERE model_id IN (%s) ORDER BY model_id, alias`, ids, func(scan func(...any) error) error {
		var id int64
		var a Alias
		err := scan(&id, &a.Alias, &a.Version)
		if err == nil {
			byID[id].Aliases = append(byID[id].Aliases, a)
		}
		return err
	}); err != nil {
		return err
	}
	var versions []*ModelVersion
	err := eachIn(tx, `SELECT `+versionColumns+versionTables+` WHERE v.stage <> 'Deleted_Internal' AND v.model_id IN (%s)
		AND v.version = (SELECT max(l.version) FROM mlflow_model_version l WHERE l.model_id = v.model_id AND l.stage = v.stage)
		ORDER BY v.model_id, v.stage`, ids, func(scan func(...any) error) error {
		v, err := scanVersion(scan)
		versions = append(versions, v)
		return err
	})
	if err != nil {
		return err
	}
	for _, v := range versions {
		byID[v.modelID].LatestVersions = append(byID[v.modelID].LatestVersions, v)
	}
	return fillVersions(tx, versions)
}

// Model returns a registered model.
func (s *Store) Model(ctx context.Context, ws int64, name string) (m *RegisteredModel, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		m, err = s.model(tx, ws, name)
		return err
	})
	return m, err
}

// UpdateModel sets the description (nil keeps it) and the name ("" keeps it).
func (s *Store) UpdateModel(ctx context.Context, ws int64, name, newName string, description *string) (m *RegisteredModel, err error) {
	if newName != "" {
		if err := checkModelName(newName); err != nil {
			return nil, err
		}
	}
	if description != nil {
		if err := checkDescription(*description); err != nil {
			return nil, err
		}
	}
	err = s.changeModel(ctx, ws, name, func(tx *store.Tx, old *RegisteredModel) error {
		if description != nil {
			if _, err := tx.Exec(`UPDATE mlflow_registered_model SET description = $1 WHERE id = $2`, *description, old.id); err != nil {
				return err
			}
		}
		if newName == "" || newName == name {
			m, err = s.model(tx, ws, name)
			return err
		}
		if err := s.rename(tx, ws, old, newName); err != nil {
			return err
		}
		m, err = s.model(tx, ws, newName)
		return err
	})
	return m, err
}

// rename changes the name; models of Unity Catalog stay in their schema, and
// a model whose files lie under its name keeps it.
func (s *Store) rename(tx *store.Tx, ws int64, old *RegisteredModel, name string) error {
	scope, err := s.scope(tx, ws, name)
	if err != nil {
		return err
	}
	if scope != old.scope {
		return invalid("'%s' cannot become '%s': that is a name of the other registry", old.Name, name)
	}
	var uploaded int64
	if err := tx.Row(`SELECT count(*) FROM mlflow_model_version WHERE model_id = $1 AND uploaded`, old.id).Scan(&uploaded); err != nil {
		return err
	}
	if uploaded > 0 {
		return wherry.NotImplemented("renaming a Unity Catalog model that has versions")
	}
	_, err = tx.Exec(`UPDATE mlflow_registered_model SET name = $1 WHERE id = $2`, name, old.id)
	if store.IsDuplicate(err) {
		return wherry.Errorf(wherry.CodeAlreadyExists, "Registered Model (name=%s) already exists.", name)
	}
	if err != nil {
		return err
	}
	return s.moved(tx, ws, old.Name, name)
}

func (s *Store) moved(tx *store.Tx, ws int64, from, to string) error {
	if s.MoveModel == nil || ws != Account {
		return nil
	}
	return s.MoveModel(tx, from, to)
}

// DeleteModel removes a model with its versions.
func (s *Store) DeleteModel(ctx context.Context, ws int64, name string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		m, err := s.model(tx, ws, name)
		if err != nil {
			return err
		}
		for _, table := range []string{"mlflow_model_alias", "mlflow_model_version_tag", "mlflow_model_version", "mlflow_registered_model_tag"} {
			if _, err := tx.Exec(`DELETE FROM `+table+` WHERE model_id = $1`, m.id); err != nil {
				return err
			}
		}
		if _, err = tx.Exec(`DELETE FROM mlflow_registered_model WHERE id = $1`, m.id); err != nil {
			return err
		}
		if err := s.moved(tx, ws, m.Name, ""); err != nil {
			return err
		}
		return touch(ctx, tx, m)
	})
}

// touch notes that a model was written to: one of Unity Catalog goes by its name
// in lower case, as all securables do.
func touch(ctx context.Context, tx *store.Tx, m *RegisteredModel) error {
	if m.scope == Account {
		return drift.Touch(ctx, tx, "registered_models", strings.ToLower(m.Name))
	}
	return drift.Touch(ctx, tx, "models", m.Name)
}

func (s *Store) changeModel(ctx context.Context, ws int64, name string, change func(*store.Tx, *RegisteredModel) error) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		m, err := s.model(tx, ws, name)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE mlflow_registered_model SET updated_at = $1 WHERE id = $2`, now(), m.id); err != nil {
			return err
		}
		if err := change(tx, m); err != nil {
			return err
		}
		return touch(ctx, tx, m)
	})
}

// SetModelTag sets a tag of a registered model.
func (s *Store) SetModelTag(ctx context.Context, ws int64, name string, t KV) error {
	if err := checkModelTag(t); err != nil {
		return err
	}
	return s.changeModel(ctx, ws, name, func(tx *store.Tx, m *RegisteredModel) error {
		return setModelPairs(tx, "mlflow_registered_model_tag", m.id, []KV{t})
	})
}

// DeleteModelTag removes a tag if it is there.
func (s *Store) DeleteModelTag(ctx context.Context, ws int64, name, key string) error {
	return s.changeModel(ctx, ws, name, func(tx *store.Tx, m *RegisteredModel) error {
		_, err := tx.Exec(`DELETE FROM mlflow_registered_model_tag WHERE model_id = $1 AND name = $2`, m.id, key)
		return err
	})
}

// SetAlias points an alias at a version.
func (s *Store) SetAlias(ctx context.Context, who Who, ws int64, name, alias, version string) error {
	if err := checkAlias(alias); err != nil {
		return err
	}
	return s.changeModel(ctx, ws, name, func(tx *store.Tx, m *RegisteredModel) error {
		v, err := findVersion(tx, m, version)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO mlflow_model_alias (model_id, alias, version) VALUES ($1, $2, $3)
			ON CONFLICT (model_id, alias) DO UPDATE SET version = excluded.version`, m.id, alias, v.Version); err != nil {
			return err
		}
		return s.emit(tx, who, wherry.EventModelAlias, m.Name+"@"+alias, map[string]any{"name": m.Name, "alias": alias, "version": v.Version})
	})
}

// DeleteAlias removes an alias if it is there.
func (s *Store) DeleteAlias(ctx context.Context, ws int64, name, alias string) error {
	return s.changeModel(ctx, ws, name, func(tx *store.Tx, m *RegisteredModel) error {
		_, err := tx.Exec(`DELETE FROM mlflow_model_alias WHERE model_id = $1 AND alias = $2`, m.id, alias)
		return err
	})
}
