package catalog

import (
	"context"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	store "github.com/wherry-ml/wherry/store/catalog"
)

type grantInput struct {
	Type      string              `json:"securable_type"`
	FullName  string              `json:"full_name"`
	Principal string              `json:"principal"`
	Changes   []store.GrantChange `json:"changes"`
}

// kind reads the type of a securable in a path, in any of the spellings that
// clients use: "catalog", "SecurableType.CATALOG", "external-location".
func kind(s string) (string, error) {
	k := strings.ToUpper(strings.NewReplacer("-", "_", " ", "_").Replace(s[strings.LastIndex(s, ".")+1:]))
	switch k {
	case "REGISTERED_MODEL", wherry.SecurableModel:
		return wherry.SecurableModel, nil
	case wherry.SecurableMetastore, wherry.SecurableCatalog, wherry.SecurableSchema, wherry.SecurableTable, wherry.SecurableVolume,
		wherry.SecurableFunction, wherry.SecurableExternalLocation, wherry.SecurableStorageCredential:
		return k, nil
	case "VIEW":
		return wherry.SecurableTable, nil
	}
	return "", wherry.NotImplemented("grants on a securable of type " + s)
}

type grantOutput struct {
	Assignments []store.Grant `json:"privilege_assignments"`
}

func (s *Service) grants(ctx context.Context, in *grantInput) (*grantOutput, error) {
	k, err := s.grantKind(ctx, in)
	if err != nil {
		return nil, err
	}
	list, err := s.store.Grants(ctx, k, in.FullName, in.Principal)
	return &grantOutput{list}, err
}

func (s *Service) changeGrants(ctx context.Context, in *grantInput) (*grantOutput, error) {
	k, err := s.grantKind(ctx, in)
	if err != nil {
		return nil, err
	}
	list, err := s.store.ChangeGrants(ctx, k, in.FullName, in.Changes)
	return &grantOutput{list}, err
}

type effectiveOutput struct {
	Assignments []store.EffectiveGrant `json:"privilege_assignments"`
}

func (s *Service) effectiveGrants(ctx context.Context, in *grantInput) (*effectiveOutput, error) {
	k, err := s.grantKind(ctx, in)
	if err != nil {
		return nil, err
	}
	list, err := s.store.EffectiveGrants(ctx, k, in.FullName, in.Principal)
	return &effectiveOutput{list}, err
}

// grantKind returns the kind that a grant is on. Clients grant on models with
// the type FUNCTION: a name that is no function is taken for a model.
func (s *Service) grantKind(ctx context.Context, in *grantInput) (string, error) {
	k, err := kind(in.Type)
	if k != wherry.SecurableFunction || err != nil {
		return k, err
	}
	if _, err := s.store.Get(ctx, k, in.FullName); wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return wherry.SecurableModel, nil
	}
	return k, nil
}

type tagInput struct {
	EntityType string `json:"entity_type"`
	EntityName string `json:"entity_name"`
	TagKey     string `json:"tag_key"`
	TagValue   string `json:"tag_value"`
}

type tagOutput struct {
	Tags []tagInput `json:"tag_assignments"`
}

// tagTarget reads what a tag is on, from the plural that clients write: tables,
// columns ("c.s.t.column"), …
func tagTarget(in *tagInput) (string, error) {
	e := strings.TrimSuffix(strings.ToLower(in.EntityType), "s")
	if e == "column" {
		return store.Column, nil
	}
	return kind(e)
}

func (s *Service) createTag(ctx context.Context, in *tagInput) (*tagInput, error) {
	k, err := tagTarget(in)
	if err != nil {
		return nil, err
	}
	if in.TagKey == "" {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "tag_key is required")
	}
	return in, s.store.SetTag(ctx, k, in.EntityName, in.TagKey, in.TagValue)
}

func (s *Service) updateTag(ctx context.Context, in *tagInput) (*tagInput, error) {
	if _, err := s.tag(ctx, in); err != nil {
		return nil, err
	}
	return s.createTag(ctx, in)
}

func (s *Service) tags(ctx context.Context, in *tagInput) (*tagOutput, error) {
	k, err := tagTarget(in)
	if err != nil {
		return nil, err
	}
	list, err := s.store.Tags(ctx, k, in.EntityName)
	out := &tagOutput{Tags: []tagInput{}}
	for _, t := range list {
		out.Tags = append(out.Tags, tagInput{EntityType: in.EntityType, EntityName: in.EntityName, TagKey: t.Key, TagValue: t.Value})
	}
	return out, err
}

func (s *Service) tag(ctx context.Context, in *tagInput) (*tagInput, error) {
	all, err := s.tags(ctx, in)
	if err != nil {
		return nil, err
	}
	for _, t := range all.Tags {
		if t.TagKey == in.TagKey {
			return &t, nil
		}
	}
	return nil, wherry.Errorf(wherry.CodeDoesNotExist, "%s '%s' has no tag '%s'", in.EntityType, in.EntityName, in.TagKey)
}

func (s *Service) deleteTag(ctx context.Context, in *tagInput) (*api.Empty, error) {
	k, err := tagTarget(in)
	if err != nil {
		return nil, err
	}
	return &api.Empty{}, s.store.DeleteTag(ctx, k, in.EntityName, in.TagKey)
}
