package mlflow

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/drift"
	"github.com/wherry-ml/wherry/store/mlflow/filter"
)

// Life cycle stages.
const (
	Active  = "active"
	Deleted = "deleted"
)

// Experiment is a named set of runs.
type Experiment struct {
	ID string `json:"experiment_id"`
	// Name is free text; on the platform it is a workspace path.
	Name string `json:"name"`
	// ArtifactLocation is where runs put their files; the store leaves it ""
	// for our own artifact store and the wire renders it for the caller.
	ArtifactLocation string       `json:"artifact_location"`
	Stage            string       `json:"lifecycle_stage"`
	UpdatedAt        wherry.Int64 `json:"last_update_time"`
	CreatedAt        wherry.Int64 `json:"creation_time"`
	Tags             []KV         `json:"tags,omitempty"`
}

const experimentColumns = `id, name, artifact_location, stage, created_at, updated_at`

func scanExperiment(scan func(...any) error) (*Experiment, error) {
	e, id := &Experiment{}, int64(0)
	err := scan(&id, &e.Name, &e.ArtifactLocation, &e.Stage, &e.CreatedAt, &e.UpdatedAt)
	e.ID = strconv.FormatInt(id, 10)
	return e, err
}

// CreateExperiment makes an experiment and returns its id.
func (s *Store) CreateExperiment(ctx context.Context, who Who, name, location string, tags []KV) (id int64, err error) {
	if err := checkExperimentName(name); err != nil {
		return 0, err
	}
	for _, t := range tags {
		if err := checkExperimentTag(t); err != nil {
			return 0, err
		}
	}
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		var stage string
		err := tx.Row(`SELECT stage FROM mlflow_experiment WHERE workspace_id = $1 AND name = $2`, who.WorkspaceID, name).Scan(&stage)
		switch {
		case err == nil && stage == Deleted:
			return wherry.Errorf(wherry.CodeAlreadyExists, "Experiment '%s' already exists in deleted state. You can restore the experiment, or permanently delete it to create a new one.", name)
		case err == nil:
			return wherry.Errorf(wherry.CodeAlreadyExists, "Experiment '%s' already exists.", name)
		case !errors.Is(err, store.ErrNoRows):
			return err
		}
		if id, err = tx.NextID("mlflow_experiment"); err != nil {
			return err
		}
		t := now()
		if _, err := tx.Exec(`INSERT INTO mlflow_experiment (id, workspace_id, name, artifact_location, stage, created_at, updated_at)
			VALUES ($1, $2, $3, $4, 'active', $5, $5)`, id, who.WorkspaceID, name, location, t); err != nil {
			return err
		}
		for _, kv := range tags {
			if err := setExperimentTag(tx, id, kv); err != nil {
				return err
			}
		}
		return nil
	})
	return id, err
}

func checkExperimentName(name string) error {
	if strings.TrimSpace(name) == "" {
		return invalid("Invalid experiment name: '%s'. The name must not be empty.", name)
	}
	if err := checkText("name", name); err != nil {
		return err
	}
	return checkLen("name", name, maxExperimentNameLen)
}

func checkExperimentTag(t KV) error {
	if err := checkKey("key", t.Key); err != nil {
		return err
	}
	if err := checkText("value", t.Value); err != nil {
		return err
	}
	return checkLen("value", t.Value, maxExperimentTagLen)
}

func setExperimentTag(tx *store.Tx, id int64, t KV) error {
	_, err := tx.Exec(`INSERT INTO mlflow_experiment_tag (experiment_id, name, value) VALUES ($1, $2, $3)
		ON CONFLICT (experiment_id, name) DO UPDATE SET value = excluded.value`, id, t.Key, t.Value)
	return err
}

// Experiment returns one by id, deleted ones too.
func (s *Store) Experiment(ctx context.Context, ws int64, id string) (e *Experiment, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		e, err = experiment(tx, ws, id)
		return err
	})
	return e, err
}

func experiment(tx *store.Tx, ws int64, id string) (*Experiment, error) {
	n, err := ParseExperimentID(id)
	if err != nil {
		return nil, err
	}
	e, err := scanExperiment(tx.Row(`SELECT `+experimentColumns+` FROM mlflow_experiment WHERE id = $1 AND workspace_id = $2`, n, ws).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return nil, missing("No Experiment with id=%s exists", id)
	}
	if err != nil {
		return nil, err
	}
	return e, experimentTags(tx, []*Experiment{e})
}

// ExperimentByName returns the experiment of that name, deleted ones too.
func (s *Store) ExperimentByName(ctx context.Context, ws int64, name string) (e *Experiment, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		e, err = scanExperiment(tx.Row(`SELECT `+experimentColumns+` FROM mlflow_experiment WHERE workspace_id = $1 AND name = $2`, ws, name).Scan)
		if errors.Is(err, store.ErrNoRows) {
			return missing("Could not find experiment with name '%s'", name)
		}
		if err != nil {
			return err
		}
		return experimentTags(tx, []*Experiment{e})
	})
	return e, err
}

func experimentTags(tx *store.Tx, list []*Experiment) error {
	byID := map[string]*Experiment{}
	var args []any
	for _, e := range list {
		byID[e.ID] = e
		args = append(args, e.ID)
	}
	return eachIn(tx, `SELECT experiment_id, name, value FROM mlflow_experiment_tag WHERE experiment_id IN (%s) ORDER BY experiment_id, name`, args,
		func(scan func(...any) error) error {
			var id int64
			var kv KV
			if err := scan(&id, &kv.Key, &kv.Value); err != nil {
				return err
			}
			e := byID[strconv.FormatInt(id, 10)]
			e.Tags = append(e.Tags, kv)
			return nil
		})
}

// SetExperimentStage deletes or restores an experiment, and its runs with it.
func (s *Store) SetExperimentStage(ctx context.Context, ws int64, id, stage string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		e, err := experiment(tx, ws, id)
		if err != nil {
			return err
		}
		if e.Stage == stage {
			return missing("No Experiment with id=%s exists that is not %s already", id, stage)
		}
		if _, err := tx.Exec(`UPDATE mlflow_experiment SET stage = $1, updated_at = $2 WHERE id = $3`, stage, now(), e.ID); err != nil {
			return err
		}
		if _, err = tx.Exec(`UPDATE mlflow_run SET stage = $1 WHERE experiment_id = $2`, stage, e.ID); err != nil {
			return err
		}
		return drift.Touch(ctx, tx, "experiments", id)
	})
}

// RenameExperiment gives an active experiment another name.
func (s *Store) RenameExperiment(ctx context.Context, ws int64, id, name string) error {
	if err := checkExperimentName(name); err != nil {
		return err
	}
	return s.changeExperiment(ctx, ws, id, func(tx *store.Tx, e *Experiment) error {
		_, err := tx.Exec(`UPDATE mlflow_experiment SET name = $1 WHERE id = $2`, name, e.ID)
		if store.IsDuplicate(err) {
			return wherry.Errorf(wherry.CodeAlreadyExists, "Experiment '%s' already exists.", name)
		}
		return err
	})
}

// SetExperimentTag sets a tag of an active experiment.
func (s *Store) SetExperimentTag(ctx context.Context, ws int64, id string, t KV) error {
	if err := checkExperimentTag(t); err != nil {
		return err
	}
	return s.changeExperiment(ctx, ws, id, func(tx *store.Tx, e *Experiment) error {
		n, _ := ParseExperimentID(e.ID)
		return setExperimentTag(tx, n, t)
	})
}

// DeleteExperimentTag removes a tag; it must exist.
func (s *Store) DeleteExperimentTag(ctx context.Context, ws int64, id, key string) error {
	return s.changeExperiment(ctx, ws, id, func(tx *store.Tx, e *Experiment) error {
		n, err := tx.Exec(`DELETE FROM mlflow_experiment_tag WHERE experiment_id = $1 AND name = $2`, e.ID, key)
		if err == nil && n == 0 {
			return missing("No tag with name: %s in experiment with id %s", key, id)
		}
		return err
	})
}

func (s *Store) changeExperiment(ctx context.Context, ws int64, id string, change func(*store.Tx, *Experiment) error) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		e, err := experiment(tx, ws, id)
		if err != nil {
			return err
		}
		if e.Stage != Active {
			return invalid("The experiment %s must be in the 'active' state. Current state is %s.", id, e.Stage)
		}
		if err := change(tx, e); err != nil {
			return err
		}
		if _, err = tx.Exec(`UPDATE mlflow_experiment SET updated_at = $1 WHERE id = $2`, now(), e.ID); err != nil {
			return err
		}
		return drift.Touch(ctx, tx, "experiments", id)
	})
}

// Views of deleted things in searches.
const (
	ActiveOnly  = "ACTIVE_ONLY"
	DeletedOnly = "DELETED_ONLY"
	AnyStage    = "ALL"
)

// Page asks for a part of a search's results.
type Page struct {
	Filter  string
	OrderBy []string
	Max     int
	Token   string
}

// SearchExperiments returns a page of experiments and the next page's token.
func (s *Store) SearchExperiments(ctx context.Context, ws int64, view string, p Page) (list []*Experiment, next string, err error) {
	clauses, err := filter.Experiments.Parse(p.Filter)
	if err != nil {
		return nil, "", err
	}
	orders, err := filter.Experiments.ParseOrders(p.OrderBy)
	if err != nil {
		return nil, "", err
	}
	offset, err := parseOffset(p.Token)
	if err != nil {
		return nil, "", err
	}
	q := &query{}
	q.where("e.workspace_id = " + q.arg(ws))
	if err := q.stage("e.stage", view); err != nil {
		return nil, "", err
	}
	for _, c := range clauses {
		if err := experimentClause(q, c); err != nil {
			return nil, "", err
		}
	}
	order := []string{}
	for _, o := range orders {
		if o.Entity != filter.Attribute {
			return nil, "", invalid("Invalid order_by entity: %s", o.Entity)
		}
		order = append(order, experimentColumn(o.Key)+direction(o.Ascending))
	}
	if len(order) == 0 {
		order = append(order, "e.created_at DESC")
	}
	order = append(order, "e.id")
	sql := `SELECT e.` + strings.ReplaceAll(experimentColumns, ", ", ", e.") + ` FROM mlflow_experiment e` + q.sql() +
		" ORDER BY " + strings.Join(order, ", ") + " LIMIT " + q.arg(p.Max+1) + " OFFSET " + q.arg(offset)
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		if err := tx.Each(sql, q.args, func(scan func(...any) error) error {
			e, err := scanExperiment(scan)
			list = append(list, e)
			return err
		}); err != nil {
			return err
		}
		if len(list) > p.Max {
			list, next = list[:p.Max], offsetToken(offset+p.Max)
		}
		return experimentTags(tx, list)
	})
	return list, next, err
}

func experimentColumn(key string) string {
	switch key {
	case "experiment_id":
		return "e.id"
	case "creation_time":
		return "e.created_at"
	case "last_update_time":
		return "e.updated_at"
	default:
		return "e.name"
	}
}

func experimentClause(q *query, c filter.Clause) error {
	if c.Entity == filter.Tag {
		q.exists(c, `mlflow_experiment_tag x WHERE x.experiment_id = e.id AND x.name = `+q.arg(c.Key), "x.value")
		return nil
	}
	if c.Key != "experiment_id" {
		q.compare(experimentColumn(c.Key), c)
		return nil
	}
	if c.Op == "LIKE" || c.Op == "ILIKE" {
		return invalid("Invalid comparator for experiment_id: %s", c.Op)
	}
	for _, id := range append(c.List, c.Text) {
		if id == "" && len(c.List) > 0 {
			continue
		}
		if _, err := ParseExperimentID(id); err != nil {
			return err
		}
	}
	q.compare("CAST(e.id AS TEXT)", c)
	return nil
}
