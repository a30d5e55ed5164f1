output "workspace_url" {
  description = "Variable DATABRICKS_HOST of the GitHub environment."
  value       = "https://${azurerm_databricks_workspace.main.workspace_url}"
}

output "deployer_client_id" {
  description = "Variable DEPLOYER_CLIENT_ID of the GitHub environment."
  value       = azuread_application.deployer.client_id
}

output "tenant_id" {
  description = "Variable AZURE_TENANT_ID of the GitHub environment."
  value       = data.azuread_client_config.current.tenant_id
}

output "workspace_id" {
  description = "Number of the workspace."
  value       = azurerm_databricks_workspace.main.workspace_id
}

output "storage_account" {
  description = "The lake's storage account."
  value       = azurerm_storage_account.lake.name
}

output "catalogs" {
  description = "The catalogs of this environment."
  value       = [for catalog in databricks_catalog.main : catalog.name]
}
