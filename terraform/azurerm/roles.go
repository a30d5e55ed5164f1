package azurerm

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"

	"github.com/wherry-ml/wherry/terraform/azure"
	"github.com/wherry-ml/wherry/terraform/provider"
)

const (
	assignments     = "/providers/Microsoft.Authorization/roleAssignments/"
	definitionsPath = "/providers/Microsoft.Authorization/roleDefinitions"
	rolesVersion    = "2022-04-01"
)

// definition finds a role by its name.
func definition(ctx context.Context, c *azure.Client, scope, name string) (string, error) {
	u := &url.URL{Scheme: "https", Host: "management.azure.com", Path: scope + definitionsPath, RawQuery: url.Values{
		"api-version": {rolesVersion}, "$filter": {"roleName eq '" + strings.ReplaceAll(name, "'", "''") + "'"},
	}.Encode()}
	doc, err := c.Do(ctx, azure.Management, "GET", u.String(), nil)
	if err != nil {
		return "", err
	}
	items, _ := doc["value"].([]any)
	if len(items) == 0 {
		return "", &provider.FieldError{Field: "role_definition_name", Err: fmt.Errorf("there is no role %q", name)}
	}
	return fmt.Sprint(provider.At(items[0], "id")), nil
}

func assignRole(ctx context.Context, c *azure.Client, s *state) error {
	scope, role := s.String("scope"), s.String("role_definition_id")
	if role == "" {
		var err error
		if role, err = definition(ctx, c, scope, s.String("role_definition_name")); err != nil {
			return err
		}
	}
	name := s.String("name")
	if name == "" {
		name = guid()
	}
	doc := s.Encode()
	p, _ := doc["properties"].(provider.Document) // principal_id is required, so it is there
	p["roleDefinitionId"] = role
	id := strings.TrimSuffix(scope, "/") + assignments + name
	if _, err := call(ctx, c, "PUT", id, rolesVersion, doc); err != nil {
		return err
	}
	s.SetID(id)
	return nil
}

// guid is a random UUID (RFC 9562, version 4).
func guid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func readAssignment(ctx context.Context, c *azure.Client, s *state) error {
	doc, err := call(ctx, c, "GET", s.ID(), rolesVersion, nil)
	if err != nil {
		return err
	}
	was := s.String("role_definition_id")
	s.Decode(doc)
	i := strings.LastIndex(s.ID(), assignments)
	if s.Values["name"] = s.ID()[i+len(assignments):]; s.String("scope") == "" {
		s.Values["scope"] = s.ID()[:i]
	}
	role := fmt.Sprint(provider.At(doc, "properties", "roleDefinitionId"))
	if was == "" || !strings.EqualFold(was[strings.LastIndex(was, "/")+1:], role[strings.LastIndex(role, "/")+1:]) {
		s.Values["role_definition_id"] = role
	}
	found, err := call(ctx, c, "GET", role, rolesVersion, nil)
	if err != nil {
		return err
	}
	s.Values["role_definition_name"] = provider.At(found, "properties", "roleName")
	return nil
}

func importAssignment(s *state) error {
	if !strings.Contains(s.ID(), assignments) {
		return fmt.Errorf("an id of azurerm_role_assignment ends in %sNAME, and not like %q", assignments, s.ID())
	}
	return nil
}
