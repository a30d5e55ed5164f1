package runner

import (
	"encoding/json"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// The engine knows two of the strategy context's four values, and takes them
// from a matrix that is not the whole one here; of the runner context it knows
// neither the name nor the environment. They are written into the job's
// expressions.

var contextName = regexp.MustCompile(`'(?:[^']|'')*'|[\w.-]*(?:strategy|runner)[\w.-]*`)

// runnerContext is what the engine's lacks.
var runnerContext = map[string]string{"runner.environment": "'self-hosted'", "runner.name": "'wherry'"}

// withContexts returns the workflow's text with the strategy context of one job,
// and what the engine's runner context lacks, written out; as it is, if the job
// has no use for them.
func withContexts(text []byte, key string, strategy map[string]any) ([]byte, error) {
	if !contextName.Match(text) {
		return text, nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) == 0 {
		return text, err
	}
	value, err := json.Marshal(strategy)
	if err != nil {
		return nil, err
	}
	w := &contextWriter{strategy: "fromJSON('" + string(value) + "')"}
	w.walk(child(child(doc.Content[0], "jobs"), key), false)
	if !w.changed {
		return text, nil
	}
	return yaml.Marshal(&doc)
}

func child(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

type contextWriter struct {
	// strategy is that context as an expression, "" to leave it to the engine.
	strategy string
	changed  bool
}

// walk rewrites all strings below n; bare says that n is an expression without
// its braces, as if: has them.
func (w *contextWriter) walk(n *yaml.Node, bare bool) {
	switch {
	case n == nil:
	case n.Kind == yaml.AliasNode: // its anchor may be in another job
		own := inline(n.Alias)
		before := w.changed
		w.changed = false
		if w.walk(own, bare); w.changed {
			*n = *own
		}
		w.changed = w.changed || before
	case n.Kind == yaml.ScalarNode:
		if text := w.text(n.Value, bare); text != n.Value {
			n.Value, w.changed = text, true
		}
	default:
		for i, c := range n.Content {
			w.walk(c, n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == "if")
		}
	}
}

// inline is a copy of what an anchor is before, without anchors of its own.
func inline(n *yaml.Node) *yaml.Node {
	c := *n
	c.Anchor, c.Content = "", nil
	for _, child := range n.Content {
		c.Content = append(c.Content, inline(child))
	}
	return &c
}

func (w *contextWriter) text(s string, bare bool) string {
	if bare && !strings.Contains(s, "${{") {
		return w.expression(s)
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "${{")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		inner, after, ok := strings.Cut(rest, "}}")
		if !ok {
			return b.String() + "${{" + rest
		}
		b.WriteString("${{" + w.expression(inner) + "}}")
		s = after
	}
}

// expression puts the value in the place of the name, not where it is text or
// the property of something else.
func (w *contextWriter) expression(s string) string {
	return contextName.ReplaceAllStringFunc(s, func(found string) string {
		if value, ok := runnerContext[found]; ok {
			return value
		}
		rest, ok := strings.CutPrefix(found, "strategy")
		if !ok || w.strategy == "" || rest != "" && rest[0] != '.' {
			return found
		}
		return w.strategy + rest
	})
}
