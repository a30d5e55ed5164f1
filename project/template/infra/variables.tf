variable "project" {
  description = "Name of the project, part of the names of its resources."
  type        = string
  default     = "<% .Name %>"
}

variable "environment" {
  description = "staging or prod; also the name of the GitHub environment that deploys there."
  type        = string

  validation {
    condition     = contains(["staging", "prod"], var.environment)
    error_message = "The environment is staging or prod."
  }
}

variable "location" {
  description = "Azure region."
  type        = string
  default     = "<% .Region %>"
}

variable "storage_account_name" {
  description = "Name of the lake's storage account: unique in all of Azure, at most 24 lower-case letters and digits."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{3,24}$", var.storage_account_name))
    error_message = "A storage account's name has 3 to 24 lower-case letters and digits."
  }
}

variable "catalogs" {
  description = "Catalogs to make, each with the privileges that developers have in it."
  type        = map(list(string))
}

variable "developers" {
  description = "Group that may use the catalogs."
  type        = string
  default     = "account users"
}

variable "github_repository" {
  description = "OWNER/NAME of the repository whose workflows deploy."
  type        = string
  default     = "<% .Repository %>"
}
