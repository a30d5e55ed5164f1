package catalog

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
)

type existsOutput struct {
	TableExists bool `json:"table_exists"`
}

func (s *Service) tableExists(ctx context.Context, in *request) (*existsOutput, error) {
	_, err := s.store.Get(ctx, wherry.SecurableTable, in.FullName)
	switch wherry.CodeOf(err) {
	case "":
		return &existsOutput{true}, nil
	case wherry.CodeTableNotFound, wherry.CodeSchemaNotFound, wherry.CodeCatalogNotFound:
		return &existsOutput{false}, nil
	}
	return nil, err
}

type stageInput struct {
	Catalog string `json:"catalog"`
	Schema  string `json:"schema"`
	Name    string `json:"name"`
}

type stageOutput struct {
	TableID         string `json:"table_id"`
	StorageLocation string `json:"storage_location"`
}

// stage reserves the id and place of a managed table for Spark, which writes
// the files first and registers the table with POST tables afterwards.
func (s *Service) stage(ctx context.Context, in *stageInput) (*stageOutput, error) {
	id, location, err := s.store.Stage(ctx, in.Catalog+"."+in.Schema, in.Name, wherry.IdentityFrom(ctx).UserName)
	return &stageOutput{TableID: id, StorageLocation: location}, err
}

type summariesInput struct {
	CatalogName string `json:"catalog_name"`
	Schema      string `json:"schema_name_pattern"`
	Table       string `json:"table_name_pattern"`
	MaxResults  int    `json:"max_results"`
	PageToken   string `json:"page_token"` // the full name after which the page begins
}

type summary struct {
	FullName  string `json:"full_name"`
	TableType string `json:"table_type"`
}

type summariesOutput struct {
	Tables        []summary `json:"tables"`
	NextPageToken string    `json:"next_page_token,omitempty"`
}

func (s *Service) summaries(ctx context.Context, in *summariesInput) (*summariesOutput, error) {
	if in.CatalogName == "" {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "catalog_name is required")
	}
	tables, err := s.store.TablesOf(ctx, in.CatalogName)
	if err != nil {
		return nil, err
	}
	schema, table := like(in.Schema), like(in.Table)
	limit := in.MaxResults
	if limit <= 0 || limit > 10000 {
		limit = 10000
	}
	out := &summariesOutput{Tables: []summary{}}
	for _, t := range tables {
		name := t.FullName()
		if name <= in.PageToken || !schema.MatchString(t.Schema) || !table.MatchString(t.Name) {
			continue
		}
		if len(out.Tables) == limit {
			out.NextPageToken = out.Tables[limit-1].FullName
			break
		}
		out.Tables = append(out.Tables, summary{FullName: name, TableType: t.TableType})
	}
	return out, nil
}

// like compiles a SQL LIKE pattern; "" matches all.
func like(pattern string) *regexp.Regexp {
	if pattern == "" {
		pattern = "%"
	}
	quoted := regexp.QuoteMeta(pattern)
	return regexp.MustCompile("(?is)^" + strings.NewReplacer("%", ".*", "_", ".").Replace(quoted) + "$")
}

type constraintInput struct {
	FullName   string                     `json:"full_name"` // of DELETE's path
	Table      string                     `json:"full_name_arg"`
	Constraint map[string]json.RawMessage `json:"constraint"` // one of primary_key_constraint, foreign_key_constraint, named_table_constraint
	Name       string                     `json:"constraint_name"`
}

func (s *Service) addConstraint(ctx context.Context, in *constraintInput) (*map[string]json.RawMessage, error) {
	name := constraintName(in.Constraint)
	if name == "" {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "constraint: one of primary_key_constraint, foreign_key_constraint and named_table_constraint with a name is required")
	}
	err := s.constraints(ctx, in.Table, func(have []map[string]json.RawMessage) ([]map[string]json.RawMessage, error) {
		for _, c := range have {
			if strings.EqualFold(constraintName(c), name) {
				return nil, wherry.Errorf(wherry.CodeAlreadyExists, "table '%s' already has a constraint '%s'", in.Table, name)
			}
		}
		return append(have, in.Constraint), nil
	})
	return &in.Constraint, err
}

func (s *Service) dropConstraint(ctx context.Context, in *constraintInput) (*api.Empty, error) {
	err := s.constraints(ctx, in.FullName, func(have []map[string]json.RawMessage) ([]map[string]json.RawMessage, error) {
		kept := slices.DeleteFunc(slices.Clone(have), func(c map[string]json.RawMessage) bool { return strings.EqualFold(constraintName(c), in.Name) })
		if len(kept) == len(have) {
			return nil, wherry.Errorf(wherry.CodeDoesNotExist, "table '%s' has no constraint '%s'", in.FullName, in.Name)
		}
		return kept, nil
	})
	return &api.Empty{}, err
}

// constraints changes the list of constraints in a table's document.
func (s *Service) constraints(ctx context.Context, table string, edit func([]map[string]json.RawMessage) ([]map[string]json.RawMessage, error)) error {
	_, err := s.store.Update(ctx, wherry.SecurableTable, table, wherry.IdentityFrom(ctx).UserName, func(t *wherry.Securable) error {
		var have []map[string]json.RawMessage
		if raw, ok := t.Doc["table_constraints"]; ok {
			if err := json.Unmarshal(raw, &have); err != nil {
				return err
			}
		}
		changed, err := edit(have)
		if err != nil {
			return err
		}
		t.Doc["table_constraints"], err = json.Marshal(changed)
		return err
	})
	return err
}

func constraintName(c map[string]json.RawMessage) (name string) {
	for _, key := range []string{"primary_key_constraint", "foreign_key_constraint", "named_table_constraint"} {
		var one struct {
			Name string `json:"name"`
		}
		if json.Unmarshal(c[key], &one) == nil && one.Name != "" {
			name = one.Name
		}
	}
	return name
}
