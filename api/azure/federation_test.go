package azure_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"testing"

	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
)

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

const (
	subject = "repo:wherry/orders:environment:prod"
	bearer  = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// idToken signs a token as the server does for a job of a workflow.
func (s *site) idToken(subject, audience string) string {
	s.Helper()
	signer := auth.New(storetest.SQLite(s.T)).Keys(s.State.Keys())
	token, err := signer.SignActions(subject, audience, map[string]any{"repository": "wherry/orders", "environment": "prod"})
	if err != nil {
		s.Fatal(err)
	}
	return token
}

// workload makes an application that signs in with the tokens of a workflow and
// returns what terraform needs for that.
func (s *site) workload(env map[string]string) map[string]string {
	s.Helper()
	app, object := s.application("ci")
	s.federate(app, subject)
	s.assign(s.token(s.admin, management), account, "Storage Blob Data Owner", object)
	delete(env, "ARM_CLIENT_SECRET")
	env["ARM_CLIENT_ID"], env["ARM_USE_OIDC"], env["ARM_USE_AZUREAD"], env["ARM_OIDC_TOKEN"] = str(app, "appId"), "true", "true", s.idToken(subject, auth.ExchangeAudience)
	return env
}

// application makes an application with its service principal and returns it and
// the latter's object id.
func (s *site) application(name string) (app doc, object string) {
	s.Helper()
	token := s.token(s.admin, graph)
	app = s.want(http.StatusCreated, token, "POST", graph+"/v1.0/applications", `{"displayName":"`+name+`"}`)
	sp := s.want(http.StatusCreated, token, "POST", graph+"/v1.0/servicePrincipals", `{"appId":"`+str(app, "appId")+`"}`)
	return app, str(sp, "id")
}

func (s *site) federate(app doc, subject string) {
	s.Helper()
	s.want(http.StatusCreated, s.token(s.admin, graph), "POST", graph+"/v1.0/applications/"+str(app, "id")+"/federatedIdentityCredentials",
		`{"name":"prod","issuer":"https://token.actions.githubusercontent.com","subject":"`+subject+`","audiences":["api://AzureADTokenExchange"]}`)
}

// TestFederatedSignIn: an application signs in with a workflow's id-token, if
// issuer, subject and audience are those of its credential, and in no other way.
func TestFederatedSignIn(t *testing.T) {
	s := newSite(t)
	app, _ := s.application("ci")
	signIn := func(token string) (int, doc) {
		return s.form("https://login.microsoftonline.com/"+tenant+"/oauth2/v2.0/token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {str(app, "appId")}, "client_assertion_type": {bearer}, "client_assertion": {token}, "scope": {management + "/.default"},
		})
	}
	good := s.idToken(subject, auth.ExchangeAudience)
	refused := func(token, code string) {
		t.Helper()
		status, out := signIn(token)
		if status != http.StatusUnauthorized || len(str(out, "error_description")) < len(code) || str(out, "error_description")[:len(code)] != code {
			t.Errorf("got %d %v, want %s", status, out, code)
		}
	}
	refused(good, "AADSTS700211") // it has no credential yet
	s.federate(app, subject)
	if status, out := signIn(good); status != http.StatusOK {
		t.Fatalf("%d %v", status, out)
	}
	refused(s.idToken("repo:wherry/orders:pull_request", auth.ExchangeAudience), "AADSTS700213")
	refused(s.idToken(subject, "https://github.com/wherry"), "AADSTS700212")
	refused(good[:len(good)-8]+"AAAAAAAA", "AADSTS700027")
	refused("eyJ", "AADSTS50027")
	foreign, err := auth.New(storetest.SQLite(t)).Keys(t.TempDir()).SignActions(subject, auth.ExchangeAudience, nil)
	if err != nil {
		t.Fatal(err)
	}
	refused(foreign, "AADSTS700027")
	token := s.token(s.admin, graph)
	where := graph + "/v1.0/applications/" + str(app, "id") + "/federatedIdentityCredentials"
	list := s.want(http.StatusOK, token, "GET", where, "")
	if str(list, "value", "subject") != subject {
		t.Errorf("credentials: %v", list)
	}
	s.want(http.StatusNoContent, token, "DELETE", where+"/"+str(list, "value", "id"), "")
	refused(good, "AADSTS700211")

	// The issuer is there for others to check its tokens too.
	conf := s.want(http.StatusOK, "", "GET", auth.ActionsIssuer+"/.well-known/openid-configuration", "")
	if keys := s.want(http.StatusOK, "", "GET", str(conf, "jwks_uri"), ""); str(conf, "issuer") != auth.ActionsIssuer || at(keys, "keys", "kid") == nil {
		t.Errorf("issuer: %v %v", conf, keys)
	}
}

// TestTokenExchange: a service principal signs in at the workspace with a
// workflow's id-token that its federation policy takes.
func TestTokenExchange(t *testing.T) {
	s := newSite(t)
	_, object := s.application("ci")
	var id int64
	var client string
	s.write(func(tx *store.Tx) error {
		p, err := auth.PrincipalByObject(tx, object)
		id, client = p.ID, p.ApplicationID
		return err
	})
	policies := s.URL + "/api/2.0/accounts/00000000-0000-4000-8000-000000000001/servicePrincipals/" + strconv.FormatInt(id, 10) + "/federationPolicies"
	exchange := func(token string) (int, doc) {
		return s.form(s.URL+"/oidc/v1/token", url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {token}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
			"scope": {"all-apis"}, "client_id": {client},
		})
	}
	good := s.idToken(subject, "https://github.com/wherry")
	if status, out := exchange(good); status != http.StatusUnauthorized {
		t.Fatalf("without a policy: %d %v", status, out)
	}
	made := s.want(http.StatusOK, s.Token, "POST", policies+"?policy_id=prod",
		`{"description":"ci","oidc_policy":{"issuer":"https://token.actions.githubusercontent.com","subject":"`+subject+`","audiences":["https://github.com/wherry"]}}`)
	if str(made, "policy_id") != "prod" || str(made, "uid") == "" {
		t.Errorf("made %v", made)
	}
	status, out := exchange(good)
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, out)
	}
	if me := s.want(http.StatusOK, str(out, "access_token"), "GET", s.URL+"/api/2.0/preview/scim/v2/Me", ""); str(me, "userName") != client {
		t.Errorf("me: %v", me)
	}
	if status, out := exchange(s.idToken("repo:wherry/other:environment:prod", "https://github.com/wherry")); status != http.StatusUnauthorized {
		t.Errorf("another repository: %d %v", status, out)
	}
	s.want(http.StatusOK, s.Token, "PATCH", policies+"/prod?update_mask=oidc_policy", `{"oidc_policy":{"issuer":"https://token.actions.githubusercontent.com","subject":"repo:wherry/other:environment:prod","audiences":["https://github.com/wherry"]}}`)
	if status, out := exchange(good); status != http.StatusUnauthorized {
		t.Errorf("after the policy was changed: %d %v", status, out)
	}
	if list := s.want(http.StatusOK, s.Token, "GET", policies, ""); str(list, "policies", "oidc_policy", "subject") != "repo:wherry/other:environment:prod" {
		t.Errorf("list %v", list)
	}
	s.want(http.StatusOK, s.Token, "DELETE", policies+"/prod", "")
	s.want(http.StatusNotFound, s.Token, "GET", policies+"/prod", "")
}
