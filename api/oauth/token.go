package oauth

import (
	"context"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
)

type newToken struct {
	Comment  string       `json:"comment"`
	Lifetime wherry.Int64 `json:"lifetime_seconds"`
	// ApplicationID names whose token it is, on behalf of a service principal.
	ApplicationID string `json:"application_id"`
}

type createdToken struct {
	Value string         `json:"token_value"`
	Info  auth.TokenInfo `json:"token_info"`
}

func (a *API) createToken(ctx context.Context, in *newToken) (*createdToken, error) {
	me := wherry.IdentityFrom(ctx)
	if me.RunID != 0 {
		return nil, wherry.Errorf(wherry.CodePermissionDenied, "a task may not make tokens that outlive it")
	}
	return a.issue(ctx, me.WorkspaceID, in, func(*store.Tx) (int64, error) { return me.Principal.ID, nil })
}

func (a *API) createTokenFor(ctx context.Context, in *newToken) (*createdToken, error) {
	return a.issue(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in, func(tx *store.Tx) (int64, error) {
		p, err := auth.PrincipalByClient(tx, in.ApplicationID)
		return p.ID, err
	})
}

// maxLifetime bounds what a client may ask for; time.Duration ends soon after.
const maxLifetime = 100 * 365 * 24 * 3600 // seconds

func (a *API) issue(ctx context.Context, ws int64, in *newToken, whose func(*store.Tx) (int64, error)) (*createdToken, error) {
	if in.Lifetime < 0 || in.Lifetime > maxLifetime {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "lifetime_seconds must be between 1 and %d; leave it out for a token that stays", maxLifetime)
	}
	var out createdToken
	err := a.db.Write(ctx, func(tx *store.Tx) error {
		principal, err := whose(tx)
		if err != nil {
			return err
		}
		life := time.Duration(in.Lifetime) * time.Second
		now := time.Now()
		out.Info = auth.TokenInfo{Comment: in.Comment, Created: now.UnixMilli(), Expires: -1}
		if life > 0 {
			out.Info.Expires = now.Add(life).UnixMilli()
		}
		out.Info.ID, out.Value, err = auth.IssueToken(tx, ws, principal, 0, in.Comment, life)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

type tokenList struct {
	Tokens []auth.TokenInfo `json:"token_infos"`
}

func (a *API) listTokens(ctx context.Context, _ *api.Empty) (*tokenList, error) {
	var out tokenList
	err := a.db.Read(ctx, func(tx *store.Tx) (err error) {
		out.Tokens, err = auth.Tokens(tx, wherry.IdentityFrom(ctx).Principal.ID)
		return err
	})
	return &out, err
}

type tokenID struct {
	ID string `json:"token_id"`
}

func (a *API) deleteToken(ctx context.Context, in *tokenID) (*api.Empty, error) {
	return &api.Empty{}, a.db.Write(ctx, func(tx *store.Tx) error {
		return auth.RevokeToken(tx, wherry.IdentityFrom(ctx).Principal.ID, in.ID)
	})
}
