package scim

import (
	"context"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
)

// signIns are the calls that let people sign in to the pages.
func (a *API) signIns() []api.Route {
	return []api.Route{
		{Method: "POST", Path: "/api/wherry/users/password", Permission: api.Admin, Summary: "Set the password that a user signs in to the pages with", Handler: api.JSON(a.setPassword)},
		{Method: "POST", Path: "/api/wherry/users/link", Permission: api.Admin, Summary: "Make a link that signs a user in to the pages, once", Handler: api.JSON(a.makeLink)},
	}
}

type passwordIn struct {
	User     string `json:"user_name"`
	Password string `json:"password"`
}

func (a *API) setPassword(ctx context.Context, in *passwordIn) (*api.Empty, error) {
	hashed, err := auth.HashPassword(in.Password)
	if err != nil {
		return nil, err
	}
	return &api.Empty{}, a.db.Write(ctx, func(tx *store.Tx) error {
		p, err := auth.UserByName(tx, in.User)
		if err != nil {
			return err
		}
		return auth.SetPassword(tx, p.ID, hashed)
	})
}

type linkIn struct {
	User string `json:"user_name"`
}

type linkOut struct {
	URL     string `json:"url"`
	Expires string `json:"expire_time"`
}

func (a *API) makeLink(ctx context.Context, in *linkIn) (*linkOut, error) {
	var out linkOut
	return &out, a.db.Write(ctx, func(tx *store.Tx) error {
		p, err := auth.UserByName(tx, in.User)
		if err != nil {
			return err
		}
		if !p.Active {
			return wherry.Errorf(wherry.CodeInvalidState, "%s is not active", p.UserName)
		}
		secret, expires, err := auth.NewLink(tx, p.ID)
		out = linkOut{wherry.IdentityFrom(ctx).BaseURL + "/login?link=" + secret, expires.UTC().Format(time.RFC3339)}
		return err
	})
}
