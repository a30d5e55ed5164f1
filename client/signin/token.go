package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/wherry-ml/wherry/client"
)

// Token is what requests are sent with.
type Token struct {
	Value   string
	Expires time.Time // zero if it does not
}

// early is how long before its end a token is replaced.
const early = time.Minute

// Client returns a client of the workspace, which gets a new token before the
// last one ends: a run may be followed for longer than one lasts.
func (c *Config) Client(ctx context.Context) (*client.Client, error) {
	if err := c.findHost(ctx); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var last *Token
	return client.Remote(c.Host, func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if last != nil && (last.Expires.IsZero() || time.Until(last.Expires) > early) {
			return last.Value, nil
		}
		t, err := c.Token(ctx)
		if err != nil {
			return "", err
		}
		last = t
		return t.Value, nil
	}), nil
}

// Token signs in.
func (c *Config) Token(ctx context.Context) (*Token, error) {
	if err := c.findHost(ctx); err != nil {
		return nil, err
	}
	for _, m := range methods {
		if m.name == c.AuthType {
			t, err := m.token(ctx, c)
			if err != nil {
				return nil, fmt.Errorf("sign in by %s: %w", m.name, err)
			}
			return t, nil
		}
	}
	return nil, fmt.Errorf("there is no auth type %s", c.AuthType)
}

func personal(_ context.Context, c *Config) (*Token, error) {
	return &Token{Value: c.Get("token")}, nil
}

func clientSecret(ctx context.Context, c *Config) (*Token, error) {
	return c.grant(ctx, c.Host+"/oidc/v1/token", url.Values{
		"grant_type": {"client_credentials"}, "scope": {"all-apis"}, "client_id": {c.Get("client_id")}, "client_secret": {c.Get("client_secret")},
	})
}

// audience is the application that stands for all workspaces in Entra.
const audience = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"

// management is Azure's resource manager, as an audience and a server.
const management = "https://management.azure.com"

func azureSecret(ctx context.Context, c *Config) (*Token, error) { return c.entra(ctx, audience) }

// githubAzure signs in at Entra with the token that GitHub gives a job.
func githubAzure(ctx context.Context, c *Config) (*Token, error) { return c.entra(ctx, audience) }

// entra gets a token of an application from Microsoft's sign-in.
func (c *Config) entra(ctx context.Context, resource string) (*Token, error) {
	if env := strings.ToUpper(c.Get("azure_environment")); env != "" && env != "PUBLIC" {
		return nil, fmt.Errorf("ARM_ENVIRONMENT is %s: only Azure's public cloud is there", env)
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.Get("azure_client_id")}, "scope": {resource + "/.default"}}
	if c.AuthType == "github-oidc-azure" {
		assertion, err := githubToken(ctx, c, "api://AzureADTokenExchange")
		if err != nil {
			return nil, err
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	} else {
		form.Set("client_secret", c.Get("azure_client_secret"))
	}
	return c.grant(ctx, "https://login.microsoftonline.com/"+url.PathEscape(c.Get("azure_tenant_id"))+"/oauth2/v2.0/token", form)
}

// azureCLI asks the az command who is signed in there.
func azureCLI(ctx context.Context, c *Config) (*Token, error) {
	args := []string{"account", "get-access-token", "--resource", audience, "--output", "json"}
	if tenant := c.Get("azure_tenant_id"); tenant != "" {
		args = append(args, "--tenant", tenant)
	}
	out, err := exec.CommandContext(ctx, "az", args...).Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("az account get-access-token: %s", strings.TrimSpace(string(failed.Stderr)))
	}
	if err != nil {
		return nil, err
	}
	var t struct {
		Token   string `json:"accessToken"`
		Expires int64  `json:"expires_on"` // seconds, in newer versions
	}
	if err := json.Unmarshal(out, &t); err != nil || t.Token == "" {
		return nil, errors.New("az account get-access-token gave no token")
	}
	token := &Token{Value: t.Token, Expires: time.Now().Add(5 * time.Minute)}
	if t.Expires > 0 {
		token.Expires = time.Unix(t.Expires, 0)
	}
	return token, nil
}

// findHost asks Azure for the address of a workspace that is named by its
// resource id.
func (c *Config) findHost(ctx context.Context) error {
	id := c.Get("azure_workspace_resource_id")
	if c.Host != "" || id == "" {
		if c.Host == "" {
			return errors.New("no workspace is named: set DATABRICKS_HOST")
		}
		return nil
	}
	if c.AuthType != "azure-client-secret" && c.AuthType != "github-oidc-azure" {
		return fmt.Errorf("a workspace named by DATABRICKS_AZURE_RESOURCE_ID needs an Azure sign-in, not %s: set DATABRICKS_HOST", c.AuthType)
	}
	t, err := c.entra(ctx, management)
	if err != nil {
		return err
	}
	var out struct {
		Properties struct {
			URL string `json:"workspaceUrl"`
		} `json:"properties"`
	}
	if err := c.ask(ctx, "GET", management+id+"?api-version=2018-04-01", t.Value, &out); err != nil {
		return fmt.Errorf("find the workspace %s: %w", id, err)
	}
	c.Host, err = CleanHost(out.Properties.URL)
	if err == nil && c.Host == "" {
		err = fmt.Errorf("the workspace %s has no address yet", id)
	}
	return err
}

// grant asks a token endpoint (RFC 6749, 4.4).
func (c *Config) grant(ctx context.Context, endpoint string, form url.Values) (*Token, error) {
	r, err := http.NewRequestWithContext(ctx, "POST", endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var out struct {
		Token     string `json:"access_token"`
		ExpiresIn int64  `json:"expires_in"`
	}
	if err := c.send(r, &out); err != nil {
		return nil, err
	}
	if out.Token == "" {
		return nil, fmt.Errorf("%s gave no token", r.URL.Host)
	}
	t := &Token{Value: out.Token}
	if out.ExpiresIn > 0 {
		t.Expires = time.Now().Add(time.Duration(out.ExpiresIn) * time.Second)
	}
	return t, nil
}

// ask sends a request without a body, signed in with a token.
func (c *Config) ask(ctx context.Context, method, address, token string, out any) error {
	r, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return c.send(r, out)
}

func (c *Config) send(r *http.Request, out any) error {
	r.Header.Set("Accept", "application/json")
	resp, err := c.options.HTTP.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 == 2 {
		if err := json.Unmarshal(b, out); err != nil {
			return fmt.Errorf("%s did not answer with JSON: %w", r.URL.Host, err)
		}
		return nil
	}
	var refusal struct {
		Description string `json:"error_description"`
		Message     string `json:"message"`
	}
	_ = json.Unmarshal(b, &refusal) // another body is shown as it is
	for _, text := range []string{refusal.Description, refusal.Message, string(b)} {
		if text != "" {
			return fmt.Errorf("%s answered %s: %.500s", r.URL.Host, resp.Status, text)
		}
	}
	return fmt.Errorf("%s answered %s", r.URL.Host, resp.Status)
}
