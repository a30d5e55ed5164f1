// Package azurerm stands in for the Terraform provider hashicorp/azurerm: it
// makes resources through Azure's management API, and what belongs to their
// data planes through those.
package azurerm

import (
	"context"
	_ "embed"
	"fmt"

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
		return nil, fmt.Errorf("tables of azurerm: %w", err)
	}
	p := &provider.Provider[*azure.Client]{
		Source: "hashicorp/azurerm", Tables: t,
		Connect: func(_ context.Context, config provider.Values) (*azure.Client, error) { return azure.Connect(config) },
		Resources: map[string]handler{
			"azurerm_storage_container":                 {Create: createContainer, Read: readContainer, Update: updateContainer, Delete: deleteContainer, Import: importContainer},
			"azurerm_storage_data_lake_gen2_filesystem": {Create: createFilesystem, Read: readFilesystem, Update: updateFilesystem, Delete: deleteFilesystem, Import: importFilesystem},
			"azurerm_role_assignment":                   {Create: assignRole, Read: readAssignment, Update: nothing, Delete: deleteByID("2022-04-01"), Import: importAssignment},
			"azurerm_key_vault_secret":                  {Create: setSecret, Read: readSecret, Update: setSecret, Delete: deleteSecret},
		},
		Data: map[string]func(context.Context, *azure.Client, *state) error{
			"azurerm_client_config": clientConfig, "azurerm_subscription": subscription, "azurerm_key_vault_secret": findSecret,
		},
	}
	for _, table := range t {
		switch {
		case len(table.Directives["path"]) == 0:
		case table.Data:
			p.Data[table.Name] = find
		default:
			p.Resources[table.Name] = managed(table)
		}
	}
	return p, nil
}

func nothing(context.Context, *azure.Client, *state) error { return nil }

func clientConfig(ctx context.Context, c *azure.Client, s *state) error {
	object, client, tenant, err := c.Caller(ctx, azure.Management)
	if err != nil {
		return err
	}
	s.SetID(tenant + "/" + c.Subscription + "/" + client)
	s.Values["client_id"], s.Values["object_id"], s.Values["tenant_id"], s.Values["subscription_id"] = client, object, tenant, c.Subscription
	return nil
}

func subscription(ctx context.Context, c *azure.Client, s *state) error {
	id := s.String("subscription_id")
	if id == "" {
		id = c.Subscription
	}
	doc, err := c.Do(ctx, azure.Management, "GET", azure.Management+"/subscriptions/"+id+"?api-version=2022-12-01", nil)
	if err != nil {
		return err
	}
	s.Decode(doc)
	s.SetID("/subscriptions/" + id)
	return nil
}
