package signin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// method is one way to sign in.
type method struct {
	name  string
	needs []string // settings that must be there
	token func(context.Context, *Config) (*Token, error)
}

// methods are the ways to sign in, in the order in which they are tried: the
// first whose settings are there is taken.
var methods = []method{
	{"pat", []string{"host", "token"}, personal},
	{"oauth-m2m", []string{"host", "client_id", "client_secret"}, clientSecret},
	{"github-oidc", []string{"host", "client_id", "actions_id_token_request_url", "actions_id_token_request_token"}, federated(githubToken)},
	{"azure-devops-oidc", []string{"host", "client_id"}, federated(azureDevOpsToken)},
	{"env-oidc", []string{"host", "oidc_token_env"}, federated(tokenInEnvironment)},
	{"file-oidc", []string{"host", "databricks_id_token_filepath"}, federated(tokenInFile)},
	{"github-oidc-azure", []string{"azure_client_id", "azure_tenant_id", "actions_id_token_request_url", "actions_id_token_request_token"}, githubAzure},
	{"azure-client-secret", []string{"azure_client_id", "azure_client_secret", "azure_tenant_id"}, azureSecret},
	{"azure-cli", nil, azureCLI},
}

// refused are the ways that the SDKs know and that are not there, with what to
// do instead.
var refused = map[string]string{
	"databricks-cli":     "sign-in of a person in a browser",
	"external-browser":   "sign-in of a person in a browser",
	"basic":              "sign-in with a user's password",
	"metadata-service":   "sign-in by a metadata service",
	"azure-msi":          "sign-in with a managed identity",
	"google-credentials": "sign-in with Google's credentials",
	"google-id":          "sign-in with Google's credentials",
}

// Instead says how to sign in where a way is not there.
const Instead = "set DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET of a service principal"

// decide chooses how to sign in.
func (c *Config) decide() error {
	want := c.Get("auth_type")
	if want != "" {
		return c.choose(want)
	}
	if groups := c.groups(); len(groups) > 1 {
		return fmt.Errorf("more than one way to sign in is configured: %s (%s); set DATABRICKS_AUTH_TYPE to one of %s", strings.Join(groups, " and "), c.sources(), strings.Join(methodNames(), ", "))
	}
	for _, m := range methods {
		if len(m.needs) > 0 && len(c.lacks(m)) == 0 && (m.name != "azure-devops-oidc" || inAzureDevOps(c)) {
			c.AuthType = m.name
			return nil
		}
	}
	switch {
	case c.Host == "" && c.Get("azure_workspace_resource_id") == "":
		return errors.New("no workspace is named: set DATABRICKS_HOST, or name a profile of ~/.databrickscfg with --profile")
	case slices.Equal(c.groups(), []string{"basic"}):
		return c.choose("basic")
	}
	return fmt.Errorf("nothing says who signs in at %s: %s, or name a profile of ~/.databrickscfg with --profile", c.Host, Instead)
}

// choose takes the way that auth_type names.
func (c *Config) choose(name string) error {
	if what, ok := refused[name]; ok {
		return fmt.Errorf("auth type %s, %s, is not supported by wherry's databricks command: %s", name, what, Instead)
	}
	i := slices.IndexFunc(methods, func(m method) bool { return m.name == name })
	if i < 0 {
		return fmt.Errorf("there is no auth type %s: DATABRICKS_AUTH_TYPE is one of %s", name, strings.Join(methodNames(), ", "))
	}
	// The account's own federation policy needs no client.
	lacking := slices.DeleteFunc(c.lacks(methods[i]), func(s string) bool {
		return s == "client_id" && strings.HasSuffix(name, "-oidc") || s == "oidc_token_env"
	})
	for i, l := range lacking {
		lacking[i] = variable(l)
	}
	if len(lacking) > 0 {
		return fmt.Errorf("auth type %s needs %s", name, strings.Join(lacking, " and "))
	}
	c.AuthType = name
	return nil
}

// lacks are the settings that a way needs and that nothing sets.
func (c *Config) lacks(m method) []string {
	return slices.DeleteFunc(slices.Clone(m.needs), func(name string) bool { return c.Get(name) != "" })
}

// variable is the environment's name of a setting.
func variable(name string) string {
	return fields[slices.IndexFunc(fields, func(f field) bool { return f.name == name })].env
}

func (c *Config) sources() string {
	var list []string
	for _, f := range fields {
		if v, ok := c.values[f.name]; ok && f.group != "" {
			list = append(list, f.name+" from "+v.Source)
		}
	}
	return strings.Join(list, ", ")
}

func methodNames() (names []string) {
	for _, m := range methods {
		names = append(names, m.name)
	}
	return names
}
