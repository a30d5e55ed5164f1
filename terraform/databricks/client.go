// Package databricks stands in for the Terraform provider databricks/databricks:
// it makes Unity Catalog objects, jobs, clusters, files, secrets and principals
// through the workspace API.
package databricks

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"

	"github.com/databricks/databricks-sdk-go/apierr"
	"github.com/databricks/databricks-sdk-go/client"
	"github.com/databricks/databricks-sdk-go/config"

	"github.com/wherry-ml/wherry/terraform/provider"
)

// Client calls one workspace, signed in in any of the ways that the provider's
// configuration knows: the public SDK reads them.
type Client struct {
	sdk *client.DatabricksClient
}

func connect(_ context.Context, v provider.Values) (*Client, error) {
	text := func(name string) string { s, _ := v[name].(string); return s }
	number := func(name string) int { n, _ := v[name].(int64); return int(n) }
	c := &config.Config{
		Host: text("host"), AccountID: text("account_id"), WorkspaceID: text("workspace_id"), Token: text("token"),
		Username: text("username"), Password: text("password"), ClientID: text("client_id"), ClientSecret: text("client_secret"),
		Profile: text("profile"), ConfigFile: text("config_file"), AuthType: text("auth_type"), TokenAudience: text("audience"),
		AzureResourceID: text("azure_workspace_resource_id"), AzureClientID: text("azure_client_id"), AzureClientSecret: text("azure_client_secret"),
		AzureTenantID: text("azure_tenant_id"), AzureEnvironment: text("azure_environment"), AzureUseMSI: v["azure_use_msi"] == true,
		OIDCTokenEnv: text("oidc_token_env"), OIDCTokenFilepath: text("databricks_id_token_filepath"), MetadataServiceURL: text("metadata_service_url"),
		ActionsIDTokenRequestURL: text("actions_id_token_request_url"), ActionsIDTokenRequestToken: text("actions_id_token_request_token"),
		GoogleServiceAccount: text("google_service_account"), GoogleCredentials: text("google_credentials"), DatabricksCliPath: text("databricks_cli_path"),
		InsecureSkipVerify: v["skip_verify"] == true, HTTPTimeoutSeconds: number("http_timeout_seconds"),
		RetryTimeoutSeconds: cmp.Or(number("retry_timeout_seconds"), 60), RateLimitPerSecond: cmp.Or(number("rate_limit"), 100),
	}
	sdk, err := client.New(c)
	if err != nil {
		return nil, err
	}
	return &Client{sdk: sdk}, nil
}

// account is the id of the account in paths of its API. A workspace answers
// for its own account.
func (c *Client) account() string {
	return cmp.Or(c.sdk.Config.AccountID, os.Getenv("DATABRICKS_ACCOUNT_ID"), "00000000-0000-4000-8000-000000000001")
}

// do sends in, unless it is nil, and returns the answer.
func (c *Client) do(ctx context.Context, method, path string, in any) (provider.Document, error) {
	var out bytes.Buffer
	headers := map[string]string{"Accept": "application/json"}
	if in != nil {
		headers["Content-Type"] = "application/json"
	}
	if err := c.sdk.Do(ctx, method, path, headers, nil, in, &out); err != nil {
		if gone(err) {
			return nil, provider.ErrGone
		}
		return nil, err
	}
	doc := provider.Document{}
	if len(bytes.TrimSpace(out.Bytes())) == 0 {
		return doc, nil
	}
	dec := json.NewDecoder(&out)
	dec.UseNumber() // job ids do not fit a float
	return doc, dec.Decode(&doc)
}

// taken tells whether a create was refused because the name has something already.
func taken(err error) bool {
	e, ok := errors.AsType[*apierr.APIError](err)
	return ok && (e.StatusCode == http.StatusConflict || strings.HasSuffix(e.ErrorCode, "ALREADY_EXISTS"))
}

// gone tells what is no longer there from what was never an API.
func gone(err error) bool {
	e, ok := errors.AsType[*apierr.APIError](err)
	return ok && apierr.IsMissing(err) && e.StatusCode != http.StatusNotImplemented && e.ErrorCode != "ENDPOINT_NOT_FOUND"
}
