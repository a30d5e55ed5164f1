resource "databricks_storage_credential" "lake" {
  name    = "${local.name}-lake"
  comment = "The access connector of ${local.name}"

  azure_managed_identity {
    access_connector_id = azurerm_databricks_access_connector.lake.id
  }

  depends_on = [azurerm_role_assignment.connector_lake]
}

resource "databricks_external_location" "lake" {
  for_each = azurerm_storage_container.lake

  name            = "${local.name}-${each.key}"
  url             = "abfss://${each.key}@${azurerm_storage_account.lake.name}.dfs.core.windows.net/"
  credential_name = databricks_storage_credential.lake.name
  comment         = "Container ${each.key} of ${azurerm_storage_account.lake.name}"
}

resource "databricks_grants" "raw" {
  external_location = databricks_external_location.lake["lake"].id

  grant {
    principal  = databricks_service_principal.deployer.application_id
    privileges = ["READ_FILES", "WRITE_FILES"]
  }
}

resource "databricks_catalog" "main" {
  for_each = var.catalogs

  name         = each.key
  storage_root = "${databricks_external_location.lake["catalog"].url}${each.key}"
  comment      = "${var.project}, ${var.environment}"
}

resource "databricks_grants" "catalog" {
  for_each = var.catalogs

  catalog = databricks_catalog.main[each.key].name

  grant {
    principal  = databricks_service_principal.deployer.application_id
    privileges = ["USE_CATALOG", "USE_SCHEMA", "CREATE_SCHEMA"]
  }

  grant {
    principal  = var.developers
    privileges = each.value
  }
}

# For tables that other teams deliver; the project's own schema belongs to its bundle.
resource "databricks_schema" "shared" {
  for_each = var.catalogs

  catalog_name = databricks_catalog.main[each.key].name
  name         = "shared"
  comment      = "Tables from other teams"
}

resource "databricks_grants" "shared" {
  for_each = var.catalogs

  schema = databricks_schema.shared[each.key].id

  grant {
    principal  = databricks_service_principal.deployer.application_id
    privileges = ["USE_SCHEMA", "SELECT", "MODIFY", "CREATE_TABLE"]
  }
}
