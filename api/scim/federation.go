package scim

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
)

// policies are the calls of the account's API by which a service principal signs
// in with another issuer's tokens.
func (a *API) policies() []api.Route {
	const base = "/api/2.0/accounts/{account}/servicePrincipals/{id}/federationPolicies"
	return []api.Route{
		{Method: "POST", Path: base, Permission: api.Admin, Summary: "Create a federation policy of a service principal", Handler: api.JSON(a.createPolicy)},
		{Method: "GET", Path: base, Permission: api.Admin, Summary: "List federation policies of a service principal", Handler: api.JSON(a.listPolicies)},
		{Method: "GET", Path: base + "/{policy_id}", Permission: api.Admin, Summary: "Get a federation policy", Handler: api.JSON(a.getPolicy)},
		{Method: "PATCH", Path: base + "/{policy_id}", Permission: api.Admin, Summary: "Change a federation policy", Handler: api.JSON(a.changePolicy)},
		{Method: "DELETE", Path: base + "/{policy_id}", Permission: api.Admin, Summary: "Delete a federation policy", Handler: api.JSON(a.deletePolicy)},
		{Path: "/api/2.0/accounts/{account}/federationPolicies", Permission: api.Admin, Summary: "Federation policies of the account (not supported)", Handler: api.Raw(noAccountPolicies)},
		{Path: "/api/2.0/accounts/{account}/federationPolicies/{policy_id}", Permission: api.Admin, Summary: "Federation policies of the account (not supported)", Handler: api.Raw(noAccountPolicies)},
	}
}

func noAccountPolicies(http.ResponseWriter, *http.Request) error {
	return wherry.NotImplemented("a federation policy of the whole account; one of a service principal")
}

type oidcPolicy struct {
	Issuer       string   `json:"issuer"`
	Subject      string   `json:"subject"`
	SubjectClaim string   `json:"subject_claim,omitempty"`
	Audiences    []string `json:"audiences,omitempty"`
	Keys         string   `json:"jwks_json,omitempty"`
	KeysURI      string   `json:"jwks_uri,omitempty"`
}

type policy struct {
	Name        string      `json:"name"`
	ID          string      `json:"policy_id"`
	UID         string      `json:"uid"`
	Principal   int64       `json:"service_principal_id"`
	Description string      `json:"description,omitempty"`
	OIDC        *oidcPolicy `json:"oidc_policy"`
	Created     string      `json:"create_time"`
	Updated     string      `json:"update_time"`
}

func policyOf(account string, f auth.Federation) policy {
	return policy{
		Name: fmt.Sprintf("accounts/%s/servicePrincipals/%d/federationPolicies/%s", account, f.PrincipalID, f.Name), ID: f.Name, UID: f.ID, Principal: f.PrincipalID,
		Description: f.Description, Created: stamp(f.Created), Updated: stamp(f.Updated),
		OIDC: &oidcPolicy{Issuer: f.Issuer, Subject: f.Subject, SubjectClaim: f.SubjectClaim, Audiences: f.Audiences, Keys: f.Keys},
	}
}

// policyIn names a policy and says what it is to be. The SDKs send the policy
// as the body, without a name around it.
type policyIn struct {
	Account     string       `json:"account"`
	ID          wherry.Int64 `json:"id"`
	PolicyID    string       `json:"policy_id"`
	Description *string      `json:"description"`
	OIDC        *oidcPolicy  `json:"oidc_policy"`
	Mask        string       `json:"update_mask"`
}

var policyName = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

func (in *policyIn) put(tx *store.Tx, f auth.Federation) (auth.Federation, error) {
	if in.Description != nil {
		f.Description = *in.Description
	}
	if p := in.OIDC; p != nil {
		if p.KeysURI != "" {
			return f, wherry.NotImplemented("jwks_uri in a federation policy: wherry asks no other issuer for its keys; give them as jwks_json")
		}
		f.Issuer, f.Subject, f.SubjectClaim, f.Audiences, f.Keys = p.Issuer, p.Subject, p.SubjectClaim, p.Audiences, p.Keys
	}
	switch {
	case !policyName.MatchString(f.Name):
		return f, wherry.Errorf(wherry.CodeInvalidParameter, "policy_id %q must be 1 to 63 lower-case letters, digits and dashes", f.Name)
	case f.Issuer == "" || f.Subject == "":
		return f, wherry.Errorf(wherry.CodeInvalidParameter, "oidc_policy needs issuer and subject")
	}
	if err := auth.PutFederation(tx, f); err != nil {
		return f, err
	}
	return auth.FederationBy(tx, f.PrincipalID, f.Surface, f.Name)
}

// find checks that the service principal of the path is there.
func (in *policyIn) find(tx *store.Tx) error {
	_, err := auth.PrincipalByID(tx, wherry.KindServicePrincipal, int64(in.ID))
	return err
}

func (a *API) createPolicy(ctx context.Context, in *policyIn) (out *policy, err error) {
	err = a.db.Write(ctx, func(tx *store.Tx) error {
		if err := in.find(tx); err != nil {
			return err
		}
		f := auth.Federation{PrincipalID: int64(in.ID), Surface: auth.SurfaceAccount, Name: in.PolicyID}
		if f.Name == "" {
			f.Name = auth.NewGUID()
		}
		if _, err := auth.FederationBy(tx, f.PrincipalID, f.Surface, f.Name); err == nil {
			return wherry.Errorf(wherry.CodeAlreadyExists, "Federation policy %s already exists", f.Name)
		}
		if f, err = in.put(tx, f); err == nil {
			made := policyOf(in.Account, f)
			out = &made
		}
		return err
	})
	return out, err
}

type policyList struct {
	Policies []policy `json:"policies"`
}

func (a *API) listPolicies(ctx context.Context, in *policyIn) (*policyList, error) {
	out := &policyList{Policies: []policy{}}
	return out, a.db.Read(ctx, func(tx *store.Tx) error {
		if err := in.find(tx); err != nil {
			return err
		}
		list, err := auth.Federations(tx, int64(in.ID), auth.SurfaceAccount)
		for _, f := range list {
			out.Policies = append(out.Policies, policyOf(in.Account, f))
		}
		return err
	})
}

func (a *API) getPolicy(ctx context.Context, in *policyIn) (*policy, error) {
	var out policy
	return &out, a.db.Read(ctx, func(tx *store.Tx) error {
		f, err := auth.FederationBy(tx, int64(in.ID), auth.SurfaceAccount, in.PolicyID)
		out = policyOf(in.Account, f)
		return err
	})
}

// changePolicy replaces what update_mask names, or what is there of the two.
func (a *API) changePolicy(ctx context.Context, in *policyIn) (*policy, error) {
	if in.Mask != "" && in.Mask != "*" {
		if !strings.Contains(in.Mask, "description") {
			in.Description = nil
		}
		if !strings.Contains(in.Mask, "oidc_policy") {
			in.OIDC = nil
		}
	}
	var out policy
	return &out, a.db.Write(ctx, func(tx *store.Tx) error {
		f, err := auth.FederationBy(tx, int64(in.ID), auth.SurfaceAccount, in.PolicyID)
		if err == nil {
			f, err = in.put(tx, f)
		}
		out = policyOf(in.Account, f)
		return err
	})
}

func (a *API) deletePolicy(ctx context.Context, in *policyIn) (*api.Empty, error) {
	return &api.Empty{}, a.db.Write(ctx, func(tx *store.Tx) error {
		return auth.DropFederation(tx, int64(in.ID), auth.SurfaceAccount, in.PolicyID)
	})
}
