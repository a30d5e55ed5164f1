package catalog_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
)

const lake = "abfss://raw@acct.dfs.core.windows.net"

func wantOverlap(t *testing.T, what string, err error, with string) {
	t.Helper()
	if wherry.CodeOf(err) != wherry.CodeInvalidParameter || !strings.Contains(err.Error(), "LOCATION_OVERLAP") || !strings.Contains(err.Error(), with) {
		t.Errorf("%s: %v, want an overlap with %s", what, err, with)
	}
}

// An external location is neither within another one nor around it, however
// its URL is written, when it is made and when it is changed.
func TestExternalLocationsDoNotOverlap(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), open(t, db)
		place := func(name, url string) error {
			_, err := s.Create(ctx, "", wherry.Securable{Kind: wherry.SecurableExternalLocation, Name: name, Location: url}, "eva")
			return err
		}
		ok(t, place("outer", lake+"/a/b"))
		for _, url := range []string{
			lake + "/a/b", lake + "/a", lake, lake + "/a/b/c", "abfs://raw@ACCT.dfs.core.windows.net/a//b/c",
		} {
			wantOverlap(t, url, place("other", url), "Conflicting location: outer ("+lake+"/a/b)")
		}
		for name, url := range map[string]string{
			"beside": lake + "/a/bc", "container": "abfss://gold@acct.dfs.core.windows.net/a/b", "account": "abfss://raw@acct2.dfs.core.windows.net", "dbfs": "dbfs:/a/b",
		} {
			ok(t, place(name, url))
		}
		wantOverlap(t, "dbfs", place("other", "dbfs:///a"), "dbfs (dbfs:/a/b)")
		move := func(name, to string) error {
			_, err := s.Update(ctx, wherry.SecurableExternalLocation, name, "eva", func(n *wherry.Securable) error {
				n.Location = to
				return nil
			})
			return err
		}
		wantOverlap(t, "changed", move("beside", lake+"/a"), "within 'UpdateExternalLocation' call. Conflicting location: outer")
		ok(t, move("outer", lake+"/a/b/c")) // it may overlap with itself
		got, err := s.Get(ctx, wherry.SecurableExternalLocation, "beside")
		if err != nil || got.Location != lake+"/a/bc" {
			t.Errorf("after a refused change: %+v, %v", got, err)
		}
	})
}

// Of many at once that overlap one is made.
func TestOneOfOverlappingLocations(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), open(t, db)
		var wg sync.WaitGroup
		errs := make([]error, 20)
		for i := range errs {
			wg.Go(func() {
				_, errs[i] = s.Create(ctx, "", wherry.Securable{Kind: wherry.SecurableExternalLocation, Name: "l" + string(rune('a'+i)), Location: lake + strings.Repeat("/x", i+1)}, "eva")
			})
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
				continue
			}
			wantOverlap(t, "one of many", err, "Conflicting location")
		}
		if made != 1 {
			t.Errorf("%d were made", made)
		}
	})
}

// External tables and volumes lie beside each other and beside managed storage.
func TestExternalDataDoesNotOverlap(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), open(t, db)
		place := func(kind, name, at string) error {
			_, err := s.Create(ctx, "workspace.default", wherry.Securable{Kind: kind, Name: name, TableType: wherry.External, Location: at}, "eva")
			return err
		}
		rooted := func(name, root string) error {
			doc, err := json.Marshal(root)
			ok(t, err)
			_, err = s.Create(ctx, "", wherry.Securable{Kind: wherry.SecurableCatalog, Name: name, Doc: map[string]json.RawMessage{"storage_root": doc}}, "eva")
			return err
		}
		table, volume := wherry.SecurableTable, wherry.SecurableVolume
		create(t, s, "", wherry.Securable{Kind: wherry.SecurableExternalLocation, Name: "all", Location: lake})
		ok(t, place(table, "t", lake+"/t"))
		ok(t, place(volume, "v", lake+"/v"))
		ok(t, rooted("prod", lake+"/prod/"))
		ok(t, rooted("prod2", lake+"/prod")) // each has its own folder in it
		const data, managed = "other external tables or volumes within 'Create", "managed storage within 'Create"
		for _, c := range []struct{ kind, at, with string }{
			{table, lake + "/t", data + "Table' call. Conflicting tables/volumes: workspace.default.t"},
			{volume, lake + "/t/x", data + "Volume' call. Conflicting tables/volumes: workspace.default.t"},
			{table, lake + "/v/x", data},
			{volume, lake + "/v/x", data},
			{volume, lake + "/prod", managed},
			{table, lake, managed},
			{table, lake + "/prod/__unitystorage/catalogs/x", managed},
			{table, "dbfs:/", managed},
			{volume, wherry.ManagedTableRoot + "x", managed},
		} {
			wantOverlap(t, c.kind+" "+c.at, place(c.kind, "other", c.at), c.with)
		}
		wantOverlap(t, "a root in a table", rooted("other", lake+"/t"), "t ("+lake+"/t)")
		wantOverlap(t, "a root in managed storage", rooted("other", lake+"/prod/__unitystorage/catalogs"), managed)
		ok(t, place(table, "below", lake+"/prod/below"))
		ok(t, s.Delete(ctx, table, "workspace.default.t", true))
		ok(t, place(volume, "again", lake+"/t/x"))
		_, err := s.Update(ctx, wherry.SecurableCatalog, "prod", "eva", func(n *wherry.Securable) error {
			n.Doc["storage_root"] = json.RawMessage(`"` + lake + `/v"`)
			return nil
		})
		wantOverlap(t, "a changed root", err, "workspace.default.v")
		create(t, s, "prod.default", wherry.Securable{Kind: table, Name: "m", TableType: wherry.Managed})
	})
}
