package mlflow

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// ModelVersion is one version of a registered model.
type ModelVersion struct {
	Name          string       `json:"name"`
	Version       string       `json:"version"`
	CreatedAt     wherry.Int64 `json:"creation_timestamp"`
	UpdatedAt     wherry.Int64 `json:"last_updated_timestamp"`
	UserID        string       `json:"user_id,omitempty"`
	Stage         string       `json:"current_stage"`
	Description   string       `json:"description,omitempty"`
	Source        string       `json:"source"` // ours as mlflow-artifacts:/path; rendered by the wire
	RunID         string       `json:"run_id"`
	Status        string       `json:"status"`
	StatusMessage string       `json:"status_message,omitempty"`
	Tags          []KV         `json:"tags,omitempty"`
	RunLink       string       `json:"run_link,omitempty"`
	Aliases       []string     `json:"aliases,omitempty"`
	LoggedModelID string       `json:"model_id,omitempty"`
	// Uploaded says that the files are our own copy, below state.Models, and
	// not at Source.
	Uploaded bool   `json:"-"`
	Digest   string `json:"-"` // of the uploaded files
	modelID  int64
	scope    int64
}

// InUnityCatalog reports whether the version is one of a Unity Catalog model.
func (v *ModelVersion) InUnityCatalog() bool { return v.scope == Account }

// Statuses of a version.
const (
	VersionPending = "PENDING_REGISTRATION"
	VersionFailed  = "FAILED_REGISTRATION"
	VersionReady   = "READY"
)

const deletedStage = "Deleted_Internal"

var stages = map[string]string{"none": "None", "staging": "Staging", "production": "Production", "archived": "Archived"}

// NewVersion is what a client says of a version it makes.
type NewVersion struct {
	Name, Source, RunID, RunLink, Description, LoggedModelID string
	Tags                                                     []KV
	// Uploaded: the client will upload the files to us and finalize it.
	Uploaded bool
}

// CreateVersion makes the model's next version, READY, or pending if its
// files are still to come.
func (s *Store) CreateVersion(ctx context.Context, who Who, ws int64, n NewVersion) (v *ModelVersion, err error) {
	if err := checkDescription(n.Description); err != nil {
		return nil, err
	}
	for _, t := range n.Tags {
		if err := checkModelTag(t); err != nil {
			return nil, err
		}
	}
	status := VersionReady
	if n.Uploaded {
		status = VersionPending
	}
	err = s.changeModel(ctx, ws, n.Name, func(tx *store.Tx, m *RegisteredModel) error {
		var number int64
		if err := tx.Row(`UPDATE mlflow_registered_model SET next_version = next_version + 1 WHERE id = $1 RETURNING next_version - 1`, m.id).Scan(&number); err != nil {
			return err
		}
		t := now()
		if _, err := tx.Exec(`INSERT INTO mlflow_model_version (model_id, version, stage, description, source, run_id, run_link, logged_model_id, status, status_message, user_id, uploaded, digest, created_at, updated_at)
			VALUES ($1, $2, 'None', $3, $4, $5, $6, $7, $8, '', $9, $10, '', $11, $11)`,
			m.id, number, n.Description, n.Source, n.RunID, n.RunLink, n.LoggedModelID, status, who.User, n.Uploaded, t); err != nil {
			return err
		}
		for _, kv := range n.Tags {
			if err := setVersionTag(tx, m.id, number, kv); err != nil {
				return err
			}
		}
		if v, err = findVersion(tx, m, strconv.FormatInt(number, 10)); err != nil || n.Uploaded {
			return err
		}
		return s.emitVersion(tx, who, v)
	})
	return v, err
}

func (s *Store) emitVersion(tx *store.Tx, who Who, v *ModelVersion) error {
	return s.emit(tx, who, wherry.EventModelVersion, v.Name+"/"+v.Version, map[string]any{
		"name": v.Name, "version": v.Version, "mlflow_run_id": v.RunID, "model_id": v.LoggedModelID, "digest": v.Digest,
	})
}

// FinalizeVersion makes a version READY once its files are there; digest is
// over them.
func (s *Store) FinalizeVersion(ctx context.Context, who Who, ws int64, name, version, digest string) (v *ModelVersion, err error) {
	return s.changeVersion(ctx, ws, name, version, func(tx *store.Tx, old *ModelVersion) error {
		if old.Status == VersionReady {
			return nil // a repeated call
		}
		old.Digest = digest
		if _, err := tx.Exec(`UPDATE mlflow_model_version SET status = $1, digest = $2 WHERE model_id = $3 AND version = $4`,
			VersionReady, digest, old.modelID, old.Version); err != nil {
			return err
		}
		return s.emitVersion(tx, who, old)
	})
}

const versionColumns = `v.model_id, m.workspace_id, m.name, v.version, v.stage, v.description, v.source, v.run_id, v.run_link, v.logged_model_id, v.status, v.status_message, v.user_id, v.uploaded, v.digest, v.created_at, v.updated_at`

const versionTables = ` FROM mlflow_model_version v JOIN mlflow_registered_model m ON m.id = v.model_id`

func scanVersion(scan func(...any) error) (*ModelVersion, error) {
	v := &ModelVersion{}
	err := scan(&v.modelID, &v.scope, &v.Name, &v.Version, &v.Stage, &v.Description, &v.Source, &v.RunID, &v.RunLink, &v.LoggedModelID,
		&v.Status, &v.StatusMessage, &v.UserID, &v.Uploaded, &v.Digest, &v.CreatedAt, &v.UpdatedAt)
	return v, err
}

func findVersion(tx *store.Tx, m *RegisteredModel, version string) (*ModelVersion, error) {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return nil, invalid("Model version must be an integer, got '%s'", version)
	}
	v, err := scanVersion(tx.Row(`SELECT `+versionColumns+versionTables+` WHERE v.model_id = $1 AND v.version = $2 AND v.stage <> 'Deleted_Internal'`, m.id, n).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return nil, missing("Model Version (name=%s, version=%s) not found", m.Name, version)
	}
	if err != nil {
		return nil, err
	}
	return v, fillVersions(tx, []*ModelVersion{v})
}

func fillVersions(tx *store.Tx, list []*ModelVersion) error {
	type key struct {
		model   int64
		version string
	}
	byKey := map[key]*ModelVersion{}
	var ids []any
	seen := map[int64]bool{}
	for _, v := range list {
		byKey[key{v.modelID, v.Version}] = v
		if !seen[v.modelID] {
			seen[v.modelID] = true
			ids = append(ids, v.modelID)
		}
	}
	err := eachIn(tx, `SELECT model_id, version, name, value FROM mlflow_model_version_tag WHERE model_id IN (%s) ORDER BY model_id, version, name`, ids, func(scan func(...any) error) error {
		var k key
		var t KV
		err := scan(&k.model, &k.version, &t.Key, &t.Value)
		if v := byKey[k]; v != nil {
			v.Tags = append(v.Tags, t)
		}
		return err
	})
	if err != nil {
		return err
	}
	return eachIn(tx, `SELECT model_id, version, alias FROM mlflow_model_alias WHERE model_id IN (%s) ORDER BY model_id, version, alias`, ids, func(scan func(...any) error) error {
		var k key
		var alias string
		err := scan(&k.model, &k.version, &alias)
		if v := byKey[k]; v != nil {
			v.Aliases = append(v.Aliases, alias)
		}
		return err
	})
}

// Version returns a version.
func (s *Store) Version(ctx context.Context, ws int64, name, version string) (v *ModelVersion, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		m, err := s.model(tx, ws, name)
		if err != nil {
			return err
		}
		v, err = findVersion(tx, m, version)
		return err
	})
	return v, err
}

// VersionByAlias returns the version that an alias points at.
func (s *Store) VersionByAlias(ctx context.Context, ws int64, name, alias string) (v *ModelVersion, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		m, err := s.model(tx, ws, name)
		if err != nil {
			return err
		}
		for _, a := range m.Aliases {
			if strings.EqualFold(a.Alias, alias) {
				v, err = findVersion(tx, m, a.Version)
				return err
			}
		}
		return invalid("Registered model alias %s not found.", alias)
	})
	return v, err
}

// NoteRead records that a task run loads the version, for trace. Outside of a
// task run nothing is recorded, and a second reading of the same run neither.
func (s *Store) NoteRead(ctx context.Context, who Who, v *ModelVersion) error {
	if who.TaskRunID == 0 {
		return nil
	}
	return s.db.Write(ctx, func(tx *store.Tx) error {
		subject, seen := v.Name+"/"+v.Version, int64(0)
		if err := tx.Row(`SELECT count(*) FROM event WHERE kind = $1 AND subject = $2 AND run_id = $3`, wherry.EventModelRead, subject, who.TaskRunID).Scan(&seen); err != nil || seen > 0 {
			return err
		}
		return s.emit(tx, who, wherry.EventModelRead, subject, map[string]any{"name": v.Name, "version": v.Version})
	})
}

// LatestVersions returns the newest version of each of the stages, of all
// stages if none is named.
func (s *Store) LatestVersions(ctx context.Context, ws int64, name string, wanted []string) (list []*ModelVersion, err error) {
	var want []string
	for _, w := range wanted {
		stage, err := canonicalStage(w)
		if err != nil {
			return nil, err
		}
		want = append(want, stage)
	}
	m, err := s.Model(ctx, ws, name)
	if err != nil {
		return nil, err
	}
	for _, v := range m.LatestVersions {
		if len(want) == 0 || slices.Contains(want, v.Stage) {
			list = append(list, v)
		}
	}
	return list, nil
}

func canonicalStage(stage string) (string, error) {
	c, ok := stages[strings.ToLower(stage)]
	if !ok {
		return "", invalid("Invalid Model Version stage: %s. Value must be one of None, Staging, Production, Archived.", stage)
	}
	return c, nil
}

func (s *Store) changeVersion(ctx context.Context, ws int64, name, version string, change func(*store.Tx, *ModelVersion) error) (v *ModelVersion, err error) {
	err = s.changeModel(ctx, ws, name, func(tx *store.Tx, m *RegisteredModel) error {
		if v, err = findVersion(tx, m, version); err != nil {
			return err
		}
		if err := change(tx, v); err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE mlflow_model_version SET updated_at = $1 WHERE model_id = $2 AND version = $3`, now(), v.modelID, v.Version); err != nil {
			return err
		}
		if v, err = findVersion(tx, m, version); wherry.CodeOf(err) == wherry.CodeDoesNotExist {
			v, err = nil, nil // it was deleted
		}
		return err
	})
	return v, err
}

// UpdateVersion sets the description.
func (s *Store) UpdateVersion(ctx context.Context, ws int64, name, version, description string) (*ModelVersion, error) {
	if err := checkDescription(description); err != nil {
		return nil, err
	}
	return s.changeVersion(ctx, ws, name, version, func(tx *store.Tx, v *ModelVersion) error {
		_, err := tx.Exec(`UPDATE mlflow_model_version SET description = $1 WHERE model_id = $2 AND version = $3`, description, v.modelID, v.Version)
		return err
	})
}

// Transition moves a version to a stage; with archive the stage's other
// versions become Archived.
func (s *Store) Transition(ctx context.Context, who Who, ws int64, name, version, stage string, archive bool) (*ModelVersion, error) {
	stage, err := canonicalStage(stage)
	if err != nil {
		return nil, err
	}
	if archive && stage != "Staging" && stage != "Production" {
		return nil, invalid("Model version transition cannot archive existing model versions because '%s' is not an Active stage. Valid stages are Staging and Production", stage)
	}
	return s.changeVersion(ctx, ws, name, version, func(tx *store.Tx, v *ModelVersion) error {
		if v.InUnityCatalog() {
			return invalid("Unity Catalog models have no stages: use aliases")
		}
		if archive {
			if _, err := tx.Exec(`UPDATE mlflow_model_version SET stage = 'Archived', updated_at = $1
				WHERE model_id = $2 AND stage = $3 AND version <> $4`, now(), v.modelID, stage, v.Version); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(`UPDATE mlflow_model_version SET stage = $1 WHERE model_id = $2 AND version = $3`, stage, v.modelID, v.Version); err != nil {
			return err
		}
		return s.emit(tx, who, wherry.EventModelStage, v.Name+"/"+v.Version, map[string]any{"name": v.Name, "version": v.Version, "stage": stage})
	})
}

// DeleteVersion hides a version and drops its aliases; its number is not given
// again. It returns the version as it was.
func (s *Store) DeleteVersion(ctx context.Context, ws int64, name, version string) (was *ModelVersion, err error) {
	_, err = s.changeVersion(ctx, ws, name, version, func(tx *store.Tx, v *ModelVersion) error {
		was = v
		if _, err := tx.Exec(`DELETE FROM mlflow_model_alias WHERE model_id = $1 AND version = $2`, v.modelID, v.Version); err != nil {
			return err
		}
		_, err := tx.Exec(`UPDATE mlflow_model_version SET stage = 'Deleted_Internal' WHERE model_id = $1 AND version = $2`, v.modelID, v.Version)
		return err
	})
	return was, err
}

func setVersionTag(tx *store.Tx, modelID int64, version any, t KV) error {
	_, err := tx.Exec(`INSERT INTO mlflow_model_version_tag (model_id, version, name, value) VALUES ($1, $2, $3, $4)
		ON CONFLICT (model_id, version, name) DO UPDATE SET value = excluded.value`, modelID, version, t.Key, t.Value)
	return err
}

// SetVersionTag sets a tag of a version.
func (s *Store) SetVersionTag(ctx context.Context, ws int64, name, version string, t KV) error {
	if err := checkModelTag(t); err != nil {
		return err
	}
	_, err := s.changeVersion(ctx, ws, name, version, func(tx *store.Tx, v *ModelVersion) error {
		return setVersionTag(tx, v.modelID, v.Version, t)
	})
	return err
}

// DeleteVersionTag removes a tag if it is there.
func (s *Store) DeleteVersionTag(ctx context.Context, ws int64, name, version, key string) error {
	_, err := s.changeVersion(ctx, ws, name, version, func(tx *store.Tx, v *ModelVersion) error {
		_, err := tx.Exec(`DELETE FROM mlflow_model_version_tag WHERE model_id = $1 AND version = $2 AND name = $3`, v.modelID, v.Version, key)
		return err
	})
	return err
}
