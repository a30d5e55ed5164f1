package schema_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/databricks/databricks-sdk-go/service/catalog"
	"github.com/databricks/databricks-sdk-go/service/compute"
	"github.com/databricks/databricks-sdk-go/service/jobs"
	"github.com/databricks/databricks-sdk-go/service/ml"

	"github.com/wherry-ml/wherry/bundle/config"
	"github.com/wherry-ml/wherry/bundle/schema"
)

// The table must know what the public SDK knows.
func TestTableHasEveryFieldOfTheSDK(t *testing.T) {
	for name, typ := range map[string]reflect.Type{
		"job": reflect.TypeFor[jobs.JobSettings](), "task": reflect.TypeFor[jobs.Task](), "cluster_spec": reflect.TypeFor[compute.ClusterSpec](),
		"notebook_task": reflect.TypeFor[jobs.NotebookTask](), "library": reflect.TypeFor[compute.Library](), "environment": reflect.TypeFor[compute.Environment](),
		"schema": reflect.TypeFor[catalog.CreateSchema](), "volume": reflect.TypeFor[catalog.CreateVolumeRequestContent](), "experiment": reflect.TypeFor[ml.CreateExperiment](),
		"catalog": reflect.TypeFor[catalog.CreateCatalog](), "external_location": reflect.TypeFor[catalog.CreateExternalLocation](), "model": reflect.TypeFor[ml.CreateModelRequest](),
	} {
		for _, f := range reflect.VisibleFields(typ) {
			tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if _, ok := schema.Types()[name][tag]; !ok && tag != "" && tag != "-" {
				t.Errorf("%s lacks %s", name, tag)
			}
		}
	}
}

func TestEveryTypeOfTheTableIsDefined(t *testing.T) {
	basic := []string{"string", "int", "float", "bool", "any"}
	for name, keys := range schema.Types() {
		for key, k := range keys {
			typ := strings.TrimPrefix(strings.TrimPrefix(k.Type, "[]"), "map[]")
			if strings.Contains(typ, "|") || typ == strings.ToUpper(typ) || slices.Contains(basic, typ) {
				continue
			}
			if _, ok := schema.Types()[typ]; !ok {
				t.Errorf("%s.%s is of type %s, which is not defined", name, key, typ)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	for src, want := range map[string]string{
		"namee: x":                              `f.yml:1:1: error: unknown key "namee" in j: did you mean "name"?`,
		"max_concurrent_runs: many":             `f.yml:1:22: error: j.max_concurrent_runs must be an integer, and is a string ("many")`,
		"tasks: {a: b}":                         "f.yml:1:8: error: j.tasks must be a list, and is a map",
		"edit_mode: UI_LOKED":                   `f.yml:1:12: error: j.edit_mode cannot be "UI_LOKED": did you mean "UI_LOCKED"?`,
		"queue: {enabled: 'yes'}":               `f.yml:1:18: error: j.queue.enabled must be a boolean, and is a string ("yes")`,
		"tasks:\n- description: a":              `f.yml:2:3: error: j.tasks[0] needs the key "task_key"`,
		"max_concurrent_runs: ${var.n}":         "",
		"parameters: [{name: a, default: 12}]":  "",
		"tags: {a: 1, b: true}":                 "",
		"job_clusters: [{job_cluster_key: a,}]": "",
	} {
		var ps config.Problems
		schema.Checker{Problems: &ps, References: true}.Check(config.Parse("f.yml", []byte(src), &ps), "job", "j")
		got := ""
		for _, p := range ps.List() {
			got += ps.Format(p)
		}
		if first, _, _ := strings.Cut(got, "\n"); first != want {
			t.Errorf("%s\n got %s\nwant %s", src, first, want)
		}
	}
}
