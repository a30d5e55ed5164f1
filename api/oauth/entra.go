package oauth

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
)

// values is a decoded form.
type values map[string][]string

// Get returns the first value of key, "" without one.
func (v values) Get(key string) string { return url.Values(v).Get(key) }

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

type keySet jose.JSONWebKeySet

// entraRoutes are what the Azure SDKs and hadoop-azure ask of the sign-in host.
func (a *API) entraRoutes() []api.Route {
	return []api.Route{
		{Method: "GET", Path: "/{tenant}/discovery/instance", Permission: api.Public, Handler: api.JSON(a.instance), Family: family},
		{Method: "GET", Path: "/{tenant}/discovery/v2.0/keys", Permission: api.Public, Handler: api.JSON(a.keySet), Family: family},
		{Method: "GET", Path: "/{tenant}/discovery/keys", Permission: api.Public, Handler: api.JSON(a.keySet), Family: family},
		{Method: "GET", Path: "/{tenant}/v2.0/.well-known/openid-configuration", Permission: api.Public, Handler: api.JSON(a.openID), Family: family},
		{Method: "GET", Path: "/{tenant}/.well-known/openid-configuration", Permission: api.Public, Handler: api.JSON(a.openIDv1), Family: family},
		{Method: "POST", Path: "/{tenant}/oauth2/v2.0/token", Permission: api.Public, Handler: api.Raw(a.entraToken), Family: family},
		{Method: "POST", Path: "/{tenant}/oauth2/token", Permission: api.Public, Handler: api.Raw(a.entraTokenV1), Family: family},
		{Path: "/{path...}", Permission: api.Public, Family: family, Handler: api.Raw(func(_ http.ResponseWriter, r *http.Request) error {
			return wherry.NotImplemented("the sign-in call " + r.Method + " " + r.URL.Path)
		})},
	}
}

type tenant struct {
	Tenant string `json:"tenant"`
}

// aliases of the sign-in host, as the public cloud names them.
var aliases = []string{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"}

type instance struct {
	Endpoint string           `json:"tenant_discovery_endpoint"`
	Version  string           `json:"api-version"`
	Metadata []map[string]any `json:"metadata"`
}

func (a *API) instance(ctx context.Context, _ *tenant) (*instance, error) {
	return &instance{
		Endpoint: wherry.IdentityFrom(ctx).BaseURL + "/common/v2.0/.well-known/openid-configuration", Version: "1.1",
		Metadata: []map[string]any{{"preferred_network": aliases[0], "preferred_cache": aliases[1], "aliases": aliases}},
	}, nil
}

type openID struct {
	Token         string   `json:"token_endpoint"`
	Methods       []string `json:"token_endpoint_auth_methods_supported"`
	KeySet        string   `json:"jwks_uri"`
	ResponseModes []string `json:"response_modes_supported"`
	Subjects      []string `json:"subject_types_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	Responses     []string `json:"response_types_supported"`
	Scopes        []string `json:"scopes_supported"`
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Device        string   `json:"device_authorization_endpoint"`
	Region        *string  `json:"tenant_region_scope"`
	Cloud         string   `json:"cloud_instance_name"`
	Graph         string   `json:"cloud_graph_host_name"`
}

func (a *API) openID(ctx context.Context, in *tenant) (*openID, error) {
	base := wherry.IdentityFrom(ctx).BaseURL + "/" + in.Tenant
	return &openID{
		Token: base + "/oauth2/v2.0/token", Methods: []string{"client_secret_post", "client_secret_basic"}, KeySet: base + "/discovery/v2.0/keys",
		ResponseModes: []string{"query", "fragment", "form_post"}, Subjects: []string{"pairwise"}, Algorithms: []string{"RS256"},
		Responses: []string{"code"}, Scopes: []string{"openid", "profile", "email", "offline_access"}, Issuer: base + "/v2.0",
		Authorization: base + "/oauth2/v2.0/authorize", Device: base + "/oauth2/v2.0/devicecode", Cloud: "microsoftonline.com", Graph: "graph.windows.net",
	}, nil
}

func (a *API) openIDv1(ctx context.Context, in *tenant) (*openID, error) {
	o, err := a.openID(ctx, in)
	if err != nil {
		return nil, err
	}
	base := wherry.IdentityFrom(ctx).BaseURL + "/" + in.Tenant
	o.Token, o.Issuer, o.Authorization, o.Device = base+"/oauth2/token", "https://sts.windows.net/"+in.Tenant+"/", base+"/oauth2/authorize", base+"/oauth2/devicecode"
	return o, nil
}

// entraToken is the second version: the audience comes from scope.
func (a *API) entraToken(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	p, err := a.client(r, form)
	if err != nil {
		return err
	}
	audience, ok := audienceOf(form.Get("scope"))
	if !ok {
		return wherry.Errorf(invalidScope, "AADSTS1002012: the scope must be one resource followed by /.default, got %q", form.Get("scope"))
	}
	return a.grant(w, r, p, audience, nil)
}

// entraTokenV1 is the first version, of hadoop-azure: the audience is named as
// resource, and numbers are strings.
func (a *API) entraTokenV1(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	p, err := a.client(r, form)
	if err != nil {
		return err
	}
	resource := form.Get("resource")
	if resource == "" {
		return wherry.Errorf(invalidRequest, "AADSTS900144: the request must have the parameter resource")
	}
	return a.grant(w, r, p, resource, func(doc map[string]any) {
		now, life := time.Now(), strconv.Itoa(int(auth.TokenLifetime.Seconds()))
		doc["expires_in"], doc["ext_expires_in"], doc["resource"] = life, life, resource
		doc["not_before"] = strconv.FormatInt(now.Unix(), 10)
		doc["expires_on"] = strconv.FormatInt(now.Add(auth.TokenLifetime).Unix(), 10)
	})
}

// grant answers with a token. Its length is always told: hadoop-azure refuses
// a chunked answer.
func (a *API) grant(w http.ResponseWriter, r *http.Request, p wherry.Principal, audience string, edit func(map[string]any)) error {
	tenant := r.PathValue("tenant")
	claims := auth.Claims{Tenant: tenant, ObjectID: auth.ObjectID(p), AppID: p.ApplicationID, AuthorizedParty: p.ApplicationID, IdentityType: "app", Version: "1.0"}
	token, err := a.signIn.Sign(p, "https://sts.windows.net/"+tenant+"/", audience, claims)
	if err != nil {
		return err
	}
	seconds := int(auth.TokenLifetime.Seconds())
	doc := map[string]any{"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token}
	if edit != nil {
		edit(doc)
	}
	w.Header().Set("Cache-Control", "no-store")
	return api.WriteJSON(w, http.StatusOK, doc)
}

// audienceOf is the resource of a client-credentials scope, RESOURCE/.default;
// a resource that ends in a slash gives two, as in the cloud.
func audienceOf(scope string) (string, bool) {
	audience := ""
	for s := range strings.FieldsSeq(scope) {
		if resource, ok := strings.CutSuffix(s, "/.default"); ok && resource != "" {
			if audience != "" {
				return "", false
			}
			audience = resource
		}
	}
	return audience, audience != ""
}
