// Package graphql is a small GraphQL executor: queries with arguments,
// variables, aliases, fragments and the directives skip and include, over a
// schema of plain objects. It serves what MLflow's web pages ask.
package graphql

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of a query, as the reference server has them; they keep a short
// document from asking for a lot of work.
const (
	maxRootFields = 10
	maxAliases    = 10
	maxDepth      = 10
	maxSelections = 1000
	maxDocument   = 100_000
)

type operation struct {
	kind, name string
	defaults   map[string]any // of variables
	selections []selection
}

// selection is a field, a fragment spread (spread != "") or an inline
// fragment (name == "" and spread == "").
type selection struct {
	alias, name, spread string
	args                map[string]any
	directives          map[string]map[string]any
	selections          []selection
}

// variable stands for a variable's value in arguments.
type variable string

type document struct {
	operations []*operation
	fragments  map[string][]selection
}

type parser struct {
	src   string
	at    int
	depth int
}

// parse reads a document; a mistake is returned as an error.
func parse(src string) (doc *document, err error) {
	if len(src) > maxDocument {
		return nil, fmt.Errorf("the query is longer than %d characters", maxDocument)
	}
	p := &parser{src: src}
	defer func() {
		if e := recover(); e != nil {
			syntax, ok := e.(syntaxError)
			if !ok {
				panic(e)
			}
			doc, err = nil, fmt.Errorf("Syntax Error: %s", string(syntax))
		}
	}()
	doc = &document{fragments: map[string][]selection{}}
	for p.skip(); p.at < len(p.src); p.skip() {
		switch {
		case p.peek() == '{':
			doc.operations = append(doc.operations, &operation{kind: "query", selections: p.selectionSet()})
		default:
			p.definition(doc)
		}
	}
	if len(doc.operations) == 0 {
		return nil, fmt.Errorf("Syntax Error: there is no operation in the document")
	}
	return doc, nil
}

type syntaxError string

func (p *parser) fail(format string, args ...any) { panic(syntaxError(fmt.Sprintf(format, args...))) }

// skip passes white space, commas and comments.
func (p *parser) skip() {
	for p.at < len(p.src) {
		switch c := p.src[p.at]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',':
			p.at++
		case c == '#':
			for p.at < len(p.src) && p.src[p.at] != '\n' {
				p.at++
			}
		case strings.HasPrefix(p.src[p.at:], "\ufeff"):
			p.at += 3
		default:
			return
		}
	}
}

func (p *parser) peek() byte {
	p.skip()
	if p.at >= len(p.src) {
		return 0
	}
	return p.src[p.at]
}

func (p *parser) accept(c byte) bool {
	if p.peek() == c {
		p.at++
		return true
	}
	return false
}

func (p *parser) expect(c byte) {
	if !p.accept(c) {
		p.fail("Expected %q at character %d", string(c), p.at)
	}
}

func isNameByte(c byte, first bool) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || !first && c >= '0' && c <= '9'
}

func (p *parser) name() string {
	p.skip()
	start := p.at
	for p.at < len(p.src) && isNameByte(p.src[p.at], p.at == start) {
		p.at++
	}
	if p.at == start {
		p.fail("Expected a name at character %d", p.at)
	}
	return p.src[start:p.at]
}

func (p *parser) definition(doc *document) {
	switch word := p.name(); word {
	case "query", "mutation", "subscription":
		op := &operation{kind: word}
		if isNameByte(p.peek(), true) {
			op.name = p.name()
		}
		if p.accept('(') {
			op.defaults = p.variables()
		}
		p.directives()
		op.selections = p.selectionSet()
		doc.operations = append(doc.operations, op)
	case "fragment":
		name := p.name()
		if p.name() != "on" {
			p.fail("Expected \"on\" after the fragment's name")
		}
		p.name()
		p.directives()
		doc.fragments[name] = p.selectionSet()
	default:
		p.fail("Unexpected Name %q", word)
	}
}

func (p *parser) variables() map[string]any {
	defaults := map[string]any{}
	for !p.accept(')') {
		p.expect('$')
		name := p.name()
		p.expect(':')
		p.typeRef()
		if p.accept('=') {
			defaults[name] = p.value()
		}
		p.directives()
	}
	return defaults
}

func (p *parser) typeRef() {
	p.enter()
	defer p.leave()
	if p.accept('[') {
		p.typeRef()
		p.expect(']')
	} else {
		p.name()
	}
	p.accept('!')
}

func (p *parser) enter() {
	if p.depth++; p.depth > 50 {
		p.fail("it is nested too deeply")
	}
}

func (p *parser) leave() { p.depth-- }

func (p *parser) directives() map[string]map[string]any {
	var d map[string]map[string]any
	for p.accept('@') {
		if d == nil {
			d = map[string]map[string]any{}
		}
		name := p.name()
		d[name] = p.arguments()
	}
	return d
}

func (p *parser) arguments() map[string]any {
	args := map[string]any{}
	if !p.accept('(') {
		return args
	}
	for !p.accept(')') {
		name := p.name()
		p.expect(':')
		args[name] = p.value()
	}
	return args
}

func (p *parser) selectionSet() (list []selection) {
	p.enter()
	defer p.leave()
	p.expect('{')
	for !p.accept('}') {
		list = append(list, p.selection())
	}
	if len(list) == 0 {
		p.fail("Expected a name, found \"}\"")
	}
	return list
}

func (p *parser) selection() (s selection) {
	if p.peek() == '.' {
		if !strings.HasPrefix(p.src[p.at:], "...") {
			p.fail("Expected \"...\" at character %d", p.at)
		}
		p.at += 3
		if isNameByte(p.peek(), true) {
			if s.spread = p.name(); s.spread == "on" {
				s.spread = ""
				p.name()
			}
		}
		s.directives = p.directives()
		if s.spread == "" {
			s.selections = p.selectionSet()
		}
		return s
	}
	s.name = p.name()
	if p.accept(':') {
		s.alias, s.name = s.name, p.name()
	}
	s.args = p.arguments()
	s.directives = p.directives()
	if p.peek() == '{' {
		s.selections = p.selectionSet()
	}
	return s
}

func (p *parser) value() any {
	p.enter()
	defer p.leave()
	switch c := p.peek(); {
	case c == '$':
		p.at++
		return variable(p.name())
	case c == '[':
		p.at++
		list := []any{}
		for !p.accept(']') {
			list = append(list, p.value())
		}
		return list
	case c == '{':
		p.at++
		object := map[string]any{}
		for !p.accept('}') {
			name := p.name()
			p.expect(':')
			object[name] = p.value()
		}
		return object
	case c == '"':
		return p.text()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	default:
		return p.word()
	}
}

func (p *parser) word() any {
	switch w := p.name(); w {
	case "true":
		return true
	case "false":
		return false
	case "null":
		return nil
	default:
		return w // an enum's value
	}
}

func (p *parser) number() any {
	start := p.at
	for p.at < len(p.src) && strings.IndexByte("+-.0123456789eE", p.src[p.at]) >= 0 {
		p.at++
	}
	text := p.src[start:p.at]
	if _, err := strconv.ParseFloat(text, 64); err != nil {
		p.fail("Invalid number %q", text)
	}
	return json.Number(text)
}

func (p *parser) text() string {
	rest := p.src[p.at:]
	if strings.HasPrefix(rest, `"""`) {
		end := strings.Index(rest[3:], `"""`)
		if end < 0 {
			p.fail("Unterminated string")
		}
		p.at += end + 6
		return strings.TrimSpace(rest[3 : 3+end])
	}
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '\n':
			p.fail("Unterminated string")
		case '"':
			var s string
			// GraphQL's escapes are JSON's.
			if err := json.Unmarshal([]byte(rest[:i+1]), &s); err != nil || !utf8.ValidString(s) {
				p.fail("Invalid string %s", rest[:i+1])
			}
			p.at += i + 1
			return s
		}
	}
	p.fail("Unterminated string")
	return ""
}
