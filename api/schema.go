package api

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"
)

// schema is OpenAPI's description of a JSON value; the zero schema is any.
type schema struct {
	Ref        string             `json:"$ref,omitempty"`
	Type       string             `json:"type,omitempty"`
	Format     string             `json:"format,omitempty"`
	Nullable   bool               `json:"nullable,omitempty"`
	Items      *schema            `json:"items,omitempty"`
	Properties map[string]*schema `json:"properties,omitempty"`
	Additional *schema            `json:"additionalProperties,omitempty"`
	AllOf      []*schema          `json:"allOf,omitempty"`
}

// jsonField is a field of a struct as encoding/json sees it.
type jsonField struct {
	name     string
	typ      reflect.Type
	optional bool // omitempty: left out instead of null
}

// fields lists what encoding/json writes of a struct. Of a type that writes
// itself only the tagged fields count: others are not the document's.
func fields(t reflect.Type) (list []jsonField) {
	if t.Kind() != reflect.Struct {
		return nil
	}
	own := writesItself(t)
	for _, f := range reflect.VisibleFields(t) {
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case !f.IsExported() || tag == "-" || f.Anonymous && name == "" || name == "" && own:
			continue
		case name == "":
			name = f.Name
		}
		field := jsonField{name: name, typ: f.Type, optional: strings.Contains(options, "omit")}
		if options == "string" || strings.HasPrefix(options, "string,") {
			field.typ = reflect.TypeFor[string]()
		}
		list = append(list, field)
	}
	return list
}

func writesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Marshaler]()) || p.Implements(reflect.TypeFor[json.Unmarshaler]())
}

// schema describes a Go type. Named structs become components, so that types
// may hold themselves.
func (d *document) schema(t reflect.Type) *schema {
	switch t {
	case reflect.TypeFor[json.RawMessage]():
		return &schema{}
	case reflect.TypeFor[time.Time]():
		return &schema{Type: "string", Format: "date-time"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return nullable(d.schema(t.Elem()))
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.Int32, reflect.Uint32:
		return &schema{Type: "integer", Format: "int32"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return &schema{Type: "integer", Format: "int64"}
	case reflect.Float64:
		if writesItself(t) { // NaN is a string
			return &schema{}
		}
		return &schema{Type: "number", Format: "double"}
	case reflect.String:
		return &schema{Type: "string"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return &schema{Type: "string", Format: "byte", Nullable: true}
		}
		return &schema{Type: "array", Items: d.schema(t.Elem()), Nullable: true}
	case reflect.Map:
		return &schema{Type: "object", Additional: d.schema(t.Elem()), Nullable: true}
	case reflect.Struct:
		return d.object(t)
	default:
		return &schema{}
	}
}

func (d *document) object(t reflect.Type) *schema {
	name := componentName(t)
	if name == "" {
		return d.properties(t, &schema{Type: "object"})
	}
	if d.Components.Schemas[name] == nil {
		s := &schema{Type: "object"}
		d.Components.Schemas[name] = s // before its fields: one may be of the same type
		d.properties(t, s)
	}
	return &schema{Ref: "#/components/schemas/" + name}
}

func (d *document) properties(t reflect.Type, s *schema) *schema {
	for _, f := range fields(t) {
		if s.Properties == nil {
			s.Properties = map[string]*schema{}
		}
		p := d.schema(f.typ)
		if f.optional && len(p.AllOf) == 1 {
			p = p.AllOf[0]
		}
		s.Properties[f.name] = p
	}
	return s
}

// example describes a value whose type says less than it holds.
func (d *document) example(v any) *schema {
	m, ok := v.(map[string]any)
	if !ok {
		t := reflect.TypeOf(v)
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		return d.schema(t)
	}
	s := &schema{Type: "object", Properties: map[string]*schema{}}
	for key, value := range m {
		s.Properties[key] = d.example(value)
	}
	return s
}

// nullable allows null. A reference allows nothing beside itself.
func nullable(s *schema) *schema {
	if s.Ref != "" {
		return &schema{Nullable: true, AllOf: []*schema{s}}
	}
	if s.Type != "" {
		s.Nullable = true
	}
	return s
}

// componentName is unique in the module: the package's path and the type's name,
// "" for a type without one.
func componentName(t reflect.Type) string {
	name := t.Name()
	if name == "" || strings.ContainsAny(name, "[]") {
		return ""
	}
	_, inside, _ := strings.Cut(t.PkgPath(), "/wherry-ml/wherry/")
	if inside == "" {
		return name
	}
	return strings.ReplaceAll(inside, "/", ".") + "." + name
}
