package mlflow

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Metric is one value of a metric.
type Metric struct {
	Key           string       `json:"key"`
	Value         Float        `json:"value"`
	Timestamp     wherry.Int64 `json:"timestamp"`
	Step          wherry.Int64 `json:"step"`
	DatasetName   string       `json:"dataset_name,omitempty"`
	DatasetDigest string       `json:"dataset_digest,omitempty"`
	ModelID       string       `json:"model_id,omitempty"`
	RunID         string       `json:"run_id,omitempty"`
	given         bool         // a value came with it
}

// UnmarshalJSON notes whether there was a value: 0 is one, nothing is not.
func (m *Metric) UnmarshalJSON(b []byte) error {
	type plain Metric
	in := struct {
		*plain
		Value *Float `json:"value"`
	}{plain: (*plain)(m)}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if in.Value != nil {
		m.Value, m.given = *in.Value, true
	}
	return nil
}

func (m *Metric) setNaN(nan bool) {
	if nan {
		m.Value = Float(math.NaN())
	}
}

// stored is the value as the tables hold it: NaN as 0 with a flag, infinities
// as the largest number (as the reference server does).
func (m *Metric) stored() (value float64, nan bool) {
	switch v := float64(m.Value); {
	case math.IsNaN(v):
		return 0, true
	case math.IsInf(v, 1):
		return math.MaxFloat64, false
	case math.IsInf(v, -1):
		return -math.MaxFloat64, false
	default:
		return v, false
	}
}

// Batch is what one call logs.
type Batch struct {
	RunID   string   `json:"run_id"`
	Metrics []Metric `json:"metrics"`
	Params  []KV     `json:"params"`
	Tags    []KV     `json:"tags"`
}

// Limits of a batch.
const (
	maxMetrics  = 1000
	maxPairs    = 100
	maxEntities = 1000
)

func (b *Batch) check() error {
	switch {
	case len(b.Metrics) > maxMetrics:
		return invalid("A batch logging request can contain at most %d metrics. Got %d metrics. Please split up metrics across multiple requests and try again.", maxMetrics, len(b.Metrics))
	case len(b.Params) > maxPairs:
		return invalid("A batch logging request can contain at most %d params. Got %d params. Please split up params across multiple requests and try again.", maxPairs, len(b.Params))
	case len(b.Tags) > maxPairs:
		return invalid("A batch logging request can contain at most %d tags. Got %d tags. Please split up tags across multiple requests and try again.", maxPairs, len(b.Tags))
	case len(b.Metrics)+len(b.Params)+len(b.Tags) > maxEntities:
		return invalid("A batch logging request can contain at most %d metrics, params, and tags. Got %d. Please split up the request and try again.", maxEntities, len(b.Metrics)+len(b.Params)+len(b.Tags))
	}
	for i := range b.Metrics {
		if err := b.Metrics[i].check(); err != nil {
			return err
		}
	}
	seen := map[string]string{}
	for i := range b.Params {
		p := &b.Params[i]
		if err := checkParam(p); err != nil {
			return err
		}
		if _, twice := seen[p.Key]; twice {
			return invalid("Duplicate parameter keys have been submitted: ['%s']. Please ensure the request contains only one param value per param key.", p.Key)
		}
		seen[p.Key] = p.Value
	}
	for i := range b.Tags {
		if err := checkTag(&b.Tags[i]); err != nil {
			return err
		}
	}
	return nil
}

func (m *Metric) check() error {
	if err := checkKey("name", m.Key); err != nil {
		return err
	}
	if !m.given {
		return invalid("Missing value for required parameter 'value' of metric '%s'.", m.Key)
	}
	if m.Timestamp < 0 {
		return invalid("Invalid value %d for parameter 'timestamp' supplied: metric '%s'. Timestamp must be a nonnegative long (64-bit integer)", m.Timestamp, m.Key)
	}
	return nil
}

func checkParam(p *KV) error {
	if err := checkKey("key", p.Key); err != nil {
		return err
	}
	p.Value = truncate(p.Value, maxParamLen)
	return checkText("value", p.Value)
}

// Log stores a batch in one transaction: all of it or nothing.
func (s *Store) Log(ctx context.Context, ws int64, b *Batch) error {
	if err := b.check(); err != nil {
		return err
	}
	found := map[string]int64{}
	err := s.db.Write(ctx, func(tx *store.Tx) error {
		clear(found)
		run, err := activeRun(tx, ws, b.RunID)
		if err != nil {
			return err
		}
		if err := s.logParams(tx, run.Info.id, b.Params, found); err != nil {
			return err
		}
		if err := s.logMetrics(tx, run, b.Metrics, found); err != nil {
			return err
		}
		for _, t := range b.Tags {
			if err := s.setTag(tx, run.Info.id, t, found); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.keys.add(found)
	}
	return err
}

func (s *Store) logParams(tx *store.Tx, runID int64, params []KV, found map[string]int64) error {
	for _, p := range params {
		key, err := s.keyID(tx, p.Key, found)
		if err != nil {
			return err
		}
		n, err := tx.Exec(`INSERT INTO mlflow_param (run_id, key_id, value) VALUES ($1, $2, $3) ON CONFLICT (run_id, key_id) DO NOTHING`, runID, key, p.Value)
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		var old string
		if err := tx.Row(`SELECT value FROM mlflow_param WHERE run_id = $1 AND key_id = $2`, runID, key).Scan(&old); err != nil {
			return err
		}
		if old != p.Value {
			return invalid("Changing param values is not allowed. Param with key='%s' was already logged with value='%s' for run ID='%d'. Attempted logging new value '%s'.", p.Key, old, runID, p.Value)
		}
	}
	return nil
}

// metricRow is one row of mlflow_metric.
type metricRow struct {
	key, step, at int64
	value         float64
	nan           bool
}

// newer reports whether m is to be shown before old: by step, time, value.
func (m metricRow) newer(old metricRow) bool {
	if m.step != old.step {
		return m.step > old.step
	}
	if m.at != old.at {
		return m.at > old.at
	}
	return m.value > old.value
}

// rowsPerInsert keeps a statement below SQLite's and PostgreSQL's limits on
// placeholders, and small enough that preparing it stays cheap.
const rowsPerInsert = 50

func (s *Store) logMetrics(tx *store.Tx, run *Run, metrics []Metric, found map[string]int64) error {
	rows := make([]metricRow, 0, len(metrics))
	latest := map[int64]metricRow{}
	for i := range metrics {
		m := &metrics[i]
		key, err := s.keyID(tx, m.Key, found)
		if err != nil {
			return err
		}
		value, nan := m.stored()
		row := metricRow{key, int64(m.Step), int64(m.Timestamp), value, nan}
		rows = append(rows, row)
		if old, ok := latest[key]; !ok || row.newer(old) {
			latest[key] = row
		}
		if m.ModelID != "" {
			if err := s.logModelMetric(tx, run, m); err != nil {
				return err
			}
		}
	}
	if err := insertRows(tx, `INSERT INTO mlflow_metric (run_id, key_id, step, at, value, is_nan) VALUES `, ` ON CONFLICT DO NOTHING`, run.Info.id, rows); err != nil {
		return err
	}
	newest := make([]metricRow, 0, len(latest))
	for _, row := range latest {
		newest = append(newest, row)
	}
	return insertRows(tx, `INSERT INTO mlflow_latest_metric (run_id, key_id, step, at, value, is_nan) VALUES `,
		` ON CONFLICT (run_id, key_id) DO UPDATE SET step = excluded.step, at = excluded.at, value = excluded.value, is_nan = excluded.is_nan
		WHERE (excluded.step, excluded.at, excluded.value) > (mlflow_latest_metric.step, mlflow_latest_metric.at, mlflow_latest_metric.value)`, run.Info.id, newest)
}

func insertRows(tx *store.Tx, head, tail string, runID int64, rows []metricRow) error {
	for len(rows) > 0 {
		n := min(len(rows), rowsPerInsert)
		q := query{}
		var b strings.Builder
		b.WriteString(head)
		for i, r := range rows[:n] {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString("(" + q.arg(runID) + "," + q.arg(r.key) + "," + q.arg(r.step) + "," + q.arg(r.at) + "," + q.arg(r.value) + "," + q.arg(r.nan) + ")")
		}
		b.WriteString(tail)
		if _, err := tx.Exec(b.String(), q.args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// logModelMetric stores a metric beside the logged model it speaks of.
func (s *Store) logModelMetric(tx *store.Tx, run *Run, m *Metric) error {
	var id int64
	err := tx.Row(`SELECT id FROM mlflow_logged_model WHERE model_id = $1 AND stage = 'active'`, m.ModelID).Scan(&id)
	if errors.Is(err, store.ErrNoRows) {
		return missing("Logged model with ID '%s' not found.", m.ModelID)
	}
	if err != nil {
		return err
	}
	value, nan := m.stored()
	if nan {
		return nil // the reference server's logged models have no NaN either
	}
	_, err = tx.Exec(`INSERT INTO mlflow_logged_model_metric (model_id, name, at, step, run_id, value, dataset_name, dataset_digest)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		id, m.Key, int64(m.Timestamp), int64(m.Step), run.Info.RunID, value, m.DatasetName, m.DatasetDigest)
	return err
}

// LogInputs notes datasets and models that went into a run.
func (s *Store) LogInputs(ctx context.Context, ws int64, runID string, datasets []DatasetInput, models []RunModel) error {
	if len(datasets) > maxMetrics {
		return invalid("A request can contain at most %d datasets", maxMetrics)
	}
	for i := range datasets {
		if err := datasets[i].check(); err != nil {
			return err
		}
	}
	return s.db.Write(ctx, func(tx *store.Tx) error {
		run, err := activeRun(tx, ws, runID)
		if err != nil {
			return err
		}
		for _, in := range datasets {
			if err := logDataset(tx, run, in); err != nil {
				return err
			}
		}
		return logModels(tx, run, "input", models)
	})
}

func (in *DatasetInput) check() error {
	d := &in.Dataset
	if d.Name == "" || d.Digest == "" || d.SourceType == "" || d.Source == "" {
		return invalid("Dataset name, digest, source_type and source must not be empty")
	}
	for _, f := range []struct {
		what, value string
		limit       int
	}{
		{"dataset name", d.Name, maxDatasetNameLen},
		{"dataset digest", d.Digest, maxDatasetDigestLen},
		{"dataset source", d.Source, maxDatasetSourceLen},
		{"dataset schema", d.Schema, maxDatasetSchemaLen},
		{"dataset profile", d.Profile, maxDatasetProfileLen},
	} {
		if err := checkLen(f.what, f.value, f.limit); err != nil {
			return err
		}
		if err := checkText(f.what, f.value); err != nil {
			return err
		}
	}
	for _, t := range in.Tags {
		if t.Key == "" || len(t.Key) > 255 || len(t.Value) > 500 {
			return invalid("Dataset input tags have a key of 1 to 255 and a value of up to 500 characters")
		}
	}
	return nil
}

func logDataset(tx *store.Tx, run *Run, in DatasetInput) error {
	d := in.Dataset
	if _, err := tx.Exec(`INSERT INTO mlflow_dataset (experiment_id, name, digest, source_type, source, schema, profile)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (experiment_id, name, digest) DO NOTHING`,
		run.Info.ExperimentID, d.Name, d.Digest, d.SourceType, d.Source, d.Schema, d.Profile); err != nil {
		return err
	}
	tags, err := json.Marshal(in.Tags)
	if err != nil {
		return err
	}
	var usage any
	for _, t := range in.Tags {
		if t.Key == contextTag {
			usage = t.Value
		}
	}
	_, err = tx.Exec(`INSERT INTO mlflow_input (run_id, dataset_id, context, tags)
		SELECT $1, id, $2, $3 FROM mlflow_dataset WHERE experiment_id = $4 AND name = $5 AND digest = $6
		ON CONFLICT (run_id, dataset_id) DO NOTHING`, run.Info.id, usage, string(tags), run.Info.ExperimentID, d.Name, d.Digest)
	return err
}

// LogOutputs notes logged models that came out of a run.
func (s *Store) LogOutputs(ctx context.Context, ws int64, runID string, models []RunModel) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		run, err := activeRun(tx, ws, runID)
		if err != nil {
			return err
		}
		return logModels(tx, run, "output", models)
	})
}

func logModels(tx *store.Tx, run *Run, direction string, models []RunModel) error {
	for _, m := range models {
		if m.ModelID == "" {
			return invalid("Missing value for required parameter 'model_id'.")
		}
		if _, err := tx.Exec(`INSERT INTO mlflow_run_model (run_id, direction, model_id, step) VALUES ($1, $2, $3, $4)
			ON CONFLICT (run_id, direction, model_id) DO UPDATE SET step = excluded.step`, run.Info.id, direction, m.ModelID, int64(m.Step)); err != nil {
			return err
		}
	}
	return nil
}
