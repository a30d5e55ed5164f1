// Package rows finds rows of a table and the files that hold them, by a small
// task of its own: a condition is SQL, and only Spark reads all of SQL and all
// of Delta.
package rows

import (
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle/run"
	"github.com/wherry-ml/wherry/client"
	graph "github.com/wherry-ml/wherry/store/trace"
	"github.com/wherry-ml/wherry/trace"
)

//go:embed rows.py
var script []byte

const (
	folder = "/Workspace/Shared/.wherry"
	file   = folder + "/rows.py"
)

// Row is a row and the URI of its file.
type Row struct {
	File   string         `json:"file"`
	Values map[string]any `json:"values"`
}

// Find reads at most limit rows of a table for which where, an SQL condition,
// holds. cluster is the spec of a cluster to use (a warm one of the same shape
// is used at once), nil for serverless compute.
func Find(ctx context.Context, c *client.Client, table, where string, limit int, cluster json.RawMessage) ([]Row, error) {
	if err := upload(ctx, c); err != nil {
		return nil, err
	}
	task := map[string]any{
		"task_key":          "rows",
		"spark_python_task": map[string]any{"python_file": file, "parameters": []string{table, where, strconv.Itoa(limit)}},
	}
	if cluster != nil {
		task["new_cluster"] = cluster
	}
	var out struct {
		RunID int64 `json:"run_id"`
	}
	submit := map[string]any{"run_name": "wherry: rows of " + table, "tasks": []any{task}}
	if err := c.Do(ctx, "POST", "/api/2.2/jobs/runs/submit", submit, &out); err != nil {
		return nil, err
	}
	result, err := run.Follow(ctx, c, out.RunID, func(*run.Result) {})
	if err != nil {
		return nil, err
	}
	t := result.Tasks[0]
	if !result.Succeeded() {
		message := t.Error
		if message == "" {
			message = t.Message
		}
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "the rows could not be read: %s", message)
	}
	return parse(t.Output)
}

func upload(ctx context.Context, c *client.Client) error {
	if err := c.Do(ctx, "POST", "/api/2.0/workspace/mkdirs", map[string]any{"path": folder}, nil); err != nil {
		return err
	}
	return c.Do(ctx, "POST", "/api/2.0/workspace/import", map[string]any{
		"path": file, "format": "AUTO", "overwrite": true, "content": base64.StdEncoding.EncodeToString(script),
	}, nil)
}

func parse(output string) (rows []Row, err error) {
	for line := range strings.Lines(output) {
		doc, ok := strings.CutPrefix(strings.TrimSpace(line), "wherry-row ")
		if !ok {
			continue
		}
		var r Row
		if err := json.Unmarshal([]byte(doc), &r); err != nil {
			return nil, fmt.Errorf("read rows: %w", err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// Answer is what a row came of.
type Answer struct {
	Row     Row            `json:"row"`
	Exact   bool           `json:"exact"` // false: the file was rewritten, and there are several candidates
	Origins []trace.Origin `json:"origins"`
	Graph   *trace.Graph   `json:"graph"` // of the first origin
}

// Trace answers where a row came from.
func Trace(ctx context.Context, c *client.Client, table string, row Row) (*Answer, error) {
	a := &Answer{Row: row, Graph: &trace.Graph{}}
	query := url.Values{"table": {table}, "file": {row.File}}
	if err := c.Do(ctx, "GET", "/api/wherry/trace/origins?"+query.Encode(), nil, a); err != nil {
		return nil, err
	}
	if len(a.Origins) == 0 {
		return a, nil
	}
	g, err := Walk(ctx, c, a.Origins[0].Ref, true)
	a.Graph = g
	return a, err
}

// Walk asks for the graph behind a node (backwards), or before it.
func Walk(ctx context.Context, c *client.Client, from graph.Ref, backwards bool) (*trace.Graph, error) {
	direction := "forward"
	if backwards {
		direction = "back"
	}
	query := url.Values{"kind": {from.Kind}, "id": {from.Key}, "direction": {direction}}
	g := &trace.Graph{}
	return g, c.Do(ctx, "GET", "/api/wherry/trace?"+query.Encode(), nil, g)
}
