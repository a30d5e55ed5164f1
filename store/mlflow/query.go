package mlflow

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/mlflow/filter"
)

// query collects a WHERE clause and its arguments.
type query struct {
	conditions []string
	args       []any
}

// arg adds a value and returns its placeholder.
func (q *query) arg(v any) string {
	q.args = append(q.args, v)
	return fmt.Sprintf("$%d", len(q.args))
}

func (q *query) list(values []string) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(q.arg(v))
	}
	return b.String()
}

func (q *query) where(condition string) { q.conditions = append(q.conditions, condition) }

func (q *query) sql() string {
	if len(q.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(q.conditions, " AND ")
}

func (q *query) stage(column, view string) error {
	switch view {
	case "", ActiveOnly:
		q.where(column + " = 'active'")
	case DeletedOnly:
		q.where(column + " = 'deleted'")
	case AnyStage:
	default:
		return invalid("Invalid view type '%s'", view)
	}
	return nil
}

// compare adds "column op value".
func (q *query) compare(column string, c filter.Clause) { q.where(q.comparison(column, c)) }

func (q *query) comparison(column string, c filter.Clause) string {
	switch c.Op {
	case "IN", "NOT IN":
		return column + " " + c.Op + " (" + q.list(c.List) + ")"
	case "ILIKE":
		return "lower(" + column + ") LIKE lower(CAST(" + q.arg(c.Text) + " AS TEXT))" + noEscape
	case "LIKE":
		return column + " LIKE " + q.arg(c.Text) + noEscape
	}
	if c.Number {
		// As a float, so that PostgreSQL compares a BIGINT column with 1.5 as we mean it.
		return column + " " + c.Op + " CAST(" + q.arg(c.Num) + " AS DOUBLE PRECISION)"
	}
	return column + " " + c.Op + " " + q.arg(c.Text)
}

// noEscape makes PostgreSQL take a backslash in a pattern for itself, as
// SQLite does: an escape character that no pattern holds.
const noEscape = " ESCAPE '\x01'"

// exists adds a comparison with a row of another table: from is "table x WHERE …".
func (q *query) exists(c filter.Clause, from, column string) {
	switch c.Op {
	case "IS NULL":
		q.where("NOT EXISTS (SELECT 1 FROM " + from + ")")
	case "IS NOT NULL":
		q.where("EXISTS (SELECT 1 FROM " + from + ")")
	default:
		q.where("EXISTS (SELECT 1 FROM " + from + " AND " + q.comparison(column, c) + ")")
	}
}

func direction(ascending bool) string {
	if ascending {
		return " ASC"
	}
	return " DESC"
}

// eachIn runs a query with an IN list in pieces that both databases take.
func eachIn(tx *store.Tx, sql string, in []any, fn func(scan func(...any) error) error) error {
	const piece = 500
	for len(in) > 0 {
		n := min(len(in), piece)
		if err := tx.Each(fmt.Sprintf(sql, store.In(1, n)), in[:n], fn); err != nil {
			return err
		}
		in = in[n:]
	}
	return nil
}

type offset struct {
	Offset int `json:"offset"`
}

func offsetToken(n int) string {
	b, _ := json.Marshal(offset{n}) // a struct of one int
	return base64.StdEncoding.EncodeToString(b)
}

func parseOffset(token string) (int, error) {
	if token == "" {
		return 0, nil
	}
	var o offset
	if err := decodeToken(token, &o); err != nil {
		return 0, err
	}
	if o.Offset < 0 || o.Offset > math.MaxInt32 {
		return 0, invalid("Invalid page token")
	}
	return o.Offset, nil
}

func decodeToken(token string, into any) error {
	b, err := base64.StdEncoding.DecodeString(token)
	if err != nil || json.Unmarshal(b, into) != nil {
		return invalid("Invalid page token, could not decode it")
	}
	return nil
}
