package provider

import (
	"reflect"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// planner makes the planned values of a resource from its configuration and
// its state, by the rules that Terraform holds providers to: what is written
// is planned as written, or stays as it was if it means the same; what is not
// written stays, or is unknown until the API sets it.
type planner struct {
	replace []*tftypes.AttributePath
}

// block plans fields; prior is nil for what does not exist yet.
func (p *planner) block(fields []*Field, config, prior Values, at *tftypes.AttributePath) Values {
	out := Values{}
	for _, f := range fields {
		path := at.WithAttributeName(f.Name)
		if _, written := config[f.Name].(Values); f.isBlock() || f.Kind == Nested && written {
			out[f.Name] = p.nested(f, config[f.Name], prior, path)
		} else {
			out[f.Name] = p.attribute(f, config[f.Name], prior)
		}
		if f.New && prior != nil && !equal(f, out[f.Name], prior[f.Name]) {
			p.replace = append(p.replace, path)
		}
	}
	return out
}

func (p *planner) attribute(f *Field, written any, prior Values) any {
	switch was := prior[f.Name]; {
	case written != nil:
		if was != nil && same(f, written, was) {
			return was
		}
		return written
	case f.Default != nil:
		return f.Default
	case f.Computed && prior == nil:
		return Unknown{}
	case f.Computed:
		return was
	default:
		return nil
	}
}

func (p *planner) nested(f *Field, written any, prior Values, at *tftypes.AttributePath) any {
	switch written := written.(type) {
	case Values: // Single
		was, _ := prior[f.Name].(Values)
		return p.block(f.Fields, written, was, at)
	case []any:
		out := make([]any, len(written))
		was, _ := prior[f.Name].([]any)
		for i, item := range written {
			config, ok := item.(Values)
			if !ok {
				out[i] = item // unknown
				continue
			}
			var before Values
			if i < len(was) && f.Kind != BlockSet {
				before, _ = was[i].(Values)
			}
			out[i] = p.block(f.Fields, config, before, at.WithElementKeyInt(i))
		}
		if f.Kind == BlockSet && equal(f, out, prior[f.Name]) {
			return prior[f.Name]
		}
		return out
	default:
		return written
	}
}

// volatile forgets what the API may change with any change.
func volatile(fields []*Field, planned, prior Values) {
	changed := false
	for _, f := range fields {
		changed = changed || !equal(f, planned[f.Name], prior[f.Name])
	}
	if !changed {
		return
	}
	for _, f := range fields {
		if f.Volatile {
			planned[f.Name] = Unknown{}
		}
	}
}

// settle makes the new state after an apply: what was planned, and where that
// is unknown what the API says.
func settle(planned, found any) any {
	switch planned := planned.(type) {
	case Unknown:
		if _, ok := found.(Unknown); ok {
			return nil
		}
		return found
	case Values:
		out, got := Values{}, Values{}
		if v, ok := found.(Values); ok {
			got = v
		}
		for name, v := range planned {
			out[name] = settle(v, got[name])
		}
		return out
	case []any:
		got, _ := found.([]any)
		out := make([]any, len(planned))
		for i, v := range planned {
			var x any
			if i < len(got) {
				x = got[i]
			}
			out[i] = settle(v, x)
		}
		return out
	default:
		return planned
	}
}

// same reports whether two ways to write a field mean the same.
func same(f *Field, a, b any) bool {
	if equal(f, a, b) {
		return true
	}
	rule, ok := rules[f.As]
	if !ok || rule.fold == nil {
		return false
	}
	return reflect.DeepEqual(rule.folded(a), rule.folded(b))
}
