package bundle

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry/bundle/config"
)

// A variable's value is, from the strongest: --var, BUNDLE_VAR_x in the
// environment, .databricks/bundle/<target>/variable-overrides.json, the
// target's, the default.

// targetVariables lays a target's variables over the bundle's: the value alone,
// or a map with default, description or lookup. A complex value replaces the
// bundle's as a whole.
func (b *Bundle) targetVariables(over *config.Value) {
	variables := b.Config.Child("variables")
	for _, f := range over.Entries() {
		v := variables.Get(f.Key)
		if v == nil {
			b.Problems.Add(config.Problem{
				Severity: config.Error, At: f.At, Message: "the variable " + f.Key + " is not declared",
				Hint: "declare it below variables: in " + b.File,
			})
			continue
		}
		if v.Kind != config.Map {
			v = config.NewMap(f.At)
			variables.Set(f.Key, v)
		}
		declares := f.Value.Kind == config.Map && !slices.ContainsFunc(f.Value.Fields, func(f config.Field) bool {
			return !slices.Contains([]string{"default", "description", "lookup", "type"}, f.Key)
		}) && len(f.Value.Fields) > 0
		if !declares {
			v.Set("default", f.Value)
			v.Delete("lookup")
			continue
		}
		for _, key := range f.Value.Fields {
			v.Set(key.Key, key.Value)
		}
		if f.Value.Get("lookup") != nil {
			v.Delete("default")
		}
	}
}

// checkFlags refuses --var of what the bundle does not declare.
func (b *Bundle) checkFlags() {
	for name := range b.opts.Vars {
		if b.Config != nil && b.Config.Get("variables", name) == nil {
			b.Problems.Errorf(config.Pos{}, "--var %s: the bundle declares no variable %s", name, name)
		}
	}
}

// setVariables gives every variable its value, at variables.NAME.value.
func (b *Bundle) setVariables() {
	overrides := b.variableOverrides()
	for _, f := range b.Config.Get("variables").Entries() {
		if f.Value.Kind != config.Map {
			f.Value.Kind, f.Value.Scalar = config.Map, nil
		}
		complex := f.Value.Get("type").Text() == "complex"
		value, given := f.Value.Get("default"), ""
		if text, ok := b.opts.Vars[f.Key]; ok {
			value, given = b.given(text, "--var "+f.Key, complex)
		} else if text := b.opts.Environ("BUNDLE_VAR_" + f.Key); text != "" {
			value, given = b.given(text, "BUNDLE_VAR_"+f.Key, complex)
		} else if v := overrides.Get(f.Key); v != nil {
			value, given = v, "variable-overrides.json"
		} else if lookup := f.Value.Get("lookup"); lookup != nil {
			b.lookup(f, lookup)
			continue
		}
		if value == nil {
			b.Problems.Add(config.Problem{
				Severity: config.Error, At: f.At, Message: "the variable " + f.Key + " has no value",
				Hint: "give one with --var " + f.Key + "=…, BUNDLE_VAR_" + f.Key + ", in the target or as default",
			})
			value = config.NewString("", f.At)
		}
		if complex && given == "" && value.Kind != config.Map && value.Kind != config.List && value.Kind != config.Null && !strings.Contains(value.Text(), "${") {
			b.Problems.Errorf(value.At, "the variable %s is of type complex and its value is %s", f.Key, value.Kind)
		}
		if !complex && (value.Kind == config.Map || value.Kind == config.List) {
			b.Problems.Add(config.Problem{
				Severity: config.Error, At: value.At, Message: "the variable " + f.Key + " has " + value.Kind.String() + " as value",
				Hint: "write type: complex beside it",
			})
		}
		f.Value.Set("value", value)
	}
}

// given reads a value from a flag or the environment: text, with the type that
// YAML would give it, or JSON for a complex variable.
func (b *Bundle) given(text, where string, complex bool) (*config.Value, string) {
	if complex {
		var x any
		if err := json.Unmarshal([]byte(text), &x); err != nil {
			b.Problems.Errorf(config.Pos{}, "%s: a complex variable is given as JSON: %v", where, err)
		}
		return config.Of(x, config.Pos{}), where
	}
	if text == "true" || text == "false" {
		return config.Of(text == "true", config.Pos{}), where
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
		return config.Of(n, config.Pos{}), where
	}
	return config.NewString(text, config.Pos{}), where
}

func (b *Bundle) variableOverrides() *config.Value {
	name := filepath.Join(".databricks", "bundle", b.Target, "variable-overrides.json")
	src, err := os.ReadFile(filepath.Join(b.Root, name))
	if err != nil {
		return nil // there rarely is one
	}
	v := config.Parse(filepath.ToSlash(name), src, b.Problems)
	for _, f := range v.Entries() {
		if b.Config.Get("variables", f.Key) == nil {
			b.Problems.Errorf(f.At, "the bundle declares no variable %s", f.Key)
		}
	}
	return v
}

// lookup makes a variable that is found by name in the workspace into a
// reference that the deploy resolves.
func (b *Bundle) lookup(f config.Field, lookup *config.Value) {
	entries := lookup.Entries()
	if len(entries) != 1 {
		b.Problems.Errorf(f.At, "lookup of the variable %s needs exactly one kind and name, as in lookup: {job: nightly}", f.Key)
		return
	}
	f.Value.Set("value", config.NewString("${lookup."+entries[0].Key+"."+f.Key+"}", entries[0].Value.At))
}

// Lookups are the variables whose value is the id of something in the
// workspace, found by name: kind (job, cluster, …) and name.
func (b *Bundle) Lookups() map[string]Lookup {
	found := map[string]Lookup{}
	for _, f := range b.Config.Get("variables").Entries() {
		if !strings.HasPrefix(f.Value.Get("value").Text(), "${lookup.") {
			continue
		}
		for _, l := range f.Value.Get("lookup").Entries() {
			found["${lookup."+l.Key+"."+f.Key+"}"] = Lookup{Kind: l.Key, Name: l.Value.Text(), At: l.Value.At}
		}
	}
	return found
}

// Lookup names something of the workspace.
type Lookup struct {
	Kind string     `json:"kind"`
	Name string     `json:"name"`
	At   config.Pos `json:"at"`
}
