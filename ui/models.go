package ui

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/mlflow"
	graph "github.com/wherry-ml/wherry/store/trace"
)

// maxModels bounds a list of models, and of versions.
const maxModels = 200

type modelsView struct {
	Catalog, Workspace []*mlflow.RegisteredModel
	More               bool
}

func (s *Service) models(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	p := mlflow.Page{Max: maxModels}
	var v modelsView
	var err error
	var next [2]string
	if v.Catalog, next[0], err = s.cfg.Models.SearchModels(ctx, mlflow.Account, p); err != nil {
		return err
	}
	if v.Workspace, next[1], err = s.cfg.Models.SearchModels(ctx, wherry.IdentityFrom(ctx).WorkspaceID, p); err != nil {
		return err
	}
	v.More = next[0] != "" || next[1] != ""
	return s.render(w, r, http.StatusOK, "models", page{Title: "Models", Section: "models", Body: v})
}

type modelView struct {
	*mlflow.RegisteredModel
	Metrics  []string // the columns
	Versions []versionRow
}

type versionRow struct {
	*mlflow.ModelVersion
	Run     *mlflow.Run // nil if it was deleted or never was
	Commit  *commitView
	Metrics []*mlflow.Float // nil where the run has none of that name
}

// maxMetrics bounds the columns of metrics.
const maxMetrics = 10

func (s *Service) model(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	name, ws := r.PathValue("name"), wherry.IdentityFrom(ctx).WorkspaceID
	m, err := s.cfg.Models.Model(ctx, ws, name)
	if err != nil {
		return err
	}
	quote := "'"
	if strings.Contains(name, quote) {
		quote = `"`
	}
	list, _, err := s.cfg.Models.SearchVersions(ctx, ws, mlflow.Page{Filter: "name = " + quote + name + quote, OrderBy: []string{"version_number DESC"}, Max: 50})
	if err != nil {
		return err
	}
	v := modelView{RegisteredModel: m}
	for _, version := range list {
		row := versionRow{ModelVersion: version}
		if version.RunID != "" {
			row.Run, err = s.cfg.Models.Run(ctx, ws, version.RunID)
			if err != nil && wherry.CodeOf(err) == wherry.CodeInternal {
				return err
			}
		}
		if row.Commit, err = s.commitOf(ctx, graph.Ref{Kind: graph.ModelVersion, Key: name + "/" + version.Version}); err != nil {
			return err
		}
		v.Versions = append(v.Versions, row)
	}
	v.compare()
	return s.render(w, r, http.StatusOK, "model", page{Title: name, Section: "models", Body: v})
}

// compare puts the metrics that most versions have side by side.
func (v *modelView) compare() {
	count := map[string]int{}
	for _, row := range v.Versions {
		if row.Run != nil {
			for _, m := range row.Run.Data.Metrics {
				count[m.Key]++
			}
		}
	}
	for key := range count {
		v.Metrics = append(v.Metrics, key)
	}
	slices.SortFunc(v.Metrics, func(a, b string) int {
		return cmp.Or(count[b]-count[a], rank(a)-rank(b), strings.Compare(a, b))
	})
	v.Metrics = v.Metrics[:min(maxMetrics, len(v.Metrics))]
	for i := range v.Versions {
		row := &v.Versions[i]
		row.Metrics = make([]*mlflow.Float, len(v.Metrics))
		if row.Run == nil {
			continue
		}
		for _, m := range row.Run.Data.Metrics {
			if at := slices.Index(v.Metrics, m.Key); at >= 0 {
				row.Metrics[at] = &m.Value
			}
		}
	}
}

// rank puts what was measured on other data than the model learned from first,
// and what autologging adds last.
func rank(metric string) int {
	for i, prefix := range []string{"val", "eval", "test"} {
		if strings.HasPrefix(metric, prefix) {
			return i - 10
		}
	}
	if strings.HasPrefix(metric, "training_") {
		return 10
	}
	return 0
}

// commitOf finds the commit that a thing came of, nil if it came of none that
// is known.
func (s *Service) commitOf(ctx context.Context, ref graph.Ref) (*commitView, error) {
	g, err := s.cfg.Trace.Back(ctx, wherry.IdentityFrom(ctx).WorkspaceID, ref)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var c *commitView
	for _, n := range g.Nodes {
		if n.Kind == graph.Commit && c == nil {
			c = &commitView{SHA: n.Key}
			_ = json.Unmarshal(n.Payload, c) // author, message, branch
		}
	}
	for _, n := range g.Nodes {
		if n.Kind == graph.Deployment && c != nil && c.Deployment == "" {
			c.Deployment = n.Key
			_ = json.Unmarshal(n.Payload, c)
		}
	}
	return c, nil
}
