package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Audiences of our tokens.
const (
	// AudienceWorkspace is the id of the AzureDatabricks application: clients
	// that sign in through Entra ask for it by this number.
	AudienceWorkspace = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"
	// AudienceStorage is for the storage endpoint.
	AudienceStorage = "https://storage.azure.com"
	// AudienceManagement, by its two names, is for the management API.
	AudienceManagement      = "https://management.azure.com"
	AudienceManagementOlder = "https://management.core.windows.net"
	// AudienceGraph, by name and by number, is for Microsoft Graph.
	AudienceGraph   = "https://graph.microsoft.com"
	AudienceGraphID = "00000003-0000-0000-c000-000000000000"
	// AudienceVault is for Key Vault's secrets.
	AudienceVault = "https://vault.azure.net"
)

// TokenLifetime is how long a signed token is good for.
const TokenLifetime = time.Hour

// Claims are what a signed token says, by Entra's names.
type Claims struct {
	jwt.Claims
	Tenant   string `json:"tid,omitempty"`
	ObjectID string `json:"oid,omitempty"`
	// AppID is the client id in Entra's first version, AuthorizedParty in its second.
	AppID           string `json:"appid,omitempty"`
	AuthorizedParty string `json:"azp,omitempty"`
	// ClientID and Scope are the workspace issuer's.
	ClientID     string `json:"client_id,omitempty"`
	Scope        string `json:"scope,omitempty"`
	IdentityType string `json:"idtyp,omitempty"`
	Version      string `json:"ver,omitempty"`
}

// errNoKeys is a mistake of ours: New without Keys.
var errNoKeys = errors.New("this service has no signing keys")

// Keys makes the service sign and accept signed tokens with the key in dir,
// which is made if it is missing.
func (s *Service) Keys(dir string) *Service {
	s.keys = openKeys(dir)
	return s
}

// Sign returns a token of p for an audience, with more claims, that is good
// for TokenLifetime.
func (s *Service) Sign(p wherry.Principal, issuer, audience string, c Claims) (string, error) {
	now := s.now()
	c.Claims = jwt.Claims{
		Issuer: issuer, Audience: jwt.Audience{audience}, Subject: ObjectID(p), ID: NewToken("")[:32],
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now.Add(-5 * time.Minute)), Expiry: jwt.NewNumericDate(now.Add(TokenLifetime)),
	}
	return s.sign(c)
}

// sign makes a token of claims.
func (s *Service) sign(claims any) (string, error) {
	if s.keys == nil {
		return "", errNoKeys
	}
	key, err := s.keys.load()
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(claims).Serialize()
}

// KeySet is the public half of the signing key, for those who check our tokens
// themselves.
func (s *Service) KeySet() (*jose.JSONWebKeySet, error) {
	if s.keys == nil {
		return nil, errNoKeys
	}
	key, err := s.keys.load()
	if err != nil {
		return nil, err
	}
	return &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}}, nil
}

// VerifyStorage tells whose token for the storage endpoint bearer is;
// UNAUTHENTICATED if it is not one of ours, is for something else, or is over.
func (s *Service) VerifyStorage(ctx context.Context, bearer string) (wherry.Identity, error) {
	id, _, err := s.Verify(ctx, bearer, AudienceStorage)
	return id, err
}

// signed reports whether a token looks like a signed one.
func signed(token string) bool {
	return strings.HasPrefix(token, "eyJ") && strings.Count(token, ".") == 2
}

// Verify checks signature, times and audience of a signed token, which may be
// for any of the audiences, and tells whose it is and what it says. Any of our
// own host names may be its issuer: the signature tells that it was us.
func (s *Service) Verify(ctx context.Context, token string, audiences ...string) (wherry.Identity, Claims, error) {
	c, err := s.claims(token, audiences)
	if err != nil {
		return wherry.Identity{}, c, err
	}
	client := firstOf(c.ClientID, c.AppID, c.AuthorizedParty)
	id := wherry.Identity{WorkspaceID: wherry.DefaultWorkspace, Account: true}
	err = s.db.Read(ctx, func(tx *store.Tx) (err error) {
		id.Principal, err = PrincipalByClient(tx, client)
		return err
	})
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist || err == nil && !id.Active {
		return wherry.Identity{}, c, wherry.Errorf(wherry.CodeUnauthenticated, "service principal %s is not active", client)
	}
	return id, c, err
}

// claims reads a token that we signed for one of the audiences.
func (s *Service) claims(token string, audiences []string) (c Claims, err error) {
	if s.keys == nil || !signed(token) {
		return c, wherry.Errorf(wherry.CodeUnauthenticated, "the token is not valid here")
	}
	key, err := s.keys.load()
	if err != nil {
		return c, err
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err == nil {
		err = parsed.Claims(key.Public(), &c)
	}
	if err != nil {
		return c, wherry.Errorf(wherry.CodeUnauthenticated, "the token was not signed by this wherry")
	}
	if err := c.ValidateWithLeeway(jwt.Expected{Time: s.now()}, time.Minute); err != nil {
		return c, wherry.Errorf(wherry.CodeUnauthenticated, "the token has expired or is not valid yet")
	}
	if !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(audiences, strings.TrimSuffix(a, "/")) }) {
		return c, wherry.Errorf(wherry.CodeUnauthenticated, "the token is for %s, not for %s", strings.Join(c.Audience, ", "), strings.Join(audiences, " or "))
	}
	return c, nil
}

// numberPrefix begins an object id that is made of a principal's number.
const numberPrefix = "00000000-0000-4000-8000-"

// ObjectID is what a principal is called in tokens and by Entra: its own object
// id, or for those made before there were any its client id, or one made of its
// number.
func ObjectID(p wherry.Principal) string {
	if p.ObjectID != "" {
		return p.ObjectID
	}
	if p.ApplicationID != "" {
		return p.ApplicationID
	}
	return fmt.Sprintf("%s%012x", numberPrefix, p.ID)
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}
