package databricks

const (
	catalogAPI = "/api/2.1/unity-catalog/"
	scimAPI    = "/api/2.0/preview/scim/v2/"
	secretsAPI = "/api/2.0/secrets/"
)

// groups are the commands that are calls of the API, one each.
var groups = []group{
	{name: "current-user", short: "Who is signed in", calls: []call{
		{use: "me", short: "Show who is signed in", method: "GET", path: scimAPI + "Me"},
	}},
	{name: "clusters", short: "Compute", calls: []call{
		{use: "list", short: "List clusters", method: "GET", path: "/api/2.1/clusters/list", list: "clusters", columns: []string{"ID=cluster_id", "NAME=cluster_name", "STATE=state"}},
		{use: "get CLUSTER_ID", short: "Show a cluster", method: "GET", path: "/api/2.1/clusters/get"},
		{use: "create SPARK_VERSION", short: "Create a cluster and wait until it runs", method: "POST", path: "/api/2.1/clusters/create", wait: clusterRuns, flags: clusterFlags},
		{use: "start CLUSTER_ID", short: "Start a cluster and wait until it runs", method: "POST", path: "/api/2.1/clusters/start", wait: clusterRuns},
		{use: "restart CLUSTER_ID", short: "Restart a cluster and wait until it runs", method: "POST", path: "/api/2.1/clusters/restart", wait: clusterRuns},
		{use: "delete CLUSTER_ID", short: "Terminate a cluster and wait until it has ended", method: "POST", path: "/api/2.1/clusters/delete", wait: clusterEnds},
		{use: "pin CLUSTER_ID", short: "Keep a cluster from being deleted for good", method: "POST", path: "/api/2.1/clusters/pin"},
		{use: "unpin CLUSTER_ID", short: "Let a pinned cluster be deleted", method: "POST", path: "/api/2.1/clusters/unpin"},
		{use: "permanent-delete CLUSTER_ID", short: "Delete a cluster for good", method: "POST", path: "/api/2.1/clusters/permanent-delete"},
		{use: "spark-versions", short: "List runtimes", method: "GET", path: "/api/2.1/clusters/spark-versions", list: "versions", columns: []string{"KEY=key", "NAME=name"}},
	}},
	{name: "catalogs", short: "Catalogs of Unity Catalog", calls: []call{
		{use: "list", short: "List catalogs", method: "GET", path: catalogAPI + "catalogs", list: "catalogs", columns: []string{"NAME=name", "TYPE=catalog_type", "COMMENT=comment"}},
		{use: "get NAME", short: "Show a catalog", method: "GET", path: catalogAPI + "catalogs/{name}"},
		{use: "create NAME", short: "Create a catalog", method: "POST", path: catalogAPI + "catalogs", flags: []string{"comment: what it is for", "storage_root: where its managed tables are"}},
		{use: "update NAME", short: "Change a catalog", method: "PATCH", path: catalogAPI + "catalogs/{name}", flags: []string{"comment: what it is for", "new_name: another name", "owner: another owner"}},
		{use: "delete NAME", short: "Delete a catalog", method: "DELETE", path: catalogAPI + "catalogs/{name}", flags: []string{"force bool: also if it is not empty"}},
	}},
	{name: "schemas", short: "Schemas of Unity Catalog", calls: []call{
		{use: "list CATALOG_NAME", short: "List the schemas of a catalog", method: "GET", path: catalogAPI + "schemas", list: "schemas", columns: []string{"FULL NAME=full_name", "OWNER=owner", "COMMENT=comment"}},
		{use: "get FULL_NAME", short: "Show a schema", method: "GET", path: catalogAPI + "schemas/{full_name}"},
		{use: "create NAME CATALOG_NAME", short: "Create a schema", method: "POST", path: catalogAPI + "schemas", flags: []string{"comment: what it is for", "storage_root: where its managed tables are"}},
		{use: "update FULL_NAME", short: "Change a schema", method: "PATCH", path: catalogAPI + "schemas/{full_name}", flags: []string{"comment: what it is for", "new_name: another name", "owner: another owner"}},
		{use: "delete FULL_NAME", short: "Delete a schema", method: "DELETE", path: catalogAPI + "schemas/{full_name}", flags: []string{"force bool: also if it is not empty"}},
	}},
	{name: "volumes", short: "Volumes of Unity Catalog", calls: []call{
		{use: "list CATALOG_NAME SCHEMA_NAME", short: "List the volumes of a schema", method: "GET", path: catalogAPI + "volumes", list: "volumes", columns: []string{"FULL NAME=full_name", "TYPE=volume_type", "LOCATION=storage_location"}},
		{use: "read NAME", alias: "get", short: "Show a volume", method: "GET", path: catalogAPI + "volumes/{name}"},
		{
			use: "create CATALOG_NAME SCHEMA_NAME NAME VOLUME_TYPE", short: "Create a volume, MANAGED or EXTERNAL", method: "POST", path: catalogAPI + "volumes",
			flags: []string{"comment: what it is for", "storage_location: of an external volume"},
		},
		{use: "update NAME", short: "Change a volume", method: "PATCH", path: catalogAPI + "volumes/{name}", flags: []string{"comment: what it is for", "new_name: another name", "owner: another owner"}},
		{use: "delete NAME", short: "Delete a volume", method: "DELETE", path: catalogAPI + "volumes/{name}"},
	}},
	{name: "tables", short: "Tables of Unity Catalog", calls: []call{
		{use: "list CATALOG_NAME SCHEMA_NAME", short: "List the tables of a schema", method: "GET", path: catalogAPI + "tables", list: "tables", columns: []string{"FULL NAME=full_name", "TYPE=table_type"}},
		{use: "get FULL_NAME", short: "Show a table", method: "GET", path: catalogAPI + "tables/{full_name}"},
		{use: "exists FULL_NAME", short: "Tell whether a table exists", method: "GET", path: catalogAPI + "tables/{full_name}/exists"},
		{
			use: "create NAME CATALOG_NAME SCHEMA_NAME TABLE_TYPE DATA_SOURCE_FORMAT STORAGE_LOCATION", short: "Create an external table", method: "POST", path: catalogAPI + "tables",
		},
		{use: "delete FULL_NAME", short: "Delete a table", method: "DELETE", path: catalogAPI + "tables/{full_name}"},
	}},
	{name: "registered-models", short: "Models of Unity Catalog", calls: []call{
		{
			use: "list", short: "List models", method: "GET", path: catalogAPI + "models", list: "registered_models", columns: []string{"FULL NAME=full_name", "OWNER=owner", "COMMENT=comment"},
			flags: []string{"catalog_name: of this catalog", "schema_name: of this schema"},
		},
		{use: "get FULL_NAME", short: "Show a model", method: "GET", path: catalogAPI + "models/{full_name}", flags: []string{"include_aliases bool: with its aliases"}},
		{use: "create CATALOG_NAME SCHEMA_NAME NAME", short: "Create a model", method: "POST", path: catalogAPI + "models", flags: []string{"comment: what it is for"}},
		{use: "delete FULL_NAME", short: "Delete a model", method: "DELETE", path: catalogAPI + "models/{full_name}"},
		{use: "set-alias FULL_NAME ALIAS VERSION_NUM", short: "Give a version an alias", method: "PUT", path: catalogAPI + "models/{full_name}/aliases/{alias}"},
		{use: "delete-alias FULL_NAME ALIAS", short: "Take an alias away", method: "DELETE", path: catalogAPI + "models/{full_name}/aliases/{alias}"},
	}},
	{name: "model-versions", short: "Versions of models of Unity Catalog", calls: []call{
		{use: "list FULL_NAME", short: "List the versions of a model", method: "GET", path: catalogAPI + "models/{full_name}/versions", list: "model_versions", columns: []string{"VERSION=version", "STATUS=status", "COMMENT=comment"}},
		{use: "get FULL_NAME VERSION", short: "Show a version", method: "GET", path: catalogAPI + "models/{full_name}/versions/{version}"},
		{use: "get-by-alias FULL_NAME ALIAS", short: "Show the version that has an alias", method: "GET", path: catalogAPI + "models/{full_name}/aliases/{alias}"},
		{use: "delete FULL_NAME VERSION", short: "Delete a version", method: "DELETE", path: catalogAPI + "models/{full_name}/versions/{version}"},
	}},
	{name: "grants", short: "Grants of Unity Catalog", calls: []call{
		{use: "get SECURABLE_TYPE FULL_NAME", short: "Show who was granted what", method: "GET", path: catalogAPI + "permissions/{securable_type}/{full_name}"},
		{use: "get-effective SECURABLE_TYPE FULL_NAME", short: "The same with what is inherited", method: "GET", path: catalogAPI + "effective-permissions/{securable_type}/{full_name}"},
		{use: "update SECURABLE_TYPE FULL_NAME", short: "Grant and revoke: --json with changes", method: "PATCH", path: catalogAPI + "permissions/{securable_type}/{full_name}"},
	}},
	{name: "secrets", short: "Secrets", more: secretCommands, calls: []call{
		{use: "list-scopes", short: "List scopes", method: "GET", path: secretsAPI + "scopes/list", list: "scopes", columns: []string{"SCOPE=name", "BACKEND=backend_type"}},
		{use: "create-scope SCOPE", short: "Create a scope", method: "POST", path: secretsAPI + "scopes/create", flags: []string{"initial_manage_principal: who manages it", "scope_backend_type: DATABRICKS or AZURE_KEYVAULT"}},
		{use: "delete-scope SCOPE", short: "Delete a scope with its secrets", method: "POST", path: secretsAPI + "scopes/delete"},
		{use: "list-secrets SCOPE", short: "List the secrets of a scope, without their values", method: "GET", path: secretsAPI + "list", list: "secrets", columns: []string{"KEY=key", "UPDATED=last_updated_timestamp"}},
		{use: "get-secret SCOPE KEY", short: "Show a secret; its value is base64", method: "GET", path: secretsAPI + "get"},
		{use: "delete-secret SCOPE KEY", short: "Delete a secret", method: "POST", path: secretsAPI + "delete"},
		{use: "put-acl SCOPE PRINCIPAL PERMISSION", short: "Grant READ, WRITE or MANAGE on a scope", method: "POST", path: secretsAPI + "acls/put"},
		{use: "get-acl SCOPE PRINCIPAL", short: "Show a grant on a scope", method: "GET", path: secretsAPI + "acls/get"},
		{use: "list-acls SCOPE", short: "List grants on a scope", method: "GET", path: secretsAPI + "acls/list", list: "items", columns: []string{"PRINCIPAL=principal", "PERMISSION=permission"}},
		{use: "delete-acl SCOPE PRINCIPAL", short: "Revoke a grant on a scope", method: "POST", path: secretsAPI + "acls/delete"},
	}},
	{name: "workspace", short: "Notebooks, files and folders", more: workspaceCommands, calls: []call{
		{use: "list PATH", short: "List a folder", method: "GET", path: workspaceAPI + "list", list: "objects", columns: []string{"ID=object_id", "TYPE=object_type", "LANGUAGE=language", "PATH=path"}},
		{use: "get-status PATH", short: "Describe an object", method: "GET", path: workspaceAPI + "get-status"},
		{use: "mkdirs PATH", short: "Make a folder and its parents", method: "POST", path: workspaceAPI + "mkdirs"},
		{use: "delete PATH", short: "Delete an object", method: "POST", path: workspaceAPI + "delete", flags: []string{"recursive bool: a folder with what is in it"}},
	}},
	{name: "users", short: "Users", calls: []call{
		{use: "list", short: "List users", method: "GET", path: scimAPI + "Users", list: "Resources", columns: []string{"ID=id", "USER NAME=userName"}, flags: []string{"filter: as SCIM filters"}},
		{use: "get ID", short: "Show a user", method: "GET", path: scimAPI + "Users/{id}"},
	}},
	{name: "groups", short: "Groups", calls: []call{
		{use: "list", short: "List groups", method: "GET", path: scimAPI + "Groups", list: "Resources", columns: []string{"ID=id", "NAME=displayName"}, flags: []string{"filter: as SCIM filters"}},
		{use: "get ID", short: "Show a group", method: "GET", path: scimAPI + "Groups/{id}"},
	}},
	{name: "service-principals", short: "Service principals", calls: []call{
		{
			use: "list", short: "List service principals", method: "GET", path: scimAPI + "ServicePrincipals", list: "Resources",
			columns: []string{"ID=id", "APPLICATION ID=applicationId", "NAME=displayName", "ACTIVE=active"}, flags: []string{"filter: as SCIM filters"},
		},
		{use: "get ID", short: "Show a service principal", method: "GET", path: scimAPI + "ServicePrincipals/{id}"},
	}},
}

var clusterFlags = []string{
	"cluster_name: its name", "node_type_id: of its machines", "driver_node_type_id: of the driver's machine", "num_workers int: how many workers",
	"autotermination_minutes int: how long it may be idle", "policy_id: its policy",
}
