package ui

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/catalog"
	"github.com/wherry-ml/wherry/store/jobs"
	graph "github.com/wherry-ml/wherry/store/trace"
)

// tableView is a table or view as its page shows it.
type tableView struct {
	*wherry.Securable
	Columns    []column
	Omitted    int // how many more columns there are
	Properties []property
	Tags       []catalog.Tag
	Grants     []catalog.EffectiveGrant
	Versions   []tableVersion
	Older      string // link to older versions
	Readers    []*graph.Node
}

type column struct {
	Name     string `json:"name"`
	Type     string `json:"type_text"`
	Nullable *bool  `json:"nullable"`
	Comment  string `json:"comment"`
	// Partition is the column's place among those that the table is
	// partitioned by, nil for all others.
	Partition *int `json:"partition_index"`
}

// Required reports whether the column has a value in every row.
func (c column) Required() bool { return c.Nullable != nil && !*c.Nullable }

type property struct{ Name, Value string }

// tableVersion is a version with what its commit says.
type tableVersion struct {
	graph.Version
	Operation string `json:"operation"`
	Added     int    `json:"files_added"`
}

const (
	maxVersions = 50
	maxColumns  = 1000
)

func (s *Service) viewTable(r *http.Request) (v tableView, err error) {
	ctx := r.Context()
	v.Securable, err = s.cfg.Catalog.Get(ctx, wherry.SecurableTable, r.PathValue("catalog")+"."+r.PathValue("schema")+"."+r.PathValue("table"))
	if err != nil {
		return v, err
	}
	name := v.FullName()
	v.describe()
	if v.Tags, err = s.cfg.Catalog.Tags(ctx, v.Kind, name); err != nil {
		return v, err
	}
	if v.Grants, err = s.cfg.Catalog.EffectiveGrants(ctx, v.Kind, name, ""); err != nil || v.TableType == wherry.View {
		return v, err
	}
	below, err := strconv.ParseInt(r.URL.Query().Get("below"), 10, 64)
	if err != nil {
		below = math.MaxInt64
	}
	h, err := s.cfg.Trace.History(ctx, wherry.IdentityFrom(ctx).WorkspaceID, name, below, maxVersions)
	if err != nil {
		return v, err
	}
	v.Readers = h.Readers
	for _, one := range h.Versions {
		t := tableVersion{Version: one}
		_ = json.Unmarshal(one.Payload, &t) // a version that was only read has less
		v.Versions = append(v.Versions, t)
	}
	if n := len(v.Versions); n == maxVersions && v.Versions[n-1].Number > 0 {
		v.Older = "?below=" + strconv.FormatInt(v.Versions[n-1].Number, 10)
	}
	return v, nil
}

// describe reads the document that the client sent of the table.
func (v *tableView) describe() {
	_ = json.Unmarshal(v.Doc["columns"], &v.Columns) // they were checked when they were stored
	v.Omitted = max(0, len(v.Columns)-maxColumns)
	v.Columns = v.Columns[:len(v.Columns)-v.Omitted]
	var properties map[string]string
	_ = json.Unmarshal(v.Doc["properties"], &properties)
	for _, k := range slices.Sorted(maps.Keys(properties)) {
		v.Properties = append(v.Properties, property{k, properties[k]})
	}
}

func (s *Service) table(w http.ResponseWriter, r *http.Request) error {
	v, err := s.viewTable(r)
	if err != nil {
		return err
	}
	sections, err := s.tableSections(v)
	if err != nil {
		return err
	}
	p := page{Title: v.FullName(), Section: "catalog", Body: map[string]any{"Table": v, "Sections": sections}}
	p.Live = catalogPath(v.Securable) + "/live?" + r.URL.RawQuery
	return s.render(w, r, http.StatusOK, "table", p)
}

func (s *Service) tableSections(v tableView) ([]section, error) {
	return s.sections("table", v, "table-head", "table-columns", "table-history", "table-readers", "table-properties", "table-grants")
}

// liveTable shows versions as tasks write them, and changes of the table.
func (s *Service) liveTable(w http.ResponseWriter, r *http.Request) error {
	return s.live(w, r, []string{catalog.Topic, jobs.TopicRun}, func(context.Context) ([]section, bool, error) {
		v, err := s.viewTable(r)
		if err != nil {
			return nil, false, err
		}
		list, err := s.tableSections(v)
		return list, false, err
	})
}

// tablePath is the page of a table by its full name, "" for what is none.
func tablePath(name string) string {
	parts := strings.Split(name, ".")
	if len(parts) != 3 {
		return ""
	}
	return "/catalog/" + url.PathEscape(parts[0]) + "/" + url.PathEscape(parts[1]) + "/tables/" + url.PathEscape(parts[2])
}
