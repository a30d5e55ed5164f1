package storage

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"time"

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
	if err := s.Opened(ctx, in.Name); err != nil {
		return nil, err
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

// Opened gives a new account its place, and returns once running tasks know
// its names.
func (s *Service) Opened(ctx context.Context, name string) error {
	if err := s.lake.root.MkdirAll(name, 0o755); err != nil {
		return err
	}
	if s.NewAccount != nil {
		s.NewAccount(ctx)
	}
	return nil
}

// Drop removes the files of an account that was removed.
func (s *Service) Drop(ctx context.Context, name string) error {
	if err := s.lake.root.RemoveAll(name); err != nil {
		return err
	}
	return s.store.Forget(ctx, name)
}

// Sweep drops the accounts whose removal a crash cut short.
func (s *Service) Sweep(ctx context.Context) error {
	names, err := s.store.Removed(ctx)
	for _, name := range names {
		err = errors.Join(err, s.Drop(ctx, name))
	}
	return err
}

// Container is a container of an account, as the management API shows it.
type Container struct {
	Name     string
	ETag     string
	Modified time.Time
	Metadata map[string]string
}

// ErrExists is returned by MakeContainer for one that is there.
var ErrExists = errors.New("the container exists")

// ContainerOf returns a container, or fs.ErrNotExist.
func (s *Service) ContainerOf(account, name string) (Container, error) {
	if !containerName.MatchString(name) {
		return Container{}, fs.ErrNotExist
	}
	e, err := s.lake.stat(path.Join(account, name))
	if err != nil {
		return Container{}, err
	}
	return Container{Name: name, ETag: e.ETag(), Modified: e.ModTime(), Metadata: e.Metadata}, nil
}

// ContainersOf lists the containers of an account by name.
func (s *Service) ContainersOf(account string) (list []Container, err error) {
	entries, err := fs.ReadDir(s.lake.root.FS(), account)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		c, err := s.ContainerOf(account, e.Name())
		if err == nil {
			list = append(list, c)
		}
	}
	return list, nil
}

// MakeContainer makes a container, or ErrExists; with change set it sets the
// metadata of one that is there.
func (s *Service) MakeContainer(account, name string, metadata map[string]string, change bool) error {
	if !containerName.MatchString(name) {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%q is not a container's name: 3 to 63 lower-case letters, digits and single dashes", name)
	}
	err := s.lake.root.Mkdir(path.Join(account, name), 0o755)
	if errors.Is(err, fs.ErrExist) && !change {
		return ErrExists
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	_, err = s.lake.change(path.Join(account, name), anything, func(m *meta) { m.Metadata = metadata })
	return ignoreUnsupported(err)
}

// DropContainer removes a container with all in it.
func (s *Service) DropContainer(account, name string) error {
	if !containerName.MatchString(name) {
		return fs.ErrNotExist
	}
	return s.lake.root.RemoveAll(path.Join(account, name))
}
