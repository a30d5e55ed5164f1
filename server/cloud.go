package server

import (
	"context"
	"errors"

	"github.com/wherry-ml/wherry"
	azureapi "github.com/wherry-ml/wherry/api/azure"
	"github.com/wherry-ml/wherry/store/compute"
	accounts "github.com/wherry-ml/wherry/store/storage"
	"github.com/wherry-ml/wherry/store/workspace"
)

// cloud: the management APIs that Terraform and the SDKs speak.
func (b *builder) cloud(context.Context) error {
	key, err := workspace.OpenKey(b.cfg.State.Keys())
	if err != nil {
		return err
	}
	b.azure = azureapi.New(azureapi.Config{
		DB: b.db, SignIn: b.signIn, Lake: b.lake, Accounts: accounts.New(b.db), Key: key,
		OpenWorkspace: b.files.OpenWorkspace, CloseWorkspace: b.closeWorkspace,
		NewHost: func(ctx context.Context) {
			if b.clusters != nil {
				b.clusters.TellHosts(ctx)
			}
		},
	})
	b.lake.Roles = b.azure.StorageRoles
	return nil
}

// closeWorkspace ends what a deleted workspace runs, and removes its files.
func (b *builder) closeWorkspace(ctx context.Context, id int64) error {
	for {
		list, err := b.runs.Jobs(ctx, id, "", 100, 0)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			break
		}
		for _, j := range list {
			if err := b.runs.Delete(ctx, id, j.ID); err != nil {
				return err
			}
		}
	}
	if b.clusters != nil {
		list, err := compute.New(b.db).Clusters(ctx, id)
		if err != nil {
			return err
		}
		for _, c := range list {
			if err := b.clusters.PinCluster(ctx, id, c.ID, false); err != nil {
				return err
			}
			err := b.clusters.DeleteCluster(ctx, id, c.ID)
			if _, told := errors.AsType[*wherry.Error](err); err != nil && !told {
				return err
			}
		}
	}
	return b.files.DropWorkspace(id)
}
