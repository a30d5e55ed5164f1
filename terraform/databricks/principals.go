package databricks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"

	"github.com/wherry-ml/wherry/terraform/provider"
)

const scim = "/api/2.0/preview/scim/v2/"

var schemaOf = map[string]string{
	"Users": "urn:ietf:params:scim:schemas:core:2.0:User", "Groups": "urn:ietf:params:scim:schemas:core:2.0:Group",
	"ServicePrincipals": "urn:ietf:params:scim:schemas:core:2.0:ServicePrincipal",
}

var entitlements = map[string]string{
	"allow_cluster_create": "allow-cluster-create", "allow_instance_pool_create": "allow-instance-pool-create",
	"databricks_sql_access": "databricks-sql-access", "workspace_access": "workspace-access", "workspace_consume": "workspace-consume",
}

// principal is the handler of a kind of principals in SCIM.
func principal(kind string) handler {
	body := func(s *state) provider.Document {
		doc := s.Encode()
		doc["schemas"] = []string{schemaOf[kind]}
		list := []any{}
		for field, value := range entitlements {
			if s.Bool(field) {
				list = append(list, map[string]any{"value": value})
			}
		}
		if len(list) > 0 || s.Prior != nil {
			doc["entitlements"] = list
		}
		return doc
	}
	return handler{
		Create: func(ctx context.Context, c *Client, s *state) error {
			doc, err := c.do(ctx, "POST", scim+kind, body(s))
			if taken(err) {
				have := &state{Table: s.Table, Values: maps.Clone(s.Values)}
				_ = findPrincipal(kind)(ctx, c, have) // who is not found has no id to name
				return provider.There(err, have.ID())
			}
			if err != nil {
				return err
			}
			s.SetID(fmt.Sprint(doc["id"]))
			return nil
		},
		Read: func(ctx context.Context, c *Client, s *state) error {
			doc, err := c.do(ctx, "GET", scim+kind+"/"+url.PathEscape(s.ID()), nil)
			if err != nil {
				return err
			}
			s.Decode(doc)
			describe(s, kind)
			return nil
		},
		Update: func(ctx context.Context, c *Client, s *state) error {
			_, err := c.do(ctx, "PUT", scim+kind+"/"+url.PathEscape(s.ID()), body(s))
			return err
		},
		Delete: func(ctx context.Context, c *Client, s *state) error {
			_, err := c.do(ctx, "DELETE", scim+kind+"/"+url.PathEscape(s.ID()), nil)
			return err
		},
	}
}

// describe sets what follows from a principal's name.
func describe(s *state, kind string) {
	set := func(name string, v any) {
		if s.Field(name) != nil {
			s.Values[name] = v
		}
	}
	name, prefix := s.String("user_name"), "users/"
	switch kind {
	case "ServicePrincipals":
		name, prefix = s.String("application_id"), "servicePrincipals/"
	case "Groups":
		name, prefix = s.String("display_name"), "groups/"
	}
	set("acl_principal_id", prefix+name)
	set("home", "/Users/"+name)
	set("repos", "/Repos/"+name)
	short, _, _ := strings.Cut(name, "@")
	set("alphanumeric", strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(short)))
}

// Members of groups.

func memberships(ctx context.Context, c *Client, group string) (map[string]bool, error) {
	doc, err := c.do(ctx, "GET", scim+"Groups/"+url.PathEscape(group), nil)
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	items, _ := doc["members"].([]any)
	for _, item := range items {
		out[fmt.Sprint(provider.At(item, "value"))] = true
	}
	return out, nil
}

func patchGroup(ctx context.Context, c *Client, group string, operation map[string]any) error {
	_, err := c.do(ctx, "PATCH", scim+"Groups/"+url.PathEscape(group), map[string]any{
		"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}, "Operations": []any{operation},
	})
	return err
}

func join(ctx context.Context, c *Client, s *state) error {
	group, member := s.String("group_id"), s.String("member_id")
	err := patchGroup(ctx, c, group, map[string]any{"op": "add", "path": "members", "value": []any{map[string]any{"value": member}}})
	if err == nil {
		s.SetID(group + "|" + member)
	}
	return err
}

func readMember(ctx context.Context, c *Client, s *state) error {
	members, err := memberships(ctx, c, s.String("group_id"))
	if err == nil && !members[s.String("member_id")] {
		return provider.ErrGone
	}
	return err
}

func leave(ctx context.Context, c *Client, s *state) error {
	return patchGroup(ctx, c, s.String("group_id"), map[string]any{"op": "remove", "path": fmt.Sprintf("members[value eq %q]", s.String("member_id"))})
}

func importMember(s *state) error { return s.Match("{group_id}|{member_id}", s.ID()) }

// Secrets of service principals.

func secrets(c *Client, s *state) string {
	return "/api/2.0/accounts/" + url.PathEscape(c.account()) + "/servicePrincipals/" + url.PathEscape(s.String("service_principal_id")) + "/credentials/secrets"
}

func createSecret(ctx context.Context, c *Client, s *state) error {
	body := map[string]any{}
	if v := s.String("lifetime"); v != "" {
		body["lifetime"] = v
	}
	doc, err := c.do(ctx, "POST", secrets(c, s), body)
	if err != nil {
		return err
	}
	s.SetID(fmt.Sprint(doc["id"]))
	s.Values["secret"] = doc["secret"]
	return nil
}

func readSecret(ctx context.Context, c *Client, s *state) error {
	doc, err := c.do(ctx, "GET", secrets(c, s), nil)
	if err != nil {
		return err
	}
	one, err := found(doc, "secrets", provider.Document{"id": s.ID()})
	if err == nil {
		s.Decode(one)
	}
	return err
}

func deleteSecret(ctx context.Context, c *Client, s *state) error {
	_, err := c.do(ctx, "DELETE", secrets(c, s)+"/"+url.PathEscape(s.ID()), nil)
	return err
}

// Data sources.

func currentUser(ctx context.Context, c *Client, s *state) error {
	doc, err := c.do(ctx, "GET", scim+"Me", nil)
	if err != nil {
		return err
	}
	s.Decode(doc)
	describe(s, "Users")
	s.SetID(fmt.Sprint(doc["id"]))
	s.Values["workspace_url"] = strings.TrimSuffix(c.sdk.Config.Host, "/")
	return nil
}

// findPrincipal looks a principal up by one of the names it may have.
func findPrincipal(kind string) func(context.Context, *Client, *state) error {
	return func(ctx context.Context, c *Client, s *state) error {
		filter := ""
		for _, by := range []struct{ field, attribute string }{
			{"user_name", "userName"}, {"application_id", "applicationId"}, {"display_name", "displayName"}, {"user_id", "id"}, {"scim_id", "id"},
		} {
			if v := s.String(by.field); v != "" && filter == "" {
				filter = fmt.Sprintf("%s eq %q", by.attribute, v)
			}
		}
		doc, err := c.do(ctx, "GET", scim+kind+"?filter="+url.QueryEscape(filter), nil)
		if err != nil {
			return err
		}
		items, _ := doc["Resources"].([]any)
		if len(items) == 0 {
			return fmt.Errorf("no %s with %s", strings.ToLower(strings.TrimSuffix(kind, "s")), filter)
		}
		if len(items) > 1 {
			return errors.New("more than one has " + filter)
		}
		one, _ := items[0].(provider.Document)
		s.Decode(one)
		describe(s, kind)
		s.SetID(fmt.Sprint(one["id"]))
		if s.Field("members") != nil {
			members, _ := one["members"].([]any)
			ids := []any{}
			for _, m := range members {
				ids = append(ids, fmt.Sprint(provider.At(m, "value")))
			}
			s.Values["members"] = ids
		}
		return nil
	}
}
