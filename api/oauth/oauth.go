// Package oauth is the issuer of our signed tokens, in the two forms that
// clients know: the workspace's own (/oidc) and Entra's (login.microsoftonline.com),
// and the API for personal tokens.
package oauth

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
)

// AccountID is the account that this installation says it is.
const AccountID = "00000000-0000-4000-8000-000000000001"

// accountsURL begins the address of the account.
const accountsURL = "https://accounts."

// API serves sign-in.
type API struct {
	db     *store.DB
	signIn *auth.Service
	entra  *api.Mux
	// actions is the issuer of workflows' id-tokens.
	actions *api.Mux
}

// New returns the API.
func New(db *store.DB, signIn *auth.Service) *API {
	a := &API{db: db, signIn: signIn}
	a.entra = api.NewMux(signIn, a.entraRoutes()...)
	a.actions = api.NewMux(signIn, a.actionsRoutes()...)
	return a
}

// Routes is the part of the workspace API.
func (a *API) Routes() []api.Route {
	return []api.Route{
		{Method: "GET", Path: "/.well-known/databricks-config", Permission: api.Public, Summary: "What this host is, for SDKs", Handler: api.JSON(a.config)},
		{Method: "GET", Path: "/oidc/.well-known/oauth-authorization-server", Permission: api.Public, Summary: "OAuth server metadata", Handler: api.JSON(a.metadata)},
		{Method: "GET", Path: "/oidc/.well-known/openid-configuration", Permission: api.Public, Summary: "OpenID configuration", Handler: api.JSON(a.metadata)},
		{Method: "GET", Path: "/oidc/jwks.json", Permission: api.Public, Summary: "Public signing keys", Handler: api.JSON(a.keySet)},
		{Method: "POST", Path: "/oidc/v1/token", Permission: api.Public, Summary: "Get a token with a client id and secret", Handler: api.Raw(a.workspaceToken), Family: family},
		{Method: "GET", Path: "/oidc/accounts/{account}/.well-known/oauth-authorization-server", Permission: api.Public, Summary: "OAuth server metadata of the account", Handler: api.JSON(a.metadata)},
		{Method: "POST", Path: "/oidc/accounts/{account}/v1/token", Permission: api.Public, Summary: "Get a token of the account with a client id and secret", Handler: api.Raw(a.workspaceToken), Family: family},
		{Method: "GET", Path: "/oidc/v1/authorize", Permission: api.Public, Summary: "User-to-machine sign-in (not supported)", Handler: api.JSON(a.authorize), Family: family},
		{Method: "POST", Path: "/logout", Permission: api.Public, Summary: "End the browser session", Handler: api.Raw(a.signIn.Logout)},
		{Method: "POST", Path: "/api/2.0/token/create", Permission: api.Own, Summary: "Create a personal token", Handler: api.JSON(a.createToken)},
		{Method: "GET", Path: "/api/2.0/token/list", Permission: api.Own, Summary: "List one's personal tokens", Handler: api.JSON(a.listTokens)},
		{Method: "POST", Path: "/api/2.0/token/delete", Permission: api.Own, Summary: "Revoke a personal token", Handler: api.JSON(a.deleteToken)},
		{Method: "POST", Path: "/api/2.0/token-management/on-behalf-of/tokens", Permission: api.Admin, Summary: "Create a token for a service principal", Handler: api.JSON(a.createTokenFor)},
	}
}

// Entra is the sign-in host: the handler for login.microsoftonline.com.
func (a *API) Entra() http.Handler { return a.entra }

// Actions is the host of token.actions.githubusercontent.com.
func (a *API) Actions() http.Handler { return a.actions }

// Around answers Entra's paths on our own address too (/{tenant}/oauth2/…), for
// clients whose token endpoint can be set, and gives everything else to next.
func (a *API) Around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		switch rest {
		case "oauth2/v2.0/token", "oauth2/token", "v2.0/.well-known/openid-configuration", "discovery/v2.0/keys", "discovery/instance":
			a.entra.ServeHTTP(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// Errors of OAuth (RFC 6749, 5.2), used as codes of wherry.Error here.
const (
	invalidRequest   = "invalid_request"
	invalidClient    = "invalid_client"
	unauthorized     = "unauthorized_client"
	unsupportedGrant = "unsupported_grant_type"
	invalidScope     = "invalid_scope"
)

// family writes errors as OAuth clients read them.
var family = api.Family{
	Name: "oauth",
	Status: func(code string) int {
		switch code {
		case invalidClient:
			return http.StatusUnauthorized
		case wherry.CodeInternal:
			return http.StatusInternalServerError
		case wherry.CodeNotImplemented:
			return http.StatusNotImplemented
		default:
			return http.StatusBadRequest
		}
	},
	Body: func(w http.ResponseWriter, _ int, e *wherry.Error) any {
		code := e.Code
		if code == strings.ToUpper(code) { // one of the workspace's
			code = "server_error"
		}
		w.Header().Set("Cache-Control", "no-store")
		return map[string]any{"error": code, "error_description": e.Message, "timestamp": time.Now().UTC().Format("2006-01-02 15:04:05Z")}
	},
}

type config struct {
	OIDCEndpoint string   `json:"oidc_endpoint"`
	AccountID    string   `json:"account_id"`
	WorkspaceID  string   `json:"workspace_id"`
	Cloud        string   `json:"cloud"`
	HostType     string   `json:"host_type"`
	Audiences    []string `json:"token_federation_default_oidc_audiences"`
}

func (a *API) config(ctx context.Context, _ *api.Empty) (*config, error) {
	id := wherry.IdentityFrom(ctx)
	base := id.BaseURL
	if strings.HasPrefix(base, accountsURL) { // not a workspace: the SDKs ask for the account's own things there
		return &config{OIDCEndpoint: base + "/oidc/accounts/{account_id}", AccountID: AccountID, Cloud: "Azure", HostType: "ACCOUNT_HOST", Audiences: []string{AccountID}}, nil
	}
	return &config{OIDCEndpoint: base + "/oidc", AccountID: AccountID, WorkspaceID: strconv.FormatInt(id.WorkspaceID, 10), Cloud: "Azure", HostType: "WORKSPACE_HOST", Audiences: []string{base + "/oidc/v1/token"}}, nil
}

type metadata struct {
	Issuer          string   `json:"issuer"`
	Authorization   string   `json:"authorization_endpoint"`
	Token           string   `json:"token_endpoint"`
	KeySet          string   `json:"jwks_uri"`
	Grants          []string `json:"grant_types_supported"`
	Responses       []string `json:"response_types_supported"`
	Scopes          []string `json:"scopes_supported"`
	Authentications []string `json:"token_endpoint_auth_methods_supported"`
	Algorithms      []string `json:"id_token_signing_alg_values_supported"`
	Subjects        []string `json:"subject_types_supported"`
}

func (a *API) metadata(ctx context.Context, _ *api.Empty) (*metadata, error) {
	issuer := wherry.IdentityFrom(ctx).BaseURL + "/oidc"
	return &metadata{
		Issuer: issuer, Authorization: issuer + "/v1/authorize", Token: issuer + "/v1/token", KeySet: issuer + "/jwks.json",
		Grants: []string{"client_credentials", grantExchange}, Responses: []string{"code"}, Scopes: []string{"all-apis"},
		Authentications: []string{"client_secret_basic", "client_secret_post"}, Algorithms: []string{"RS256"}, Subjects: []string{"public"},
	}, nil
}

func (a *API) keySet(context.Context, *api.Empty) (*keySet, error) {
	set, err := a.signIn.KeySet()
	if err != nil {
		return nil, err
	}
	return (*keySet)(set), nil
}

func (a *API) authorize(context.Context, *api.Empty) (*api.Empty, error) {
	return nil, wherry.NotImplemented("sign-in of a person in a browser (OAuth authorization code)")
}

// workspaceToken is POST /oidc/v1/token.
func (a *API) workspaceToken(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	var p wherry.Principal
	if form.Get("grant_type") == grantExchange {
		p, err = a.exchange(r, form)
	} else {
		p, err = a.client(r, form)
	}
	if err != nil {
		return err
	}
	if scope := form.Get("scope"); scope != "" && !strings.Contains(" "+scope+" ", " all-apis ") {
		return wherry.Errorf(invalidScope, "the only scope is all-apis")
	}
	issuer := wherry.IdentityFrom(r.Context()).BaseURL + "/oidc"
	token, err := a.signIn.Sign(p, issuer, auth.AudienceWorkspace, auth.Claims{ClientID: p.ApplicationID, Scope: "all-apis"})
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return api.WriteJSON(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "Bearer", "scope": "all-apis", "expires_in": int(auth.TokenLifetime.Seconds())})
}

// maxForm bounds a token request.
const maxForm = 64 << 10

// readForm reads the body of a token request.
func readForm(w http.ResponseWriter, r *http.Request) (values, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, wherry.Errorf(invalidRequest, "AADSTS900144: the request body cannot be read as a form")
	}
	return values(r.PostForm), nil
}

// client checks a client-credentials request and returns whose it is.
func (a *API) client(r *http.Request, form values) (wherry.Principal, error) {
	if grant := form.Get("grant_type"); grant != "client_credentials" {
		return wherry.Principal{}, wherry.Errorf(unsupportedGrant, "AADSTS70003: the grant type %q is not supported, client_credentials is", grant)
	}
	if form.Get("client_assertion") != "" {
		return a.assertion(r, form)
	}
	id, secret := credentials(r, form)
	if id == "" || secret == "" {
		return wherry.Principal{}, wherry.Errorf(invalidClient, "AADSTS7000216: client_id and client_secret are needed")
	}
	var p wherry.Principal
	err := a.db.Read(r.Context(), func(tx *store.Tx) (err error) {
		p, err = auth.CheckSecret(tx, id, secret)
		return err
	})
	switch {
	case errors.Is(err, auth.ErrSecret):
		return p, wherry.Errorf(invalidClient, "AADSTS7000215: Invalid client secret provided. The secret of service principal %s is wrong or has expired; an admin makes another with POST /api/wherry/service-principals", id)
	case wherry.CodeOf(err) == wherry.CodeDoesNotExist:
		return p, noClient(id)
	}
	return p, err
}

func noClient(id string) error {
	return wherry.Errorf(unauthorized, "AADSTS700016: Application with identifier '%s' was not found: this wherry has no such service principal", id)
}

// credentials reads HTTP Basic, whose parts are form-encoded (RFC 6749, 2.3.1),
// or the form.
func credentials(r *http.Request, form values) (id, secret string) {
	if id, secret, ok := r.BasicAuth(); ok {
		return unescape(id), unescape(secret)
	}
	return form.Get("client_id"), form.Get("client_secret")
}
