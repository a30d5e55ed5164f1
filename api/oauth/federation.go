package oauth

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
)

// Names of RFC 7523 and RFC 8693.
const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	tokenTypeJWT  = "urn:ietf:params:oauth:token-type:jwt"
	tokenTypeID   = "urn:ietf:params:oauth:token-type:id_token"
)

// actionsRoutes are what those ask who check a workflow's id-token.
func (a *API) actionsRoutes() []api.Route {
	return []api.Route{
		{Method: "GET", Path: "/.well-known/openid-configuration", Permission: api.Public, Handler: api.JSON(a.actionsConfiguration), Family: family},
		{Method: "GET", Path: "/.well-known/jwks", Permission: api.Public, Handler: api.JSON(a.keySet), Family: family},
		{Path: "/{path...}", Permission: api.Public, Family: family, Handler: api.Raw(func(_ http.ResponseWriter, r *http.Request) error {
			return wherry.NotImplemented("the call " + r.Method + " " + r.URL.Path + " of the issuer of workflows' tokens")
		})},
	}
}

type actionsConfiguration struct {
	Issuer     string   `json:"issuer"`
	KeySet     string   `json:"jwks_uri"`
	Subjects   []string `json:"subject_types_supported"`
	Responses  []string `json:"response_types_supported"`
	Claims     []string `json:"claims_supported"`
	Algorithms []string `json:"id_token_signing_alg_values_supported"`
	Scopes     []string `json:"scopes_supported"`
}

func (a *API) actionsConfiguration(context.Context, *api.Empty) (*actionsConfiguration, error) {
	return &actionsConfiguration{
		Issuer: auth.ActionsIssuer, KeySet: auth.ActionsIssuer + "/.well-known/jwks", Subjects: []string{"public", "pairwise"}, Responses: []string{"id_token"},
		Claims:     []string{"sub", "aud", "exp", "iat", "iss", "jti", "nbf", "ref", "sha", "repository", "repository_owner", "run_id", "run_attempt", "actor", "workflow", "event_name", "ref_type", "environment"},
		Algorithms: []string{"RS256"}, Scopes: []string{"openid"},
	}, nil
}

// assertion signs a client in with a token of an issuer that one of its
// federated credentials names, in the place of a secret.
func (a *API) assertion(r *http.Request, form values) (p wherry.Principal, err error) {
	if kind := form.Get("client_assertion_type"); kind != assertionType {
		return p, wherry.Errorf(invalidRequest, "AADSTS50068: client_assertion_type must be %s, got %q", assertionType, kind)
	}
	id := form.Get("client_id")
	var says auth.Assertion
	err = a.db.Read(r.Context(), func(tx *store.Tx) (err error) {
		if p, err = auth.PrincipalByClient(tx, id); err == nil {
			says, err = a.signIn.CheckAssertion(tx, p, auth.SurfaceGraph, form.Get("client_assertion"), auth.ExchangeAudience)
		}
		return err
	})
	switch {
	case wherry.CodeOf(err) == wherry.CodeDoesNotExist || err == nil && !p.Active:
		return p, noClient(id)
	case err == nil:
		return p, nil
	}
	return p, refusal(err, says, map[error]string{
		auth.ErrAssertionForm:      "AADSTS50027: JWT token is invalid or malformed.",
		auth.ErrAssertionIssuer:    "AADSTS700211: No matching federated identity record found for presented assertion issuer '%i'. Please check your federated identity credential Subject, Audience and Issuer against the presented assertion.",
		auth.ErrAssertionSubject:   "AADSTS700213: No matching federated identity record found for presented assertion subject '%s'. Please check your federated identity credential Subject, Audience and Issuer against the presented assertion.",
		auth.ErrAssertionAudience:  "AADSTS700212: No matching federated identity record found for presented assertion audience '%a'. Please check your federated identity credential Subject, Audience and Issuer against the presented assertion.",
		auth.ErrAssertionKeys:      "AADSTS700027: the keys of '%i' are not known to wherry: it knows its own workflows, and issuers whose keys are given.",
		auth.ErrAssertionSignature: "AADSTS700027: Client assertion failed signature validation.",
		auth.ErrAssertionTime:      "AADSTS700024: Client assertion is not within its valid time range.",
	})
}

// exchange is the token exchange of the workspace's issuer: a service principal
// signs in with a token that one of its federation policies takes.
func (a *API) exchange(r *http.Request, form values) (p wherry.Principal, err error) {
	switch kind := form.Get("subject_token_type"); {
	case kind != tokenTypeJWT && kind != tokenTypeID:
		return p, wherry.Errorf(invalidRequest, "subject_token_type must be %s, got %q", tokenTypeJWT, kind)
	case form.Get("client_id") == "":
		return p, wherry.Errorf(invalidRequest, "client_id is needed: wherry has federation policies of service principals, none for the account")
	}
	issuer := wherry.IdentityFrom(r.Context()).BaseURL + "/oidc"
	id := form.Get("client_id")
	var says auth.Assertion
	err = a.db.Read(r.Context(), func(tx *store.Tx) (err error) {
		if p, err = auth.PrincipalByClient(tx, id); err == nil {
			says, err = a.signIn.CheckAssertion(tx, p, auth.SurfaceAccount, form.Get("subject_token"), AccountID, issuer+"/v1/token", issuer)
		}
		return err
	})
	switch {
	case wherry.CodeOf(err) == wherry.CodeDoesNotExist || err == nil && !p.Active:
		return p, wherry.Errorf(invalidClient, "there is no active service principal %s", id)
	case err == nil:
		return p, nil
	}
	return p, refusal(err, says, map[error]string{
		auth.ErrAssertionForm: "subject_token: it is not a signed JSON Web Token", auth.ErrAssertionIssuer: "no federation policy of the service principal takes the issuer '%i'",
		auth.ErrAssertionSubject: "no federation policy of the service principal takes the subject '%s'", auth.ErrAssertionAudience: "no federation policy of the service principal takes the audience '%a'",
		auth.ErrAssertionKeys: "the keys of '%i' are not known to wherry: give them in the policy's jwks_json", auth.ErrAssertionSignature: "subject_token: it was not signed by its issuer",
		auth.ErrAssertionTime: "subject_token: it has expired or is not valid yet",
	})
}

// refusal words why a token was refused: %i, %s and %a are its issuer, subject
// and audience.
func refusal(err error, says auth.Assertion, words map[error]string) error {
	for reason, text := range words {
		if errors.Is(err, reason) {
			text = strings.NewReplacer("%i", says.Issuer, "%s", says.Subject, "%a", strings.Join(says.Audience, ", ")).Replace(text)
			return &wherry.Error{Code: invalidClient, Message: text}
		}
	}
	return err
}
