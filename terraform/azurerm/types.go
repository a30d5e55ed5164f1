package azurerm

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/terraform/azure"
	"github.com/wherry-ml/wherry/terraform/provider"
)

// complete adds to a document what a table cannot say.
func complete(c *azure.Client, s *state, doc provider.Document) {
	properties, ok := doc["properties"].(provider.Document)
	if !ok {
		properties = provider.Document{}
	}
	if id, ok := doc["identity"].(provider.Document); ok {
		id["type"] = strings.ReplaceAll(fmt.Sprint(id["type"]), " ", "")
		users := provider.Document{}
		for _, b := range s.Blocks("identity") {
			for _, user := range words(b["identity_ids"]) {
				users[user] = provider.Document{}
			}
		}
		if len(users) > 0 {
			id["userAssignedIdentities"] = users
		}
	}
	switch s.Name {
	case "azurerm_resource_group":
		return
	case "azurerm_storage_account":
		doc["sku"] = provider.Document{"name": s.String("account_tier") + "_" + s.String("account_replication_type")}
		if acls, ok := properties["networkAcls"].(provider.Document); ok {
			completeRules(s.Blocks("network_rules")[0], acls)
			if bypass := words(s.Blocks("network_rules")[0]["bypass"]); len(bypass) > 0 {
				acls["bypass"] = strings.Join(bypass, ", ")
			}
		}
	case "azurerm_databricks_workspace":
		name := s.String("managed_resource_group_name")
		if name == "" {
			name = "databricks-rg-" + s.String("resource_group_name")
		}
		properties["managedResourceGroupId"] = "/subscriptions/" + c.Subscription + "/resourceGroups/" + name
	case "azurerm_key_vault":
		if sku, ok := properties["sku"].(provider.Document); ok {
			sku["family"] = "A"
		}
		properties["enableSoftDelete"] = true
		if properties["accessPolicies"] == nil {
			properties["accessPolicies"] = []any{}
		}
		if acls, ok := properties["networkAcls"].(provider.Document); ok {
			completeRules(s.Blocks("network_acls")[0], acls)
		}
	}
	doc["properties"] = properties
}

func completeRules(b provider.Values, acls provider.Document) {
	addresses, networks := []any{}, []any{}
	for _, ip := range words(b["ip_rules"]) {
		addresses = append(addresses, provider.Document{"value": ip})
	}
	for _, id := range words(b["virtual_network_subnet_ids"]) {
		networks = append(networks, provider.Document{"id": id})
	}
	acls["ipRules"], acls["virtualNetworkRules"] = addresses, networks
}

func words(v any) []string {
	items, _ := v.([]any)
	out := make([]string, 0, len(items))
	for _, item := range items {
		out = append(out, fmt.Sprint(item))
	}
	return out
}

// derive sets what a table cannot say, from what was read.
func derive(ctx context.Context, c *azure.Client, s *state, doc provider.Document) error {
	if users, ok := provider.At(doc, "identity", "userAssignedIdentities").(provider.Document); ok && s.Field("identity") != nil && len(s.Blocks("identity")) > 0 {
		ids := []any{}
		for _, id := range slices.Sorted(maps.Keys(users)) {
			ids = append(ids, id)
		}
		if b := s.Blocks("identity")[0]; len(ids) != len(words(b["identity_ids"])) {
			b["identity_ids"] = ids
		}
	}
	switch s.Name {
	case "azurerm_storage_account":
		return deriveAccount(ctx, c, s, doc)
	case "azurerm_databricks_workspace":
		if s.Field("managed_resource_group_name") != nil {
			id := s.String("managed_resource_group_id")
			s.Values["managed_resource_group_name"] = id[strings.LastIndex(id, "/")+1:]
		}
	}
	return nil
}

func deriveAccount(ctx context.Context, c *azure.Client, s *state, doc provider.Document) error {
	if sku, ok := provider.At(doc, "sku", "name").(string); ok {
		s.Values["account_tier"], s.Values["account_replication_type"], _ = cut(sku, "_")
	}
	for _, service := range []string{"blob", "dfs", "queue", "table", "file", "web"} {
		u, err := url.Parse(s.String("primary_" + service + "_endpoint"))
		if err == nil {
			s.Values["primary_"+service+"_host"] = u.Host
		}
	}
	if f := s.Field("large_file_share_enabled"); f != nil && s.Values[f.Name] != true {
		s.Values[f.Name] = false
	}
	if err := readBlobService(ctx, c, s); err != nil {
		return err
	}
	keys, err := call(ctx, c, "POST", s.ID()+"/listKeys", version(s), nil)
	if err != nil {
		return err
	}
	list, _ := keys["keys"].([]any)
	for i, item := range list[:min(len(list), 2)] {
		which := [...]string{"primary", "secondary"}[i]
		key := provider.At(item, "value")
		s.Values[which+"_access_key"] = key
		text := fmt.Sprintf("DefaultEndpointsProtocol=https;AccountName=%s;AccountKey=%v;EndpointSuffix=core.windows.net", s.String("name"), key)
		s.Values[which+"_connection_string"] = text
		s.Values[which+"_blob_connection_string"] = fmt.Sprintf("DefaultEndpointsProtocol=https;BlobEndpoint=%s;AccountName=%s;AccountKey=%v", s.String("primary_blob_endpoint"), s.String("name"), key)
	}
	return nil
}

func cut(s, sep string) (before, after any, found bool) {
	b, a, ok := strings.Cut(s, sep)
	return b, a, ok
}

// blobService sets the properties of a storage account's blob service, which
// are a resource of their own in the API.
func blobService(ctx context.Context, c *azure.Client, s *state) error {
	f := s.Field("blob_properties")
	if s.Name != "azurerm_storage_account" || len(s.Blocks("blob_properties")) == 0 {
		return nil
	}
	p := provider.Encode(f.Fields, s.Blocks("blob_properties")[0])
	for _, name := range []string{"deleteRetentionPolicy", "containerDeleteRetentionPolicy"} {
		if d, ok := p[name].(provider.Document); ok {
			d["enabled"] = true
		} else {
			p[name] = provider.Document{"enabled": false}
		}
	}
	_, err := call(ctx, c, "PUT", s.ID()+"/blobServices/default", version(s), provider.Document{"properties": p})
	return err
}

func readBlobService(ctx context.Context, c *azure.Client, s *state) error {
	f := s.Field("blob_properties")
	if f == nil || len(s.Blocks("blob_properties")) == 0 {
		return nil
	}
	doc, err := call(ctx, c, "GET", s.ID()+"/blobServices/default", version(s), nil)
	if err != nil {
		return err
	}
	p, _ := doc["properties"].(provider.Document)
	for _, name := range []string{"deleteRetentionPolicy", "containerDeleteRetentionPolicy"} {
		if provider.At(p, name, "enabled") != true {
			delete(p, name)
		}
	}
	s.Values["blob_properties"] = []any{provider.Decode(f.Fields, p, s.Blocks("blob_properties")[0])}
	return nil
}
