package databricks

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/terraform/provider"
)

type (
	state   = provider.State
	handler = provider.Handler[*Client]
)

// rest is the handler of a type whose calls the table names:
//
//	!create METHOD PATH [key={field} …]   words after the path go into the body
//	!read   METHOD PATH [at=KEY] [find=LIST key={field} …]
//	!id     {field}… or @KEY of the answer to create
//	!set    FIELD TEMPLATE                 what the API does not say; < and > are braces
func rest(t *provider.Table) handler {
	h := handler{
		Create: create,
		Read:   read,
		Delete: func(ctx context.Context, c *Client, s *state) error {
			_, err := call(ctx, c, s, "delete", nil)
			return err
		},
		Import: func(s *state) error {
			if template := idTemplate(s.Table); template != "" {
				return s.Match(template, s.ID())
			}
			return nil
		},
	}
	if t.Directives["update"] != nil {
		h.Update = func(ctx context.Context, c *Client, s *state) error {
			_, err := call(ctx, c, s, "update", s.EncodeChanges())
			return err
		}
	}
	return h
}

// idTemplate is how the id is made of fields, "" if the API makes it.
func idTemplate(t *provider.Table) string {
	if id := t.Directives["id"]; len(id) > 0 && !strings.HasPrefix(id[0], "@") {
		return id[0]
	}
	return ""
}

func create(ctx context.Context, c *Client, s *state) error {
	doc, err := call(ctx, c, s, "create", s.Encode())
	if taken(err) {
		id, _ := s.Expand(idTemplate(s.Table), func(v string) string { return v }) // "" if the API makes it
		return provider.There(err, id)
	}
	if err != nil {
		return err
	}
	if err := identify(s, doc); err != nil {
		return err
	}
	// Some fields can be set only on what exists.
	later := provider.Document{}
	for _, f := range s.Fields {
		if f.Update {
			for k, v := range provider.Encode([]*provider.Field{f}, s.Values) {
				later[k] = v
			}
		}
	}
	if len(later) > 0 {
		_, err = call(ctx, c, s, "update", later)
	}
	return err
}

// identify sets the id of what was just made.
func identify(s *state, doc provider.Document) error {
	id := s.Directives["id"][0]
	if key, ok := strings.CutPrefix(id, "@"); ok {
		v := doc[key]
		if v == nil {
			return fmt.Errorf("the answer has no %s", key)
		}
		s.SetID(fmt.Sprint(v))
		return nil
	}
	if f := s.Field("policy_id"); f != nil && doc["policy_id"] != nil { // the API may choose it
		s.Values["policy_id"] = doc["policy_id"]
	}
	id, err := s.Expand(id, func(v string) string { return v })
	s.SetID(id)
	return err
}

func read(ctx context.Context, c *Client, s *state) error {
	doc, err := call(ctx, c, s, "read", nil)
	if err != nil {
		return err
	}
	s.Decode(doc)
	for _, line := range provider.Lines(s.Directives["set"]) {
		v, err := s.Expand(line[1], func(v string) string { return v })
		if err != nil {
			return err
		}
		s.Values[line[0]] = strings.NewReplacer("<", "{", ">", "}").Replace(v)
	}
	return nil
}

// call makes the call of a directive and returns the part of the answer that
// the directive asks for.
func call(ctx context.Context, c *Client, s *state, name string, body provider.Document) (provider.Document, error) {
	words := s.Directives[name]
	if len(words) < 2 {
		return nil, fmt.Errorf("%s cannot %s", s.Name, name)
	}
	path, err := s.Expand(strings.ReplaceAll(words[1], "{account}", c.account()), url.QueryEscape)
	if err != nil {
		if !strings.Contains(words[1], "?policy_id=") {
			return nil, err
		}
		path, err = s.Expand(strings.ReplaceAll(strings.TrimSuffix(words[1], "?policy_id={policy_id}"), "{account}", c.account()), url.QueryEscape)
		if err != nil {
			return nil, err
		}
	}
	var in any
	at, find, match := "", "", provider.Document{}
	for _, w := range words[2:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "at":
			at = value
		case "find":
			find = value
		default:
			if match[key], err = s.Expand(value, func(v string) string { return v }); err != nil {
				return nil, err
			}
		}
	}
	if words[0] != "GET" && words[0] != "DELETE" {
		if body == nil {
			body = provider.Document{}
		}
		if find == "" {
			for k, v := range match {
				body[k] = bodyValue(v)
			}
		}
		in = body
	}
	doc, err := c.do(ctx, words[0], path, in)
	if err != nil {
		return nil, err
	}
	if at != "" {
		doc, _ = doc[at].(provider.Document)
	}
	if find != "" {
		return found(doc, find, match)
	}
	return doc, nil
}

// bodyValue keeps booleans what they are.
func bodyValue(v any) any {
	switch v {
	case "true":
		return true
	case "false":
		return false
	}
	return v
}

// found looks for the element of a list that has all of match.
func found(doc provider.Document, list string, match provider.Document) (provider.Document, error) {
	items, _ := doc[list].([]any)
	i := slices.IndexFunc(items, func(item any) bool {
		m, _ := item.(provider.Document)
		for k, v := range match {
			if fmt.Sprint(m[k]) != fmt.Sprint(v) {
				return false
			}
		}
		return m != nil
	})
	if i < 0 {
		return nil, provider.ErrGone
	}
	m, _ := items[i].(provider.Document)
	return m, nil
}
