package catalog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/catalog"
	"github.com/wherry-ml/wherry/store/storetest"
)

func open(t *testing.T, db *store.DB) *catalog.Store {
	t.Helper()
	s := catalog.New(db)
	for range 2 { // the second changes nothing
		if err := s.Bootstrap(context.Background(), "admin"); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, s *catalog.Store, parent string, n wherry.Securable) *wherry.Securable {
	t.Helper()
	out, err := s.Create(context.Background(), parent, n, "eva")
	ok(t, err)
	return out
}

func TestNamesAndErrors(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), open(t, db)
		create(t, s, "", wherry.Securable{Kind: wherry.SecurableCatalog, Name: "Prod"})
		create(t, s, "PROD", wherry.Securable{Kind: wherry.SecurableSchema, Name: "ml"})
		doc := map[string]json.RawMessage{"comment": json.RawMessage(`"c"`), "unknown_to_us": json.RawMessage(`{"a":[1]}`)}
		made := create(t, s, "prod.ml", wherry.Securable{Kind: wherry.SecurableTable, Name: "T", TableType: wherry.Managed, Doc: doc})
		got, err := s.Get(ctx, wherry.SecurableTable, "Prod.ML.t")
		ok(t, err)
		if got.ID != made.ID || got.FullName() != "prod.ml.t" || got.Owner != "eva" || string(got.Doc["unknown_to_us"]) != `{"a":[1]}` {
			t.Errorf("got %+v", got)
		}
		for _, c := range []struct{ kind, name, code string }{
			{wherry.SecurableTable, "none.ml.t", wherry.CodeCatalogNotFound},
			{wherry.SecurableTable, "prod.none.t", wherry.CodeSchemaNotFound},
			{wherry.SecurableTable, "prod.ml.none", wherry.CodeTableNotFound},
			{wherry.SecurableVolume, "prod.ml.none", wherry.CodeDoesNotExist},
			{wherry.SecurableTable, "prod.ml", wherry.CodeInvalidParameter},
			{wherry.SecurableTable, "", wherry.CodeInvalidParameter},
			{wherry.SecurableTable, "prod.ml.t' OR '1'='1", wherry.CodeTableNotFound},
		} {
			if _, err := s.Get(ctx, c.kind, c.name); wherry.CodeOf(err) != c.code {
				t.Errorf("get %s %q: %v, want %s", c.kind, c.name, err, c.code)
			}
		}
		ok(t, db.Read(ctx, func(tx *store.Tx) error {
			at, err := catalog.TableAt(tx, made.Location+"/")
			if err != nil || at == nil || at.FullName() != "prod.ml.t" {
				t.Errorf("at %s: %+v %v", made.Location, at, err)
			}
			if none, err := catalog.Table(tx, "none"); none != nil || err != nil {
				t.Errorf("a table without its id: %v %v", none, err)
			}
			return catalog.CheckSchema(tx, "PROD", "ml")
		}))
	})
}

func TestOneOfManyCreates(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), open(t, db)
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				_, errs[i] = s.Create(ctx, "workspace", wherry.Securable{Kind: wherry.SecurableSchema, Name: "one"}, "eva")
			})
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			switch wherry.CodeOf(err) {
			case "":
				made++
			case wherry.CodeSchemaExists:
			default:
				t.Errorf("create: %v", err)
			}
		}
		if made != 1 {
			t.Errorf("%d of them made the schema", made)
		}
	})
}

func TestPaging(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), open(t, db)
		for i := range 7 {
			create(t, s, "workspace", wherry.Securable{Kind: wherry.SecurableSchema, Name: fmt.Sprintf("s_%d-x", i)})
		}
		seen := map[string]bool{}
		for page := (catalog.Page{Max: 3}); ; {
			list, next, err := s.List(ctx, wherry.SecurableSchema, "workspace", page)
			ok(t, err)
			for _, one := range list {
				if seen[one.Name] || one.Catalog != "workspace" {
					t.Errorf("listed %+v", one)
				}
				seen[one.Name] = true
			}
			if next == "" {
				break
			}
			page.Token = next
		}
		if len(seen) != 8 {
			t.Errorf("listed %v", seen)
		}
	})
}

func TestDropNotesFolders(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), open(t, db)
		create(t, s, "", wherry.Securable{Kind: wherry.SecurableCatalog, Name: "c"})
		table := create(t, s, "c.default", wherry.Securable{Kind: wherry.SecurableTable, Name: "t", TableType: wherry.Managed})
		create(t, s, "c.default", wherry.Securable{Kind: wherry.SecurableVolume, Name: "v", TableType: wherry.Managed})
		create(t, s, "c.default", wherry.Securable{Kind: wherry.SecurableTable, Name: "e", TableType: wherry.External, Location: "abfss://x@y/z"})
		if err := s.Delete(ctx, wherry.SecurableCatalog, "c", false); wherry.CodeOf(err) != wherry.CodeInvalidState {
			t.Errorf("a full catalog: %v", err)
		}
		ok(t, s.Delete(ctx, wherry.SecurableCatalog, "c", true))
		moves, err := s.Moves(ctx)
		ok(t, err)
		var got []string
		for _, m := range moves {
			got = append(got, m.Source+">"+m.Target)
		}
		want := fmt.Sprint([]string{"managed/tables/" + table.ID + ">", "volumes/c/default/v>", "volumes/c/default>", "volumes/c>"})
		if fmt.Sprint(got) != want {
			t.Errorf("moves %v, want %v", got, want)
		}
		ok(t, s.Moved(ctx, moves))
		if moves, err = s.Moves(ctx); len(moves) != 0 || err != nil {
			t.Errorf("done, and still %v %v", moves, err)
		}
		if _, err := s.Get(ctx, wherry.SecurableTable, "c.default.t"); wherry.CodeOf(err) != wherry.CodeCatalogNotFound {
			t.Errorf("get: %v", err)
		}
	})
}

func TestStaging(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), open(t, db)
		id, location, err := s.Stage(ctx, "workspace.default", "T", "eva")
		ok(t, err)
		if catalog.StagedID(location) != id {
			t.Errorf("staged %s at %s", id, location)
		}
		one := wherry.Securable{Kind: wherry.SecurableTable, Name: "t", TableType: wherry.Managed, ID: id, Location: location}
		other := one
		other.Name = "other"
		if _, err := s.Create(ctx, "workspace.default", other, "eva"); wherry.CodeOf(err) != wherry.CodeInvalidParameter {
			t.Errorf("another table at that place: %v", err)
		}
		create(t, s, "workspace.default", one)
		if _, err := s.Create(ctx, "workspace.default", one, "eva"); wherry.CodeOf(err) != wherry.CodeTableExists {
			t.Errorf("twice: %v", err)
		}
		lost, _, err := s.Stage(ctx, "workspace.default", "lost", "eva")
		ok(t, err)
		ok(t, s.ExpireStaged(ctx, time.Now().Add(time.Hour)))
		moves, err := s.Moves(ctx)
		ok(t, err)
		if len(moves) != 1 || moves[0].Source != "managed/tables/"+lost {
			t.Errorf("given up: %v", moves)
		}
	})
}

func TestEffectiveGrantsAndTags(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), open(t, db)
		create(t, s, "workspace.default", wherry.Securable{
			Kind: wherry.SecurableTable, Name: "t", TableType: wherry.Managed,
			Doc: map[string]json.RawMessage{"columns": json.RawMessage(`[{"name":"Email"}]`)},
		})
		grant := func(kind, name, p string) {
			t.Helper()
			_, err := s.ChangeGrants(ctx, kind, name, []catalog.GrantChange{{Principal: "eva", Add: []string{p}}})
			ok(t, err)
		}
		grant(wherry.SecurableMetastore, "", "CREATE CATALOG")
		grant(wherry.SecurableCatalog, "workspace", "USE_CATALOG")
		grant(wherry.SecurableTable, "workspace.default.t", "SELECT")
		grant(wherry.SecurableModel, "workspace.default.m", "EXECUTE")
		list, err := s.EffectiveGrants(ctx, wherry.SecurableTable, "workspace.default.t", "eva")
		ok(t, err)
		want := "[{eva [{SELECT  } {USE_CATALOG CATALOG workspace} {CREATE_CATALOG METASTORE metastore}]}]"
		if fmt.Sprint(list) != want {
			t.Errorf("effective %v, want %v", list, want)
		}
		left, err := s.ChangeGrants(ctx, wherry.SecurableTable, "workspace.default.t", []catalog.GrantChange{{Principal: "eva", Remove: []string{"ALL PRIVILEGES"}}})
		ok(t, err)
		if len(left) != 0 {
			t.Errorf("left %v", left)
		}
		ok(t, s.SetTag(ctx, wherry.SecurableTable, "workspace.default.t", "k", "1"))
		ok(t, s.SetTag(ctx, wherry.SecurableTable, "workspace.default.t", "k", "2"))
		tags, err := s.Tags(ctx, wherry.SecurableTable, "workspace.default.t")
		ok(t, err)
		if fmt.Sprint(tags) != "[{k 2}]" {
			t.Errorf("tags %v", tags)
		}
		ok(t, s.DeleteTag(ctx, wherry.SecurableTable, "workspace.default.t", "k"))
		if err := s.DeleteTag(ctx, wherry.SecurableTable, "workspace.default.t", "k"); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			t.Errorf("twice: %v", err)
		}
		ok(t, s.SetTag(ctx, catalog.Column, "workspace.default.t.EMAIL", "pii", "yes"))
		if tags, err := s.Tags(ctx, catalog.Column, "workspace.default.t.email"); fmt.Sprint(tags) != "[{pii yes}]" || err != nil {
			t.Errorf("tags of a column %v %v", tags, err)
		}
		if err := s.SetTag(ctx, catalog.Column, "workspace.default.t.none", "pii", "yes"); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			t.Errorf("a column that is not there: %v", err)
		}
		ok(t, s.Delete(ctx, wherry.SecurableTable, "workspace.default.t", true))
		ok(t, db.Read(ctx, func(tx *store.Tx) error {
			var left int
			err := tx.Row(`SELECT count(*) FROM catalog_tag`).Scan(&left)
			if left != 0 {
				t.Errorf("%d tags outlive their table", left)
			}
			return err
		}))
	})
}

// TestSearch: a part of the full name, in any case; patterns of LIKE are
// characters like others.
func TestSearch(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), open(t, db)
		for _, name := range []string{"otters", "otter_days", "otterxdays", "50%", "we!rd"} {
			create(t, s, "workspace.default", wherry.Securable{Kind: wherry.SecurableTable, Name: name, TableType: wherry.View})
		}
		changed, stop := db.Watch("nothing", catalog.Topic)
		defer stop()
		for text, want := range map[string]string{
			"OTTER": "[otter_days otters otterxdays]", "r_d": "[otter_days]", "%": "[50%]", "!": "[we!rd]", "default.ot": "[otter_days otters otterxdays]", "x": "[otterxdays]", "none": "[]",
		} {
			list, err := s.Search(ctx, text, 10)
			ok(t, err)
			names := []string{}
			for _, one := range list {
				names = append(names, strings.TrimPrefix(one.FullName(), "workspace.default."))
			}
			slices.Sort(names) // the databases order underscores each in their own way
			if got := fmt.Sprint(names); got != want {
				t.Errorf("%q finds %s, want %s", text, got, want)
			}
		}
		if list, err := s.Search(ctx, "otter", 2); err != nil || len(list) != 2 {
			t.Errorf("two of three: %v, %v", list, err)
		}
		select {
		case <-changed:
			t.Error("a search changed the catalog")
		default:
		}
		ok(t, s.Delete(ctx, wherry.SecurableTable, "workspace.default.50%", false))
		<-changed
	})
}
