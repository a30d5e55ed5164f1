environment          = "prod"
storage_account_name = "<% .Account "prod" %>"

catalogs = {
  <% .Catalog %>_prod = ["USE_CATALOG", "USE_SCHEMA", "SELECT"]
}
