package ui

import (
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/catalog"
	"github.com/wherry-ml/wherry/store/mlflow"
)

// maxListed bounds each list of a page of the catalog or the workspace.
const maxListed = 500

// catalogView is a catalog with its schemas.
type catalogView struct {
	*wherry.Securable
	Schemas []*wherry.Securable
	More    bool // there are more than the listed ones
	Grants  []catalog.EffectiveGrant
}

// maxSchemas bounds the schemas of each catalog on the page of all.
const maxSchemas = 50

func (s *Service) catalogs(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	list, next, err := s.cfg.Catalog.List(ctx, wherry.SecurableCatalog, "", catalog.Page{Max: maxListed})
	if err != nil {
		return err
	}
	views := make([]catalogView, len(list))
	for i, c := range list {
		if views[i], err = s.viewCatalog(ctx, c, maxSchemas); err != nil {
			return err
		}
	}
	return s.render(w, r, http.StatusOK, "catalogs", page{Title: "Catalog", Section: "catalog", Body: map[string]any{"Catalogs": views, "More": next != ""}})
}

func (s *Service) viewCatalog(ctx context.Context, c *wherry.Securable, limit int) (catalogView, error) {
	list, next, err := s.cfg.Catalog.List(ctx, wherry.SecurableSchema, c.Name, catalog.Page{Max: limit})
	return catalogView{Securable: c, Schemas: list, More: next != ""}, err
}

func (s *Service) catalog(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	c, err := s.cfg.Catalog.Get(ctx, wherry.SecurableCatalog, r.PathValue("catalog"))
	if err != nil {
		return err
	}
	v, err := s.viewCatalog(ctx, c, maxListed)
	if err != nil {
		return err
	}
	if v.Grants, err = s.cfg.Catalog.EffectiveGrants(ctx, c.Kind, c.Name, ""); err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "catalog", page{Title: c.Name, Section: "catalog", Body: v})
}

// schemaView is a schema with what is in it.
type schemaView struct {
	*wherry.Securable
	Tables  []*wherry.Securable // views too
	Next    string              // link to more tables
	Volumes []*wherry.Securable
	Models  []*mlflow.RegisteredModel
	More    bool // there are more volumes or models than the listed ones
	Grants  []catalog.EffectiveGrant
}

func (s *Service) viewSchema(r *http.Request) (v schemaView, err error) {
	ctx := r.Context()
	v.Securable, err = s.cfg.Catalog.Get(ctx, wherry.SecurableSchema, r.PathValue("catalog")+"."+r.PathValue("schema"))
	if err != nil {
		return v, err
	}
	name := v.FullName()
	var next string
	if v.Tables, next, err = s.cfg.Catalog.List(ctx, wherry.SecurableTable, name, catalog.Page{Max: maxListed, Token: r.URL.Query().Get("after")}); err != nil {
		return v, err
	}
	if next != "" {
		v.Next = "?after=" + url.QueryEscape(next)
	}
	if v.Volumes, next, err = s.cfg.Catalog.List(ctx, wherry.SecurableVolume, name, catalog.Page{Max: maxListed}); err != nil {
		return v, err
	}
	v.More = next != ""
	if v.Models, next, err = s.modelsOf(ctx, name); err != nil {
		return v, err
	}
	v.More = v.More || next != ""
	v.Grants, err = s.cfg.Catalog.EffectiveGrants(ctx, v.Kind, name, "")
	return v, err
}

// modelsOf lists the registered models of a schema.
func (s *Service) modelsOf(ctx context.Context, schema string) (list []*mlflow.RegisteredModel, next string, err error) {
	found, next, err := s.cfg.Models.SearchModels(ctx, mlflow.Account, mlflow.Page{Filter: "name LIKE " + quoted(schema+".%"), Max: maxListed})
	for _, m := range found {
		if strings.HasPrefix(m.Name, schema+".") { // an underscore in the pattern is any character
			list = append(list, m)
		}
	}
	return list, next, err
}

// quoted is a text in MLflow's search language, which has no escapes: of two
// kinds of quotes one is left out.
func quoted(text string) string {
	if strings.Contains(text, "'") {
		return `"` + strings.ReplaceAll(text, `"`, "") + `"`
	}
	return "'" + text + "'"
}

func (s *Service) schema(w http.ResponseWriter, r *http.Request) error {
	v, err := s.viewSchema(r)
	if err != nil {
		return err
	}
	sections, err := s.schemaSections(v)
	if err != nil {
		return err
	}
	p := page{Title: v.FullName(), Section: "catalog", Body: map[string]any{"Schema": v, "Sections": sections}}
	p.Live = "/catalog/" + url.PathEscape(v.Catalog) + "/" + url.PathEscape(v.Name) + "/live?" + r.URL.RawQuery
	return s.render(w, r, http.StatusOK, "schema", p)
}

func (s *Service) schemaSections(v schemaView) ([]section, error) {
	return s.sections("schema", v, "schema-head", "schema-tables", "schema-volumes", "schema-models", "schema-grants")
}

// liveSchema shows what is made, changed and dropped in a schema as it happens.
func (s *Service) liveSchema(w http.ResponseWriter, r *http.Request) error {
	return s.live(w, r, []string{catalog.Topic}, func(context.Context) ([]section, bool, error) {
		v, err := s.viewSchema(r)
		if err != nil {
			return nil, false, err
		}
		list, err := s.schemaSections(v)
		return list, false, err
	})
}

// volumeView is a volume with the files of one of its directories.
type volumeView struct {
	*wherry.Securable
	Inside  string // the directory, "" for the volume's top
	Crumbs  []crumb
	Files   []fileRow
	Omitted int // how many more files there are
	Grants  []catalog.EffectiveGrant
	Problem string // why there are no files to see
}

// crumb is a directory on the way to the one that is shown.
type crumb struct{ Name, Link string }

// fileRow is a file or a directory.
type fileRow struct {
	Name     string
	Link     string
	Dir      bool
	Kind     string // for people
	Size     int64
	Modified int64 // ms
}

func (s *Service) volume(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	vol, err := s.cfg.Catalog.Get(ctx, wherry.SecurableVolume, r.PathValue("catalog")+"."+r.PathValue("schema")+"."+r.PathValue("volume"))
	if err != nil {
		return err
	}
	v := volumeView{Securable: vol, Inside: strings.Trim(r.URL.Query().Get("path"), "/")}
	infos, err := s.cfg.Files.VolumeFiles(ctx, vol.FullName(), v.Inside)
	switch code := wherry.CodeOf(err); {
	case code == wherry.CodeNotImplemented || code == wherry.CodeDoesNotExist && v.Inside == "":
		v.Problem = err.Error() // a volume on another cloud, or without its container
	case err != nil:
		return err
	}
	v.list(infos)
	if v.Grants, err = s.cfg.Catalog.EffectiveGrants(ctx, vol.Kind, vol.FullName(), ""); err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "volume", page{Title: vol.FullName(), Section: "catalog", Body: v})
}

// list fills in the files and the way to them.
func (v *volumeView) list(infos []fs.FileInfo) {
	here := catalogPath(v.Securable)
	at := ""
	for part := range strings.SplitSeq(v.Inside, "/") {
		if part != "" {
			at = path.Join(at, part)
			v.Crumbs = append(v.Crumbs, crumb{part, here + "?path=" + url.QueryEscape(at)})
		}
	}
	v.Omitted = max(0, len(infos)-maxListed)
	for _, i := range infos[:len(infos)-v.Omitted] {
		inside := path.Join(v.Inside, i.Name())
		row := fileRow{Name: i.Name(), Dir: i.IsDir(), Size: i.Size(), Modified: i.ModTime().UnixMilli()}
		row.Link = "/api/2.0/fs/files" + escaped("/Volumes", v.Catalog, v.Schema, v.Name, inside)
		if row.Dir {
			row.Link = here + "?path=" + url.QueryEscape(inside)
		}
		v.Files = append(v.Files, row)
	}
}

// escaped joins parts to the path of a URL.
func escaped(parts ...string) string { return (&url.URL{Path: strings.Join(parts, "/")}).EscapedPath() }

// catalogPath is the page of something in the catalog.
func catalogPath(s *wherry.Securable) string {
	at := "/catalog/"
	for _, part := range []string{s.Catalog, s.Schema} {
		if part != "" {
			at += url.PathEscape(part) + "/"
		}
	}
	switch s.Kind {
	case wherry.SecurableTable:
		at += "tables/"
	case wherry.SecurableVolume:
		at += "volumes/"
	}
	return at + url.PathEscape(s.Name)
}

// doc is a text among the settings of a securable, "" if it has none.
func doc(s *wherry.Securable, field string) (text string) {
	_ = json.Unmarshal(s.Doc[field], &text) // what is no text is not shown
	return text
}
