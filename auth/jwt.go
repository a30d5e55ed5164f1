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
	now := s.now()
	c.Claims = jwt.Claims{
		Issuer: issuer, Audience: jwt.Audience{audience}, Subject: ObjectID(p), ID: NewToken("")[:32],
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now.Add(-5 * time.Minute)), Expiry: jwt.NewNumericDate(now.Add(TokenLifetime)),
	}
	return jwt.Signed(signer).Claims(c).Serialize()
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
	return s.verify(ctx, bearer, AudienceStorage)
}

// signed reports whether a token looks like a signed one.
func signed(token string) bool {
	return strings.HasPrefix(token, "eyJ") && strings.Count(token, ".") == 2
}

// verify checks signature, times and audience of a signed token. Any of our
// own host names may be its issuer: the signature tells that it was us.
func (s *Service) verify(ctx context.Context, token, audience string) (wherry.Identity, error) {
	if s.keys == nil || !signed(token) {
		return wherry.Identity{}, wherry.Errorf(wherry.CodeUnauthenticated, "the token is not valid here")
	}
	key, err := s.keys.load()
	if err != nil {
		return wherry.Identity{}, err
	}
	var c Claims
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err == nil {
		err = parsed.Claims(key.Public(), &c)
	}
	if err != nil {
		return wherry.Identity{}, wherry.Errorf(wherry.CodeUnauthenticated, "the token was not signed by this wherry")
	}
	if err := c.ValidateWithLeeway(jwt.Expected{Time: s.now()}, time.Minute); err != nil {
		return wherry.Identity{}, wherry.Errorf(wherry.CodeUnauthenticated, "the token has expired or is not valid yet")
	}
	if !slices.ContainsFunc(c.Audience, func(a string) bool { return strings.TrimSuffix(a, "/") == audience }) {
		return wherry.Identity{}, wherry.Errorf(wherry.CodeUnauthenticated, "the token is for %s, not for %s", strings.Join(c.Audience, ", "), audience)
	}
	client := firstOf(c.ClientID, c.AppID, c.AuthorizedParty)
	id := wherry.Identity{WorkspaceID: wherry.DefaultWorkspace}
	err = s.db.Read(ctx, func(tx *store.Tx) (err error) {
		id.Principal, err = PrincipalByClient(tx, client)
		return err
	})
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist || err == nil && !id.Active {
		return wherry.Identity{}, wherry.Errorf(wherry.CodeUnauthenticated, "service principal %s is not active", client)
	}
	return id, err
}

// ObjectID is the number that a principal has in tokens: its client id, or one
// made of its id.
func ObjectID(p wherry.Principal) string {
	if p.ApplicationID != "" {
		return p.ApplicationID
	}
	return fmt.Sprintf("00000000-0000-4000-8000-%012x", p.ID)
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}
