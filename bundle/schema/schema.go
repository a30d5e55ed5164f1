// Package schema knows the keys of a bundle: which there are, of which type,
// and which must be given.
package schema

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/wherry-ml/wherry/bundle/config"
)

//go:embed fields.txt
var table string

// Key is one key that a map may have.
type Key struct {
	Type     string
	Required bool
}

// Types returns the keys of each type, by its name in fields.txt.
var Types = sync.OnceValue(func() map[string]map[string]Key {
	types := map[string]map[string]Key{}
	current := ""
	for line := range strings.Lines(table) {
		name, typ, isKey := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case name == "" || strings.HasPrefix(line, "#"):
		case !isKey:
			current = name
			types[current] = map[string]Key{}
		default:
			key, required := strings.CutSuffix(name, "!")
			types[current][key] = Key{Type: typ, Required: required}
		}
	}
	return types
})

// Checker checks values against types.
type Checker struct {
	Problems *config.Problems
	// References lets a string with ${…} stand for a value of any type.
	References bool
	// Partial lets required keys be missing (a target's override).
	Partial bool
}

// Check reports every key of v that the type does not have, every value that
// is of another type, and every required key that is missing. Scalars given
// where the API wants a string are turned into one. path is for messages.
func (c Checker) Check(v *config.Value, typ, path string) {
	if v == nil || v.Kind == config.Null || typ == "any" {
		return
	}
	if c.References && strings.Contains(v.Text(), "${") {
		return
	}
	switch {
	case strings.HasPrefix(typ, "[]"):
		if c.kind(v, config.List, path) {
			for i, item := range v.Items {
				c.Check(item, typ[2:], fmt.Sprintf("%s[%d]", path, i))
			}
		}
	case strings.HasPrefix(typ, "map[]"):
		if c.kind(v, config.Map, path) {
			for _, f := range v.Fields {
				c.Check(f.Value, typ[5:], config.Join(path, f.Key))
			}
		}
	case typ == "string":
		c.text(v, path)
	case typ == "int":
		c.kind(v, config.Int, path)
	case typ == "float":
		if v.Kind != config.Int {
			c.kind(v, config.Float, path)
		}
	case typ == "bool":
		c.kind(v, config.Bool, path)
	case strings.Contains(typ, "|"), typ == strings.ToUpper(typ):
		c.word(v, typ, path)
	default:
		c.object(v, typ, path)
	}
}

func (c Checker) kind(v *config.Value, want config.Kind, path string) bool {
	if v.Kind == want {
		return true
	}
	got := v.Kind.String()
	if s, ok := v.Inline(); ok && v.Kind != config.Null {
		got += fmt.Sprintf(" (%s)", quoteIf(v.Kind == config.String, s))
	}
	c.Problems.Errorf(v.At, "%s must be %s, and is %s", path, want, got)
	return false
}

func quoteIf(quote bool, s string) string {
	if quote {
		return fmt.Sprintf("%q", s)
	}
	return s
}

func (c Checker) text(v *config.Value, path string) {
	if v.Kind == config.List || v.Kind == config.Map {
		c.kind(v, config.String, path)
		return
	}
	if v.Kind != config.String { // 12, true and 1.5 are fine where the API wants "12", "true" and "1.5"
		s, _ := v.Inline()
		v.Kind, v.Scalar = config.String, s
	}
}

func (c Checker) word(v *config.Value, typ, path string) {
	if !c.kind(v, config.String, path) {
		return
	}
	words := strings.Split(typ, "|")
	if slices.Contains(words, v.Text()) {
		return
	}
	p := config.Problem{Severity: config.Error, At: v.At, Message: fmt.Sprintf("%s cannot be %q", path, v.Text())}
	p.Hint = "it can be " + strings.Join(words, ", ")
	if near := config.Nearest(v.Text(), words); near != "" {
		p.Message += fmt.Sprintf(": did you mean %q?", near)
	}
	c.Problems.Add(p)
}

func (c Checker) object(v *config.Value, typ, path string) {
	if !c.kind(v, config.Map, path) {
		return
	}
	keys := Types()[typ]
	names := make([]string, 0, len(keys))
	for name := range keys {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, f := range v.Fields {
		key, known := keys[f.Key]
		if known {
			c.Check(f.Value, key.Type, config.Join(path, f.Key))
			continue
		}
		c.Problems.Add(c.unknown(f, names, path))
	}
	if c.Partial {
		return
	}
	for _, name := range names {
		if keys[name].Required && missing(v, name) {
			c.Problems.Errorf(v.At, "%s needs the key %q", or(path, "the bundle"), name)
		}
	}
}

func (c Checker) unknown(f config.Field, names []string, path string) config.Problem {
	p := config.Problem{Severity: config.Error, At: f.At, Message: fmt.Sprintf("unknown key %q", f.Key)}
	if path != "" {
		p.Message += " in " + path
	}
	if near := config.Nearest(f.Key, names); near != "" {
		p.Message += fmt.Sprintf(": did you mean %q?", near)
	} else if len(names) <= 12 {
		p.Hint = "the keys here are " + strings.Join(names, ", ")
	}
	return p
}

func missing(v *config.Value, name string) bool {
	f := v.Field(name)
	return f == nil || f.Value.Kind == config.Null
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// Prune returns what of a plain document a bundle can say: keys that the type
// does not have are left out, and values that say nothing.
func Prune(doc any, typ string) any {
	switch doc := doc.(type) {
	case map[string]any:
		kept := map[string]any{}
		for name, value := range doc {
			inner := "any"
			if keys, ok := Types()[typ]; ok {
				key, known := keys[name]
				if !known {
					continue
				}
				inner = key.Type
			} else if after, ok := strings.CutPrefix(typ, "map[]"); ok {
				inner = after
			}
			if value = Prune(value, inner); value != nil {
				kept[name] = value
			}
		}
		if len(kept) > 0 {
			return kept
		}
		return nil
	case []any:
		kept := []any{}
		for _, item := range doc {
			if item = Prune(item, strings.TrimPrefix(typ, "[]")); item != nil {
				kept = append(kept, item)
			}
		}
		if len(kept) > 0 {
			return kept
		}
		return nil
	case string:
		if doc == "" {
			return nil
		}
	case float64:
		if typ == "int" {
			return int64(doc)
		}
	}
	return doc
}
