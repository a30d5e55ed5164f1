// Package azuread stands in for the Terraform provider hashicorp/azuread: it
// makes applications, service principals and groups through Microsoft Graph.
package azuread

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/terraform/azure"
	"github.com/wherry-ml/wherry/terraform/provider"
)

//go:embed tables.txt
var tables string

type (
	state   = provider.State
	handler = provider.Handler[*azure.Client]
)

// New returns the provider.
func New() (*provider.Provider[*azure.Client], error) {
	t, err := provider.Parse(tables)
	if err != nil {
		return nil, fmt.Errorf("tables of azuread: %w", err)
	}
	p := &provider.Provider[*azure.Client]{
		Source: "hashicorp/azuread", Tables: t,
		Connect: func(_ context.Context, config provider.Values) (*azure.Client, error) { return azure.Connect(config) },
		Resources: map[string]handler{
			"azuread_application_password":                      {Create: addPassword("application_id"), Read: readPassword("application_id"), Delete: removePassword("application_id"), Import: importPassword("application_id")},
			"azuread_service_principal_password":                {Create: addPassword("service_principal_id"), Read: readPassword("service_principal_id"), Delete: removePassword("service_principal_id"), Import: importPassword("service_principal_id")},
			"azuread_application_federated_identity_credential": {Create: addFederation, Read: readFederation, Update: changeFederation, Delete: removeFederation, Import: importFederation},
			"azuread_group_member":                              {Create: addMember, Read: readMember, Delete: removeMember, Import: importMember},
		},
		Data: map[string]func(context.Context, *azure.Client, *state) error{"azuread_client_config": clientConfig},
	}
	for _, table := range t {
		switch {
		case table.Directives["graph"] == nil:
		case table.Data:
			p.Data[table.Name] = find
		default:
			p.Resources[table.Name] = handler{Create: create, Read: read, Update: update, Delete: remove, Import: func(s *state) error {
				s.SetID(idOf(collection(s), object(s.ID())))
				return nil
			}}
		}
	}
	return p, nil
}

func call(ctx context.Context, c *azure.Client, method, path string, in any) (provider.Document, error) {
	return c.Do(ctx, azure.Graph, method, azure.Graph+"/v1.0/"+path, in)
}

// taken tells whether a create was refused because the name has something already.
func taken(err error) bool {
	e, ok := errors.AsType[*azure.Error](err)
	return ok && e.Status == http.StatusConflict
}

func collection(s *state) string { return s.Directives["graph"][0] }

// idOf is an object's id in Terraform: /applications/OBJECT.
func idOf(collection, object string) string { return "/" + collection + "/" + object }

// object is the object's id in what names it, with or without its collection.
func object(id string) string { return id[strings.LastIndex(id, "/")+1:] }

func create(ctx context.Context, c *azure.Client, s *state) error {
	if s.Bool("prevent_duplicate_names") {
		if doc, err := lookUp(ctx, c, s, "displayName", s.String("display_name")); err == nil {
			id := fmt.Sprint(doc["id"])
			return &provider.FieldError{Field: "display_name", Err: provider.There(fmt.Errorf("%s has it already", id), idOf(collection(s), id))}
		}
	}
	if s.Bool("use_existing") {
		if doc, err := lookUp(ctx, c, s, "appId", s.String("client_id")); err == nil {
			s.SetID(idOf(collection(s), fmt.Sprint(doc["id"])))
			return update(ctx, c, s)
		}
	}
	body := s.Encode()
	if s.Name == "azuread_group" {
		if body["mailNickname"] == nil {
			body["mailNickname"] = strings.Map(func(r rune) rune {
				if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
					return r
				}
				return -1
			}, s.String("display_name"))
		}
		for _, name := range []string{"securityEnabled", "mailEnabled"} {
			if body[name] == nil {
				body[name] = false
			}
		}
	}
	claims(s, body)
	doc, err := call(ctx, c, "POST", collection(s), body)
	if taken(err) && s.String("client_id") != "" { // a service principal: applications and groups share names
		if have, lookErr := lookUp(ctx, c, s, "appId", s.String("client_id")); lookErr == nil {
			return provider.There(err, idOf(collection(s), fmt.Sprint(have["id"])))
		}
	}
	if err != nil {
		return err
	}
	s.SetID(idOf(collection(s), fmt.Sprint(doc["id"])))
	return link(ctx, c, s)
}

// claims writes the set that Graph has as words with commas between.
func claims(s *state, body provider.Document) {
	if f := s.Field("group_membership_claims"); f != nil && (s.Changed(f.Name) || s.Values[f.Name] != nil) {
		body["groupMembershipClaims"] = strings.Join(s.Strings(f.Name), ",")
	}
}

func update(ctx context.Context, c *azure.Client, s *state) error {
	body := s.EncodeChanges()
	claims(s, body)
	delete(body, "appId")
	if len(body) > 0 {
		if _, err := call(ctx, c, "PATCH", collection(s)+"/"+object(s.ID()), body); err != nil {
			return err
		}
	}
	return link(ctx, c, s)
}

// links are the sets of other objects that an object has.
var links = []string{"owners", "members"}

// link makes owners and members those that are written, if some are.
func link(ctx context.Context, c *azure.Client, s *state) error {
	for _, name := range links {
		if s.Field(name) == nil || s.Values[name] == nil && !s.Changed(name) {
			continue
		}
		path := collection(s) + "/" + object(s.ID()) + "/" + name
		have, err := linked(ctx, c, path)
		if err != nil {
			return err
		}
		want := s.Strings(name)
		for _, id := range want {
			if !slices.Contains(have, id) {
				if _, err := call(ctx, c, "POST", path+"/$ref", provider.Document{"@odata.id": azure.Graph + "/v1.0/directoryObjects/" + id}); err != nil {
					return err
				}
			}
		}
		for _, id := range have {
			if !slices.Contains(want, id) {
				if _, err := call(ctx, c, "DELETE", path+"/"+id+"/$ref", nil); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func linked(ctx context.Context, c *azure.Client, path string) ([]string, error) {
	doc, err := call(ctx, c, "GET", path, nil)
	if err != nil {
		return nil, err
	}
	items, _ := doc["value"].([]any)
	ids := make([]string, 0, len(items))
	for _, item := range items {
		ids = append(ids, fmt.Sprint(provider.At(item, "id")))
	}
	return ids, nil
}

func read(ctx context.Context, c *azure.Client, s *state) error {
	path := collection(s) + "/" + object(s.ID())
	doc, err := call(ctx, c, "GET", path, nil)
	if err != nil {
		return err
	}
	s.Decode(doc)
	s.SetID(idOf(collection(s), object(s.ID())))
	for _, name := range links {
		if s.Field(name) == nil || s.Values[name] == nil {
			continue // whoever made it is an owner, and is not in the configuration
		}
		ids, err := linked(ctx, c, path+"/"+name)
		if err != nil {
			return err
		}
		list := []any{}
		for _, id := range ids {
			list = append(list, id)
		}
		s.Values[name] = list
	}
	return nil
}

func remove(ctx context.Context, c *azure.Client, s *state) error {
	if s.Bool("use_existing") {
		return nil // it was there before
	}
	_, err := call(ctx, c, "DELETE", collection(s)+"/"+object(s.ID()), nil)
	return err
}

func lookUp(ctx context.Context, c *azure.Client, s *state, attribute, value string) (provider.Document, error) {
	filter := url.Values{"$filter": {attribute + " eq '" + strings.ReplaceAll(value, "'", "''") + "'"}}
	doc, err := call(ctx, c, "GET", collection(s)+"?"+filter.Encode(), nil)
	if err != nil {
		return nil, err
	}
	items, _ := doc["value"].([]any)
	if len(items) == 0 {
		return nil, fmt.Errorf("no %s has %s %q", strings.TrimSuffix(collection(s), "s"), attribute, value)
	}
	if len(items) > 1 {
		return nil, fmt.Errorf("%d %s have %s %q", len(items), collection(s), attribute, value)
	}
	one, _ := items[0].(provider.Document)
	return one, nil
}

// find reads a data source by the one argument that is written.
func find(ctx context.Context, c *azure.Client, s *state) error {
	for _, f := range s.Fields {
		v := s.String(f.Name)
		if v == "" || len(f.Path) != 1 || !f.Optional {
			continue
		}
		var doc provider.Document
		var err error
		if f.Path[0] == "id" {
			doc, err = call(ctx, c, "GET", collection(s)+"/"+url.PathEscape(v), nil)
		} else {
			doc, err = lookUp(ctx, c, s, f.Path[0], v)
		}
		if err != nil {
			return err
		}
		s.Decode(doc)
		s.SetID(idOf(collection(s), fmt.Sprint(doc["id"])))
		if s.Field("members") == nil {
			return nil
		}
		ids, err := linked(ctx, c, collection(s)+"/"+fmt.Sprint(doc["id"])+"/members")
		list := []any{}
		for _, id := range ids {
			list = append(list, id)
		}
		s.Values["members"] = list
		return err
	}
	return errors.New("wherry's stand-in does not look it up by this argument")
}

func clientConfig(ctx context.Context, c *azure.Client, s *state) error {
	object, client, tenant, err := c.Caller(ctx, azure.Graph)
	if err != nil {
		return err
	}
	s.SetID(tenant + "-" + client + "-" + object)
	s.Values["client_id"], s.Values["object_id"], s.Values["tenant_id"] = client, object, tenant
	return nil
}
