package mlflow

import (
	"context"
	"strings"

	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/mlflow/filter"
)

// promptTag marks the rows that hold prompts. Searches leave them out unless
// the filter speaks of the tag.
const promptTag = "mlflow.prompt.is_prompt"

// SearchModels returns a page of registered models and the next page's token.
// A workspace sees Unity Catalog's models among its own only by their registry.
func (s *Store) SearchModels(ctx context.Context, ws int64, p Page) (list []*RegisteredModel, next string, err error) {
	clauses, err := filter.RegisteredModels.Parse(p.Filter)
	if err != nil {
		return nil, "", err
	}
	orders, err := filter.RegisteredModels.ParseOrders(p.OrderBy)
	if err != nil {
		return nil, "", err
	}
	at, err := parseOffset(p.Token)
	if err != nil {
		return nil, "", err
	}
	q := &query{}
	q.where("m.workspace_id = " + q.arg(ws))
	for _, c := range withoutPrompts(clauses) {
		if c.Entity == filter.Tag {
			tagClause(q, c, "mlflow_registered_model_tag x WHERE x.model_id = m.id AND x.name = "+q.arg(c.Key))
			continue
		}
		q.compare("m.name", c)
	}
	terms := []string{}
	for _, o := range orders {
		if o.Entity != filter.Attribute {
			return nil, "", invalid("Invalid order_by entity: %s", o.Entity)
		}
		terms = append(terms, registryColumn("m", o.Key)+direction(o.Ascending))
	}
	terms = append(terms, "m.name")
	sql := "SELECT " + modelColumns + " FROM mlflow_registered_model m" + q.sql() + " ORDER BY " + strings.Join(terms, ", ") +
		" LIMIT " + q.arg(p.Max+1) + " OFFSET " + q.arg(at)
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		list = nil
		if err := tx.Each(sql, q.args, func(scan func(...any) error) error {
			m, err := scanModel(scan)
			list = append(list, m)
			return err
		}); err != nil {
			return err
		}
		if len(list) > p.Max {
			list, next = list[:p.Max], offsetToken(at+p.Max)
		}
		return fillModels(tx, list)
	})
	return list, next, err
}

// withoutPrompts adds the clause that leaves prompts out, unless the filter
// speaks of them itself.
func withoutPrompts(clauses []filter.Clause) []filter.Clause {
	for _, c := range clauses {
		if c.Entity == filter.Tag && c.Key == promptTag {
			return clauses
		}
	}
	return append(clauses, filter.Clause{Entity: filter.Tag, Key: promptTag, Op: "!=", Text: "true"})
}

// tagClause is exists, but a missing prompt tag counts as 'false'.
func tagClause(q *query, c filter.Clause, from string) {
	if c.Key == promptTag && (c.Op == "=" && c.Text == "false" || c.Op == "!=" && c.Text == "true") {
		q.where("NOT EXISTS (SELECT 1 FROM " + from + " AND x.value = 'true')")
		return
	}
	q.exists(c, from, "x.value")
}

func registryColumn(table, key string) string {
	switch key {
	case "creation_timestamp":
		return table + ".created_at"
	case "last_updated_timestamp":
		return table + ".updated_at"
	case "version_number":
		return "v.version"
	case "run_id":
		return "v.run_id"
	case "source_path":
		return "v.source"
	default:
		return "m.name"
	}
}

// SearchVersions returns a page of versions and the next page's token.
func (s *Store) SearchVersions(ctx context.Context, ws int64, p Page) (list []*ModelVersion, next string, err error) {
	clauses, err := filter.ModelVersions.Parse(p.Filter)
	if err != nil {
		return nil, "", err
	}
	orders, err := filter.ModelVersions.ParseOrders(p.OrderBy)
	if err != nil {
		return nil, "", err
	}
	at, err := parseOffset(p.Token)
	if err != nil {
		return nil, "", err
	}
	q := &query{}
	terms := []string{}
	for _, o := range orders {
		if o.Entity != filter.Attribute {
			return nil, "", invalid("Invalid order_by entity: %s", o.Entity)
		}
		terms = append(terms, registryColumn("v", o.Key)+direction(o.Ascending))
	}
	terms = append(terms, "m.name", "v.version DESC")
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		list, q.args, q.conditions = nil, nil, nil
		scopes, err := s.scopesOf(tx, ws, clauses)
		if err != nil {
			return err
		}
		q.where("m.workspace_id IN (" + q.arg(scopes[0]) + ", " + q.arg(scopes[1]) + ")")
		q.where("v.stage <> '" + deletedStage + "'")
		for _, c := range withoutPrompts(clauses) {
			if c.Entity == filter.Tag {
				tagClause(q, c, "mlflow_model_version_tag x WHERE x.model_id = v.model_id AND x.version = v.version AND x.name = "+q.arg(c.Key))
				continue
			}
			q.compare(registryColumn("v", c.Key), c)
		}
		sql := "SELECT " + versionColumns + versionTables + q.sql() + " ORDER BY " + strings.Join(terms, ", ") +
			" LIMIT " + q.arg(p.Max+1) + " OFFSET " + q.arg(at)
		if err := tx.Each(sql, q.args, func(scan func(...any) error) error {
			v, err := scanVersion(scan)
			list = append(list, v)
			return err
		}); err != nil {
			return err
		}
		if len(list) > p.Max {
			list, next = list[:p.Max], offsetToken(at+p.Max)
		}
		return fillVersions(tx, list)
	})
	return list, next, err
}

// scopesOf gives the registries that a search looks in: the workspace's, and
// Unity Catalog's too if the filter names one of its models.
func (s *Store) scopesOf(tx *store.Tx, ws int64, clauses []filter.Clause) ([2]int64, error) {
	for _, c := range clauses {
		if c.Entity != filter.Attribute || c.Key != "name" || c.Op != "=" || ws == Account {
			continue
		}
		scope, err := s.scope(tx, ws, c.Text)
		return [2]int64{scope, scope}, err
	}
	return [2]int64{ws, ws}, nil
}
