package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const authority = "https://login.microsoftonline.com/"

// choose takes the first way to sign in that is configured: a client secret,
// an id-token (of GitHub Actions, a file or a variable), a managed identity,
// the command az.
func (c *Client) choose(s Settings) error {
	client := s.text("client_id", "ARM_CLIENT_ID")
	if path := s.text("client_id_file_path", "ARM_CLIENT_ID_FILE_PATH"); client == "" && path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		client = strings.TrimSpace(string(b))
	}
	secret, err := fileOr(s.text("client_secret", "ARM_CLIENT_SECRET"), s.text("client_secret_file_path", "ARM_CLIENT_SECRET_FILE_PATH"))
	if err != nil {
		return err
	}
	switch {
	case secret != "":
		return c.form(client, func(context.Context) (url.Values, error) { return url.Values{"client_secret": {secret}}, nil })
	case s.flag("use_oidc", "ARM_USE_OIDC", false):
		return c.form(client, func(ctx context.Context) (url.Values, error) {
			assertion, err := idToken(ctx, s)
			return url.Values{"client_assertion": {assertion}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}, err
		})
	case s.flag("use_msi", "ARM_USE_MSI", false):
		endpoint := s.text("msi_endpoint", "ARM_MSI_ENDPOINT")
		if endpoint == "" {
			endpoint = "http://169.254.169.254/metadata/identity/oauth2/token"
		}
		c.signIn = func(ctx context.Context, resource string) (token, error) {
			return managed(ctx, endpoint, client, resource)
		}
		return nil
	case s.flag("use_cli", "ARM_USE_CLI", true):
		if az, err := exec.LookPath("az"); err == nil {
			c.signIn = func(ctx context.Context, resource string) (token, error) { return commandLine(ctx, az, resource) }
			return nil
		}
	}
	return errors.New("there is no way to sign in: set ARM_TENANT_ID, ARM_CLIENT_ID and ARM_CLIENT_SECRET, or ARM_USE_OIDC=true in a workflow with `id-token: write`")
}

func fileOr(value, path string) (string, error) {
	if value != "" || path == "" {
		return value, nil
	}
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}

// form signs in with the client-credentials grant (RFC 6749, 4.4).
func (c *Client) form(client string, proof func(context.Context) (url.Values, error)) error {
	if client == "" || c.Tenant == "" {
		return errors.New("client_id and tenant_id are needed too (ARM_CLIENT_ID, ARM_TENANT_ID)")
	}
	c.signIn = func(ctx context.Context, resource string) (token, error) {
		form, err := proof(ctx)
		if err != nil {
			return token{}, err
		}
		form.Set("grant_type", "client_credentials")
		form.Set("client_id", client)
		form.Set("scope", resource+"/.default")
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, authority+url.PathEscape(c.Tenant)+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
		if err != nil {
			return token{}, err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return ask(r)
	}
	return nil
}

// idToken is the token with which a workflow, or whoever wrote it into a file
// or variable, proves who it is.
func idToken(ctx context.Context, s Settings) (string, error) {
	t, err := fileOr(s.text("oidc_token", "ARM_OIDC_TOKEN"), s.text("oidc_token_file_path", "ARM_OIDC_TOKEN_FILE_PATH"))
	if t != "" || err != nil {
		return t, err
	}
	from, bearer := s.text("oidc_request_url", "ARM_OIDC_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_URL"), s.text("oidc_request_token", "ARM_OIDC_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")
	if from == "" || bearer == "" {
		return "", errors.New("there is no id-token: ACTIONS_ID_TOKEN_REQUEST_URL is not set (does the job have `permissions: id-token: write`?)")
	}
	u, err := url.Parse(from)
	if err != nil {
		return "", err
	}
	q := u.Query()
	q.Set("audience", "api://AzureADTokenExchange")
	u.RawQuery = q.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+bearer)
	var out struct {
		Value string `json:"value"`
	}
	if err := get(r, &out); err != nil {
		return "", err
	}
	if out.Value == "" {
		return "", errors.New("the answer has no id-token")
	}
	return out.Value, nil
}

func managed(ctx context.Context, endpoint, client, resource string) (token, error) {
	q := url.Values{"api-version": {"2018-02-01"}, "resource": {resource}}
	if client != "" {
		q.Set("client_id", client)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"?"+q.Encode(), nil)
	if err != nil {
		return token{}, err
	}
	r.Header.Set("Metadata", "true")
	return ask(r)
}

func commandLine(ctx context.Context, az, resource string) (token, error) {
	b, err := exec.CommandContext(ctx, az, "account", "get-access-token", "--resource", resource, "--output", "json").Output()
	if err != nil {
		return token{}, fmt.Errorf("az account get-access-token: %w", err)
	}
	var out struct {
		Token   string `json:"accessToken"`
		Expires int64  `json:"expires_on"`
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return token{}, err
	}
	return token{Value: out.Token, Expires: time.Unix(out.Expires, 0)}, nil
}

// ask sends a request for a token.
func ask(r *http.Request) (token, error) {
	var out struct {
		Token   string      `json:"access_token"`
		Seconds json.Number `json:"expires_in"` // a string from a managed identity
	}
	if err := get(r, &out); err != nil {
		return token{}, err
	}
	seconds, err := strconv.Atoi(out.Seconds.String())
	if err != nil || out.Token == "" {
		return token{}, fmt.Errorf("%s answered without a token", r.URL.Host)
	}
	return token{Value: out.Token, Expires: time.Now().Add(time.Duration(seconds) * time.Second)}, nil
}

func get(r *http.Request, out any) error {
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		var e struct {
			Description string `json:"error_description"`
		}
		_ = json.Unmarshal(b, &e) // else the body itself is shown
		if e.Description == "" {
			e.Description = strings.TrimSpace(string(b))
		}
		return fmt.Errorf("%s answered %s: %s", r.URL.Host, res.Status, e.Description)
	}
	return json.Unmarshal(b, out)
}
