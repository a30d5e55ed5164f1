// Package config is a tree of YAML values that knows where each value was
// written, so that every message about one can name file, line and column.
package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Kind says which of its fields a Value uses.
type Kind uint8

// Kinds of value.
const (
	Null Kind = iota
	Bool
	Int
	Float
	String
	List
	Map
)

func (k Kind) String() string {
	return [...]string{"null", "a boolean", "an integer", "a number", "a string", "a list", "a map"}[k]
}

// Pos is a place in a file; the zero Pos is nowhere (a default, a flag).
type Pos struct {
	File   string `json:"file,omitempty"` // with slashes, relative to the bundle root
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

func (p Pos) String() string {
	if p.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Value is one node of the tree.
type Value struct {
	Kind   Kind
	Scalar any      // bool, int64, float64 or string
	Items  []*Value // of a List
	Fields []Field  // of a Map, in the order written
	At     Pos
}

// Field is one entry of a map.
type Field struct {
	Key   string
	At    Pos // of the key
	Value *Value
}

// NewString makes a string value.
func NewString(s string, at Pos) *Value { return &Value{Kind: String, Scalar: s, At: at} }

// NewMap makes an empty map.
func NewMap(at Pos) *Value { return &Value{Kind: Map, At: at} }

// Text is the value of a String, "" for anything else.
func (v *Value) Text() string {
	if v == nil || v.Kind != String {
		return ""
	}
	return v.Scalar.(string)
}

// True tells whether v is the boolean true.
func (v *Value) True() bool { return v != nil && v.Kind == Bool && v.Scalar.(bool) }

// List is the items of a List, nil for anything else (a nil Value too).
func (v *Value) List() []*Value {
	if v == nil || v.Kind != List {
		return nil
	}
	return v.Items
}

// Entries is the fields of a Map, nil for anything else (a nil Value too).
func (v *Value) Entries() []Field {
	if v == nil || v.Kind != Map {
		return nil
	}
	return v.Fields
}

// Field returns the entry with the key, nil if v has none.
func (v *Value) Field(key string) *Field {
	if v == nil || v.Kind != Map {
		return nil
	}
	for i := range v.Fields {
		if v.Fields[i].Key == key {
			return &v.Fields[i]
		}
	}
	return nil
}

// Get follows keys downwards; nil where one is missing.
func (v *Value) Get(keys ...string) *Value {
	for _, key := range keys {
		f := v.Field(key)
		if f == nil {
			return nil
		}
		v = f.Value
	}
	return v
}

// Lookup follows a dotted path with [n] for list items, as a reference
// ${a.b[0].c} has it; nil where a part is missing.
func (v *Value) Lookup(path string) *Value {
	for part := range strings.SplitSeq(strings.ReplaceAll(path, "[", ".["), ".") {
		if index, ok := strings.CutPrefix(part, "["); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
			if err != nil || n < 0 || n >= len(v.List()) {
				return nil
			}
			v = v.Items[n]
			continue
		}
		if v = v.Get(part); v == nil {
			return nil
		}
	}
	return v
}

// Set sets key of a map, in place of an older value or at the end.
func (v *Value) Set(key string, value *Value) {
	if f := v.Field(key); f != nil {
		f.Value = value
		return
	}
	v.Fields = append(v.Fields, Field{Key: key, At: value.At, Value: value})
}

// SetDefault sets key of a map if it is missing or null.
func (v *Value) SetDefault(key string, value *Value) {
	if old := v.Get(key); old == nil || old.Kind == Null {
		v.Set(key, value)
	}
}

// Delete removes key of a map.
func (v *Value) Delete(key string) {
	v.Fields = slices.DeleteFunc(v.Fields, func(f Field) bool { return f.Key == key })
}

// Child returns the map at key, making it if it is missing.
func (v *Value) Child(key string) *Value {
	if c := v.Get(key); c != nil && c.Kind == Map {
		return c
	}
	c := NewMap(v.At)
	v.Set(key, c)
	return c
}

// Copy copies the whole tree below v.
func (v *Value) Copy() *Value {
	if v == nil {
		return nil
	}
	c := &Value{Kind: v.Kind, Scalar: v.Scalar, At: v.At}
	for _, item := range v.Items {
		c.Items = append(c.Items, item.Copy())
	}
	for _, f := range v.Fields {
		c.Fields = append(c.Fields, Field{Key: f.Key, At: f.At, Value: f.Value.Copy()})
	}
	return c
}

// Plain turns the tree into what encoding/json marshals: nil, bool, int64,
// float64, string, []any, map[string]any.
func (v *Value) Plain() any {
	switch {
	case v == nil || v.Kind == Null:
		return nil
	case v.Kind == List:
		list := make([]any, 0, len(v.Items))
		for _, item := range v.Items {
			list = append(list, item.Plain())
		}
		return list
	case v.Kind == Map:
		m := make(map[string]any, len(v.Fields))
		for _, f := range v.Fields {
			m[f.Key] = f.Value.Plain()
		}
		return m
	default:
		return v.Scalar
	}
}

// Of is the opposite of Plain: it makes a tree, all of it at one place, of a
// value that encoding/json unmarshals to. Keys are sorted.
func Of(x any, at Pos) *Value {
	v := &Value{At: at}
	switch x := x.(type) {
	case bool:
		v.Kind, v.Scalar = Bool, x
	case int:
		v.Kind, v.Scalar = Int, int64(x)
	case int64:
		v.Kind, v.Scalar = Int, x
	case float64:
		if x == float64(int64(x)) {
			v.Kind, v.Scalar = Int, int64(x)
		} else {
			v.Kind, v.Scalar = Float, x
		}
	case string:
		v.Kind, v.Scalar = String, x
	case []any:
		v.Kind = List
		for _, item := range x {
			v.Items = append(v.Items, Of(item, at))
		}
	case map[string]any:
		v.Kind = Map
		for _, key := range sortedKeys(x) {
			v.Fields = append(v.Fields, Field{Key: key, At: at, Value: Of(x[key], at)})
		}
	}
	return v
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Walk calls fn for v and everything below it, with the path of each ("a.b[0]");
// fn may change the value it is given.
func (v *Value) Walk(path string, fn func(path string, v *Value)) {
	if v == nil {
		return
	}
	fn(path, v)
	for i, item := range v.List() {
		item.Walk(fmt.Sprintf("%s[%d]", path, i), fn)
	}
	for _, f := range v.Entries() {
		f.Value.Walk(Join(path, f.Key), fn)
	}
}

// Join appends a key to a dotted path.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Inline renders a scalar as it stands inside of a longer string; ok is false
// for a list or a map.
func (v *Value) Inline() (s string, ok bool) {
	switch v.Kind {
	case Null:
		return "", true
	case List, Map:
		return "", false
	case Float:
		return strconv.FormatFloat(v.Scalar.(float64), 'g', -1, 64), true
	default:
		return fmt.Sprint(v.Scalar), true
	}
}
