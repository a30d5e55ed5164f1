package azure

import (
	"net/http"
)

// metadata tells a client where everything is: `metadata_host` of Terraform's
// providers asks it, at version 2022-09-01. Older versions
// wrap the same in a list.
func (s *Service) metadata(c *call) error {
	if c.query.Get("api-version") == "" {
		return badRequest("MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
	}
	cloud := Document{
		"name":   "AzureCloud",
		"portal": "https://portal.azure.com",
		"authentication": Document{
			"loginEndpoint": "https://login.microsoftonline.com", "tenant": "common", "identityProvider": "AAD",
			"audiences": []string{"https://management.core.windows.net/", "https://management.azure.com/"},
		},
		"resourceManager":            "https://management.azure.com/",
		"graph":                      "https://graph.windows.net/",
		"graphAudience":              "https://graph.windows.net/",
		"microsoftGraphResourceId":   "https://graph.microsoft.com/",
		"batch":                      "https://batch.core.windows.net/",
		"media":                      "https://rest.media.azure.net",
		"activeDirectoryDataLake":    "https://datalake.azure.net/",
		"attestationResourceId":      "https://attest.azure.net",
		"logAnalyticsResourceId":     "https://api.loganalytics.io",
		"synapseAnalyticsResourceId": "https://dev.azuresynapse.net",
		"ossrDbmsResourceId":         "https://ossrdbms-aad.database.windows.net",
		"appInsightsResourceId":      "https://api.applicationinsights.io",
		"vmImageAliasDoc":            "https://raw.githubusercontent.com/Azure/azure-rest-api-specs/master/arm-compute/quickstart-templates/aliases.json",
		"sqlManagement":              "https://management.core.windows.net:8443/",
		"gallery":                    "https://gallery.azure.com/",
		"suffixes": Document{
			"storage": "core.windows.net", "keyVaultDns": "vault.azure.net", "sqlServerHostname": "database.windows.net",
			"acrLoginServer": "azurecr.io", "mhsmDns": "managedhsm.azure.net", "storageSyncEndpointSuffix": "afs.azure.net",
			"azureDataLakeStoreFileSystem": "azuredatalakestore.net", "azureDataLakeAnalyticsCatalogAndJob": "azuredatalakeanalytics.net",
			"attestationEndpoint": "attest.azure.net", "synapseAnalytics": "dev.azuresynapse.net", "mysqlServerEndpoint": "mysql.database.azure.com",
			"mariadbServerEndpoint": "mariadb.database.azure.com", "postgresqlServerEndpoint": "postgres.database.azure.com",
			"azureFrontDoorEndpointSuffix": "azurefd.net",
		},
	}
	if c.query.Get("api-version") < "2022-09-01" {
		return c.answer(http.StatusOK, []Document{cloud})
	}
	return c.answer(http.StatusOK, cloud)
}
