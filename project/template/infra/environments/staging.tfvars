environment          = "staging"
storage_account_name = "<% .Account "staging" %>"

# Developers work in the same workspace, in a catalog of their own.
catalogs = {
  <% .Catalog %>_dev     = ["USE_CATALOG", "CREATE_SCHEMA"]
  <% .Catalog %>_staging = ["USE_CATALOG", "USE_SCHEMA", "SELECT"]
}
