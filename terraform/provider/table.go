package provider

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Kind is the type of a field.
type Kind string

// The kinds of fields. Lists, sets and maps hold strings, unless ints is named.
const (
	String Kind = "string"
	Bool   Kind = "bool"
	Int    Kind = "int"
	Float  Kind = "float"
	Map    Kind = "map"
	List   Kind = "list"
	Ints   Kind = "ints"
	Set    Kind = "set"
	// Objects is a list of objects that only the API sets.
	Objects Kind = "objects"
	// ObjectMap is a map of objects that only the API sets.
	ObjectMap Kind = "objectmap"
	// Nested is an object written as an argument: name = { … }.
	Nested Kind = "nested"
	// Block may be written many times and keeps its order, One at most once;
	// BlockSet has no order; Single is an object rather than a list, as the
	// time-outs of a resource are.
	Block    Kind = "block"
	One      Kind = "one"
	BlockSet Kind = "blockset"
	Single   Kind = "single"
)

// Field is one argument, attribute or block of a table.
type Field struct {
	Name   string
	Kind   Kind
	Fields []*Field // of a block or of objects

	Required, Optional, Computed, Sensitive bool
	New                                     bool // another value needs another resource
	Write                                   bool // the API takes it and does not give it back
	Volatile                                bool // the API may give it another value with each change
	Keep                                    bool // what the API says counts only if the configuration says something
	Zero                                    bool // sent even if it is false, 0 or empty
	Default                                 any
	OneOf                                   []string
	As                                      string   // how the API writes it: a name of rules
	Path                                    []string // where it is in the API's document, nil if nowhere
	Inline                                  bool     // a block whose fields lie in the document itself
	Update                                  bool     // sent in updates only
}

// Table is one resource type or data source, as a table describes it.
type Table struct {
	Name       string
	Data       bool
	Fields     []*Field
	settings   bool                // of the provider itself
	Directives map[string][]string // the words after !name; lines of one name follow each other with "\n" between
}

// Parse reads tables. The form, by example:
//
//	fragment tags
//	  tags map optional
//	resource azurerm_resource_group
//	  !path /subscriptions/{subscription_id}/resourceGroups/{name}
//	  name     string required new @-
//	  location string required new as=location
//	  use tags
//
// A line is a name, a kind and flags; deeper lines are the fields of a block.
// @a.b says where the API's document has the value (the field's own name if it
// is not given, @- for nowhere, @. for a block that is no object there).
func Parse(text string) (map[string]*Table, error) {
	p := parser{tables: map[string]*Table{}, fragments: map[string][]*Field{}}
	for i, line := range strings.Split(text, "\n") {
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	for _, t := range p.tables {
		if !t.settings && t.Field("id") == nil { // each has one
			t.Fields = append(t.Fields, &Field{Name: "id", Kind: String, Computed: true})
		}
	}
	return p.tables, nil
}

type parser struct {
	tables    map[string]*Table
	fragments map[string][]*Field
	table     *Table
	open      []*[]*Field // by depth, where the next field goes
	fragment  string
}

func (p *parser) line(line string) error {
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil
	}
	depth := (len(line) - len(strings.TrimLeft(line, " "))) / 2
	if depth == 0 {
		return p.head(words)
	}
	if depth > len(p.open) {
		return fmt.Errorf("%q is too deep", words[0])
	}
	p.open = p.open[:depth]
	into := p.open[depth-1]
	switch {
	case strings.HasPrefix(words[0], "!"):
		if p.table == nil {
			return fmt.Errorf("%s outside of a resource", words[0])
		}
		d := p.table.Directives
		if name := words[0][1:]; d[name] == nil {
			d[name] = words[1:]
		} else {
			d[name] = append(append(d[name], "\n"), words[1:]...)
		}
	case words[0] == "use":
		for _, name := range words[1:] {
			fields, ok := p.fragments[name]
			if !ok {
				return fmt.Errorf("no fragment %q", name)
			}
			*into = append(*into, fields...)
		}
	default:
		f, err := parseField(words)
		if err != nil {
			return err
		}
		*into = append(*into, f)
		p.open = append(p.open, &f.Fields)
	}
	if p.table == nil {
		p.fragments[p.fragment] = *p.open[0]
	}
	return nil
}

func (p *parser) head(words []string) error {
	if len(words) != 2 {
		return fmt.Errorf("want resource, data or fragment and a name, got %q", words)
	}
	fields := new([]*Field)
	switch words[0] {
	case "fragment":
		p.table, p.fragment = nil, words[1]
	case "resource", "data", "provider":
		p.table = &Table{Name: words[1], Data: words[0] == "data", settings: words[0] == "provider", Directives: map[string][]string{}}
		fields = &p.table.Fields
		key := words[1]
		if p.table.Data {
			key = "data." + key
		}
		if p.tables[key] != nil {
			return fmt.Errorf("%s is there twice", key)
		}
		p.tables[key] = p.table
	default:
		return fmt.Errorf("want resource, data or fragment, got %q", words[0])
	}
	p.open = []*[]*Field{fields}
	return nil
}

var kinds = []Kind{String, Bool, Int, Float, Map, List, Ints, Set, Objects, ObjectMap, Nested, Block, One, BlockSet, Single}

func parseField(words []string) (*Field, error) {
	if len(words) < 2 || !slices.Contains(kinds, Kind(words[1])) {
		return nil, fmt.Errorf("want a name and a kind, got %q", words)
	}
	f := &Field{Name: words[0], Kind: Kind(words[1]), Path: []string{words[0]}}
	flags := map[string]*bool{
		"required": &f.Required, "optional": &f.Optional, "computed": &f.Computed, "sensitive": &f.Sensitive, "new": &f.New,
		"write": &f.Write, "volatile": &f.Volatile, "keep": &f.Keep, "zero": &f.Zero, "update": &f.Update,
	}
	for _, w := range words[2:] {
		name, value, _ := strings.Cut(w, "=")
		switch flag := flags[w]; {
		case flag != nil:
			*flag = true
		case w == "@-":
			f.Path = nil
		case w == "@.":
			f.Inline = true
		case strings.HasPrefix(w, "@"):
			f.Path = strings.Split(w[1:], ".")
		case name == "default":
			d, err := parseDefault(f.Kind, value)
			if err != nil {
				return nil, err
			}
			f.Default, f.Optional, f.Computed = d, true, true
		case name == "oneof":
			f.OneOf = strings.Split(value, "|")
		case name == "as":
			if _, ok := rules[value]; !ok {
				return nil, fmt.Errorf("%s: no rule %q", f.Name, value)
			}
			f.As = value
		default:
			return nil, fmt.Errorf("%s: unknown flag %q", f.Name, w)
		}
	}
	if !f.Required && !f.Computed {
		f.Optional = true
	}
	return f, nil
}

func parseDefault(k Kind, value string) (any, error) {
	switch k {
	case Bool:
		return strconv.ParseBool(value)
	case Int:
		return strconv.ParseInt(value, 10, 64)
	case String:
		return value, nil
	default:
		return nil, fmt.Errorf("no default for a %s", k)
	}
}

// isBlock tells a block of the configuration's grammar from an attribute.
func (f *Field) isBlock() bool {
	return f.Kind == Block || f.Kind == One || f.Kind == BlockSet || f.Kind == Single
}
