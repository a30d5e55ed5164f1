package provider

import (
	"encoding/json"
	"strconv"
	"strings"
)

// rule is how the API writes a value that the configuration writes otherwise.
type rule struct {
	fold   func(string) string // two values that fold to the same mean the same
	encode func(any) any
	decode func(any) any
}

func (r rule) folded(v any) any {
	if s, ok := v.(string); ok {
		return r.fold(s)
	}
	return v
}

var rules = map[string]rule{
	// Azure takes "West Europe" and answers "westeurope".
	"location": {fold: func(s string) string { return strings.ToLower(strings.ReplaceAll(s, " ", "")) }},
	"fold":     {fold: strings.ToLower},
	"slash":    {fold: func(s string) string { return strings.TrimRight(s, "/") }},
	"json":     {fold: foldJSON},
	"enabled": {
		encode: func(v any) any {
			if v == true {
				return "Enabled"
			}
			return "Disabled"
		},
		decode: func(v any) any { return v == "Enabled" },
	},
	"not": {encode: func(v any) any { return v != true }, decode: func(v any) any { return v != true }},
	// int64 ids that the API takes and gives as numbers.
	"number": {
		encode: func(v any) any {
			if n, err := strconv.ParseInt(v.(string), 10, 64); err == nil {
				return n
			}
			return v
		},
	},
}

func foldJSON(s string) string {
	var v any
	if json.Unmarshal([]byte(s), &v) != nil {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return s
	}
	return string(b)
}

// Document is a JSON object of an API.
type Document = map[string]any

// Encode makes the API's document of a resource's values. Null and unknown
// values are left out.
func Encode(fields []*Field, v Values) Document {
	doc := Document{}
	encodeInto(doc, fields, v)
	return doc
}

func encodeInto(doc Document, fields []*Field, v Values) {
	for _, f := range fields {
		value := v[f.Name]
		if _, unknown := value.(Unknown); value == nil || unknown || f.Path == nil {
			continue
		}
		if f.Computed && !f.Optional {
			continue // the API's own
		}
		if f.Inline {
			if b := first(value); b != nil {
				encodeInto(doc, f.Fields, b)
			}
			continue
		}
		if x := encodeValue(f, value); x != nil {
			put(doc, f.Path, x)
		}
	}
}

func encodeValue(f *Field, value any) any {
	switch f.Kind {
	case One, Single, Nested:
		if b := first(value); b != nil {
			return Encode(f.Fields, b)
		}
		return nil
	case Block, BlockSet, Objects:
		items, _ := value.([]any)
		if len(items) == 0 && !f.Zero {
			return nil
		}
		out := make([]any, 0, len(items))
		for _, item := range items {
			b, _ := item.(Values)
			out = append(out, Encode(f.Fields, b))
		}
		return out
	}
	if r := rules[f.As]; r.encode != nil {
		return r.encode(value)
	}
	return plain(value)
}

// plain drops this package's types, and what is not known.
func plain(v any) any {
	switch v := v.(type) {
	case Values:
		out := Document{}
		for k, x := range v {
			if x != nil && x != (Unknown{}) {
				out[k] = plain(x)
			}
		}
		return out
	case []any:
		out := make([]any, 0, len(v))
		for _, x := range v {
			if x != nil && x != (Unknown{}) {
				out = append(out, plain(x))
			}
		}
		return out
	default:
		return v
	}
}

// first is the one block of a list, or the object itself.
func first(v any) Values {
	switch v := v.(type) {
	case Values:
		return v
	case []any:
		if len(v) == 0 {
			return nil
		}
		if b, ok := v[0].(Values); ok {
			return b
		}
		return Values{} // a block with nothing in it
	}
	return nil
}

func put(doc Document, path []string, v any) {
	for _, name := range path[:len(path)-1] {
		next, ok := doc[name].(Document)
		if !ok {
			next = Document{}
			doc[name] = next
		}
		doc = next
	}
	doc[path[len(path)-1]] = v
}

// At returns what is at a path in a document, nil if nothing.
func At(doc any, path ...string) any {
	for _, name := range path {
		m, ok := doc.(Document)
		if !ok {
			return nil
		}
		doc = m[name]
	}
	return doc
}

// Decode reads the API's document into values. What the configuration wrote
// otherwise, but means the same, stays as it was: else each plan would show a
// change.
func Decode(fields []*Field, doc Document, prior Values) Values {
	out := Values{}
	for _, f := range fields {
		out[f.Name] = decodeField(f, doc, prior[f.Name])
	}
	return out
}

func decodeField(f *Field, doc Document, prior any) any {
	if f.Path == nil || f.Write || f.Keep && zero(prior) {
		return prior
	}
	found := At(doc, f.Path...)
	if f.Inline {
		found = doc
	}
	if found == nil {
		if f.Computed || zero(prior) {
			return known(prior)
		}
		if f.Kind == Block || f.Kind == One || f.Kind == BlockSet {
			return []any{}
		}
		return nil
	}
	v := decodeValue(f, found, prior)
	_, unknown := prior.(Unknown)
	if zero(v) && zero(prior) && !f.Computed || !unknown && prior != nil && same(f, v, prior) {
		return prior
	}
	return v
}

func known(v any) any {
	if _, ok := v.(Unknown); ok {
		return nil
	}
	return v
}

func decodeValue(f *Field, found, prior any) any {
	switch f.Kind {
	case One, Single, Nested:
		m, ok := found.(Document)
		if !ok {
			return prior
		}
		b := Decode(f.Fields, m, first(prior))
		if f.Kind != One {
			return b
		}
		if zero(b) && zero(prior) {
			return []any{}
		}
		return []any{b}
	case Block, Objects:
		items, _ := found.([]any)
		was, _ := prior.([]any)
		out := make([]any, 0, len(items))
		for i, item := range items {
			m, _ := item.(Document)
			var before Values
			if i < len(was) {
				before, _ = was[i].(Values)
			}
			out = append(out, Decode(f.Fields, m, before))
		}
		return out
	case BlockSet:
		return decodeSet(f, found, prior)
	case ObjectMap:
		out := Values{}
		m, _ := found.(Document)
		for name, item := range m {
			doc, _ := item.(Document)
			out[name] = Decode(f.Fields, doc, nil)
		}
		return out
	}
	if r := rules[f.As]; r.decode != nil {
		found = r.decode(found)
	}
	return scalar(f.Kind, found)
}

// decodeSet finds for each element the one of the state that means the same.
func decodeSet(f *Field, found, prior any) any {
	items, _ := found.([]any)
	was, _ := prior.([]any)
	out := make([]any, 0, len(items))
	for _, item := range items {
		m, _ := item.(Document)
		v := Decode(f.Fields, m, nil)
		for _, w := range was {
			before, _ := w.(Values)
			if x := Decode(f.Fields, m, before); equal(&Field{}, x, before) {
				v = x
				break
			}
		}
		out = append(out, v)
	}
	return out
}

// scalar makes of a JSON value one of the field's kind.
func scalar(k Kind, v any) any {
	switch k {
	case String:
		switch v := v.(type) {
		case string:
			return v
		case json.Number:
			return v.String()
		case bool:
			return strconv.FormatBool(v)
		case nil:
			return nil
		default:
			b, _ := json.Marshal(v) // came from JSON
			return string(b)
		}
	case Bool:
		switch v := v.(type) {
		case bool:
			return v
		case string:
			return v == "true"
		}
	case Int:
		switch v := v.(type) {
		case json.Number:
			if n, err := v.Int64(); err == nil {
				return n
			}
		case string:
			if n, err := strconv.ParseInt(v, 10, 64); err == nil {
				return n
			}
		case int64:
			return v
		}
	case Float:
		if n, ok := v.(json.Number); ok {
			f, _ := n.Float64()
			if i, err := n.Int64(); err == nil {
				return i
			}
			return f
		}
	case List, Set, Ints:
		items, _ := v.([]any)
		elem := String
		if k == Ints {
			elem = Int
		}
		out := make([]any, 0, len(items))
		for _, item := range items {
			out = append(out, scalar(elem, item))
		}
		return out
	case Map:
		items, _ := v.(Document)
		out := Values{}
		for name, item := range items {
			out[name] = scalar(String, item)
		}
		return out
	}
	return nil
}
