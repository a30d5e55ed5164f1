package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxDepth and maxNodes bound a document: aliases of aliases grow without end.
const (
	maxDepth = 100
	maxNodes = 200_000
)

// Parse reads one YAML document. name is what positions call the file. What is
// wrong is added to problems; the value is what could be read, nil if nothing.
func Parse(name string, src []byte, problems *Problems) *Value {
	problems.Source(name, src)
	file, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		problems.Add(syntaxProblem(name, err))
		return nil
	}
	b := &builder{file: name, problems: problems, anchors: map[string]ast.Node{}}
	var docs []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil && d.Body.Type() != ast.CommentType {
			docs = append(docs, d.Body)
		}
	}
	if len(docs) == 0 {
		return NewMap(Pos{File: name, Line: 1, Column: 1})
	}
	if len(docs) > 1 {
		problems.Errorf(b.value(docs[1], 0).At, "the file holds more than one YAML document: write one per file")
	}
	return b.value(docs[0], 0)
}

func syntaxProblem(name string, err error) Problem {
	p := Problem{Severity: Error, At: Pos{File: name, Line: 1, Column: 1}, Message: "not valid YAML: " + err.Error()}
	var y yaml.Error
	if errors.As(err, &y) {
		p.Message = "not valid YAML: " + y.GetMessage()
		if t := y.GetToken(); t != nil && t.Position != nil {
			p.At.Line, p.At.Column = t.Position.Line, t.Position.Column
		}
	}
	return p
}

type builder struct {
	file     string
	problems *Problems
	anchors  map[string]ast.Node
	nodes    int
}

func (b *builder) pos(t *token.Token) Pos {
	if t == nil || t.Position == nil {
		return Pos{File: b.file, Line: 1, Column: 1}
	}
	return Pos{File: b.file, Line: t.Position.Line, Column: t.Position.Column}
}

func (b *builder) value(n ast.Node, depth int) *Value {
	if n == nil {
		return &Value{At: Pos{File: b.file, Line: 1, Column: 1}}
	}
	at := b.pos(n.GetToken())
	b.nodes++
	if depth > maxDepth || b.nodes > maxNodes {
		if b.nodes <= maxNodes+1 || depth > maxDepth && b.nodes < 2*maxNodes {
			b.problems.Errorf(at, "the document is too deep or too large")
			b.nodes = 2 * maxNodes
		}
		return &Value{At: at}
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			at = b.pos(n.Values[0].Key.GetToken())
		}
		return b.mapping(n.Values, at, depth)
	case *ast.MappingValueNode:
		return b.mapping([]*ast.MappingValueNode{n}, b.pos(n.Key.GetToken()), depth)
	case *ast.SequenceNode:
		v := &Value{Kind: List, At: at}
		for _, item := range n.Values {
			v.Items = append(v.Items, b.value(item, depth+1))
		}
		return v
	case *ast.AnchorNode:
		b.anchors[n.Name.GetToken().Value] = n.Value
		return b.value(n.Value, depth+1)
	case *ast.AliasNode:
		return b.alias(n, at, depth)
	case *ast.TagNode:
		return b.tagged(n, at, depth)
	default:
		return b.scalar(n, at)
	}
}

func (b *builder) scalar(n ast.Node, at Pos) *Value {
	switch n := n.(type) {
	case *ast.StringNode:
		return NewString(n.Value, at)
	case *ast.LiteralNode:
		return NewString(n.Value.Value, at)
	case *ast.BoolNode:
		return &Value{Kind: Bool, Scalar: n.Value, At: at}
	case *ast.IntegerNode:
		switch i := n.Value.(type) {
		case int64:
			return &Value{Kind: Int, Scalar: i, At: at}
		case uint64:
			return &Value{Kind: Int, Scalar: int64(i), At: at}
		}
	case *ast.FloatNode:
		return &Value{Kind: Float, Scalar: n.Value, At: at}
	case *ast.NullNode:
		return &Value{At: at}
	}
	b.problems.Errorf(at, "%s is not supported in a bundle", strings.ToLower(n.Type().String()))
	return &Value{At: at}
}

func (b *builder) alias(n *ast.AliasNode, at Pos, depth int) *Value {
	name := n.Value.GetToken().Value
	target, ok := b.anchors[name]
	if !ok {
		b.problems.Errorf(at, "*%s names no anchor: &%s must stand before it in the same file", name, name)
		return &Value{At: at}
	}
	return b.value(target, depth+1)
}

func (b *builder) tagged(n *ast.TagNode, at Pos, depth int) *Value {
	v := b.value(n.Value, depth+1)
	if n.Start.Value == "!!str" && v.Kind != String {
		if s, ok := v.Inline(); ok {
			return NewString(s, at)
		}
	}
	return v
}

// mapping reads entries. A merge key (<<) gives what the map does not name itself.
func (b *builder) mapping(entries []*ast.MappingValueNode, at Pos, depth int) *Value {
	v := NewMap(at)
	var merged []*Value
	for _, e := range entries {
		key, keyAt := "", b.pos(e.Key.GetToken())
		if _, ok := e.Key.(*ast.MergeKeyNode); ok {
			merged = append(merged, b.value(e.Value, depth+1))
			continue
		}
		if k, ok := b.scalar(e.Key, keyAt).Inline(); ok {
			key = k
		}
		value := b.value(e.Value, depth+1)
		if value.Kind == Null {
			value.At = keyAt
		}
		if old := v.Field(key); old != nil {
			b.problems.Add(Problem{
				Severity: Error, At: keyAt, Message: fmt.Sprintf("the key %q is here twice", key),
				Hint: fmt.Sprintf("the first one is in line %d", old.At.Line),
			})
			continue
		}
		v.Fields = append(v.Fields, Field{Key: key, At: keyAt, Value: value})
	}
	for _, m := range merged {
		for _, source := range append([]*Value{m}, m.List()...) {
			for _, f := range source.Entries() {
				if v.Field(f.Key) == nil {
					v.Fields = append(v.Fields, f)
				}
			}
		}
	}
	return v
}
