package scim

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
)

// secretPath names a service principal, or one of its secrets.
type secretPath struct {
	Account  string       `json:"account"`
	ID       wherry.Int64 `json:"id"`
	SecretID string       `json:"secret_id"`
	Lifetime string       `json:"lifetime"` // a duration, "3600s"
}

// secret is the wire form.
type secret struct {
	ID         string `json:"id"`
	Secret     string `json:"secret,omitempty"`
	SecretHash string `json:"secret_hash"`
	Status     string `json:"status"`
	Created    string `json:"create_time"`
	Updated    string `json:"update_time"`
	Expires    string `json:"expire_time,omitempty"`
}

func wire(s auth.Secret, value string) secret {
	out := secret{ID: s.ID, Secret: value, SecretHash: s.Hash, Status: "ACTIVE", Created: stamp(s.Created), Updated: stamp(s.Created)}
	if s.Expires > 0 {
		out.Expires = stamp(s.Expires)
		if s.Expires < time.Now().UnixMilli() {
			out.Status = "INACTIVE"
		}
	}
	return out
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

func (a *API) createSecret(ctx context.Context, in *secretPath) (*secret, error) {
	var life time.Duration
	if in.Lifetime != "" {
		seconds, err := strconv.ParseInt(strings.TrimSuffix(in.Lifetime, "s"), 10, 32)
		if err != nil || seconds <= 0 {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "lifetime %q is not a number of seconds such as 3600s", in.Lifetime)
		}
		life = time.Duration(seconds) * time.Second
	}
	var out secret
	err := a.db.Write(ctx, func(tx *store.Tx) error {
		p, err := auth.PrincipalByID(tx, wherry.KindServicePrincipal, int64(in.ID))
		if err != nil {
			return err
		}
		s, value, err := auth.CreateSecret(tx, p.ID, life)
		out = wire(s, value)
		return err
	})
	return &out, err
}

type secretList struct {
	Secrets []secret `json:"secrets"`
}

func (a *API) listSecrets(ctx context.Context, in *secretPath) (*secretList, error) {
	out := &secretList{Secrets: []secret{}}
	err := a.db.Read(ctx, func(tx *store.Tx) error {
		p, err := auth.PrincipalByID(tx, wherry.KindServicePrincipal, int64(in.ID))
		if err != nil {
			return err
		}
		list, err := auth.Secrets(tx, p.ID)
		for _, s := range list {
			out.Secrets = append(out.Secrets, wire(s, ""))
		}
		return err
	})
	return out, err
}

func (a *API) deleteSecret(ctx context.Context, in *secretPath) (*api.Empty, error) {
	return &api.Empty{}, a.db.Write(ctx, func(tx *store.Tx) error {
		return auth.DeleteSecret(tx, int64(in.ID), in.SecretID)
	})
}

// simpleIn asks for a service principal in one call.
type simpleIn struct {
	DisplayName   string `json:"display_name"`
	ApplicationID string `json:"application_id"` // of one that may exist, then it gets another secret
	Admin         bool   `json:"admin"`
}

type simpleOut struct {
	ID           int64  `json:"id"`
	DisplayName  string `json:"display_name"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	TenantID     string `json:"tenant_id"` // any is accepted
}

// tenantID is the tenant that the storage endpoint names too.
const tenantID = "11111111-1111-1111-1111-111111111111"

func (a *API) simple(ctx context.Context, in *simpleIn) (*simpleOut, error) {
	var p wherry.Principal
	var value string
	err := a.db.Write(ctx, func(tx *store.Tx) (err error) {
		if in.ApplicationID != "" {
			if p, err = auth.PrincipalByClient(tx, in.ApplicationID); err == nil {
				_, value, err = auth.CreateSecret(tx, p.ID, 0)
				return err
			}
			if wherry.CodeOf(err) != wherry.CodeDoesNotExist {
				return err
			}
		}
		p, value, err = auth.CreateServicePrincipal(tx, in.ApplicationID, in.DisplayName, in.Admin)
		return err
	})
	return &simpleOut{ID: p.ID, DisplayName: p.DisplayName, ClientID: p.ApplicationID, ClientSecret: value, TenantID: tenantID}, err
}

type tokenIn struct {
	Principal string       `json:"principal"` // user name or application id
	Comment   string       `json:"comment"`
	Lifetime  wherry.Int64 `json:"lifetime_seconds"`
}

type tokenOut struct {
	ID    string `json:"token_id"`
	Value string `json:"token_value"`
}

func (a *API) tokenFor(ctx context.Context, in *tokenIn) (*tokenOut, error) {
	if in.Lifetime < 0 || in.Lifetime > 1<<31 {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "lifetime_seconds is out of range")
	}
	var out tokenOut
	err := a.db.Write(ctx, func(tx *store.Tx) error {
		p, err := auth.PrincipalByName(tx, in.Principal)
		if err != nil {
			return err
		}
		out.ID, out.Value, err = auth.IssueToken(tx, wherry.IdentityFrom(ctx).WorkspaceID, p.ID, 0, in.Comment, time.Duration(in.Lifetime)*time.Second)
		return err
	})
	return &out, err
}
