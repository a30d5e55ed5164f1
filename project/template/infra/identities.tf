data "azuread_client_config" "current" {}

# Deploys the bundle, and runs its jobs in staging and production.
resource "azuread_application" "deployer" {
  display_name = "sp-${local.name}-deployer"
  owners       = [data.azuread_client_config.current.object_id]
}

resource "azuread_service_principal" "deployer" {
  client_id = azuread_application.deployer.client_id
  owners    = [data.azuread_client_config.current.object_id]
}

# Workflows of the repository's environment sign in as it without a secret.
resource "azuread_application_federated_identity_credential" "github" {
  application_id = azuread_application.deployer.id
  display_name   = "github-${var.environment}"
  description    = "GitHub Actions, environment ${var.environment}"
  issuer         = "https://token.actions.githubusercontent.com"
  audiences      = ["api://AzureADTokenExchange"]
  subject        = "repo:${var.github_repository}:environment:${var.environment}"
}

# Contributors of the workspace are its admins: the deployer makes jobs there.
resource "azurerm_role_assignment" "deployer_workspace" {
  scope                = azurerm_databricks_workspace.main.id
  role_definition_name = "Contributor"
  principal_id         = azuread_service_principal.deployer.object_id
}

resource "azurerm_role_assignment" "deployer_lake" {
  scope                = azurerm_storage_account.lake.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azuread_service_principal.deployer.object_id
}

resource "databricks_service_principal" "deployer" {
  application_id       = azuread_application.deployer.client_id
  display_name         = azuread_application.deployer.display_name
  allow_cluster_create = true
  workspace_access     = true
}
