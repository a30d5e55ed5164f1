package signin

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// idToken gets a token that says who a workload is, for an audience.
type idToken func(ctx context.Context, c *Config, audience string) (string, error)

// federated trades an id token for one of the workspace (RFC 8693). A service
// principal's federation policy says which tokens stand for it.
func federated(source idToken) func(context.Context, *Config) (*Token, error) {
	return func(ctx context.Context, c *Config) (*Token, error) {
		endpoint := c.Host + "/oidc/v1/token"
		audience := c.Get("audience")
		if audience == "" {
			audience = c.Get("account_id")
		}
		if audience == "" { // as the SDKs do for a workspace
			audience = endpoint
		}
		subject, err := source(ctx, c, audience)
		if err != nil {
			return nil, err
		}
		form := url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
			"subject_token": {subject}, "scope": {"all-apis"},
		}
		if id := c.Get("client_id"); id != "" {
			form.Set("client_id", id)
		}
		return c.grant(ctx, endpoint, form)
	}
}

// githubToken asks the forge for the job's token, which a job may do that has
// the permission id-token: write.
func githubToken(ctx context.Context, c *Config, audience string) (string, error) {
	u, err := url.Parse(c.Get("actions_id_token_request_url"))
	if err != nil {
		return "", fmt.Errorf("ACTIONS_ID_TOKEN_REQUEST_URL: %w", err)
	}
	q := u.Query()
	q.Set("audience", audience)
	u.RawQuery = q.Encode()
	var out struct {
		Value string `json:"value"`
	}
	if err := c.ask(ctx, "GET", u.String(), c.Get("actions_id_token_request_token"), &out); err != nil {
		return "", fmt.Errorf("get the job's token: %w", err)
	}
	if out.Value == "" {
		return "", errors.New("get the job's token: the answer has none")
	}
	return out.Value, nil
}

// pipeline are the variables of an Azure pipeline that its token's address is
// made of.
var pipeline = []string{"SYSTEM_TEAMFOUNDATIONCOLLECTIONURI", "SYSTEM_TEAMPROJECTID", "SYSTEM_HOSTTYPE", "SYSTEM_PLANID", "SYSTEM_JOBID"}

func inAzureDevOps(c *Config) bool { return c.options.Getenv("SYSTEM_ACCESSTOKEN") != "" }

// azureDevOpsToken asks Azure DevOps, whose tokens have one audience only.
func azureDevOpsToken(ctx context.Context, c *Config, _ string) (string, error) {
	if !inAzureDevOps(c) {
		return "", errors.New("SYSTEM_ACCESSTOKEN is not set: give it to the step as env: {SYSTEM_ACCESSTOKEN: $(System.AccessToken)}")
	}
	var v [5]string
	for i, name := range pipeline {
		if v[i] = c.options.Getenv(name); v[i] == "" {
			return "", fmt.Errorf("%s is not set: this is no Azure pipeline", name)
		}
	}
	address := fmt.Sprintf("%s/%s/_apis/distributedtask/hubs/%s/plans/%s/jobs/%s/oidctoken?api-version=7.2-preview.1",
		strings.TrimSuffix(v[0], "/"), url.PathEscape(v[1]), url.PathEscape(v[2]), url.PathEscape(v[3]), url.PathEscape(v[4]))
	var out struct {
		Token string `json:"oidcToken"`
	}
	if err := c.ask(ctx, "POST", address, c.options.Getenv("SYSTEM_ACCESSTOKEN"), &out); err != nil {
		return "", fmt.Errorf("get the pipeline's token: %w", err)
	}
	return out.Token, nil
}

func tokenInEnvironment(_ context.Context, c *Config, _ string) (string, error) {
	name := c.Get("oidc_token_env")
	if name == "" {
		name = "DATABRICKS_OIDC_TOKEN"
	}
	if t := c.options.Getenv(name); t != "" {
		return t, nil
	}
	return "", fmt.Errorf("%s is not set", name)
}

func tokenInFile(_ context.Context, c *Config, _ string) (string, error) {
	return readFile(c.Get("databricks_id_token_filepath"))
}
