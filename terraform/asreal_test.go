package terraform_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/terraform"
)

// block is a provider's schema of a block, as `terraform providers schema -json` has it.
type block struct {
	Attributes map[string]struct {
		Type     any  `json:"type"`
		Required bool `json:"required"`
	} `json:"attributes"`
	Blocks map[string]struct {
		Block block `json:"block"`
		Min   int   `json:"min_items"`
	} `json:"block_types"`
}

type schemas map[string]struct {
	Block block `json:"block"`
}

// TestAsReal holds the stand-in of databricks against the real provider: it has no
// name that the real one has not, each is of the same type, and what the real one
// requires is required. Else a configuration that works here would fail in the
// cloud. (The stand-in of azurerm has the names of 4 and 5.)
func TestAsReal(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, on setup) {
		from := setup{engine: on.engine, source: terraform.Locate(t.Context(), on.engine)}
		if !slices.Contains(from.source.Mirrored, "databricks/databricks") {
			t.Skipf("real provider not run: %s names no mirror that has databricks; CONTRIBUTING.md says how to build one", terraform.MirrorVariable)
		}
		s := servertest.Start(t, nil)
		real := schemasOf(t, s, from)
		for kind, ours := range schemasOf(t, s, on) {
			if len(ours) == 0 {
				t.Errorf("the stand-in has no %s", kind)
			}
			for _, name := range slices.Sorted(maps.Keys(ours)) {
				theirs, ok := real[kind][name]
				if !ok {
					t.Errorf("%s: the real provider has none", name)
					continue
				}
				compare(t, name, ours[name].Block, theirs.Block)
			}
		}
	})
}

// schemasOf are the resources and the data sources of databricks.
func schemasOf(t *testing.T, s *servertest.Server, on setup) map[string]schemas {
	t.Helper()
	p := newProject(t, s, on, "terraform {\n  required_providers {\n    databricks = { source = \"databricks/databricks\" }\n  }\n}\n")
	p.run("init", "-no-color", "-input=false")
	var out struct {
		Providers map[string]map[string]json.RawMessage `json:"provider_schemas"`
	}
	if err := json.Unmarshal([]byte(p.run("providers", "schema", "-json")), &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Providers) != 1 {
		t.Fatalf("%d providers", len(out.Providers))
	}
	kinds := map[string]schemas{}
	for _, provider := range out.Providers {
		for _, kind := range []string{"resource_schemas", "data_source_schemas"} {
			var list schemas
			if err := json.Unmarshal(provider[kind], &list); err != nil {
				t.Fatal(err)
			}
			kinds[kind] = list
		}
	}
	return kinds
}

func compare(t *testing.T, where string, ours, theirs block) {
	t.Helper()
	for name, a := range ours.Attributes {
		b, ok := theirs.Attributes[name]
		_, isBlock := theirs.Blocks[name]
		switch {
		case !ok && !isBlock && name != "id": // each of ours has an id
			t.Errorf("%s.%s: the real provider has none", where, name)
		case ok && !reflect.DeepEqual(a.Type, b.Type):
			t.Errorf("%s.%s is a %v, in the real provider %v", where, name, a.Type, b.Type)
		}
	}
	for name, b := range theirs.Attributes {
		if b.Required && !ours.Attributes[name].Required {
			t.Errorf("%s.%s is required in the real provider", where, name)
		}
	}
	for name, a := range ours.Blocks {
		b, ok := theirs.Blocks[name]
		if _, isAttribute := theirs.Attributes[name]; !ok && !isAttribute {
			t.Errorf("%s.%s: the real provider has no such block", where, name)
		}
		if ok {
			compare(t, where+"."+name, a.Block, b.Block)
		}
	}
	for name, b := range theirs.Blocks {
		if b.Min > 0 {
			if _, ok := ours.Blocks[name]; !ok {
				t.Errorf("%s.%s is a block that the real provider requires", where, name)
			}
		}
	}
}
