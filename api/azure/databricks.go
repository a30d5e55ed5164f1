package azure

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/azure"
)

func (s *Service) workspaceKind() *kind {
	return &kind{
		name: "Microsoft.Databricks/workspaces", first: "2018-04-01", usual: "2024-05-01", tracked: true,
		prepare: s.databricksWorkspace,
		opened: func(c *call, r azure.Resource) error {
			if err := s.OpenWorkspace(c.ctx(), workspaceID(r)); err != nil {
				return err
			}
			s.NewHost(c.ctx())
			return nil
		},
		remove: func(tx *store.Tx, r azure.Resource) error { return auth.RemoveWorkspace(tx, workspaceID(r)) },
		removed: func(c *call, r azure.Resource) error {
			if err := s.CloseWorkspace(c.ctx(), workspaceID(r)); err != nil {
				return err
			}
			err := s.delete(c, text(object(r.Document, "properties"), "managedResourceGroupId"))
			if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
				return nil
			}
			return err
		},
	}
}

// workspaceID is the number of the workspace that a resource stands for.
func workspaceID(r azure.Resource) int64 {
	id, _ := strconv.ParseInt(text(object(r.Document, "properties"), "workspaceId"), 10, 64) // we wrote it
	return id
}

// databricksWorkspace makes a workspace, and the resource group that the cloud
// would keep its machines in.
func (s *Service) databricksWorkspace(x *change) error {
	sku := object(x.doc, "sku")
	fill(sku, Document{"name": "premium"})
	x.doc["sku"] = sku
	p := x.properties()
	managed := text(p, "managedResourceGroupId")
	if x.old != nil {
		was := object(x.old.Document, "properties")
		for _, name := range []string{"workspaceId", "workspaceUrl", "managedResourceGroupId", "createdBy", "createdDateTime"} {
			p[name] = was[name]
		}
		if managed != "" && !strings.EqualFold(managed, text(was, "managedResourceGroupId")) {
			return conflict("ManagedResourceGroupIdCannotBeChanged", "The managed resource group of a workspace cannot be changed.")
		}
	} else {
		if managed == "" {
			managed = fmt.Sprintf("/subscriptions/%s/resourceGroups/databricks-rg-%s-%s", x.t.subscription, x.resource.Name, auth.NewGUID()[:13])
		}
		if err := x.managedGroup(managed); err != nil {
			return err
		}
		id, err := auth.CreateWorkspace(x.tx)
		if err != nil {
			return err
		}
		p["managedResourceGroupId"], p["workspaceId"], p["workspaceUrl"] = managed, strconv.FormatInt(id, 10), auth.WorkspaceHost(id)
		p["createdBy"] = Document{"oid": x.c.object, "applicationId": x.c.who.ApplicationID}
		p["createdDateTime"] = stamp(nowMilli())
	}
	parameters := object(p, "parameters")
	fill(parameters, Document{
		"enableNoPublicIp": Document{"type": "Bool", "value": true}, "prepareEncryption": Document{"type": "Bool", "value": false},
		"requireInfrastructureEncryption": Document{"type": "Bool", "value": false},
	})
	p["parameters"] = parameters
	fill(p, Document{"publicNetworkAccess": "Enabled", "authorizations": []any{}, "isUcEnabled": true, "defaultStorageFirewall": nil})
	if p["defaultStorageFirewall"] == nil {
		delete(p, "defaultStorageFirewall")
	}
	p["provisioningState"] = "Succeeded"
	x.doc["properties"] = p
	return nil
}

// managedGroup makes the managed resource group. One that is there and not for
// this workspace stays what it is.
func (x *change) managedGroup(id string) error {
	t, err := parse(id)
	if err != nil || t.group == "" || t.namespace != "" || len(t.rest) > 0 {
		return badRequest("InvalidManagedResourceGroupId", "managedResourceGroupId '"+id+"' is not the id of a resource group.")
	}
	if strings.EqualFold(t.group, x.t.group) && t.subscription == x.t.subscription {
		return badRequest("ApplianceManagedResourceGroupSameAsResourceGroup", "The managed resource group must not be the workspace's own resource group.")
	}
	if _, err := azure.Find(x.tx, groupID(t)); err == nil {
		return conflict("ManagedResourceGroupAlreadyExists", "The managed resource group '"+t.group+"' already exists: name one that does not.")
	}
	return azure.Add(x.tx, azure.Resource{
		ID: groupID(t), Subscription: t.subscription, Group: t.group, Type: groupType, Name: t.group,
		Document: Document{"location": x.doc["location"], "managedBy": x.resource.ID, "properties": Document{"provisioningState": "Succeeded"}},
	}, x.c.by())
}

// accessConnector is a managed identity that storage credentials of Unity
// Catalog name.
func accessConnector(x *change) error {
	p := x.properties()
	p["provisioningState"] = "Succeeded"
	x.doc["properties"] = p
	return nil
}

// Manages reports whether a principal has a role that manages a workspace, such
// as Contributor or Owner: it is an admin there, as in the cloud.
func (s *Service) Manages(ctx context.Context, p wherry.Principal, workspace int64) (bool, error) {
	list, err := s.store.List(ctx, azure.Query{Type: "Microsoft.Databricks/workspaces"})
	if err != nil {
		return false, err
	}
	for _, r := range list {
		if workspaceID(r) == workspace {
			return s.permits(ctx, p, "Microsoft.Databricks/workspaces/write", r.ID, false)
		}
	}
	return false, nil
}
