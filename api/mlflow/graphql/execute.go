package graphql

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Schema says which fields each type has, by their GraphQL names: type →
// field → kind. A kind is String, Long (a 64-bit integer as text), Float,
// Int, Boolean, the name of a type, or one of these in brackets for a list.
type Schema map[string]map[string]string

// Resolver gives the value of a root field: an object as encoding/json reads
// it, with keys in snake_case. args has snake_case keys too.
type Resolver func(ctx context.Context, field string, args map[string]any) (any, error)

// Expander gives the value of a field that its object does not hold; ok is
// false if it is none of those.
type Expander func(ctx context.Context, typeName, field string, object map[string]any) (value any, ok bool, err error)

// Request is what a client sends.
type Request struct {
	Query         string         `json:"query"`
	Variables     map[string]any `json:"variables"`
	OperationName string         `json:"operationName"`
}

// Response is the answer; Errors is null without errors.
type Response struct {
	Data   any      `json:"data"`
	Errors []string `json:"errors"`
}

// Executor answers requests.
type Executor struct {
	Schema  Schema
	Resolve Resolver
	Expand  Expander
}

// Do executes a request. Mistakes of the caller are in the response.
func (e *Executor) Do(ctx context.Context, req Request) Response {
	doc, err := parse(req.Query)
	if err != nil {
		return failed(err)
	}
	op, err := doc.choose(req.OperationName)
	if err != nil {
		return failed(err)
	}
	root := "Query"
	if op.kind == "mutation" {
		root = "Mutation"
	}
	if err := doc.limits(op); err != nil {
		return failed(err)
	}
	x := &execution{e, doc, map[string]any{}}
	for name, v := range op.defaults {
		x.variables[name] = v
	}
	for name, v := range req.Variables {
		x.variables[name] = v
	}
	if err := x.check(root, op.selections, nil); err != nil {
		return failed(err)
	}
	fields, err := x.fields(op.selections)
	if err != nil {
		return failed(err)
	}
	data, errs := newObject(), []string(nil)
	for _, f := range fields {
		v, err := x.root(ctx, root, f)
		if err != nil {
			errs = append(errs, err.Error())
		}
		data.set(f.key(), v)
	}
	return Response{Data: data, Errors: errs}
}

func failed(err error) Response { return Response{Errors: []string{err.Error()}} }

func (d *document) choose(name string) (*operation, error) {
	if name == "" && len(d.operations) == 1 {
		return d.operations[0], nil
	}
	for _, op := range d.operations {
		if op.name == name && name != "" {
			return op, nil
		}
	}
	if name == "" {
		return nil, fmt.Errorf("Must provide operation name if query contains multiple operations.")
	}
	return nil, fmt.Errorf("Unknown operation named %q.", name)
}

// limits counts what the operation asks for, with its fragments expanded.
func (d *document) limits(op *operation) error {
	total := 0
	var walk func(list []selection, depth int, open map[string]bool) (fields int, err error)
	walk = func(list []selection, depth int, open map[string]bool) (int, error) {
		if depth > maxDepth {
			return 0, fmt.Errorf("Query exceeds maximum depth of %d", maxDepth)
		}
		fields, aliases := 0, 0
		var level func(list []selection, open map[string]bool) error
		level = func(list []selection, open map[string]bool) error {
			for _, s := range list {
				if total++; total > maxSelections {
					return fmt.Errorf("Query exceeds maximum total selections of %d", maxSelections)
				}
				inner := s.selections
				if s.spread != "" {
					if open[s.spread] {
						return fmt.Errorf("Cannot spread fragment %q within itself.", s.spread)
					}
					var ok bool
					if inner, ok = d.fragments[s.spread]; !ok {
						return fmt.Errorf("Unknown fragment %q.", s.spread)
					}
				}
				if s.name == "" {
					nested := open
					if s.spread != "" {
						nested = map[string]bool{s.spread: true}
						for k := range open {
							nested[k] = true
						}
					}
					if err := level(inner, nested); err != nil {
						return err
					}
					continue
				}
				fields++
				if s.alias != "" {
					if aliases++; aliases > maxAliases {
						return fmt.Errorf("Query exceeds maximum aliases of %d", maxAliases)
					}
				}
				if len(inner) > 0 {
					if _, err := walk(inner, depth+1, open); err != nil {
						return err
					}
				}
			}
			return nil
		}
		return fields, level(list, open)
	}
	fields, err := walk(op.selections, 1, map[string]bool{})
	if err == nil && fields > maxRootFields {
		err = fmt.Errorf("Query exceeds maximum root fields of %d", maxRootFields)
	}
	return err
}

type execution struct {
	*Executor
	doc       *document
	variables map[string]any
}

func (s *selection) key() string {
	if s.alias != "" {
		return s.alias
	}
	return s.name
}

// check refuses fields that the schema does not have, before any work.
func (x *execution) check(typeName string, list []selection, path []string) error {
	for _, s := range list {
		switch {
		case s.spread != "":
			if err := x.check(typeName, x.doc.fragments[s.spread], path); err != nil {
				return err
			}
		case s.name == "":
			if err := x.check(typeName, s.selections, path); err != nil {
				return err
			}
		case s.name == "__typename":
		default:
			kind, ok := x.Schema[typeName][s.name]
			if !ok {
				return fmt.Errorf("Cannot query field '%s' on type '%s'.", s.name, typeName)
			}
			inner := strings.Trim(kind, "[]")
			_, object := x.Schema[inner]
			if object && len(s.selections) == 0 {
				return fmt.Errorf("Field '%s' of type '%s' must have a selection of subfields.", s.name, inner)
			}
			if !object && len(s.selections) > 0 {
				return fmt.Errorf("Field '%s' must not have a selection since type '%s' has no subfields.", s.name, inner)
			}
			if err := x.check(inner, s.selections, append(path, s.name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// fields expands fragments and directives; selections of the same key merge.
func (x *execution) fields(list []selection) (out []selection, err error) {
	at := map[string]int{}
	var add func(list []selection) error
	add = func(list []selection) error {
		for _, s := range list {
			if on, err := x.included(s); err != nil || !on {
				if err != nil {
					return err
				}
				continue
			}
			if s.name == "" {
				inner := s.selections
				if s.spread != "" {
					inner = x.doc.fragments[s.spread]
				}
				if err := add(inner); err != nil {
					return err
				}
				continue
			}
			if i, ok := at[s.key()]; ok {
				merged := out[i]
				merged.selections = append(append([]selection(nil), merged.selections...), s.selections...)
				out[i] = merged
				continue
			}
			at[s.key()] = len(out)
			out = append(out, s)
		}
		return nil
	}
	return out, add(list)
}

func (x *execution) included(s selection) (bool, error) {
	for name, want := range map[string]bool{"include": true, "skip": false} {
		args, ok := s.directives[name]
		if !ok {
			continue
		}
		v, isBool := x.resolveArg(args["if"]).(bool)
		if !isBool {
			return false, fmt.Errorf("Argument 'if' of '@%s' must be a Boolean.", name)
		}
		if v != want {
			return false, nil
		}
	}
	return true, nil
}

// resolveArg puts variables in and writes the keys of objects in snake_case.
func (x *execution) resolveArg(v any) any {
	switch v := v.(type) {
	case variable:
		return x.resolveArg(x.variables[string(v)])
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[snake(k)] = x.resolveArg(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = x.resolveArg(e)
		}
		return out
	default:
		return v
	}
}

func (x *execution) root(ctx context.Context, typeName string, f selection) (any, error) {
	if f.name == "__typename" {
		return typeName, nil
	}
	args, _ := x.resolveArg(f.args).(map[string]any)
	v, err := x.Resolve(ctx, f.name, args)
	if err != nil {
		return nil, err
	}
	return x.complete(ctx, x.Schema[typeName][f.name], v, f.selections)
}

// complete shapes a value as its kind says.
func (x *execution) complete(ctx context.Context, kind string, v any, selections []selection) (any, error) {
	if v == nil {
		return absent[kind], nil
	}
	if inner, ok := strings.CutPrefix(kind, "["); ok {
		list, ok := v.([]any)
		if !ok {
			return nil, nil
		}
		out := make([]any, 0, len(list))
		for _, e := range list {
			c, err := x.complete(ctx, strings.TrimSuffix(inner, "]"), e, selections)
			if err != nil {
				return nil, err
			}
			out = append(out, c)
		}
		return out, nil
	}
	if _, object := x.Schema[kind]; !object {
		return scalar(kind, v), nil
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, nil
	}
	fields, err := x.fields(selections)
	if err != nil {
		return nil, err
	}
	out := newObject()
	for _, f := range fields {
		if f.name == "__typename" {
			out.set(f.key(), kind)
			continue
		}
		value, found := object[snake(f.name)]
		if !found {
			if e, ok, err := x.Expand(ctx, kind, f.name, object); err != nil {
				return nil, err
			} else if ok {
				value = e
			}
		}
		fieldKind := x.Schema[kind][f.name]
		if value == nil && strings.HasPrefix(fieldKind, "[") {
			value = []any{} // an empty repeated field
		}
		c, err := x.complete(ctx, fieldKind, value, f.selections)
		if err != nil {
			return nil, err
		}
		out.set(f.key(), c)
	}
	return out, nil
}

// absent is what a field shows that was not set: protobuf's default.
var absent = map[string]any{"String": "", "Long": "0", "Int": 0, "Boolean": false}

func scalar(kind string, v any) any {
	switch kind {
	case "Long":
		return fmt.Sprint(v)
	case "Float":
		if _, isText := v.(string); isText {
			return nil // NaN and the infinities have no place in a Float
		}
	}
	return v
}

// snake writes runUuid as run_uuid.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// object keeps the order of its fields, as GraphQL's answers do.
type object struct {
	keys   []string
	values map[string]any
}

func newObject() *object { return &object{values: map[string]any{}} }

func (o *object) set(key string, v any) {
	if _, ok := o.values[key]; !ok {
		o.keys = append(o.keys, key)
	}
	o.values[key] = v
}

// MarshalJSON writes the fields in their order.
func (o *object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, k := range o.keys {
		if i > 0 {
			b = append(b, ',')
		}
		key, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(o.values[k])
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, key...), ':'), value...)
	}
	return append(b, '}'), nil
}
