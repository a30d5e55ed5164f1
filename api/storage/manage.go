package storage

import (
	"context"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
)

// Routes are the management calls of the endpoint, on the workspace's API.
// Terraform's ARM calls will stand on the same store.
func (s *Service) Routes() []api.Route {
	return []api.Route{
		{Method: "POST", Path: "/api/wherry/storage/accounts", Permission: api.Admin, Handler: api.JSON(s.createAccount), Summary: "Make a storage account"},
		{Method: "GET", Path: "/api/wherry/storage/accounts", Permission: api.Admin, Handler: api.JSON(s.accounts), Summary: "List storage accounts"},
		{Method: "POST", Path: "/api/wherry/storage/grants", Permission: api.Admin, Handler: api.JSON(s.grant), Summary: "Let a principal use a storage account"},
	}
}

type accountIn struct {
	Name string `json:"name"`
}

type accountOut struct {
	Name string `json:"name"`
	Key  string `json:"key"` // base64, for SharedKey
	DFS  string `json:"dfs_endpoint"`
}

func (s *Service) createAccount(ctx context.Context, in *accountIn) (*accountOut, error) {
	if !accountName.MatchString(in.Name) {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%q is not a storage account's name: 3 to 24 lower-case letters and digits", in.Name)
	}
	if err := s.store.CreateAccount(ctx, in.Name, wherry.IdentityFrom(ctx).UserName); err != nil {
		return nil, err
	}
	if err := s.lake.root.MkdirAll(in.Name, 0o755); err != nil {
		return nil, err
	}
	if s.NewAccount != nil {
		s.NewAccount(ctx)
	}
	a, err := s.store.Account(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	return &accountOut{Name: a.Name, Key: s.Key(a), DFS: "https://" + a.Name + ".dfs.core.windows.net"}, nil
}

type accountsOut struct {
	Accounts []string `json:"accounts"`
}

func (s *Service) accounts(ctx context.Context, _ *api.Empty) (*accountsOut, error) {
	names, err := s.Accounts(ctx)
	return &accountsOut{Accounts: names}, err
}

type grantIn struct {
	Account     string       `json:"account"`
	Container   string       `json:"container"` // "" for all
	PrincipalID wherry.Int64 `json:"principal_id"`
	Write       bool         `json:"write"`
}

func (s *Service) grant(ctx context.Context, in *grantIn) (*api.Empty, error) {
	if _, err := s.store.Account(ctx, in.Account); err != nil {
		return nil, err
	}
	return &api.Empty{}, s.store.Grant(ctx, in.Account, in.Container, int64(in.PrincipalID), in.Write)
}
