resource_group_name  = "rg-<% .Name %>-tfstate"
storage_account_name = "<% .Account "tfstate" %>"
container_name       = "tfstate"
key                  = "staging.tfstate"
use_azuread_auth     = true
