package azurerm

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/wherry-ml/wherry/terraform/azure"
	"github.com/wherry-ml/wherry/terraform/provider"
)

// managed is the handler of a type that is one document of the management API.
func managed(t *provider.Table) handler {
	return handler{
		Create: create, Read: read, Delete: remove,
		Update: func(ctx context.Context, c *azure.Client, s *state) error { return put(ctx, c, s) },
		Import: func(s *state) error { return s.Match(t.Directives["path"][0], s.ID()) },
	}
}

// call sends to the management API; id is a resource's id.
func call(ctx context.Context, c *azure.Client, method, id, version string, in any) (provider.Document, error) {
	u := &url.URL{Scheme: "https", Host: "management.azure.com", Path: id, RawQuery: url.Values{"api-version": {version}}.Encode()}
	return c.Do(ctx, azure.Management, method, u.String(), in)
}

func version(s *state) string { return s.Directives["api"][0] }

// idOf makes a resource's id of its fields.
func idOf(c *azure.Client, s *state) (string, error) {
	path := s.Directives["path"][0]
	if strings.Contains(path, "{subscription}") && c.Subscription == "" {
		return "", errors.New("subscription_id is needed in the provider's configuration (ARM_SUBSCRIPTION_ID)")
	}
	return s.Expand(strings.ReplaceAll(path, "{subscription}", c.Subscription), func(v string) string { return v })
}

func create(ctx context.Context, c *azure.Client, s *state) error {
	id, err := idOf(c, s)
	if err != nil {
		return err
	}
	if err := absent(ctx, c, id, version(s)); err != nil {
		return err
	}
	return put(ctx, c, s)
}

// absent refuses to take over what somebody else made, as the provider does.
func absent(ctx context.Context, c *azure.Client, id, version string) error {
	_, err := call(ctx, c, "GET", id, version, nil)
	switch {
	case errors.Is(err, provider.ErrGone):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%s is there already: `terraform import` takes it into the state", id)
}

func put(ctx context.Context, c *azure.Client, s *state) error {
	id, err := idOf(c, s)
	if err != nil {
		return err
	}
	doc := s.Encode()
	complete(c, s, doc)
	if _, err := call(ctx, c, "PUT", id, version(s), doc); err != nil {
		return err
	}
	s.SetID(id)
	if err := settled(ctx, c, id, version(s)); err != nil {
		return err
	}
	return blobService(ctx, c, s)
}

// settled waits until the API has done what it took.
func settled(ctx context.Context, c *azure.Client, id, version string) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		doc, err := call(ctx, c, "GET", id, version, nil)
		if err != nil {
			return err
		}
		switch p := provider.At(doc, "properties", "provisioningState"); p {
		case nil, "", "Succeeded":
			return nil
		case "Failed", "Canceled":
			return fmt.Errorf("%s: provisioning ended with %v", id, p)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func read(ctx context.Context, c *azure.Client, s *state) error {
	doc, err := call(ctx, c, "GET", s.ID(), version(s), nil)
	if err != nil {
		return err
	}
	s.Decode(doc)
	return derive(ctx, c, s, doc)
}

// find reads a data source.
func find(ctx context.Context, c *azure.Client, s *state) error {
	id, err := idOf(c, s)
	if err != nil {
		return err
	}
	s.SetID(id)
	if err := read(ctx, c, s); errors.Is(err, provider.ErrGone) {
		return fmt.Errorf("there is no %s", id)
	} else if err != nil {
		return err
	}
	return nil
}

// feature is a setting of the provider's block features.
func feature(c *azure.Client, block, name string, usual bool) bool {
	blocks, _ := c.Features[block].([]any)
	if len(blocks) > 0 {
		if b, ok := blocks[0].(provider.Values); ok {
			if v, ok := b[name].(bool); ok {
				return v
			}
		}
	}
	return usual
}

func remove(ctx context.Context, c *azure.Client, s *state) error {
	id := s.ID()
	if s.Name == "azurerm_resource_group" && feature(c, "resource_group", "prevent_deletion_if_contains_resources", true) {
		doc, err := call(ctx, c, "GET", id+"/resources", "2023-07-01", nil)
		if err != nil {
			return err
		}
		if items, _ := doc["value"].([]any); len(items) > 0 {
			return fmt.Errorf("%s still holds %d resources, the first is %v: delete them, or set features { resource_group { prevent_deletion_if_contains_resources = false } }",
				id, len(items), provider.At(items[0], "id"))
		}
	}
	if err := deleteByID(version(s))(ctx, c, s); err != nil {
		return err
	}
	if s.Name == "azurerm_key_vault" && feature(c, "key_vault", "purge_soft_delete_on_destroy", true) && !s.Bool("purge_protection_enabled") {
		place := strings.ToLower(strings.ReplaceAll(s.String("location"), " ", ""))
		_, err := call(ctx, c, "POST", "/subscriptions/"+c.Subscription+"/providers/Microsoft.KeyVault/locations/"+place+"/deletedVaults/"+s.String("name")+"/purge", version(s), nil)
		if err != nil && !errors.Is(err, provider.ErrGone) {
			return err
		}
	}
	return nil
}

// deleteByID deletes what an id names, and waits until it is gone.
func deleteByID(version string) func(context.Context, *azure.Client, *state) error {
	return func(ctx context.Context, c *azure.Client, s *state) error {
		if _, err := call(ctx, c, "DELETE", s.ID(), version, nil); err != nil {
			return err
		}
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			if _, err := call(ctx, c, "GET", s.ID(), version, nil); errors.Is(err, provider.ErrGone) {
				return nil
			} else if err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
	}
}
