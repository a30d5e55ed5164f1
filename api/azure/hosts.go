package azure

import (
	"context"
	"log/slog"
	"strings"

	"github.com/wherry-ml/wherry/store/azure"
)

// Hosts are the names of workspaces and vaults: hosts files have no wildcards.
func (s *Service) Hosts(ctx context.Context) (names []string) {
	for _, kind := range []string{"Microsoft.Databricks/workspaces", vaultType} {
		list, err := s.store.List(ctx, azure.Query{Type: kind})
		if err != nil {
			slog.Error("list the names of workspaces and vaults", "error", err)
			return names
		}
		for _, r := range list {
			if kind == vaultType {
				names = append(names, strings.ToLower(r.Name)+vaultDomain)
				continue
			}
			names = append(names, text(object(r.Document, "properties"), "workspaceUrl"))
		}
	}
	return names
}
