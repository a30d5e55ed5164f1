package provider

import (
	"errors"
	"fmt"
	"maps"
	"strings"
)

// ErrGone is what a Read returns of a resource that is no longer there.
var ErrGone = errors.New("the resource is gone")

// State is one resource while its handler works on it.
type State struct {
	*Table
	Values Values
	Prior  Values // before an update, else nil
}

// ID is the resource's id, "" if it has none yet.
func (s *State) ID() string { return s.String("id") }

// SetID says what the resource's id is: from now on it exists.
func (s *State) SetID(id string) { s.Values["id"] = id }

// String returns a field, "" if it is null, unknown or not a string.
func (s *State) String(name string) string {
	v, _ := s.Values[name].(string)
	return v
}

// Bool returns a field, false if it is null, unknown or not a bool.
func (s *State) Bool(name string) bool { return s.Values[name] == true }

// Strings returns a list or a set of strings.
func (s *State) Strings(name string) []string {
	items, _ := s.Values[name].([]any)
	out := make([]string, 0, len(items))
	for _, item := range items {
		if v, ok := item.(string); ok {
			out = append(out, v)
		}
	}
	return out
}

// Blocks returns the blocks of a name.
func (s *State) Blocks(name string) []Values {
	items, _ := s.Values[name].([]any)
	out := make([]Values, 0, len(items))
	for _, item := range items {
		if v, ok := item.(Values); ok {
			out = append(out, v)
		}
	}
	return out
}

// Changed reports whether an update changes a field.
func (s *State) Changed(name string) bool {
	f := s.Field(name)
	return f != nil && s.Prior != nil && !equal(f, s.Values[name], s.Prior[name])
}

// Field is the field of a name, nil if the table has none.
func (t *Table) Field(name string) *Field {
	for _, f := range t.Fields {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Encode is the API's document of the resource.
func (s *State) Encode() Document {
	fields := s.Fields
	if s.Prior == nil {
		fields = nil
		for _, f := range s.Fields {
			if !f.Update {
				fields = append(fields, f)
			}
		}
	}
	return Encode(fields, s.Values)
}

// EncodeChanges is the API's document of the fields that an update changes. A
// field that was taken away is sent empty.
func (s *State) EncodeChanges() Document {
	doc := Document{}
	for _, f := range s.Fields {
		if !s.Changed(f.Name) || f.Path == nil {
			continue
		}
		if part := Encode([]*Field{f}, s.Values); len(part) > 0 {
			merge(doc, part)
		} else if f.Optional && !f.Computed {
			put(doc, f.Path, empty(f.Kind))
		}
	}
	return doc
}

func merge(into, from Document) {
	for k, v := range from {
		a, ok := into[k].(Document)
		b, both := v.(Document)
		if ok && both {
			merge(a, b)
		} else {
			into[k] = v
		}
	}
}

func empty(k Kind) any {
	switch k {
	case String:
		return ""
	case Bool:
		return false
	case Int, Float:
		return 0
	case List, Set, Ints, Block, BlockSet:
		return []any{}
	default:
		return Document{}
	}
}

// Decode takes what the API says of the resource.
func (s *State) Decode(doc Document) { s.Values = Decode(s.Fields, doc, s.Values) }

// Expand replaces each {name} in a template by a field; fails on one that is
// not set.
func (s *State) Expand(template string, escape func(string) string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(template, "{")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, after, _ := strings.Cut(rest, "}")
		v := s.Values[name]
		if v == nil || v == (Unknown{}) {
			return "", fmt.Errorf("%s has no %s", s.Name, name)
		}
		b.WriteString(escape(fmt.Sprint(v)))
		template = after
	}
}

// Match takes the fields out of an id made by a template, the counterpart of
// Expand with separators that the fields do not have in them.
func (s *State) Match(template, id string) error {
	wrong := fmt.Errorf("an id of %s looks like %s, and not like %q", s.Name, template, id)
	found := Values{}
	for {
		before, rest, more := strings.Cut(template, "{")
		if len(id) < len(before) || !strings.EqualFold(id[:len(before)], before) {
			return wrong
		}
		id = id[len(before):]
		if !more {
			if id != "" {
				return wrong
			}
			maps.Copy(s.Values, found)
			return nil
		}
		name, after, _ := strings.Cut(rest, "}")
		value := id
		if next, _, _ := strings.Cut(after, "{"); next != "" {
			i := strings.Index(strings.ToLower(id), strings.ToLower(next))
			if i < 0 {
				return wrong
			}
			value = id[:i]
		}
		if value == "" {
			return wrong
		}
		found[name], id, template = value, id[len(value):], after
	}
}
