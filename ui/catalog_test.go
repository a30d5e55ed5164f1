package ui_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const unity = "/api/2.1/unity-catalog/"

// delta makes the managed Delta table river.wild.otters whose versions these
// task runs wrote, 0 for somebody unknown.
func (w *site) delta(writers ...int64) (id string) {
	w.Helper()
	var place struct {
		ID       string `json:"table_id"`
		Location string `json:"storage_location"`
	}
	w.call("POST", "/api/wherry/catalog/tables/create", m{"catalog": "river", "schema": "wild", "name": "otters"}, &place)
	log := w.State.Path("managed", "tables", place.ID, "_delta_log")
	if err := os.MkdirAll(log, 0o777); err != nil {
		w.Fatal(err)
	}
	for version, run := range writers {
		w.commit(place.ID, version, run)
	}
	w.call("POST", unity+"tables", m{
		"catalog_name": "river", "schema_name": "wild", "name": "otters", "table_type": "MANAGED", "data_source_format": "DELTA", "storage_location": place.Location,
		"comment": "seen <b>at night</b>", "properties": m{"delta.appendOnly": "true"},
		"columns": []m{
			{"name": "id", "type_text": "bigint", "type_name": "LONG", "position": 0, "nullable": false},
			{"name": "place", "type_text": "struct<x:double,y:double>", "type_name": "STRUCT", "position": 1, "comment": "in <metres>"},
			{"name": "day", "type_text": "date", "type_name": "DATE", "position": 2, "partition_index": 0},
		},
	}, nil)
	return place.ID
}

// commit writes a version of a table as Spark does.
func (w *site) commit(table string, version int, run int64) {
	w.Helper()
	by := ""
	if run != 0 {
		by = fmt.Sprintf(`"userMetadata":"{\"wherry\":{\"run_id\":%d}}",`, run)
	}
	text := fmt.Sprintf(`{"commitInfo":{"timestamp":1700000000000,%s"operation":"OP%d"}}`+"\n"+`{"add":{"path":"f.parquet","dataChange":true}}`+"\n", by, version)
	name := w.State.Path("managed", "tables", table, "_delta_log", fmt.Sprintf("%020d.json", version))
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

func TestCatalogPages(t *testing.T) {
	w := open(t)
	w.call("POST", unity+"catalogs", m{"name": "river", "comment": "all of it"}, nil)
	w.call("POST", unity+"schemas", m{"name": "wild", "catalog_name": "river", "comment": "no cages"}, nil)
	w.page("/catalog", "river", "all of it", `href="/catalog/river/wild"`, "no cages", `href="/catalog/workspace/default"`)
	w.page("/catalog/river", "wild", "no cages", "Nothing is granted")
	w.page("/catalog/river/wild", "Nothing is in this schema yet")

	run := w.start(w.create(m{"name": "count", "tasks": []m{notebookTask("load")}}), nil)
	w.follow(run)
	writer := w.tasks(run)["load"]
	table := w.delta(writer, 0)
	w.call("POST", unity+"tables", m{"catalog_name": "river", "schema_name": "wild", "name": "few", "table_type": "VIEW", "view_definition": "SELECT 1 < 2", "columns": []m{}}, nil)
	w.call("PATCH", unity+"permissions/schema/river.wild", m{"changes": []m{{"principal": "rangers", "add": []string{"SELECT"}}}}, nil)
	w.call("POST", "/api/2.0/mlflow/unity-catalog/registered-models/create", m{"name": "river.wild.count"}, nil)
	w.page("/catalog/river/wild", `href="/catalog/river/wild/tables/otters"`, "Managed", "View", `href="/models/river.wild.count"`, "rangers", "SELECT", "data-live")
	body := w.page("/catalog/river/wild/tables/otters",
		"seen &lt;b&gt;at night", "DELTA", "dbfs:/__unitystorage/tables/"+table, "admin@localhost", "delta.appendOnly",
		"bigint", "not null", "struct&lt;x:double,y:double&gt;", "in &lt;metres&gt;", `<span class="tag">partition</span>`,
		"OP0", "OP1", "unknown writer", fmt.Sprintf(`<a href="/jobs/0/runs/%d">%d</a>`, writer, writer), "SELECT from river.wild")
	if strings.Index(body, "OP1") > strings.Index(body, "OP0") {
		t.Error("the newest version is not the first")
	}
	w.page("/catalog/river/wild/tables/few", "View", "SELECT 1 &lt; 2")
	w.page("/trace?kind=table_version&id="+table+"%400", `href="/catalog/river/wild/tables/otters"`)
	for version := 2; version < 60; version++ {
		w.commit(table, version, 0)
	}
	w.page("/catalog/river/wild/tables/otters", "OP59", "OP10 ", `href="?below=10"`)
	if body := w.page("/catalog/river/wild/tables/otters?below=10", "OP9 ", "OP0 "); strings.Contains(body, "OP10 ") || strings.Contains(body, `href="?below=`) {
		t.Error("the older versions are not those below 10")
	}
	for _, path := range []string{"/catalog/nothing", "/catalog/river/nothing", "/catalog/river/wild/tables/nothing", "/catalog/river/wild/volumes/nothing"} {
		if res := w.send("GET", path, nil); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

func TestVolumePage(t *testing.T) {
	w := open(t)
	w.call("POST", unity+"volumes", m{"catalog_name": "workspace", "schema_name": "default", "name": "raw", "volume_type": "MANAGED", "comment": "as it came"}, nil)
	const page = "/catalog/workspace/default/volumes/raw"
	w.page(page, "as it came", "/Volumes/workspace/default/raw", "No files are here")
	dir := w.State.Path("volumes", "workspace", "default", "raw", "a & b")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 502 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.csv", i)), make([]byte, 1500), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.page(page, `href="/catalog/workspace/default/volumes/raw?path=a&#43;%26&#43;b"`)
	body := w.page(page+"?path=a+%26+b", "000.csv", "499.csv", "1.5 KB", "2 more are not shown", `href="/api/2.0/fs/files/Volumes/workspace/default/raw/a%20&amp;%20b/000.csv"`)
	if strings.Contains(body, "500.csv") {
		t.Error("more than 500 files are listed")
	}
	for path, status := range map[string]int{
		page + "?path=nothing":                     http.StatusNotFound,
		page + "?path=..%2F..%2F..":                http.StatusBadRequest,
		page + "?path=a+%26+b%2F..%2F..%2F..":      http.StatusBadRequest,
		"/catalog/workspace/default/volumes/other": http.StatusNotFound,
	} {
		if res := w.send("GET", path, nil); res.StatusCode != status {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	w.call("POST", unity+"volumes", m{"catalog_name": "workspace", "schema_name": "default", "name": "far", "volume_type": "EXTERNAL", "storage_location": "s3://bucket/x"}, nil)
	w.page("/catalog/workspace/default", page, "External")
	w.page("/catalog/workspace/default/volumes/far", "s3://bucket/x", "not supported")
}

func TestSearchPage(t *testing.T) {
	w := open(t)
	w.create(m{"name": "Count 100%_of Otters", "tasks": []m{notebookTask("load")}})
	w.create(m{"name": "sleep", "tasks": []m{notebookTask("load")}})
	w.call("POST", unity+"catalogs", m{"name": "river"}, nil)
	w.call("POST", unity+"schemas", m{"name": "wild", "catalog_name": "river"}, nil)
	w.delta()
	w.call("POST", "/api/2.0/mlflow/registered-models/create", m{"name": "otter's model"}, nil)
	w.page("/search", "Type a part of the name")
	body := w.page("/search?q=OTTER", "Count 100%_of Otters", `href="/catalog/river/wild/tables/otters"`, "otter&#39;s model", `value="OTTER"`)
	if strings.Contains(body, "sleep") {
		t.Error("it finds what has another name")
	}
	for _, text := range []string{"%25", "_", "100%25_", "river.wild.otters", "otter's", "l'e\"x", "%5C"} {
		w.page("/search?q="+text, "<h1>Search: ")
	}
	if body := w.page("/search?q=%25", "Count 100%"); strings.Contains(body, "sleep") || strings.Contains(body, "wild/tables") {
		t.Error("% finds more than itself")
	}
	w.page("/search?q=%3Cb%3E", "Search: &lt;b&gt;", "No job, table or model has")
}
