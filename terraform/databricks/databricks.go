package databricks

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/wherry-ml/wherry/terraform/provider"
)

//go:embed tables.txt
var tables string

// New returns the provider.
func New() (*provider.Provider[*Client], error) {
	t, err := provider.Parse(tables)
	if err != nil {
		return nil, fmt.Errorf("tables of databricks: %w", err)
	}
	p := &provider.Provider[*Client]{
		Source: "databricks/databricks", Tables: t, Connect: connect,
		Resources: map[string]handler{
			"databricks_grants":                   {Create: setGrants, Read: readGrants, Update: setGrants, Delete: dropGrants, Import: importGrants},
			"databricks_grant":                    {Create: setGrant, Read: readGrant, Update: setGrant, Delete: dropGrant, Import: importGrant},
			"databricks_metastore_assignment":     {Create: assign, Read: readAssignment, Update: assign, Delete: unassign},
			"databricks_cluster":                  {Create: createCluster, Read: readCluster, Update: editCluster, Delete: deleteCluster},
			"databricks_notebook":                 {Create: importFile, Read: readFile, Update: importFile, Delete: deleteFile, Import: importPath, Plan: planFile},
			"databricks_workspace_file":           {Create: importFile, Read: readFile, Update: importFile, Delete: deleteFile, Import: importPath, Plan: planFile},
			"databricks_permissions":              {Create: setPermissions, Read: readPermissions, Update: setPermissions, Delete: dropPermissions, Import: importPermissions},
			"databricks_workspace_conf":           {Create: setConf, Read: readConf, Update: setConf, Delete: dropConf},
			"databricks_user":                     principal("Users"),
			"databricks_service_principal":        principal("ServicePrincipals"),
			"databricks_group":                    principal("Groups"),
			"databricks_group_member":             {Create: join, Read: readMember, Delete: leave, Import: importMember},
			"databricks_service_principal_secret": {Create: createSecret, Read: readSecret, Delete: deleteSecret},
		},
		Data: map[string]func(context.Context, *Client, *state) error{
			"databricks_current_user": currentUser, "databricks_current_metastore": currentMetastore, "databricks_spark_version": sparkVersion,
			"databricks_node_type": nodeType, "databricks_catalogs": catalogs, "databricks_schemas": schemas,
			"databricks_user": findPrincipal("Users"), "databricks_service_principal": findPrincipal("ServicePrincipals"), "databricks_group": findPrincipal("Groups"),
		},
	}
	for _, table := range t {
		if _, has := p.Resources[table.Name]; !has && !table.Data && table.Directives["read"] != nil {
			p.Resources[table.Name] = rest(table)
		}
	}
	p.Resources["databricks_job"] = job(p.Resources["databricks_job"])
	token := p.Resources["databricks_token"]
	token.Create, token.Import = createToken, nil
	p.Resources["databricks_token"] = token
	experiment := p.Resources["databricks_mlflow_experiment"]
	experiment.Update = renameExperiment
	p.Resources["databricks_mlflow_experiment"] = experiment
	return p, nil
}
