// Package openid signs people in to the pages by another issuer, with OpenID
// Connect: authorization code with PKCE, state and nonce.
package openid

import (
	"context"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
)

// Config names the issuer, and who of its people may come in.
type Config struct {
	Issuer, ClientID string
	// SecretFile holds the client's secret; "" is a public client.
	SecretFile string
	// Domains are those of the addresses that may come in; one is needed, for many
	// issuers have people of everywhere.
	Domains []string
	// TrustEmail takes an address that the issuer does not say it has verified: for
	// issuers of one organisation, such as one tenant of Entra.
	TrustEmail bool
}

// Enabled reports whether there is an issuer.
func (c Config) Enabled() bool { return c.Issuer != "" }

// Check tells what is wrong with a configuration. It reaches for nothing: the
// issuer is asked when somebody signs in.
func (c Config) Check() error {
	u, err := url.Parse(c.Issuer)
	switch {
	case !c.Enabled() && (c.ClientID != "" || c.SecretFile != "" || len(c.Domains) > 0 || c.TrustEmail):
		return errors.New("--oidc-issuer is missing")
	case !c.Enabled():
		return nil
	case err != nil || u.Host == "" || u.Scheme != "https" && !loopback(u):
		return errors.New("--oidc-issuer must be an https:// address")
	case c.ClientID == "":
		return errors.New("--oidc-client-id is missing")
	case len(c.Domains) == 0:
		return errors.New("--oidc-domain is missing: name the domains whose people may sign in")
	}
	_, err = c.secret()
	return err
}

func loopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "http" && ip != nil && ip.IsLoopback()
}

func (c Config) secret() (string, error) {
	if c.SecretFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(c.SecretFile)
	return strings.TrimSpace(string(b)), err
}

// Limits of sign-ins that were begun and not ended.
const (
	attemptLifetime = 10 * time.Minute
	attemptsAtOnce  = 1000
	issuerTimeout   = 10 * time.Second
)

// attempt is a sign-in that was begun: what the issuer's answer must fit.
type attempt struct {
	nonce, verifier, next, redirect string
	expires                         time.Time
}

// Service is the other side of an issuer.
type Service struct {
	cfg    Config
	signIn *auth.Service
	http   *http.Client

	mu       sync.Mutex
	provider *oidc.Provider // nil until the issuer was asked
	attempts map[string]attempt
}

// New returns the service of a configuration that Check approves.
func New(cfg Config, signIn *auth.Service) *Service {
	return &Service{cfg: cfg, signIn: signIn, http: &http.Client{Timeout: issuerTimeout}, attempts: map[string]attempt{}}
}

const callback = "/login/oidc/callback"

// Routes are where a sign-in begins and ends.
func (s *Service) Routes(family api.Family) []api.Route {
	return []api.Route{
		{Method: "GET", Path: "/login/oidc", Permission: api.Public, Summary: "Sign in to the pages by another issuer", Handler: api.Raw(s.begin), Family: family},
		{Method: "GET", Path: callback, Permission: api.Public, Summary: "Where the other issuer leads back to", Handler: api.Raw(s.end), Family: family},
	}
}

// stateCookie ties an attempt to the browser that began it. It is Lax: the issuer
// leads back from its own site.
const stateCookie = "wherry_oidc"

func setState(w http.ResponseWriter, r *http.Request, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{Name: stateCookie, Value: value, Path: "/login/oidc", MaxAge: seconds, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode})
}

func (s *Service) begin(w http.ResponseWriter, r *http.Request) error {
	state, a := auth.NewToken(""), attempt{
		nonce: auth.NewToken(""), verifier: oauth2.GenerateVerifier(), next: r.URL.Query().Get("next"),
		redirect: wherry.IdentityFrom(r.Context()).BaseURL + callback, expires: time.Now().Add(attemptLifetime),
	}
	client, _, err := s.client(r.Context(), a.redirect)
	if err != nil {
		return err
	}
	if !s.remember(state, a) {
		return wherry.Errorf(wherry.CodeLimitExceeded, "too many people are signing in at once: try again in a few minutes")
	}
	setState(w, r, state, int(attemptLifetime.Seconds()))
	http.Redirect(w, r, client.AuthCodeURL(state, oidc.Nonce(a.nonce), oauth2.S256ChallengeOption(a.verifier)), http.StatusSeeOther)
	return nil
}

// remember keeps an attempt, and forgets those that are over.
func (s *Service) remember(state string, a attempt) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for key, old := range s.attempts {
		if old.expires.Before(now) {
			delete(s.attempts, key)
		}
	}
	if len(s.attempts) >= attemptsAtOnce {
		return false
	}
	s.attempts[state] = a
	return true
}

// take returns an attempt, once.
func (s *Service) take(state string) (attempt, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.attempts[state]
	delete(s.attempts, state)
	return a, ok && a.expires.After(time.Now())
}

// client is the configuration of one exchange. The issuer is asked for what it
// is once; one that does not answer is asked again the next time.
func (s *Service) client(ctx context.Context, redirect string) (*oauth2.Config, *oidc.Provider, error) {
	secret, err := s.cfg.secret()
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	provider := s.provider
	s.mu.Unlock()
	if provider == nil {
		// The provider keeps the context for its keys, which outlive this request.
		if provider, err = oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), s.http), s.cfg.Issuer); err != nil {
			slog.Warn("the issuer for sign-in does not answer", "issuer", s.cfg.Issuer, "err", err)
			return nil, nil, refused("%s does not answer as an OpenID Connect issuer: try again, or sign in in another way", s.cfg.Issuer)
		}
		s.mu.Lock()
		s.provider = provider
		s.mu.Unlock()
	}
	return &oauth2.Config{ClientID: s.cfg.ClientID, ClientSecret: secret, Endpoint: provider.Endpoint(), RedirectURL: redirect, Scopes: []string{oidc.ScopeOpenID, "email", "profile"}}, provider, nil
}

func refused(format string, args ...any) error {
	return wherry.Errorf(wherry.CodePermissionDenied, format, args...)
}

func (s *Service) end(w http.ResponseWriter, r *http.Request) error {
	state := r.URL.Query().Get("state")
	c, err := r.Cookie(stateCookie)
	if err != nil || state == "" || subtle.ConstantTimeCompare([]byte(c.Value), []byte(state)) != 1 {
		return refused("this sign-in was not begun in this browser: begin again at /login")
	}
	setState(w, r, "", -1)
	a, ok := s.take(state)
	if !ok {
		return refused("this sign-in took too long: begin again at /login")
	}
	if code := r.URL.Query().Get("error"); code != "" {
		return refused("%s refused the sign-in: %.200s", s.cfg.Issuer, firstOf(r.URL.Query().Get("error_description"), code))
	}
	who, err := s.exchange(r.Context(), a, r.URL.Query().Get("code"))
	if err != nil {
		return err
	}
	p, err := s.signIn.SignInExternal(r.Context(), who)
	if err != nil {
		return err
	}
	return s.signIn.StartSession(w, r, wherry.Identity{Principal: p, WorkspaceID: wherry.DefaultWorkspace}, a.next)
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// exchange gives the code for the id-token, and checks what that says.
func (s *Service) exchange(ctx context.Context, a attempt, code string) (who auth.External, err error) {
	client, provider, err := s.client(ctx, a.redirect)
	if err != nil {
		return who, err
	}
	ctx = oidc.ClientContext(ctx, s.http)
	token, err := client.Exchange(ctx, code, oauth2.VerifierOption(a.verifier))
	if err != nil {
		slog.Warn("the issuer gives no token", "issuer", s.cfg.Issuer, "err", err)
		return who, refused("%s did not accept the sign-in: begin again at /login", s.cfg.Issuer)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: s.cfg.ClientID}).Verify(ctx, raw)
	if err == nil && subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.nonce)) != 1 {
		err = errors.New("the nonce is another one")
	}
	var claims struct {
		Email    string `json:"email"`
		Verified *bool  `json:"email_verified"`
		Name     string `json:"name"`
	}
	if err == nil {
		err = id.Claims(&claims)
	}
	if err != nil {
		slog.Warn("an id-token is refused", "issuer", s.cfg.Issuer, "err", err)
		return who, refused("the answer of %s is not valid: begin again at /login", s.cfg.Issuer)
	}
	_, domain, ok := strings.Cut(claims.Email, "@")
	verified := claims.Verified != nil && *claims.Verified || claims.Verified == nil && s.cfg.TrustEmail
	switch {
	case !ok || id.Subject == "":
		return who, refused("%s names no e-mail address of yours", s.cfg.Issuer)
	case !verified:
		return who, refused("%s does not say that %s is verified", s.cfg.Issuer, claims.Email)
	case !slices.ContainsFunc(s.cfg.Domains, func(d string) bool { return strings.EqualFold(d, domain) }):
		return who, refused("people of %s may not sign in here", domain)
	}
	return auth.External{Issuer: id.Issuer, Subject: id.Subject, Email: claims.Email, Name: claims.Name}, nil
}
