package ui

import (
	"net/http"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/mlflow"
)

// maxFound bounds each kind of what a search finds.
const maxFound = 20

type searchView struct {
	Text   string
	Jobs   []*wherry.Job
	Tables []*wherry.Securable
	Models []*mlflow.RegisteredModel
	More   bool // only the first of a kind are listed
}

// search finds jobs, tables and models by a part of their names.
func (s *Service) search(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	v := searchView{Text: strings.TrimSpace(r.URL.Query().Get("q"))}
	if v.Text == "" {
		return s.render(w, r, http.StatusOK, "search", page{Title: "Search", Section: "search", Body: v})
	}
	ws := wherry.IdentityFrom(ctx).WorkspaceID
	var err error
	if v.Jobs, err = s.cfg.Jobs.Search(ctx, scope(wherry.IdentityFrom(ctx)), v.Text, maxFound+1); err != nil {
		return err
	}
	if v.Tables, err = s.cfg.Catalog.Search(ctx, v.Text, maxFound+1); err != nil {
		return err
	}
	for _, registry := range []int64{mlflow.Account, ws} {
		found, _, err := s.cfg.Models.SearchModels(ctx, registry, mlflow.Page{Filter: "name ILIKE " + quoted("%"+v.Text+"%"), Max: maxFound + 1})
		if err != nil {
			return err
		}
		for _, m := range found {
			if strings.Contains(strings.ToLower(m.Name), strings.ToLower(v.Text)) { // the pattern has no escapes
				v.Models = append(v.Models, m)
			}
		}
	}
	v.bound()
	return s.render(w, r, http.StatusOK, "search", page{Title: "Search: " + v.Text, Section: "search", Query: v.Text, Body: v})
}

func (v *searchView) bound() {
	v.More = len(v.Jobs) > maxFound || len(v.Tables) > maxFound || len(v.Models) > maxFound
	v.Jobs, v.Tables, v.Models = v.Jobs[:min(maxFound, len(v.Jobs))], v.Tables[:min(maxFound, len(v.Tables))], v.Models[:min(maxFound, len(v.Models))]
}
