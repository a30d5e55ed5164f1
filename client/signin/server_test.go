package signin_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/api/oauth"
	"github.com/wherry-ml/wherry/api/scim"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/client/signin"
	"github.com/wherry-ml/wherry/egress"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
)

const host = "https://adb-1.2.azuredatabricks.net"

// installation is sign-in behind the proxy for production names, and a job's
// address for tokens as GitHub has it.
type installation struct {
	http   *http.Client // through the proxy
	jobs   *httptest.Server
	client string // a service principal's
}

func install(t *testing.T, federations ...auth.Federation) *installation {
	t.Helper()
	dir := state.Dir(t.TempDir())
	if err := dir.Create(); err != nil {
		t.Fatal(err)
	}
	db := storetest.SQLite(t)
	signIn := auth.New(db).Keys(dir.Keys())
	if err := signIn.Bootstrap(t.Context(), "token"); err != nil {
		t.Fatal(err)
	}
	in := &installation{}
	if err := db.Write(t.Context(), func(tx *store.Tx) error {
		p, err := auth.AddServicePrincipal(tx, "", "ci", false)
		in.client = p.ApplicationID
		for _, f := range federations {
			if f.PrincipalID = p.ID; err == nil {
				err = auth.PutFederation(tx, f)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	issuer := oauth.New(db, signIn)
	proxy, err := egress.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	web := api.NewMux(signIn, append(issuer.Routes(), scim.New(db).Routes()...)...)
	proxy.Handle(egress.Handlers{Web: web, Workspace: web, SignIn: issuer.Entra(), Actions: issuer.Actions()})
	in.http = through(t, proxy, egress.Directory(dir))
	in.jobs = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := signIn.SignActions("repo:wherry/shop:environment:"+r.FormValue("environment"), r.FormValue("audience"), nil)
		if err != nil || r.Header.Get("Authorization") != "Bearer job" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"value": token})
	}))
	t.Cleanup(in.jobs.Close)
	return in
}

// through is a client that goes through the proxy and trusts its authority.
func through(t *testing.T, proxy *egress.Proxy, ca string) *http.Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- proxy.Run(ctx, l) }()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	pem, err := os.ReadFile(ca + "/bundle.pem")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	own := &url.URL{Scheme: "http", Host: l.Addr().String()}
	transport.Proxy = func(r *http.Request) (*url.URL, error) {
		if strings.HasPrefix(r.URL.Host, "127.0.0.1") {
			return nil, nil
		}
		return own, nil
	}
	return &http.Client{Transport: transport}
}

// who signs in with variables and returns the user that the workspace sees.
func (in *installation) who(t *testing.T, env map[string]string) (string, error) {
	t.Helper()
	c, err := signin.Find(signin.Options{HTTP: in.http, Getenv: func(key string) string { return env[key] }})
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.Token(t.Context())
	if err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", host+"/api/2.0/preview/scim/v2/Me", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token.Value)
	resp, err := in.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var me struct {
		UserName string `json:"userName"`
	}
	return me.UserName, json.NewDecoder(resp.Body).Decode(&me)
}

// TestJobOfGitHub signs a workflow's job in with its own token, at the workspace
// and at Entra, and not one of another environment.
func TestJobOfGitHub(t *testing.T) {
	in := install(
		t,
		auth.Federation{Surface: auth.SurfaceAccount, Name: "ci", Issuer: auth.ActionsIssuer, Subject: "repo:wherry/shop:environment:prod"},
		auth.Federation{Surface: auth.SurfaceGraph, Name: "ci", Issuer: auth.ActionsIssuer, Subject: "repo:wherry/shop:environment:prod", Audiences: []string{auth.ExchangeAudience}},
	)
	job := map[string]string{
		"HOME": t.TempDir(), "DATABRICKS_HOST": host, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "job", "ACTIONS_ID_TOKEN_REQUEST_URL": in.jobs.URL + "?environment=prod",
	}
	workspace := with(with(job, "DATABRICKS_AUTH_TYPE", "github-oidc"), "DATABRICKS_CLIENT_ID", in.client)
	entra := with(with(with(job, "DATABRICKS_AUTH_TYPE", "github-oidc-azure"), "ARM_CLIENT_ID", in.client), "ARM_TENANT_ID", "11111111-1111-1111-1111-111111111111")
	for name, env := range map[string]map[string]string{"workspace": workspace, "Entra": entra} {
		if user, err := in.who(t, env); err != nil || user != in.client {
			t.Errorf("%s: %q %v", name, user, err)
		}
		env["ACTIONS_ID_TOKEN_REQUEST_URL"] = in.jobs.URL + "?environment=dev"
		if _, err := in.who(t, env); err == nil || !strings.Contains(err.Error(), "repo:wherry/shop:environment:dev") {
			t.Errorf("%s, another environment: %v", name, err)
		}
	}
}
