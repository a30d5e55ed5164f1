package mlflow

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/mlflow/filter"
)

// LoggedModel is a model as a run logged it.
type LoggedModel struct {
	Info LoggedModelInfo `json:"info"`
	Data LoggedModelData `json:"data"`
}

// LoggedModelInfo is what a logged model is.
type LoggedModelInfo struct {
	ModelID      string       `json:"model_id"`
	ExperimentID string       `json:"experiment_id"`
	Name         string       `json:"name"`
	CreatedAt    wherry.Int64 `json:"creation_timestamp_ms"`
	UpdatedAt    wherry.Int64 `json:"last_updated_timestamp_ms"`
	// ArtifactURI is rendered by the wire, as a run's.
	ArtifactURI   string `json:"artifact_uri"`
	Status        string `json:"status"`
	StatusMessage string `json:"status_message,omitempty"`
	ModelType     string `json:"model_type,omitempty"`
	SourceRunID   string `json:"source_run_id,omitempty"`
	Tags          []KV   `json:"tags,omitempty"`
	// Registrations are the registry versions made of this model.
	Registrations []Registration `json:"registrations,omitempty"`
	id            int64
}

// LoggedModelData is what was logged of the model.
type LoggedModelData struct {
	Params  []KV     `json:"params,omitempty"`
	Metrics []Metric `json:"metrics,omitempty"`
}

// Registration is a registry version.
type Registration struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Statuses of a logged model.
const (
	ModelPending = "LOGGED_MODEL_PENDING"
	ModelReady   = "LOGGED_MODEL_READY"
	ModelFailed  = "LOGGED_MODEL_UPLOAD_FAILED"
)

// NewLoggedModel is what a client says of a model it is about to log.
type NewLoggedModel struct {
	ExperimentID, Name, ModelType, SourceRunID string
	Params, Tags                               []KV
}

// CreateLoggedModel makes a PENDING model.
func (s *Store) CreateLoggedModel(ctx context.Context, ws int64, n NewLoggedModel) (m *LoggedModel, err error) {
	if n.Name == "" {
		n.Name = "model-" + newID()[:8]
	}
	if strings.ContainsAny(n.Name, `/:.%"'`) || len(n.Name) > maxKeyLen || checkText("name", n.Name) != nil {
		return nil, invalid(`Invalid model name '%s'. Model name cannot contain the characters / : . %% " '`, n.Name)
	}
	if err := checkModelPairs(n.Params, n.Tags); err != nil {
		return nil, err
	}
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		e, err := experiment(tx, ws, n.ExperimentID)
		if err != nil {
			return err
		}
		if e.Stage != Active {
			return invalid("The experiment %s must be in the 'active' state. Current state is %s.", e.ID, e.Stage)
		}
		t, modelID := now(), "m-"+newID()
		var id int64
		if err := tx.Row(`INSERT INTO mlflow_logged_model (workspace_id, model_id, experiment_id, name, model_type, source_run_id, status, status_message, stage, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, '', 'active', $8, $8) RETURNING id`,
			ws, modelID, e.ID, n.Name, n.ModelType, n.SourceRunID, ModelPending, t).Scan(&id); err != nil {
			return err
		}
		if err := setModelPairs(tx, "mlflow_logged_model_param", id, n.Params); err != nil {
			return err
		}
		if err := setModelPairs(tx, "mlflow_logged_model_tag", id, n.Tags); err != nil {
			return err
		}
		m, err = loggedModel(tx, ws, modelID)
		return err
	})
	return m, err
}

func checkModelPairs(params, tags []KV) error {
	for i := range params {
		if err := checkParam(&params[i]); err != nil {
			return err
		}
	}
	for i := range tags {
		if err := checkTag(&tags[i]); err != nil {
			return err
		}
	}
	return nil
}

func setModelPairs(tx *store.Tx, table string, id int64, list []KV) error {
	for _, kv := range list {
		if _, err := tx.Exec(`INSERT INTO `+table+` (model_id, name, value) VALUES ($1, $2, $3)
			ON CONFLICT (model_id, name) DO UPDATE SET value = excluded.value`, id, kv.Key, kv.Value); err != nil {
			return err
		}
	}
	return nil
}

const loggedColumns = `m.id, m.model_id, m.experiment_id, m.name, m.created_at, m.updated_at, e.artifact_location, m.status, m.status_message, m.model_type, m.source_run_id`

const loggedTables = ` FROM mlflow_logged_model m JOIN mlflow_experiment e ON e.id = m.experiment_id`

func scanLogged(scan func(...any) error) (*LoggedModel, error) {
	m, experiment := &LoggedModel{}, int64(0)
	i := &m.Info
	err := scan(&i.id, &i.ModelID, &experiment, &i.Name, &i.CreatedAt, &i.UpdatedAt, &i.ArtifactURI, &i.Status, &i.StatusMessage, &i.ModelType, &i.SourceRunID)
	i.ExperimentID = strconv.FormatInt(experiment, 10)
	return m, err
}

func loggedModel(tx *store.Tx, ws int64, modelID string) (*LoggedModel, error) {
	m, err := scanLogged(tx.Row(`SELECT `+loggedColumns+loggedTables+` WHERE m.model_id = $1 AND m.workspace_id = $2 AND m.stage = 'active'`, modelID, ws).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return nil, missing("Logged model with ID '%s' not found.", modelID)
	}
	if err != nil {
		return nil, err
	}
	return m, fillLogged(tx, []*LoggedModel{m})
}

func fillLogged(tx *store.Tx, list []*LoggedModel) error {
	byID, byModelID := map[int64]*LoggedModel{}, map[string]*LoggedModel{}
	var ids, modelIDs []any
	for _, m := range list {
		byID[m.Info.id], byModelID[m.Info.ModelID] = m, m
		ids, modelIDs = append(ids, m.Info.id), append(modelIDs, m.Info.ModelID)
	}
	pairs := func(table string, add func(*LoggedModel, KV)) error {
		return eachIn(tx, `SELECT model_id, name, value FROM `+table+` WHERE model_id IN (%s) ORDER BY model_id, name`, ids, func(scan func(...any) error) error {
			var id int64
			var kv KV
			err := scan(&id, &kv.Key, &kv.Value)
			if err == nil {
				add(byID[id], kv)
			}
			return err
		})
	}
	if err := pairs("mlflow_logged_model_tag", func(m *LoggedModel, kv KV) { m.Info.Tags = append(m.Info.Tags, kv) }); err != nil {
		return err
	}
	if err := pairs("mlflow_logged_model_param", func(m *LoggedModel, kv KV) { m.Data.Params = append(m.Data.Params, kv) }); err != nil {
		return err
	}
	// Of each metric and dataset the newest value.
	err := eachIn(tx, `SELECT model_id, name, value, at, step, run_id, dataset_name, dataset_digest FROM mlflow_logged_model_metric
		WHERE model_id IN (%s) ORDER BY model_id, name, at, step`, ids, func(scan func(...any) error) error {
		var id int64
		var x Metric
		if err := scan(&id, &x.Key, &x.Value, &x.Timestamp, &x.Step, &x.RunID, &x.DatasetName, &x.DatasetDigest); err != nil {
			return err
		}
		x.ModelID = byID[id].Info.ModelID
		metrics := byID[id].Data.Metrics
		for i := range metrics {
			if metrics[i].Key == x.Key && metrics[i].DatasetName == x.DatasetName && metrics[i].DatasetDigest == x.DatasetDigest && metrics[i].RunID == x.RunID {
				metrics[i] = x
				return nil
			}
		}
		byID[id].Data.Metrics = append(metrics, x)
		return nil
	})
	if err != nil {
		return err
	}
	return eachIn(tx, `SELECT v.logged_model_id, r.name, v.version FROM mlflow_model_version v JOIN mlflow_registered_model r ON r.id = v.model_id
		WHERE v.logged_model_id IN (%s) AND v.stage <> 'Deleted_Internal' ORDER BY r.name, v.version`, modelIDs, func(scan func(...any) error) error {
		var id string
		var g Registration
		err := scan(&id, &g.Name, &g.Version)
		if m := byModelID[id]; m != nil {
			m.Info.Registrations = append(m.Info.Registrations, g)
		}
		return err
	})
}

// LoggedModel returns one.
func (s *Store) LoggedModel(ctx context.Context, ws int64, modelID string) (m *LoggedModel, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		m, err = loggedModel(tx, ws, modelID)
		return err
	})
	return m, err
}

// FinalizeLoggedModel sets the status after the upload.
func (s *Store) FinalizeLoggedModel(ctx context.Context, ws int64, modelID, status string) (*LoggedModel, error) {
	if n, err := strconv.Atoi(status); err == nil && n >= 1 && n <= 3 {
		status = []string{"", ModelPending, ModelReady, ModelFailed}[n]
	}
	if status != ModelReady && status != ModelFailed {
		return nil, invalid("Invalid model status: %s. Expected statuses: [%s, %s]", status, ModelReady, ModelFailed)
	}
	return s.changeLogged(ctx, ws, modelID, func(tx *store.Tx, m *LoggedModel) error {
		_, err := tx.Exec(`UPDATE mlflow_logged_model SET status = $1 WHERE id = $2`, status, m.Info.id)
		return err
	})
}

// SetLoggedModelTags sets tags.
func (s *Store) SetLoggedModelTags(ctx context.Context, ws int64, modelID string, tags []KV) (*LoggedModel, error) {
	if err := checkModelPairs(nil, tags); err != nil {
		return nil, err
	}
	return s.changeLogged(ctx, ws, modelID, func(tx *store.Tx, m *LoggedModel) error {
		return setModelPairs(tx, "mlflow_logged_model_tag", m.Info.id, tags)
	})
}

// DeleteLoggedModelTag removes a tag; it must exist.
func (s *Store) DeleteLoggedModelTag(ctx context.Context, ws int64, modelID, key string) error {
	_, err := s.changeLogged(ctx, ws, modelID, func(tx *store.Tx, m *LoggedModel) error {
		n, err := tx.Exec(`DELETE FROM mlflow_logged_model_tag WHERE model_id = $1 AND name = $2`, m.Info.id, key)
		if err == nil && n == 0 {
			return missing("No tag with key '%s' found for model with ID '%s'.", key, modelID)
		}
		return err
	})
	return err
}

// LogLoggedModelParams adds params; a param has one value for ever.
func (s *Store) LogLoggedModelParams(ctx context.Context, ws int64, modelID string, params []KV) error {
	if err := checkModelPairs(params, nil); err != nil {
		return err
	}
	_, err := s.changeLogged(ctx, ws, modelID, func(tx *store.Tx, m *LoggedModel) error {
		for _, p := range m.Data.Params {
			for _, n := range params {
				if p.Key == n.Key && p.Value != n.Value {
					return invalid("Changing param values is not allowed. Param with key='%s' was already logged with value='%s'.", p.Key, p.Value)
				}
			}
		}
		return setModelPairs(tx, "mlflow_logged_model_param", m.Info.id, params)
	})
	return err
}

// DeleteLoggedModel hides a model; its files stay.
func (s *Store) DeleteLoggedModel(ctx context.Context, ws int64, modelID string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(`UPDATE mlflow_logged_model SET stage = 'deleted', updated_at = $1 WHERE model_id = $2 AND workspace_id = $3 AND stage = 'active'`, now(), modelID, ws)
		if err == nil && n == 0 {
			return missing("Logged model with ID '%s' not found.", modelID)
		}
		return err
	})
}

func (s *Store) changeLogged(ctx context.Context, ws int64, modelID string, change func(*store.Tx, *LoggedModel) error) (m *LoggedModel, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		if m, err = loggedModel(tx, ws, modelID); err != nil {
			return err
		}
		if err := change(tx, m); err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE mlflow_logged_model SET updated_at = $1 WHERE id = $2`, now(), m.Info.id); err != nil {
			return err
		}
		m, err = loggedModel(tx, ws, modelID)
		return err
	})
	return m, err
}

// DatasetFilter narrows a search's metrics to those of a dataset; an empty
// digest is any.
type DatasetFilter struct {
	Name   string `json:"dataset_name"`
	Digest string `json:"dataset_digest"`
}

// ModelOrder is one term of the order of logged models.
type ModelOrder struct {
	Field     string `json:"field_name"`
	Ascending *bool  `json:"ascending"` // nil is ascending
	DatasetFilter
}

// SearchLoggedModels returns a page of models and the next page's token.
func (s *Store) SearchLoggedModels(ctx context.Context, ws int64, experiments []string, datasets []DatasetFilter, orders []ModelOrder, p Page) (list []*LoggedModel, next string, err error) {
	at, err := parseOffset(p.Token)
	if err != nil {
		return nil, "", err
	}
	q := &query{}
	sql, err := loggedQuery(q, ws, experiments, datasets, orders, p, at)
	if err != nil || sql == "" {
		return nil, "", err
	}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		list = nil
		if err := tx.Each(sql, q.args, func(scan func(...any) error) error {
			m, err := scanLogged(scan)
			list = append(list, m)
			return err
		}); err != nil {
			return err
		}
		if len(list) > p.Max {
			list, next = list[:p.Max], offsetToken(at+p.Max)
		}
		return fillLogged(tx, list)
	})
	return list, next, err
}

func loggedQuery(q *query, ws int64, experiments []string, datasets []DatasetFilter, orders []ModelOrder, p Page, at int) (string, error) {
	clauses, err := filter.LoggedModels.Parse(p.Filter)
	if err != nil || len(experiments) == 0 {
		return "", err
	}
	var ids []string
	for _, id := range experiments {
		n, err := ParseExperimentID(id)
		if err != nil {
			return "", err
		}
		ids = append(ids, q.arg(n))
	}
	q.where("m.experiment_id IN (" + strings.Join(ids, ", ") + ") AND m.stage = 'active' AND m.workspace_id = " + q.arg(ws))
	onDatasets, metrics := "", false
	for i, d := range datasets {
		if d.Name == "" {
			return "", invalid("`dataset_name` in the `datasets` clause must be specified.")
		}
		if i > 0 {
			onDatasets += " OR "
		}
		onDatasets += q.onDataset(d)
	}
	if onDatasets != "" {
		onDatasets = " AND (" + onDatasets + ")"
	}
	for _, c := range clauses {
		switch c.Entity {
		case filter.Attribute:
			q.compare(loggedColumn(c.Key), c)
		case filter.Metric:
			metrics = true
			q.exists(c, "mlflow_logged_model_metric x WHERE x.model_id = m.id AND x.name = "+q.arg(c.Key)+onDatasets, "x.value")
		case filter.Param:
			q.exists(c, "mlflow_logged_model_param x WHERE x.model_id = m.id AND x.name = "+q.arg(c.Key), "x.value")
		case filter.Tag:
			q.exists(c, "mlflow_logged_model_tag x WHERE x.model_id = m.id AND x.name = "+q.arg(c.Key), "x.value")
		}
	}
	if onDatasets != "" && !metrics {
		q.where("EXISTS (SELECT 1 FROM mlflow_logged_model_metric x WHERE x.model_id = m.id" + onDatasets + ")")
	}
	terms, err := loggedOrder(q, orders)
	if err != nil {
		return "", err
	}
	return "SELECT " + loggedColumns + loggedTables + q.sql() + " ORDER BY " + strings.Join(terms, ", ") +
		" LIMIT " + q.arg(p.Max+1) + " OFFSET " + q.arg(at), nil
}

func (q *query) onDataset(d DatasetFilter) string {
	s := "x.dataset_name = " + q.arg(d.Name)
	if d.Digest != "" {
		s += " AND x.dataset_digest = " + q.arg(d.Digest)
	}
	return "(" + s + ")"
}

func loggedColumn(key string) string {
	switch key {
	case "creation_timestamp_ms":
		return "m.created_at"
	case "last_updated_timestamp_ms":
		return "m.updated_at"
	case "status":
		return "replace(m.status, 'LOGGED_MODEL_', '')" // written as READY
	case "experiment_id":
		return "CAST(m.experiment_id AS TEXT)"
	default:
		return "m." + key
	}
}

func loggedOrder(q *query, orders []ModelOrder) (terms []string, err error) {
	byTime := false
	for _, o := range orders {
		ascending := o.Ascending == nil || *o.Ascending
		if name, ok := strings.CutPrefix(o.Field, "metrics."); ok {
			// The newest value on the dataset.
			on := ""
			if o.Name != "" {
				on = " AND " + q.onDataset(o.DatasetFilter)
			}
			value := fmt.Sprintf("(SELECT x.value FROM mlflow_logged_model_metric x WHERE x.model_id = m.id AND x.name = %s%s ORDER BY x.at DESC, x.step DESC, x.run_id LIMIT 1)", q.arg(name), on)
			terms = append(terms, "CASE WHEN "+value+" IS NULL THEN 1 ELSE 0 END", value+direction(ascending))
			continue
		}
		t, err := filter.LoggedModels.ParseOrder(o.Field)
		if err != nil || t.Entity != filter.Attribute {
			return nil, invalid("Invalid order by field name: %s", o.Field)
		}
		byTime = byTime || t.Key == "creation_timestamp_ms"
		terms = append(terms, loggedColumn(t.Key)+direction(ascending))
	}
	if !byTime {
		terms = append(terms, "m.created_at DESC")
	}
	return append(terms, "m.model_id"), nil
}
