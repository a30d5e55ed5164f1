package signin_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/client/signin"
)

const profiles = `
[DEFAULT]
host = https://default.example.com
token = from-default

[ci]
host = https://ci.example.com/?o=5
client_id = ci-id
client_secret = pass#word ; a comment

[__settings__]
default_profile = DEFAULT
`

// TestFind holds the order of precedence: the command line, the environment,
// the bundle, the default profile.
func TestFind(t *testing.T) {
	for name, tt := range map[string]struct {
		env                          map[string]string
		profile, host, bundleProfile string // options: profile, the bundle's host and profile
		want                         string // host, method, profile
		err                          string
	}{
		"token":                       {env: map[string]string{"DATABRICKS_HOST": "https://a", "DATABRICKS_TOKEN": "t"}, want: "https://a pat "},
		"host without scheme":         {env: map[string]string{"DATABRICKS_HOST": "adb-1.2.azuredatabricks.net/?o=1#x", "DATABRICKS_TOKEN": "t"}, want: "https://adb-1.2.azuredatabricks.net pat "},
		"plain http":                  {env: map[string]string{"DATABRICKS_HOST": "http://127.0.0.1:8080/", "DATABRICKS_TOKEN": "t"}, want: "http://127.0.0.1:8080 pat "},
		"no host at all":              {env: map[string]string{"DATABRICKS_HOST": "ftp://x", "DATABRICKS_TOKEN": "t"}, err: "is no host"},
		"machine to machine":          {env: map[string]string{"DATABRICKS_HOST": "https://a", "DATABRICKS_CLIENT_ID": "i", "DATABRICKS_CLIENT_SECRET": "s"}, want: "https://a oauth-m2m "},
		"Entra":                       {env: map[string]string{"DATABRICKS_HOST": "https://a", "ARM_CLIENT_ID": "i", "ARM_CLIENT_SECRET": "s", "ARM_TENANT_ID": "t"}, want: "https://a azure-client-secret "},
		"Entra by resource id":        {env: map[string]string{"DATABRICKS_AZURE_RESOURCE_ID": "/subscriptions/x", "ARM_CLIENT_ID": "i", "ARM_CLIENT_SECRET": "s", "ARM_TENANT_ID": "t"}, want: " azure-client-secret "},
		"Entra without a tenant":      {env: map[string]string{"DATABRICKS_HOST": "https://a", "ARM_CLIENT_ID": "i", "ARM_CLIENT_SECRET": "s"}, err: "nothing says who signs in at https://a"},
		"two ways":                    {env: map[string]string{"DATABRICKS_HOST": "https://a", "DATABRICKS_TOKEN": "t", "ARM_CLIENT_ID": "i"}, err: "pat and azure (token from DATABRICKS_TOKEN, azure_client_id from ARM_CLIENT_ID)"},
		"two ways, one chosen":        {env: map[string]string{"DATABRICKS_HOST": "https://a", "DATABRICKS_TOKEN": "t", "ARM_CLIENT_ID": "i", "DATABRICKS_AUTH_TYPE": "pat"}, want: "https://a pat "},
		"GitHub":                      {env: map[string]string{"DATABRICKS_HOST": "https://a", "DATABRICKS_AUTH_TYPE": "github-oidc", "DATABRICKS_CLIENT_ID": "i", "ACTIONS_ID_TOKEN_REQUEST_URL": "u", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"}, want: "https://a github-oidc "},
		"GitHub, unasked":             {env: map[string]string{"DATABRICKS_HOST": "https://a", "DATABRICKS_CLIENT_ID": "i", "ACTIONS_ID_TOKEN_REQUEST_URL": "u", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"}, want: "https://a github-oidc "},
		"GitHub without permission":   {env: map[string]string{"DATABRICKS_HOST": "https://a", "DATABRICKS_AUTH_TYPE": "github-oidc", "DATABRICKS_CLIENT_ID": "i"}, err: "auth type github-oidc needs ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN"},
		"Azure DevOps":                {env: map[string]string{"DATABRICKS_HOST": "https://a", "DATABRICKS_CLIENT_ID": "i", "SYSTEM_ACCESSTOKEN": "t"}, want: "https://a azure-devops-oidc "},
		"token of another variable":   {env: map[string]string{"DATABRICKS_HOST": "https://a", "DATABRICKS_AUTH_TYPE": "env-oidc"}, want: "https://a env-oidc "},
		"a person in a browser":       {env: map[string]string{"DATABRICKS_HOST": "https://a", "DATABRICKS_AUTH_TYPE": "databricks-cli"}, err: "sign-in of a person in a browser, is not supported"},
		"a password":                  {env: map[string]string{"DATABRICKS_HOST": "https://a", "DATABRICKS_USERNAME": "u", "DATABRICKS_PASSWORD": "p"}, err: "sign-in with a user's password, is not supported"},
		"no such way":                 {env: map[string]string{"DATABRICKS_HOST": "https://a", "DATABRICKS_AUTH_TYPE": "magic"}, err: "there is no auth type magic: DATABRICKS_AUTH_TYPE is one of pat, oauth-m2m"},
		"nothing":                     {want: "https://default.example.com pat DEFAULT"},
		"a profile by the variable":   {env: map[string]string{"DATABRICKS_CONFIG_PROFILE": "ci"}, want: "https://ci.example.com oauth-m2m ci"},
		"a profile by the line":       {env: map[string]string{"DATABRICKS_HOST": "https://a", "DATABRICKS_TOKEN": "t"}, profile: "ci", want: "https://ci.example.com oauth-m2m ci"},
		"no such profile":             {profile: "nope", err: "has no profile nope: it has DEFAULT, ci"},
		"the settings are no profile": {profile: "__settings__", err: "__settings__ is no profile"},
		"environment before profile":  {env: map[string]string{"DATABRICKS_HOST": "https://a", "DATABRICKS_CONFIG_PROFILE": "ci"}, want: "https://a oauth-m2m ci"},
		"the bundle's host":           {env: map[string]string{"DATABRICKS_TOKEN": "t"}, host: "https://b", want: "https://b pat "},
		"the environment's host":      {env: map[string]string{"DATABRICKS_TOKEN": "t", "DATABRICKS_HOST": "https://a"}, host: "https://b", want: "https://a pat "},
		"the profile of a host":       {host: "https://ci.example.com", want: "https://ci.example.com oauth-m2m ci"},
		"no profile of a host":        {host: "https://b", err: "nothing says who signs in at https://b"},
		"the bundle's profile":        {bundleProfile: "ci", want: "https://ci.example.com oauth-m2m ci"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "cfg")
			if err := os.WriteFile(file, []byte(profiles), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := signin.Find(signin.Options{Profile: tt.profile, BundleHost: tt.host, BundleProfile: tt.bundleProfile, Getenv: func(key string) string {
				if key == "DATABRICKS_CONFIG_FILE" {
					return file
				}
				return tt.env[key]
			}})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("%v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Host + " " + c.AuthType + " " + c.Profile; got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if tt.profile == "ci" && c.Get("client_secret") != "pass#word" {
				t.Errorf("the secret is %q", c.Get("client_secret"))
			}
		})
	}
}

// TestFederation trades tokens of forges for those of a workspace.
func TestFederation(t *testing.T) {
	var asked *http.Request
	mux := http.NewServeMux()
	mux.HandleFunc("GET /github", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"value": r.Header.Get("Authorization") + " for " + r.FormValue("audience") + " " + r.FormValue("version")})
	})
	mux.HandleFunc("POST /org/project/_apis/distributedtask/hubs/build/plans/plan/jobs/job/oidctoken", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"oidcToken": r.Header.Get("Authorization")})
	})
	mux.HandleFunc("POST /oidc/v1/token", func(w http.ResponseWriter, r *http.Request) {
		asked = r
		if r.FormValue("subject_token_type") != "urn:ietf:params:oauth:token-type:jwt" || r.FormValue("client_id") == "unknown" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error": "invalid_request", "error_description": "no policy fits"}`))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "got " + r.FormValue("subject_token"), "expires_in": 3600})
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("in a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	github := map[string]string{"DATABRICKS_AUTH_TYPE": "github-oidc", "ACTIONS_ID_TOKEN_REQUEST_URL": server.URL + "/github?version=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "job"}
	for name, tt := range map[string]struct {
		env       map[string]string
		want, err string
	}{
		"GitHub":                {env: github, want: "got Bearer job for " + server.URL + "/oidc/v1/token 2"},
		"GitHub, an audience":   {env: with(github, "DATABRICKS_TOKEN_AUDIENCE", "me"), want: "got Bearer job for me 2"},
		"GitHub, an account":    {env: with(github, "DATABRICKS_ACCOUNT_ID", "acc"), want: "got Bearer job for acc 2"},
		"no policy":             {env: with(github, "DATABRICKS_CLIENT_ID", "unknown"), err: "sign in by github-oidc: 127.0.0.1"},
		"the environment":       {env: map[string]string{"DATABRICKS_AUTH_TYPE": "env-oidc", "DATABRICKS_OIDC_TOKEN": "usual"}, want: "got usual"},
		"a variable":            {env: map[string]string{"DATABRICKS_AUTH_TYPE": "env-oidc", "DATABRICKS_OIDC_TOKEN_ENV": "MINE", "MINE": "other"}, want: "got other"},
		"a variable that is no": {env: map[string]string{"DATABRICKS_AUTH_TYPE": "env-oidc"}, err: "DATABRICKS_OIDC_TOKEN is not set"},
		"a file":                {env: map[string]string{"DATABRICKS_AUTH_TYPE": "file-oidc", "DATABRICKS_OIDC_TOKEN_FILEPATH": file}, want: "got in a file"},
		"Azure DevOps": {env: map[string]string{
			"DATABRICKS_AUTH_TYPE": "azure-devops-oidc", "SYSTEM_ACCESSTOKEN": "pipe", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI": server.URL + "/org/", "SYSTEM_TEAMPROJECTID": "project",
			"SYSTEM_HOSTTYPE": "build", "SYSTEM_PLANID": "plan", "SYSTEM_JOBID": "job",
		}, want: "got Bearer pipe"},
		"Azure DevOps, elsewhere": {env: map[string]string{"DATABRICKS_AUTH_TYPE": "azure-devops-oidc", "SYSTEM_ACCESSTOKEN": "pipe"}, err: "this is no Azure pipeline"},
	} {
		t.Run(name, func(t *testing.T) {
			env := with(tt.env, "DATABRICKS_HOST", server.URL)
			env["HOME"] = t.TempDir()
			c, err := signin.Find(signin.Options{Getenv: func(key string) string { return env[key] }, HTTP: server.Client()})
			if err != nil {
				t.Fatal(err)
			}
			token, err := c.Token(context.Background())
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("%v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if token.Value != tt.want || token.Expires.IsZero() {
				t.Errorf("%q until %s, want %q", token.Value, token.Expires, tt.want)
			}
			if asked.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange" || asked.FormValue("scope") != "all-apis" {
				t.Errorf("asked with %v", asked.Form)
			}
		})
	}
}

// TestRefresh gets a new token before the last one ends.
func TestRefresh(t *testing.T) {
	granted, life := 0, 30
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oidc/v1/token", func(w http.ResponseWriter, _ *http.Request) {
		granted++
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "t", "expires_in": life})
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })
	server := httptest.NewServer(mux)
	defer server.Close()
	env := map[string]string{"HOME": t.TempDir(), "DATABRICKS_HOST": server.URL, "DATABRICKS_CLIENT_ID": "i", "DATABRICKS_CLIENT_SECRET": "s"}
	c, err := signin.Find(signin.Options{Getenv: func(key string) string { return env[key] }, HTTP: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	cl, err := c.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 2, 3, 3} {
		if want == 3 {
			life = 3600
		}
		if err := cl.Do(t.Context(), "GET", "/", nil, nil); err != nil || granted != want {
			t.Errorf("%d tokens, %v; want %d", granted, err, want)
		}
	}
}

func with(env map[string]string, key, value string) map[string]string {
	out := map[string]string{key: value}
	for k, v := range env {
		out[k] = v
	}
	return out
}
