package filter

import (
	"sort"
	"strconv"
	"strings"
)

// Clause is one comparison.
type Clause struct {
	Entity string // one of the entity constants
	Key    string // for an attribute, its canonical name
	Op     string // = != < <= > >= LIKE ILIKE IN "NOT IN" "IS NULL" "IS NOT NULL"
	Number bool   // compare Num (an attribute's or metric's); else Text or List
	Num    float64
	Text   string
	List   []string
}

// Order is one term of an ordering.
type Order struct {
	Entity    string
	Key       string
	Ascending bool
}

// Parse reads a filter. An empty one has no clauses.
func (s Schema) Parse(filter string) ([]Clause, error) {
	tokens, err := lex(filter)
	if err != nil || len(tokens) == 0 {
		return nil, err
	}
	p := &parser{schema: s, tokens: tokens, source: filter}
	var clauses []Clause
	for {
		c, err := p.clause()
		if err != nil {
			return nil, err
		}
		clauses = append(clauses, c)
		if p.done() {
			return clauses, nil
		}
		if !p.keyword("AND") {
			return nil, invalid("Invalid clause(s) in filter string: '%s' (comparisons are joined by AND)", p.tokens[p.at].text)
		}
	}
}

type parser struct {
	schema Schema
	tokens []token
	at     int
	source string
}

func (p *parser) done() bool { return p.at >= len(p.tokens) }

func (p *parser) next() (token, error) {
	if p.done() {
		return token{}, invalid("Invalid filter '%s': it ends in the middle of a comparison", p.source)
	}
	p.at++
	return p.tokens[p.at-1], nil
}

// keyword skips the word if it comes next, in any case.
func (p *parser) keyword(w string) bool {
	if !p.done() && p.tokens[p.at].kind == word && strings.EqualFold(p.tokens[p.at].text, w) {
		p.at++
		return true
	}
	return false
}

func (p *parser) clause() (c Clause, err error) {
	t, err := p.next()
	if err != nil {
		return c, err
	}
	name := t.text
	if t.kind == str { // "run name" = 'x' names an attribute
		name = `"` + t.text + `"`
	} else if t.kind != word {
		return c, invalid("Invalid comparison clause. Expected 'Identifier' found '%s'", t.text)
	}
	if c.Entity, c.Key, err = p.schema.identifier(name); err != nil {
		return c, err
	}
	if c.Op, err = p.operator(); err != nil {
		return c, err
	}
	if err := p.schema.checkOperator(c); err != nil {
		return c, err
	}
	switch c.Op {
	case "IS NULL", "IS NOT NULL":
		return c, nil
	case "IN", "NOT IN":
		c.List, err = p.list()
		return c, err
	}
	return c, p.value(&c)
}

func (p *parser) operator() (string, error) {
	t, err := p.next()
	if err != nil {
		return "", err
	}
	if t.kind == op {
		return t.text, nil
	}
	switch w := strings.ToUpper(t.text); {
	case t.kind != word:
	case w == "LIKE" || w == "ILIKE" || w == "IN":
		return w, nil
	case w == "NOT" && p.keyword("IN"):
		return "NOT IN", nil
	case w == "IS" && p.keyword("NULL"):
		return "IS NULL", nil
	case w == "IS" && p.keyword("NOT") && p.keyword("NULL"):
		return "IS NOT NULL", nil
	}
	return "", invalid("Invalid comparison clause. Expected comparison found '%s'", t.text)
}

func (s Schema) numeric(c Clause) bool {
	if c.Entity == Metric {
		return true
	}
	if c.Entity != Attribute {
		return false
	}
	for _, name := range s.numbers {
		if name == c.Key {
			return true
		}
	}
	return false
}

func (s Schema) checkOperator(c Clause) error {
	ok := false
	switch c.Op {
	case "=", "!=":
		ok = true
	case "<", "<=", ">", ">=":
		ok = s.numeric(c)
	case "LIKE", "ILIKE":
		ok = !s.numeric(c)
	case "IN", "NOT IN":
		ok = !s.numeric(c) && (s.lists == nil || c.Entity == Dataset || c.Entity == Attribute && s.lists[c.Key])
		if c.Entity == Attribute && !s.numeric(c) && !ok {
			return invalid("Only %v attributes support comparison with a list of quoted string values.", sortedKeys(s.lists))
		}
	case "IS NULL", "IS NOT NULL":
		ok = s.nullTags && (c.Entity == Tag || c.Entity == Param)
	}
	if !ok {
		return invalid("Invalid comparator '%s' for %s '%s'", c.Op, c.Entity, c.Key)
	}
	return nil
}

func sortedKeys(m map[string]bool) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func (p *parser) value(c *Clause) error {
	t, err := p.next()
	if err != nil {
		return err
	}
	if p.schema.numeric(*c) {
		if t.kind != number && !(t.kind == str && p.schema.quotedNumbers && c.Entity == Attribute) {
			return invalid("Expected numeric value type for %s '%s'. Found '%s'", c.Entity, c.Key, t.text)
		}
		c.Number = true
		if c.Num, err = strconv.ParseFloat(t.text, 64); err != nil {
			return invalid("'%s' is not a number", t.text)
		}
		return nil
	}
	if t.kind != str {
		return invalid("Expected a quoted string value for %s '%s' (e.g. 'my-value'). Got value %s", c.Entity, c.Key, t.text)
	}
	c.Text = t.text
	return nil
}

func (p *parser) list() (values []string, err error) {
	bad := invalid("IN takes a list of quoted strings in parentheses: ('a', 'b')")
	if t, err := p.next(); err != nil || t != (token{punct, "("}) {
		return nil, bad
	}
	for {
		t, err := p.next()
		if err != nil || t.kind != str {
			return nil, bad
		}
		values = append(values, t.text)
		t, err = p.next()
		if err != nil || t.kind != punct || t.text == "(" {
			return nil, bad
		}
		if t.text == "," && !p.done() && p.tokens[p.at] == (token{punct, ")"}) { // ('a',) as Python writes it
			p.at++
			return values, nil
		}
		if t.text == ")" {
			return values, nil
		}
	}
}

// identifier splits [entity.]key and takes the quotes off.
func (s Schema) identifier(name string) (entity, key string, err error) {
	entity = Attribute
	written, rest, dotted := cutEntity(name)
	key = unquote(name)
	if dotted {
		canonical, ok := s.entities[written]
		if !ok {
			return "", "", invalid("Invalid entity type '%s'. Valid values are %s", written, strings.Join(s.entityNames(), ", "))
		}
		entity, key = canonical, unquote(rest)
	}
	switch entity {
	case Attribute:
		canonical, ok := s.strings[key]
		if !ok {
			canonical, ok = s.numbers[key]
		}
		if !ok {
			return "", "", invalid("Invalid attribute key '%s' specified.", key)
		}
		key = canonical
	case Dataset:
		if key != "name" && key != "digest" && key != "context" {
			return "", "", invalid("Invalid dataset key '%s' specified. Valid keys are name, digest, context", key)
		}
	}
	if key == "" {
		return "", "", invalid("Invalid identifier '%s'. Columns should be specified as 'metric.<key>', 'tag.<key>' …", name)
	}
	return entity, key, nil
}

func (s Schema) entityNames() []string {
	set := map[string]bool{}
	for _, e := range s.entities {
		set[e] = true
	}
	return sortedKeys(set)
}

// cutEntity cuts before the first dot outside of quotes.
func cutEntity(name string) (entity, rest string, ok bool) {
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case '`', '"':
			_, n, closed := quoted(name[i:])
			if !closed {
				return name, "", false
			}
			i += n - 1
		case '.':
			return unquote(name[:i]), name[i+1:], true
		}
	}
	return name, "", false
}

func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '`' || s[0] == '"') {
		if text, n, ok := quoted(s); ok && n == len(s) {
			return text
		}
	}
	return s
}

// ParseOrder reads one order_by clause: "metrics.rmse DESC", "start_time".
func (s Schema) ParseOrder(clause string) (o Order, err error) {
	tokens, err := lex(clause)
	if err != nil {
		return o, invalid("Invalid order_by clause '%s'. Could not be parsed.", clause)
	}
	o.Ascending = true
	if len(tokens) == 2 && tokens[1].kind == word {
		switch strings.ToLower(tokens[1].text) {
		case "asc":
		case "desc":
			o.Ascending = false
		default:
			return o, invalid("Invalid ordering key in order_by clause '%s'.", clause)
		}
		tokens = tokens[:1]
	}
	if len(tokens) != 1 || tokens[0].kind != word && tokens[0].kind != str {
		return o, invalid("Invalid order_by clause '%s'. Could not be parsed.", clause)
	}
	name := tokens[0].text
	if tokens[0].kind == str {
		name = `"` + name + `"`
	}
	return s.orderTerm(name, o.Ascending)
}

func (s Schema) orderTerm(name string, ascending bool) (Order, error) {
	if written, rest, dotted := cutEntity(name); !dotted || s.entities[written] == Attribute {
		key := unquote(name)
		if dotted {
			key = unquote(rest)
		}
		canonical, ok := s.order[key]
		if !ok {
			return Order{}, invalid("Invalid order_by key '%s' specified.", key)
		}
		return Order{Attribute, canonical, ascending}, nil
	}
	entity, key, err := s.identifier(name)
	if err == nil && entity == Dataset {
		err = invalid("Invalid order_by entity: dataset")
	}
	return Order{entity, key, ascending}, err
}

// ParseOrders reads a list of order_by clauses and refuses a repeated field.
func (s Schema) ParseOrders(clauses []string) ([]Order, error) {
	var orders []Order
	seen := map[[2]string]bool{}
	for _, c := range clauses {
		o, err := s.ParseOrder(c)
		if err != nil {
			return nil, err
		}
		if seen[[2]string{o.Entity, o.Key}] {
			return nil, invalid("`order_by` contains duplicate fields: %v", clauses)
		}
		seen[[2]string{o.Entity, o.Key}] = true
		orders = append(orders, o)
	}
	return orders, nil
}
