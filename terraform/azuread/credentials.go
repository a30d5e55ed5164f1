package azuread

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/wherry-ml/wherry/terraform/azure"
	"github.com/wherry-ml/wherry/terraform/provider"
)

// owner is the path in Graph of what a credential belongs to.
func owner(s *state, field string) string {
	collection := "applications/"
	if field == "service_principal_id" {
		collection = "servicePrincipals/"
	}
	return collection + url.PathEscape(object(s.String(field)))
}

func addPassword(field string) func(context.Context, *azure.Client, *state) error {
	return func(ctx context.Context, c *azure.Client, s *state) error {
		credential := provider.Document{}
		if v := s.String("display_name"); v != "" {
			credential["displayName"] = v
		}
		for name, attribute := range map[string]string{"start_date": "startDateTime", "end_date": "endDateTime"} {
			if v := s.String(name); v != "" {
				if _, err := azure.Time(v); err != nil {
					return &provider.FieldError{Field: name, Err: err}
				}
				credential[attribute] = v
			}
		}
		if v := s.String("end_date_relative"); v != "" {
			d, err := time.ParseDuration(v)
			if err != nil {
				return &provider.FieldError{Field: "end_date_relative", Err: err}
			}
			credential["endDateTime"] = time.Now().Add(d).UTC().Format(time.RFC3339)
		}
		doc, err := call(ctx, c, "POST", owner(s, field)+"/addPassword", provider.Document{"passwordCredential": credential})
		if err != nil {
			return err
		}
		s.Values["key_id"], s.Values["value"] = doc["keyId"], doc["secretText"]
		s.SetID(fmt.Sprintf("%s/password/%v", object(s.String(field)), doc["keyId"]))
		return nil
	}
}

func readPassword(field string) func(context.Context, *azure.Client, *state) error {
	return func(ctx context.Context, c *azure.Client, s *state) error {
		doc, err := call(ctx, c, "GET", owner(s, field), nil)
		if err != nil {
			return err
		}
		items, _ := doc["passwordCredentials"].([]any)
		for _, item := range items {
			if provider.At(item, "keyId") != s.Values["key_id"] {
				continue
			}
			one, _ := item.(provider.Document)
			s.Decode(one)
			for name, attribute := range map[string]string{"start_date": "startDateTime", "end_date": "endDateTime"} {
				if s.String(name) == "" {
					s.Values[name] = one[attribute]
				}
			}
			return nil
		}
		return provider.ErrGone
	}
}

func removePassword(field string) func(context.Context, *azure.Client, *state) error {
	return func(ctx context.Context, c *azure.Client, s *state) error {
		_, err := call(ctx, c, "POST", owner(s, field)+"/removePassword", provider.Document{"keyId": s.Values["key_id"]})
		return err
	}
}

func importPassword(field string) func(*state) error {
	return func(s *state) error {
		id, key, ok := strings.Cut(s.ID(), "/password/")
		if !ok {
			return fmt.Errorf("an id of %s is OBJECT/password/KEY, and not %q", s.Name, s.ID())
		}
		s.Values["key_id"] = key
		s.Values[field] = id
		s.Values[field] = "/" + owner(s, field)
		return nil
	}
}

func federations(s *state) string {
	return "applications/" + url.PathEscape(object(s.String("application_id"))) + "/federatedIdentityCredentials"
}

func federation(s *state) string { return federations(s) + "/" + object(s.ID()) }

func addFederation(ctx context.Context, c *azure.Client, s *state) error {
	doc, err := call(ctx, c, "POST", federations(s), s.Encode())
	if taken(err) {
		return provider.There(err, federationNamed(ctx, c, s))
	}
	if err != nil {
		return err
	}
	s.SetID(federationID(s, doc))
	return nil
}

func federationID(s *state, doc any) string {
	return fmt.Sprintf("%s/federatedIdentityCredential/%v", object(s.String("application_id")), provider.At(doc, "id"))
}

// federationNamed is the id of the credential that has the name, "" for none.
func federationNamed(ctx context.Context, c *azure.Client, s *state) string {
	doc, _ := call(ctx, c, "GET", federations(s), nil) // without an answer there is none
	items, _ := doc["value"].([]any)
	for _, item := range items {
		if provider.At(item, "name") == s.String("display_name") {
			return federationID(s, item)
		}
	}
	return ""
}

func readFederation(ctx context.Context, c *azure.Client, s *state) error {
	doc, err := call(ctx, c, "GET", federation(s), nil)
	if err == nil {
		s.Decode(doc)
	}
	return err
}

func changeFederation(ctx context.Context, c *azure.Client, s *state) error {
	_, err := call(ctx, c, "PATCH", federation(s), s.EncodeChanges())
	return err
}

func removeFederation(ctx context.Context, c *azure.Client, s *state) error {
	_, err := call(ctx, c, "DELETE", federation(s), nil)
	return err
}

func importFederation(s *state) error {
	id, _, ok := strings.Cut(s.ID(), "/federatedIdentityCredential/")
	if !ok {
		return fmt.Errorf("an id of %s is OBJECT/federatedIdentityCredential/KEY, and not %q", s.Name, s.ID())
	}
	s.Values["application_id"] = "/applications/" + id
	return nil
}

func addMember(ctx context.Context, c *azure.Client, s *state) error {
	group, member := s.String("group_object_id"), s.String("member_object_id")
	_, err := call(ctx, c, "POST", "groups/"+url.PathEscape(group)+"/members/$ref", provider.Document{"@odata.id": azure.Graph + "/v1.0/directoryObjects/" + member})
	id := group + "/member/" + member
	if err != nil && readMember(ctx, c, s) == nil {
		return provider.There(err, id)
	}
	if err == nil {
		s.SetID(id)
	}
	return err
}

func readMember(ctx context.Context, c *azure.Client, s *state) error {
	ids, err := linked(ctx, c, "groups/"+url.PathEscape(s.String("group_object_id"))+"/members")
	if err != nil {
		return err
	}
	for _, id := range ids {
		if id == s.String("member_object_id") {
			return nil
		}
	}
	return provider.ErrGone
}

func removeMember(ctx context.Context, c *azure.Client, s *state) error {
	_, err := call(ctx, c, "DELETE", "groups/"+url.PathEscape(s.String("group_object_id"))+"/members/"+url.PathEscape(s.String("member_object_id"))+"/$ref", nil)
	return err
}

func importMember(s *state) error {
	return s.Match("{group_object_id}/member/{member_object_id}", s.ID())
}
