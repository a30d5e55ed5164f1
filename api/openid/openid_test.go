package openid_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/api/openid"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
)

// issuer is a real one on loopback, which signs in whoever claims says.
type issuer struct {
	*testing.T
	*httptest.Server
	key    *ecdsa.PrivateKey
	claims map[string]any
	// asked are the parameters of the last sign-in; a test may change what the
	// token answers.
	asked url.Values
	// broken changes the id-token's signature.
	broken bool
}

const secret = "s3cret"

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{T: t, key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.json(w, map[string]any{"issuer": i.URL, "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		i.json(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		i.asked = r.URL.Query()
		http.Redirect(w, r, i.asked.Get("redirect_uri")+"?code=c&state="+i.asked.Get("state"), http.StatusSeeOther)
	})
	mux.HandleFunc("POST /token", i.token)
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) json(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		i.Error(err)
	}
}

// token checks the code, the client and PKCE as RFC 7636 asks.
func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		i.Error(err)
	}
	id, given, basic := r.BasicAuth()
	if !basic {
		id, given = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	if id != "wherry" || given != secret || r.PostForm.Get("code") != "c" || i.asked.Get("code_challenge_method") != "S256" || base64.RawURLEncoding.EncodeToString(sum[:]) != i.asked.Get("code_challenge") {
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	key := i.key
	if i.broken {
		key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	if err != nil {
		i.Error(err)
		return
	}
	claims := map[string]any{"iss": i.URL, "aud": "wherry", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "nonce": i.asked.Get("nonce")}
	for name, v := range i.claims {
		claims[name] = v
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		i.Error(err)
	}
	i.json(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": token})
}

// site is wherry with an issuer.
type site struct {
	*testing.T
	*httptest.Server
	db *store.DB
}

func newSite(t *testing.T, cfg openid.Config) *site {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.ClientID, cfg.SecretFile, cfg.Domains = "wherry", file, []string{"example.com"}
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	db := storetest.SQLite(t)
	signIn := auth.New(db)
	if err := signIn.Bootstrap(t.Context(), "dapi-admin"); err != nil {
		t.Fatal(err)
	}
	who := api.Route{Method: "GET", Path: "/who", Permission: api.SignedIn, Handler: api.Raw(func(w http.ResponseWriter, r *http.Request) error {
		return api.WriteJSON(w, http.StatusOK, wherry.IdentityFrom(r.Context()).Principal)
	})}
	s := &site{T: t, db: db, Server: httptest.NewServer(api.NewMux(signIn, append(openid.New(cfg, signIn).Routes(api.Family{}), who)...))}
	t.Cleanup(s.Close)
	return s
}

// browser follows redirects and keeps cookies.
func (s *site) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

func (s *site) get(c *http.Client, address string) (int, string) {
	s.Helper()
	res, err := c.Get(address)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func (s *site) signIn() (int, string) { return s.get(s.browser(), s.URL+"/login/oidc?next=/who") }

func TestSignIn(t *testing.T) {
	i := newIssuer(t)
	s := newSite(t, openid.Config{Issuer: i.URL})
	i.claims = map[string]any{"sub": "1", "email": "Ann@Example.com", "email_verified": true, "name": "Ann"}
	for range 2 { // the second time she is there
		status, body := s.signIn()
		var p wherry.Principal
		if err := json.Unmarshal([]byte(body), &p); err != nil || status != http.StatusOK || p.UserName != "ann@example.com" || p.DisplayName != "Ann" || p.Admin || p.ID != 2 {
			t.Fatalf("signed in: %d %s", status, body)
		}
	}
	// Who she is does not hang on the address; another of the same address is not she.
	i.claims = map[string]any{"sub": "1", "email": "ann.smith@example.com", "email_verified": true}
	if status, body := s.signIn(); status != http.StatusOK || !strings.Contains(body, "ann@example.com") {
		t.Errorf("with a new address: %d %s", status, body)
	}
	i.claims = map[string]any{"sub": "2", "email": "ann@example.com", "email_verified": true}
	if status, body := s.signIn(); status != http.StatusForbidden || !strings.Contains(body, "somebody else") {
		t.Errorf("another of the same address: %d %s", status, body)
	}
	// A user that an admin made before.
	if err := s.db.Write(t.Context(), func(tx *store.Tx) error {
		_, err := auth.CreateUser(tx, "Bob@example.com", "", true)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	i.claims = map[string]any{"sub": "3", "email": "bob@example.com", "email_verified": true}
	if status, body := s.signIn(); status != http.StatusOK || !strings.Contains(body, "Bob@example.com") {
		t.Errorf("a user who was there: %d %s", status, body)
	}
	if err := s.db.Write(t.Context(), func(tx *store.Tx) error {
		p, err := auth.PrincipalByName(tx, "Bob@example.com")
		if err != nil {
			return err
		}
		p.Active = false
		return auth.UpdatePrincipal(tx, p)
	}); err != nil {
		t.Fatal(err)
	}
	if status, body := s.signIn(); status != http.StatusUnauthorized {
		t.Errorf("a user who is not active: %d %s", status, body)
	}
}

func TestRefused(t *testing.T) {
	i := newIssuer(t)
	s := newSite(t, openid.Config{Issuer: i.URL})
	good := func(more map[string]any) map[string]any {
		claims := map[string]any{"sub": "1", "email": "ann@example.com", "email_verified": true}
		for name, v := range more {
			claims[name] = v
		}
		return claims
	}
	for name, claims := range map[string]map[string]any{
		"another domain":        good(map[string]any{"email": "ann@evil.example"}),
		"a domain that ends so": good(map[string]any{"email": "ann@notexample.com"}),
		"not verified":          good(map[string]any{"email_verified": false}),
		"nothing said of it":    {"sub": "1", "email": "ann@example.com"},
		"no address":            {"sub": "1"},
		"another nonce":         good(map[string]any{"nonce": "n"}),
		"for another client":    good(map[string]any{"aud": "other"}),
		"of another issuer":     good(map[string]any{"iss": "https://evil.example"}),
		"too old":               good(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}),
		"an address of two":     good(map[string]any{"email": "ann@evil.example@example.com"}),
	} {
		i.claims = claims
		if status, body := s.signIn(); status != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	i.claims, i.broken = good(nil), true
	if status, body := s.signIn(); status != http.StatusForbidden {
		t.Errorf("another key: %d %s", status, body)
	}
	i.broken = false
	// A sign-in that another browser began, one that was begun by nobody, and one
	// that is used twice.
	begun := s.browser()
	begun.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := begun.Get(s.URL + "/login/oidc")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	to, err := url.Parse(res.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	back := s.URL + "/login/oidc/callback?code=c&state=" + to.Query().Get("state")
	if status, body := s.get(s.browser(), back); status != http.StatusForbidden || !strings.Contains(body, "not begun in this browser") {
		t.Errorf("another browser: %d %s", status, body)
	}
	if status, body := s.get(begun, back+"x"); status != http.StatusForbidden {
		t.Errorf("another state: %d %s", status, body)
	}
	if status, body := s.get(begun, s.URL+"/login/oidc/callback?error=access_denied&state="+to.Query().Get("state")); status != http.StatusForbidden || !strings.Contains(body, "access_denied") {
		t.Errorf("refused by the issuer: %d %s", status, body)
	}
	if status, _ := s.get(begun, back); status != http.StatusForbidden {
		t.Errorf("a second time: %d", status)
	}
	if err := s.db.Read(t.Context(), func(tx *store.Tx) error {
		if list, err := auth.Principals(tx, wherry.KindUser); err != nil || len(list) != 1 {
			t.Errorf("users were made: %+v %v", list, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// An issuer of one organisation may be trusted with what it does not call
// verified; one that calls an address not verified is still believed. One that
// does not answer is told.
func TestTrustedIssuer(t *testing.T) {
	i := newIssuer(t)
	s := newSite(t, openid.Config{Issuer: i.URL, TrustEmail: true})
	i.claims = map[string]any{"sub": "1", "email": "ann@example.com", "email_verified": false}
	if status, body := s.signIn(); status != http.StatusForbidden {
		t.Errorf("not verified: %d %s", status, body)
	}
	i.claims = map[string]any{"sub": "1", "email": "ann@example.com"}
	if status, body := s.signIn(); status != http.StatusOK {
		t.Errorf("nothing said: %d %s", status, body)
	}
	gone := newIssuer(t)
	s = newSite(t, openid.Config{Issuer: gone.URL})
	gone.Close()
	if status, body := s.signIn(); status != http.StatusForbidden || !strings.Contains(body, "does not answer") {
		t.Errorf("an issuer that is gone: %d %s", status, body)
	}
}

func TestCheck(t *testing.T) {
	for want, c := range map[string]openid.Config{
		"":                         {},
		"--oidc-issuer is missing": {ClientID: "x"},
		"--oidc-issuer must be":    {Issuer: "http://login.example", ClientID: "x", Domains: []string{"a"}},
		"--oidc-client-id":         {Issuer: "https://login.example"},
		"--oidc-domain":            {Issuer: "https://login.example", ClientID: "x"},
		"no such file":             {Issuer: "https://login.example", ClientID: "x", Domains: []string{"a"}, SecretFile: filepath.Join(t.TempDir(), "none")},
	} {
		if err := c.Check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
