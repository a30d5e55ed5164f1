package mlflow_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"sort"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/mlflow"
	"github.com/wherry-ml/wherry/store/storetest"
)

var (
	ctx = context.Background()
	who = mlflow.Who{WorkspaceID: 1, User: "ada", TaskRunID: 7}
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if got := wherry.CodeOf(err); got != code {
		t.Fatalf("got %q (%v), want %s", got, err, code)
	}
}

// batch reads a batch as clients send it.
func batch(t *testing.T, doc string) *mlflow.Batch {
	t.Helper()
	b := &mlflow.Batch{}
	ok(t, json.Unmarshal([]byte(doc), b))
	return b
}

func experiment(t *testing.T, s *mlflow.Store, name string) string {
	t.Helper()
	id, err := s.CreateExperiment(ctx, who, name, "", []mlflow.KV{{Key: "team", Value: "Blue"}})
	ok(t, err)
	return fmt.Sprint(id)
}

func run(t *testing.T, s *mlflow.Store, experiment, name string, start int64, tags ...mlflow.KV) string {
	t.Helper()
	r, err := s.CreateRun(ctx, who, mlflow.NewRun{ExperimentID: experiment, Name: name, StartTime: start, Tags: tags})
	ok(t, err)
	return r.Info.RunID
}

// five fills an experiment with the runs that the search table speaks of.
func five(t *testing.T, s *mlflow.Store) (experimentID string) {
	e := experiment(t, s, "search")
	for i, name := range []string{"alpha", "Beta", "gamma", "delta", "eps"} {
		start := int64(1000 + i*10)
		if i == 3 {
			start = 1010
		}
		id := run(t, s, e, name, start, mlflow.KV{Key: "t", Value: strings.ToUpper(name)})
		b := batch(t, fmt.Sprintf(`{"metrics":[{"key":"acc","value":%s,"timestamp":1,"step":0}],"params":[{"key":"model","value":%q}]}`,
			[]string{"0.1", "0.5", `"NaN"`, "0.9", "-1"}[i], []string{"tree", "Tree", "lin", "a%b", "x_y"}[i]))
		if i != 1 {
			b.Metrics = append(b.Metrics, batch(t, fmt.Sprintf(`{"metrics":[{"key":"my metric/x","value":%d,"timestamp":5,"step":2}]}`, i)).Metrics...)
		}
		if i == 0 || i == 2 {
			b.Params = append(b.Params, mlflow.KV{Key: "opt", Value: "sgd"})
			b.Tags = append(b.Tags, mlflow.KV{Key: "mlflow.note.content", Value: fmt.Sprint("N", i)})
		}
		b.RunID = id
		ok(t, s.Log(ctx, 1, b))
		if i < 2 {
			ok(t, s.LogInputs(ctx, 1, id, []mlflow.DatasetInput{{
				Tags:    []mlflow.KV{{Key: "mlflow.data.context", Value: []string{"train", "test"}[i]}},
				Dataset: mlflow.Dataset{Name: fmt.Sprint("ds", i), Digest: fmt.Sprint("d", i), SourceType: "local", Source: "s"},
			}}, nil))
		}
		if i%2 == 0 {
			_, err := s.UpdateRun(ctx, 1, id, "FINISHED", int64(5000-i), "")
			ok(t, err)
		}
	}
	return e
}

// The answers are those that mlflow 3.17's own server gave to the same requests.
func TestSearchRuns(t *testing.T) {
	const all = "Beta alpha delta eps gamma"
	filters := map[string]string{
		"":                                          all,
		"metrics.acc > 0.3":                         "Beta delta",
		"metrics.acc >= 0.5 and metrics.acc<0.9":    "Beta",
		"metric.acc = 0.5":                          "Beta",
		"metrics.acc != 0.5":                        "alpha delta eps gamma", // NaN is unequal to all
		"metrics.acc = 0":                           "",
		"metrics.acc > -2":                          "Beta alpha delta eps",
		"metrics.`my metric/x` > 2":                 "delta eps",
		`metrics."my metric/x" = 2`:                 "gamma",
		"params.model = 'tree'":                     "alpha",
		"params.model LIKE 't%'":                    "alpha",
		"params.model ilike 't%'":                   "Beta alpha",
		"params.model like 'x_y'":                   "eps",
		"params.model != 'tree'":                    "Beta delta eps gamma",
		"params.opt != 'x'":                         "alpha gamma", // only runs that have it
		"params.opt IS NULL":                        "Beta delta eps",
		"parameters.`model` is not null":            all,
		"tags.t = 'ALPHA'":                          "alpha",
		"tags.mlflow.note.content LIKE 'N%'":        "alpha gamma",
		"tags.nope IS NULL":                         all,
		"attributes.status = 'FINISHED'":            "alpha eps gamma",
		"status != 'RUNNING' AND metrics.acc > 0":   "alpha",
		"\"Run Name\" ILIKE 'b%'":                   "Beta",
		"`run name` = 'alpha'":                      "alpha",
		"start_time >= 1010.5":                      "eps gamma",
		"created < 1020":                            "Beta alpha delta",
		"end_time > 4997":                           "alpha gamma",
		"run_id IN ('a','b')":                       "",
		"attributes.run_id NOT IN ('a')":            all,
		"dataset.name = 'ds0'":                      "alpha",
		"dataset.context IN ('train','x')":          "alpha",
		"dataset.name != 'ds0'":                     "Beta",
		"metrics.acc > 0.3 OR params.model = 'x'":   "!",
		"(metrics.acc > 0.3)":                       "!",
		"metrics.acc":                               "!",
		"0.3 < metrics.acc":                         "!",
		"metrics.acc == 0.3":                        "!",
		"metrics.acc LIKE 'x'":                      "!",
		"metrics.acc = 'x'":                         "!",
		"params.model > 'a'":                        "!",
		"params.model = tree":                       "!",
		"params.model IN ('tree')":                  "!",
		"status IN ('FINISHED')":                    "!",
		"start_time > '1000'":                       "!",
		"foo.bar = 'x'":                             "!",
		"nope = 'x'":                                "!",
		"dataset.nope = 'x'":                        "!",
		"params.model = 'x'; DROP TABLE mlflow_run": "!",
		"params.model = 'unclosed":                  "!",
	}
	orders := map[string]string{
		"":                    "eps gamma Beta|delta delta|Beta alpha", // newest first, then by id
		"metrics.acc":         "eps alpha Beta delta gamma",            // NaN before what is missing, both last
		"metrics.acc DESC":    "delta Beta alpha eps gamma",
		"params.model":        "Beta|delta Beta|delta|gamma * * *",
		"run_name DESC":       "*",
		"end_time ASC":        "eps gamma alpha * *",
		"attributes.nope":     "!",
		"dataset.name":        "!",
		"metrics.acc sideway": "!",
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := mlflow.New(db)
		e := five(t, s)
		search := func(p mlflow.Page) ([]string, error) {
			p.Max = 100
			runs, _, err := s.SearchRuns(ctx, 1, []string{e}, "", p)
			var names []string
			for _, r := range runs {
				names = append(names, r.Info.Name)
			}
			return names, err
		}
		for f, want := range filters {
			names, err := search(mlflow.Page{Filter: f})
			sort.Strings(names)
			if got := strings.Join(names, " "); want == "!" {
				wantCode(t, err, wherry.CodeInvalidParameter)
			} else if err != nil || got != want {
				t.Errorf("%s: got %q, %v; want %q", f, got, err, want)
			}
		}
		for o, want := range orders {
			p := mlflow.Page{}
			if o != "" {
				p.OrderBy = []string{o}
			}
			names, err := search(p)
			if want == "!" {
				wantCode(t, err, wherry.CodeInvalidParameter)
				continue
			}
			ok(t, err)
			for i, w := range strings.Fields(want) {
				if w != "*" && !strings.Contains("|"+w+"|", "|"+names[i]+"|") {
					t.Errorf("order by %q: got %v, want %s", o, names, want)
				}
			}
		}
		_, err := search(mlflow.Page{OrderBy: []string{"metrics.acc", "metrics.acc DESC"}})
		wantCode(t, err, wherry.CodeInvalidParameter)
	})
}

// Pages hold each run once, whatever the order.
func TestPages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := mlflow.New(db)
		e := five(t, s)
		for _, order := range [][]string{nil, {"metrics.acc DESC"}} {
			seen := map[string]bool{}
			token := ""
			for pages := 1; ; pages++ {
				runs, next, err := s.SearchRuns(ctx, 1, []string{e}, mlflow.AnyStage, mlflow.Page{Max: 2, OrderBy: order, Token: token})
				ok(t, err)
				for _, r := range runs {
					if seen[r.Info.RunID] {
						t.Fatalf("run %s twice", r.Info.Name)
					}
					seen[r.Info.RunID] = true
				}
				if token = next; token == "" {
					if pages != 3 || len(seen) != 5 {
						t.Fatalf("%d runs on %d pages", len(seen), pages)
					}
					break
				}
			}
		}
		_, _, err := s.SearchRuns(ctx, 1, []string{e}, "", mlflow.Page{Max: 2, Token: "nonsense"})
		wantCode(t, err, wherry.CodeInvalidParameter)
	})
}

func TestLogging(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := mlflow.New(db)
		e := experiment(t, s, "logging")
		id := run(t, s, e, "", 0)
		b := batch(t, `{"metrics":[{"key":"loss","value":3,"timestamp":10,"step":1},{"key":"loss","value":1,"timestamp":12,"step":"2"},{"key":"loss","value":2,"timestamp":11,"step":2},
			{"key":"nan","value":"NaN","timestamp":1},{"key":"inf","value":"-Infinity","timestamp":1}],"params":[{"key":"lr","value":"0.1"}],"tags":[{"key":"a","value":"b"}]}`)
		b.RunID = id
		for range 2 { // the same again changes nothing
			ok(t, s.Log(ctx, 1, b))
		}
		older := batch(t, `{"metrics":[{"key":"loss","value":9,"timestamp":99,"step":0}]}`)
		older.RunID = id
		ok(t, s.Log(ctx, 1, older))
		r, err := s.Run(ctx, 1, id)
		ok(t, err)
		got := map[string]float64{}
		for _, m := range r.Data.Metrics {
			got[m.Key] = float64(m.Value)
		}
		if got["loss"] != 1 || !math.IsNaN(got["nan"]) || got["inf"] != -math.MaxFloat64 {
			t.Fatalf("latest metrics are %v", got)
		}
		list, next, err := s.History(ctx, 1, id, "loss", 3, "")
		ok(t, err)
		if len(list) != 3 || next == "" || list[0].Value != 3 || list[2].Value != 1 {
			t.Fatalf("history is %v %q", list, next)
		}
		if list, _, err = s.History(ctx, 1, id, "loss", 3, next); err != nil || len(list) != 1 || list[0].Value != 9 {
			t.Fatalf("the rest of the history is %v, %v", list, err)
		}
		other := batch(t, `{"metrics":[{"key":"other","value":1,"timestamp":1}],"params":[{"key":"lr","value":"0.2"}]}`)
		other.RunID = id
		wantCode(t, s.Log(ctx, 1, other), wherry.CodeInvalidParameter)
		if list, _, err = s.History(ctx, 1, id, "other", 0, ""); err != nil || len(list) != 0 {
			t.Fatalf("a refused batch left %v, %v", list, err)
		}
		long := &mlflow.Batch{RunID: id, Params: []mlflow.KV{{Key: "long", Value: strings.Repeat("é", 7000)}}}
		ok(t, s.Log(ctx, 1, long))
		ok(t, s.SetRunStage(ctx, 1, id, mlflow.Deleted))
		wantCode(t, s.Log(ctx, 1, b), wherry.CodeInvalidParameter)
		if _, err := s.Run(ctx, 2, id); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			t.Fatalf("another workspace sees the run: %v", err)
		}
	})
}

func TestLoggedModels(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := mlflow.New(db)
		e := experiment(t, s, "models")
		id := run(t, s, e, "r", 1)
		m, err := s.CreateLoggedModel(ctx, 1, mlflow.NewLoggedModel{ExperimentID: e, Name: "m", SourceRunID: id, Params: []mlflow.KV{{Key: "p", Value: "1"}}})
		ok(t, err)
		b := batch(t, fmt.Sprintf(`{"metrics":[{"key":"acc","value":0.5,"timestamp":1,"model_id":%q,"dataset_name":"d","dataset_digest":"x"}]}`, m.Info.ModelID))
		b.RunID = id
		ok(t, s.Log(ctx, 1, b))
		if m, err = s.FinalizeLoggedModel(ctx, 1, m.Info.ModelID, mlflow.ModelReady); err != nil || m.Info.Status != mlflow.ModelReady || len(m.Data.Metrics) != 1 {
			t.Fatalf("%+v, %v", m, err)
		}
		for f, n := range map[string]int{"": 1, "metrics.acc > 0.4": 1, "metrics.acc > 0.6": 0, "params.p = '1'": 1, "name LIKE 'm%'": 1, "name IN ('x','m')": 1, "status = 'READY'": 1} {
			list, _, err := s.SearchLoggedModels(ctx, 1, []string{e}, nil, []mlflow.ModelOrder{{Field: "metrics.acc"}}, mlflow.Page{Filter: f, Max: 10})
			if err != nil || len(list) != n {
				t.Errorf("%s: %d models, %v", f, len(list), err)
			}
		}
		list, _, err := s.SearchLoggedModels(ctx, 1, []string{e}, []mlflow.DatasetFilter{{Name: "other"}}, nil, mlflow.Page{Max: 10})
		if err != nil || len(list) != 0 {
			t.Errorf("another dataset: %d models, %v", len(list), err)
		}
		wantCode(t, s.LogLoggedModelParams(ctx, 1, m.Info.ModelID, []mlflow.KV{{Key: "p", Value: "2"}}), wherry.CodeInvalidParameter)
		ok(t, s.DeleteLoggedModel(ctx, 1, m.Info.ModelID))
		_, err = s.LoggedModel(ctx, 1, m.Info.ModelID)
		wantCode(t, err, wherry.CodeDoesNotExist)
	})
}

func TestRegistry(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := mlflow.New(db)
		s.CheckSchema = func(_ *store.Tx, catalog, schema string) error {
			if catalog == "main" && schema == "ml" {
				return nil
			}
			return wherry.Errorf(wherry.CodeSchemaNotFound, "no schema %s.%s", catalog, schema)
		}
		_, err := s.CreateModel(ctx, who, 1, "churn", "", nil)
		ok(t, err)
		_, err = s.CreateModel(ctx, who, 1, "churn", "", nil)
		wantCode(t, err, wherry.CodeAlreadyExists)
		for range 3 {
			_, err := s.CreateVersion(ctx, who, 1, mlflow.NewVersion{Name: "churn", Source: "s3://b/p", RunID: "r"})
			ok(t, err)
		}
		for _, v := range []string{"1", "2"} {
			_, err := s.Transition(ctx, who, 1, "churn", v, "production", v == "2")
			ok(t, err)
		}
		stages := map[string]string{}
		versions, _, err := s.SearchVersions(ctx, 1, mlflow.Page{Filter: "name = 'churn'", Max: 10})
		ok(t, err)
		for _, v := range versions {
			stages[v.Version] = v.Stage
		}
		if want := map[string]string{"1": "Archived", "2": "Production", "3": "None"}; !reflect.DeepEqual(stages, want) {
			t.Fatalf("stages are %v", stages)
		}
		for _, bad := range []string{"", "v1", "latest", "a b", "a/b"} {
			wantCode(t, s.SetAlias(ctx, who, 1, "churn", bad, "1"), wherry.CodeInvalidParameter)
		}
		wantCode(t, s.SetAlias(ctx, who, 1, "churn", "champion", "9"), wherry.CodeDoesNotExist)
		ok(t, s.SetAlias(ctx, who, 1, "churn", "champion", "3"))
		v, err := s.VersionByAlias(ctx, 1, "churn", "champion")
		if err != nil || v.Version != "3" || !reflect.DeepEqual(v.Aliases, []string{"champion"}) {
			t.Fatalf("%+v, %v", v, err)
		}
		_, err = s.DeleteVersion(ctx, 1, "churn", "3")
		ok(t, err)
		_, err = s.VersionByAlias(ctx, 1, "churn", "champion")
		wantCode(t, err, wherry.CodeInvalidParameter)
		if v, err := s.CreateVersion(ctx, who, 1, mlflow.NewVersion{Name: "churn", Source: "s3://b/p"}); err != nil || v.Version != "4" {
			t.Fatalf("after a deletion comes %+v, %v", v, err)
		}
		unity(t, s, db)
	})
}

// unity checks the models that belong to the account.
func unity(t *testing.T, s *mlflow.Store, db *store.DB) {
	_, err := s.CreateModel(ctx, who, mlflow.Account, "main.other.m", "", nil)
	wantCode(t, err, wherry.CodeSchemaNotFound)
	_, err = s.CreateModel(ctx, who, mlflow.Account, "two.levels", "", nil)
	wantCode(t, err, wherry.CodeInvalidParameter)
	_, err = s.CreateModel(ctx, who, mlflow.Account, "main.ml.m", "", nil)
	ok(t, err)
	v, err := s.CreateVersion(ctx, who, mlflow.Account, mlflow.NewVersion{Name: "main.ml.m", Uploaded: true, RunID: "r"})
	if err != nil || v.Status != mlflow.VersionPending {
		t.Fatalf("%+v, %v", v, err)
	}
	for range 2 {
		if v, err = s.FinalizeVersion(ctx, who, mlflow.Account, "main.ml.m", "1", "sha256:d"); err != nil || v.Status != mlflow.VersionReady {
			t.Fatalf("%+v, %v", v, err)
		}
	}
	for range 2 { // a second reading is no news
		ok(t, s.NoteRead(ctx, who, v))
	}
	if _, err := s.Model(ctx, 1, "main.ml.m"); err != nil {
		t.Fatalf("a plain client does not find it: %v", err)
	}
	kinds := map[string]int{}
	ok(t, db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT kind FROM event WHERE subject LIKE 'main.ml.m%' AND run_id = 7`, nil, func(scan func(...any) error) error {
			var kind string
			err := scan(&kind)
			kinds[kind]++
			return err
		})
	}))
	if want := map[string]int{wherry.EventModelVersion: 1, wherry.EventModelRead: 1}; !reflect.DeepEqual(kinds, want) {
		t.Fatalf("events are %v", kinds)
	}
}

func TestExperiments(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := mlflow.New(db)
		e := experiment(t, s, "/Users/ada/one")
		_, err := s.CreateExperiment(ctx, who, "/Users/ada/one", "", nil)
		wantCode(t, err, wherry.CodeAlreadyExists)
		_, err = s.CreateExperiment(ctx, who, strings.Repeat("x", 501), "", nil)
		wantCode(t, err, wherry.CodeInvalidParameter)
		for f, n := range map[string]int{"": 2, "name LIKE '/Users/%'": 1, "tags.team = 'Blue'": 1, "tags.team IS NULL": 1, "experiment_id IN ('0')": 1, "creation_time > 0": 2} {
			list, _, err := s.SearchExperiments(ctx, 1, "", mlflow.Page{Filter: f, Max: 10})
			if err != nil || len(list) != n {
				t.Errorf("%s: %d experiments, %v", f, len(list), err)
			}
		}
		id := run(t, s, e, "r", 1)
		ok(t, s.SetExperimentStage(ctx, 1, e, mlflow.Deleted))
		if info, err := s.Info(ctx, 1, id); err != nil || info.Stage != mlflow.Deleted {
			t.Fatalf("the run of a deleted experiment is %+v, %v", info, err)
		}
		_, err = s.CreateRun(ctx, who, mlflow.NewRun{ExperimentID: e})
		wantCode(t, err, wherry.CodeInvalidParameter)
		ok(t, s.SetExperimentStage(ctx, 1, e, mlflow.Active))
		ok(t, s.RenameExperiment(ctx, 1, e, "two"))
		wantCode(t, s.RenameExperiment(ctx, 1, e, "Default"), wherry.CodeAlreadyExists)
	})
}
