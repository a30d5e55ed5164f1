package auth

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// ActionsIssuer is the issuer of the id-tokens of GitHub's workflows, which this
// installation stands in for.
const ActionsIssuer = "https://token.actions.githubusercontent.com"

// ExchangeAudience is what Entra wants a token to be for that is exchanged.
const ExchangeAudience = "api://AzureADTokenExchange"

// actionsLifetime is how long such an id-token is good for, as GitHub has it.
const actionsLifetime = 10 * time.Minute

// SignActions returns an id-token of a workflow's job, as GitHub issues it:
// subject is repo:OWNER/NAME:…, and more are its other claims (ref, sha,
// repository, workflow, run_id, actor, environment, …).
func (s *Service) SignActions(subject, audience string, more map[string]any) (string, error) {
	claims := map[string]any{}
	for name, value := range more {
		claims[name] = value
	}
	now := s.now()
	claims["iss"], claims["sub"], claims["aud"], claims["jti"] = ActionsIssuer, subject, audience, NewGUID()
	claims["iat"], claims["nbf"], claims["exp"] = now.Unix(), now.Add(-5*time.Minute).Unix(), now.Add(actionsLifetime).Unix()
	return s.sign(claims)
}

// Surfaces a federation belongs to: each API shows its own only, and each kind
// of sign-in takes its own only.
const (
	SurfaceGraph   = "graph"   // Entra: client assertions
	SurfaceAccount = "account" // the workspace's token exchange
)

// Federation says whose tokens a service principal signs in with, instead of a
// secret.
type Federation struct {
	ID           string
	PrincipalID  int64
	Surface      string
	Name         string // unique among those of the principal and surface
	Issuer       string
	Subject      string
	SubjectClaim string // "" is sub
	Audiences    []string
	Keys         string // the issuer's keys, a JSON Web Key Set; "" for issuers whose keys we have
	Description  string
	Created      int64 // ms
	Updated      int64 // ms
}

const federationColumns = `id, principal_id, surface, name, issuer, subject, subject_claim, audiences, keys, description, created_at, updated_at`

// Federations lists those of a principal, by name.
func Federations(tx *store.Tx, principalID int64, surface string) (list []Federation, err error) {
	err = tx.Each(`SELECT `+federationColumns+` FROM federation WHERE principal_id = $1 AND surface = $2 ORDER BY name`, []any{principalID, surface}, func(scan func(...any) error) error {
		var f Federation
		var audiences string
		if err := scan(&f.ID, &f.PrincipalID, &f.Surface, &f.Name, &f.Issuer, &f.Subject, &f.SubjectClaim, &audiences, &f.Keys, &f.Description, &f.Created, &f.Updated); err != nil {
			return err
		}
		list = append(list, f)
		return json.Unmarshal([]byte(audiences), &list[len(list)-1].Audiences)
	})
	return list, err
}

// FederationBy returns the one with an id or name; RESOURCE_DOES_NOT_EXIST if
// there is none.
func FederationBy(tx *store.Tx, principalID int64, surface, name string) (Federation, error) {
	list, err := Federations(tx, principalID, surface)
	if err != nil {
		return Federation{}, err
	}
	if i := slices.IndexFunc(list, func(f Federation) bool { return f.ID == name || f.Name == name }); i >= 0 {
		return list[i], nil
	}
	return Federation{}, wherry.Errorf(wherry.CodeDoesNotExist, "Federation %s does not exist", name)
}

// PutFederation adds one, or changes the one of that name.
func PutFederation(tx *store.Tx, f Federation) error {
	if f.Keys != "" {
		if _, err := keySet(f.Keys); err != nil {
			return wherry.Errorf(wherry.CodeInvalidParameter, "the issuer's keys are not a JSON Web Key Set: %v", err)
		}
	}
	if f.Audiences == nil {
		f.Audiences = []string{}
	}
	audiences, err := json.Marshal(f.Audiences)
	if err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	_, err = tx.Exec(`INSERT INTO federation (`+federationColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (principal_id, surface, name) DO UPDATE SET issuer = excluded.issuer, subject = excluded.subject, subject_claim = excluded.subject_claim,
		audiences = excluded.audiences, keys = excluded.keys, description = excluded.description, updated_at = excluded.updated_at`,
		NewGUID(), f.PrincipalID, f.Surface, f.Name, f.Issuer, f.Subject, f.SubjectClaim, string(audiences), f.Keys, f.Description, now, now)
	return err
}

// DropFederation removes one by id or name; RESOURCE_DOES_NOT_EXIST if there is
// none.
func DropFederation(tx *store.Tx, principalID int64, surface, name string) error {
	f, err := FederationBy(tx, principalID, surface, name)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`DELETE FROM federation WHERE id = $1`, f.ID)
	return err
}

func keySet(text string) (set jose.JSONWebKeySet, err error) {
	err = json.Unmarshal([]byte(text), &set)
	if err == nil && len(set.Keys) == 0 {
		err = errors.New("it has no keys")
	}
	return set, err
}

// Reasons why CheckAssertion refuses; each way of sign-in has its own words for
// them.
var (
	ErrAssertionForm      = errors.New("the token is not a signed JSON Web Token")
	ErrAssertionIssuer    = errors.New("no federation of the service principal has the token's issuer")
	ErrAssertionKeys      = errors.New("the keys of the token's issuer are not known here")
	ErrAssertionSignature = errors.New("the token was not signed by its issuer")
	ErrAssertionTime      = errors.New("the token has expired or is not valid yet")
	ErrAssertionSubject   = errors.New("no federation of the service principal has the token's subject")
	ErrAssertionAudience  = errors.New("no federation of the service principal has the token's audience")
)

// Assertion is what a token of another issuer says.
type Assertion struct {
	Issuer, Subject string
	Audience        []string
}

// CheckAssertion lets a service principal sign in with a token of an issuer that
// one of its federations names. audiences are those that a federation takes
// which names none. It returns what the token says as far as it was read, with
// one of the errors above if it is refused.
func (s *Service) CheckAssertion(tx *store.Tx, p wherry.Principal, surface, token string, audiences ...string) (Assertion, error) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
	if err != nil {
		return Assertion{}, ErrAssertionForm
	}
	var says jwt.Claims
	all := map[string]any{}
	if parsed.UnsafeClaimsWithoutVerification(&says, &all) != nil {
		return Assertion{}, ErrAssertionForm
	}
	a := Assertion{Issuer: says.Issuer, Subject: says.Subject, Audience: says.Audience}
	list, err := Federations(tx, p.ID, surface)
	if err != nil {
		return a, err
	}
	list = slices.DeleteFunc(list, func(f Federation) bool { return f.Issuer != says.Issuer })
	if len(list) == 0 {
		return a, ErrAssertionIssuer
	}
	reason := ErrAssertionSubject
	for _, f := range list {
		subject := says.Subject
		if f.SubjectClaim != "" {
			subject, _ = all[f.SubjectClaim].(string)
		}
		if subject != f.Subject {
			continue
		}
		wanted := f.Audiences
		if len(wanted) == 0 {
			wanted = audiences
		}
		if !slices.ContainsFunc(says.Audience, func(a string) bool { return slices.Contains(wanted, a) }) {
			reason = ErrAssertionAudience
			continue
		}
		if reason = s.checkSignature(parsed, f); reason == nil {
			break
		}
	}
	if reason == nil && says.ValidateWithLeeway(jwt.Expected{Time: s.now()}, time.Minute) != nil || says.Expiry == nil {
		reason = ErrAssertionTime
	}
	return a, reason
}

// checkSignature checks a token against its issuer's keys: ours for workflows of
// this installation, else those that the federation names.
func (s *Service) checkSignature(token *jwt.JSONWebToken, f Federation) error {
	var set jose.JSONWebKeySet
	switch {
	case f.Keys != "":
		have, err := keySet(f.Keys)
		if err != nil {
			return err
		}
		set = have
	case f.Issuer == ActionsIssuer:
		have, err := s.KeySet()
		if err != nil {
			return err
		}
		set = *have
	default:
		return ErrAssertionKeys
	}
	for _, key := range set.Keys {
		if token.Claims(key.Key) == nil {
			return nil
		}
	}
	return ErrAssertionSignature
}
