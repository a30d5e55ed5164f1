package mlflow

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/mlflow/filter"
)

// runPlace is where a page of runs in the natural order ended: the next page
// is found by the index, whatever its number.
type runPlace struct {
	Start int64  `json:"start_time"`
	RunID string `json:"run_id"`
}

// SearchRuns returns a page of runs and the next page's token. Without
// order_by the order is by start time, newest first, then by run id.
func (s *Store) SearchRuns(ctx context.Context, ws int64, experiments []string, view string, p Page) (runs []*Run, next string, err error) {
	clauses, err := filter.Runs.Parse(p.Filter)
	if err != nil {
		return nil, "", err
	}
	orders, err := filter.Runs.ParseOrders(p.OrderBy)
	if err != nil {
		return nil, "", err
	}
	if len(experiments) == 0 {
		return nil, "", nil
	}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		q := &query{}
		sql, err := s.runQuery(tx, q, ws, experiments, view, clauses, orders, p)
		if err != nil {
			return err
		}
		runs = nil
		if err := tx.Each(sql, q.args, func(scan func(...any) error) error {
			r, err := scanRun(scan)
			runs = append(runs, r)
			return err
		}); err != nil {
			return err
		}
		if len(runs) > p.Max {
			runs = runs[:p.Max]
			if next, err = nextRuns(runs[p.Max-1], len(orders) == 0, p); err != nil {
				return err
			}
		}
		return s.fill(tx, runs)
	})
	return runs, next, err
}

func nextRuns(last *Run, natural bool, p Page) (string, error) {
	if !natural {
		at, err := parseOffset(p.Token)
		return offsetToken(at + p.Max), err
	}
	b, err := json.Marshal(runPlace{int64(last.Info.StartTime), last.Info.RunID})
	return base64.StdEncoding.EncodeToString(b), err
}

func (s *Store) runQuery(tx *store.Tx, q *query, ws int64, experiments []string, view string, clauses []filter.Clause, orders []filter.Order, p Page) (string, error) {
	ids := make([]string, 0, len(experiments))
	for _, id := range experiments {
		n, err := ParseExperimentID(id)
		if err != nil {
			return "", err
		}
		ids = append(ids, q.arg(n))
	}
	q.where("r.experiment_id IN (" + strings.Join(ids, ", ") + ")")
	q.where("r.workspace_id = " + q.arg(ws))
	if err := q.stage("r.stage", view); err != nil {
		return "", err
	}
	for _, c := range clauses {
		if err := s.runClause(tx, q, c); err != nil {
			return "", err
		}
	}
	joins, terms, byStart, err := s.runOrder(tx, q, orders)
	if err != nil {
		return "", err
	}
	tail := ""
	if len(orders) == 0 {
		if p.Token != "" {
			var at runPlace
			if err := decodeToken(p.Token, &at); err != nil || at.RunID == "" {
				return "", invalid("Invalid page token, could not decode it")
			}
			start := q.arg(at.Start)
			q.where("r.start_time <= " + start + " AND (r.start_time < " + start + " OR r.uuid > " + q.arg(at.RunID) + ")")
		}
	} else {
		at, err := parseOffset(p.Token)
		if err != nil {
			return "", err
		}
		tail = " OFFSET " + q.arg(at)
	}
	if !byStart {
		terms = append(terms, "r.start_time DESC")
	}
	terms = append(terms, "r.uuid")
	return "SELECT " + runColumns + runTables + joins + q.sql() + " ORDER BY " + strings.Join(terms, ", ") +
		" LIMIT " + q.arg(p.Max+1) + tail, nil
}

// runOrder gives the joins and terms of an ordering: values that are missing
// last, before them NaN.
func (s *Store) runOrder(tx *store.Tx, q *query, orders []filter.Order) (joins string, terms []string, byStart bool, err error) {
	for i, o := range orders {
		if o.Entity == filter.Attribute {
			column := runColumn(o.Key)
			byStart = byStart || column == "r.start_time"
			terms = append(terms, "CASE WHEN "+column+" IS NULL THEN 1 ELSE 0 END", column+direction(o.Ascending))
			continue
		}
		key, err := s.knownKey(tx, o.Key)
		if err != nil {
			return "", nil, false, err
		}
		t := fmt.Sprintf("o%d", i)
		joins += fmt.Sprintf(" LEFT JOIN %s %s ON %s.run_id = r.id AND %s.key_id = %s", keyedTable(o.Entity), t, t, t, q.arg(key))
		last := "CASE WHEN " + t + ".value IS NULL THEN 2 ELSE 0 END"
		if o.Entity == filter.Metric {
			last = "CASE WHEN " + t + ".value IS NULL THEN 2 WHEN " + t + ".is_nan THEN 1 ELSE 0 END"
		}
		terms = append(terms, last, t+".value"+direction(o.Ascending))
	}
	return joins, terms, byStart, nil
}

func keyedTable(entity string) string {
	switch entity {
	case filter.Metric:
		return "mlflow_latest_metric"
	case filter.Param:
		return "mlflow_param"
	default:
		return "mlflow_tag"
	}
}

func runColumn(key string) string {
	switch key {
	case "run_id":
		return "r.uuid"
	case "run_name":
		return "r.name"
	case "artifact_uri":
		// The URI depends on the caller; this is how a plain client sees it.
		return "(CASE WHEN e.artifact_location = '' THEN 'mlflow-artifacts:/' || e.id ELSE e.artifact_location END || '/' || r.uuid || '/artifacts')"
	default:
		return "r." + key // user_id, status, start_time, end_time: names checked by the parser
	}
}

func (s *Store) runClause(tx *store.Tx, q *query, c filter.Clause) error {
	switch c.Entity {
	case filter.Attribute:
		q.compare(runColumn(c.Key), c)
		return nil
	case filter.Dataset:
		column := "d." + c.Key
		if c.Key == "context" {
			column = "x.context"
		}
		q.exists(c, "mlflow_input x JOIN mlflow_dataset d ON d.id = x.dataset_id WHERE x.run_id = r.id", column)
		return nil
	}
	key, err := s.knownKey(tx, c.Key)
	if err != nil {
		return err
	}
	from := keyedTable(c.Entity) + " x WHERE x.run_id = r.id AND x.key_id = " + q.arg(key)
	if c.Entity != filter.Metric {
		q.exists(c, from, "x.value")
		return nil
	}
	// Of NaN only != is true.
	if c.Op == "!=" {
		q.where("EXISTS (SELECT 1 FROM " + from + " AND (x.is_nan OR " + q.comparison("x.value", c) + "))")
		return nil
	}
	q.exists(c, from+" AND NOT x.is_nan", "x.value")
	return nil
}

// DatasetSummary is a dataset that runs of an experiment used.
type DatasetSummary struct {
	ExperimentID string `json:"experiment_id"`
	Name         string `json:"name"`
	Digest       string `json:"digest"`
	Context      string `json:"context,omitempty"`
}

// SearchDatasets returns up to 1000 datasets of the experiments.
func (s *Store) SearchDatasets(ctx context.Context, ws int64, experiments []string) (list []DatasetSummary, err error) {
	q := &query{}
	var ids []string
	for _, id := range experiments {
		n, err := ParseExperimentID(id)
		if err != nil {
			return nil, err
		}
		ids = append(ids, q.arg(n))
	}
	if len(ids) == 0 {
		return nil, nil
	}
	sql := `SELECT DISTINCT CAST(d.experiment_id AS TEXT), d.name, d.digest, COALESCE(i.context, '')
		FROM mlflow_dataset d JOIN mlflow_experiment e ON e.id = d.experiment_id LEFT JOIN mlflow_input i ON i.dataset_id = d.id
		WHERE d.experiment_id IN (` + strings.Join(ids, ", ") + `) AND e.workspace_id = ` + q.arg(ws) + ` ORDER BY 2, 3, 4 LIMIT 1000`
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		list = nil
		return tx.Each(sql, q.args, func(scan func(...any) error) error {
			var d DatasetSummary
			err := scan(&d.ExperimentID, &d.Name, &d.Digest, &d.Context)
			list = append(list, d)
			return err
		})
	})
	return list, err
}
