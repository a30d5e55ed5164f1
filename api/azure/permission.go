package azure

import (
	"context"
	"net/http"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
)

// role is a built-in role: what it allows on resources and on the data in them.
type role struct {
	id, name, description string
	actions, except       []string
	dataActions           []string
}

// roles are the built-in ones that there are here, by the ids they have in
// every tenant of Azure.
var roles = []role{
	{id: "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", name: "Owner", description: "Grants full access to manage all resources, including the ability to assign roles.", actions: []string{"*"}},
	{
		id: "b24988ac-6180-42a0-ab88-20f7382dd24c", name: "Contributor", description: "Grants full access to manage all resources, but not to assign roles.", actions: []string{"*"},
		except: []string{"Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write", "Microsoft.Authorization/elevateAccess/Action"},
	},
	{id: "acdd72a7-3385-48ef-bd42-f606fba81ae7", name: "Reader", description: "View all resources, but make no changes.", actions: []string{"*/read"}},
	{id: "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9", name: "User Access Administrator", description: "Manage user access to resources.", actions: []string{"*/read", "Microsoft.Authorization/*"}},
	{id: "f58310d9-a9f6-439a-9e8d-f62e7b41a168", name: "Role Based Access Control Administrator", description: "Manage access to resources by assigning roles.", actions: []string{"*/read", "Microsoft.Authorization/roleAssignments/*"}},
	{id: "17d1049b-9a84-46fb-8f53-869881c3d3ab", name: "Storage Account Contributor", description: "Manage storage accounts, their keys included.", actions: []string{"Microsoft.Authorization/*/read", "Microsoft.Resources/subscriptions/resourceGroups/read", "Microsoft.Storage/storageAccounts/*"}},
	{id: "81a9662b-bebf-436f-a333-f67b29880f12", name: "Storage Account Key Operator Service Role", description: "List and renew the keys of storage accounts.", actions: []string{"Microsoft.Storage/storageAccounts/listkeys/action", "Microsoft.Storage/storageAccounts/regeneratekey/action"}},
	{
		id: "b7e6dc6d-f1e8-4753-8033-0f276bb0955b", name: "Storage Blob Data Owner", description: "Full access to containers and blobs.",
		actions: []string{container + "*"}, dataActions: []string{container + "blobs/*"},
	},
	{
		id: "ba92f5b4-2d11-453d-a403-e96b0029c9fe", name: "Storage Blob Data Contributor", description: "Read, write and delete containers and blobs.",
		actions: []string{container + "delete", container + "read", container + "write"}, dataActions: []string{container + "blobs/delete", container + "blobs/read", container + "blobs/write", container + "blobs/move/action", container + "blobs/add/action"},
	},
	{
		id: "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1", name: "Storage Blob Data Reader", description: "Read containers and blobs.",
		actions: []string{container + "read"}, dataActions: []string{container + "blobs/read"},
	},
	{id: "00482a5a-887f-4fb3-b363-3b7fe8e74483", name: "Key Vault Administrator", description: "All data plane operations on a key vault.", actions: []string{"Microsoft.KeyVault/vaults/*/read"}, dataActions: []string{"Microsoft.KeyVault/vaults/*"}},
	{id: "b86a8fe4-44ce-4948-aee5-eccb2c155cd7", name: "Key Vault Secrets Officer", description: "Any action on the secrets of a key vault.", actions: []string{"Microsoft.KeyVault/vaults/*/read"}, dataActions: []string{"Microsoft.KeyVault/vaults/secrets/*"}},
	{id: "4633458b-17de-408a-b874-0445c86b69e6", name: "Key Vault Secrets User", description: "Read the contents of secrets.", dataActions: []string{"Microsoft.KeyVault/vaults/secrets/getSecret/action", "Microsoft.KeyVault/vaults/secrets/readMetadata/action"}},
	{id: "f25e0fa2-a7c8-4377-a976-54943a77a395", name: "Key Vault Contributor", description: "Manage key vaults, but not what is in them.", actions: []string{"Microsoft.Authorization/*/read", "Microsoft.KeyVault/*"}},
	{id: "f1a07417-d97a-45cb-824c-7a7467783830", name: "Managed Identity Operator", description: "Read and assign user-assigned identities.", actions: []string{"Microsoft.ManagedIdentity/userAssignedIdentities/*/read", "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action"}},
	{id: "e40ec5ca-96e0-45a2-b4ff-59039f2c2b59", name: "Managed Identity Contributor", description: "Create, read, change and delete user-assigned identities.", actions: []string{"Microsoft.ManagedIdentity/userAssignedIdentities/*", "Microsoft.Authorization/*/read"}},
}

// container begins the actions on containers and on the blobs in them.
const container = "Microsoft.Storage/storageAccounts/blobServices/containers/"

func roleByID(id string) (role, bool) {
	for _, r := range roles {
		if strings.EqualFold(r.id, id) {
			return r, true
		}
	}
	return role{}, false
}

// covers reports whether a pattern of a role covers an action: * stands for
// anything, and case does not count.
func covers(patterns []string, action string) bool {
	for _, p := range patterns {
		if match(strings.ToLower(p), strings.ToLower(action)) {
			return true
		}
	}
	return false
}

func match(pattern, s string) bool {
	before, after, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	if !strings.HasPrefix(s, before) {
		return false
	}
	for rest := s[len(before):]; ; rest = rest[1:] {
		if match(after, rest) {
			return true
		}
		if rest == "" {
			return false
		}
	}
}

func (r role) allows(action string) bool {
	return covers(r.actions, action) && !covers(r.except, action)
}

// permits reports whether a principal has a role at scope that allows an
// action, on the data if data is set. Admins own every subscription.
func (s *Service) permits(ctx context.Context, p wherry.Principal, action, scope string, data bool) (bool, error) {
	if p.Admin {
		return true, nil
	}
	have, err := s.store.Roles(ctx, auth.ObjectID(p), scope)
	if err != nil {
		return false, err
	}
	for _, id := range have {
		r, known := roleByID(id)
		if known && (data && covers(r.dataActions, action) || !data && r.allows(action)) {
			return true, nil
		}
	}
	return false, nil
}

// allow refuses what no role of the caller allows.
func (s *Service) allow(c *call, action, scope string) error {
	ok, err := s.permits(c.ctx(), c.who.Principal, action, scope, false)
	if err != nil || ok {
		return err
	}
	if scope == "" {
		scope = "/"
	}
	return &fault{Status: http.StatusForbidden, Code: "AuthorizationFailed", Message: "The client '" + c.by() + "' with object id '" + c.object +
		"' does not have authorization to perform action '" + action + "' over scope '" + scope + "' or the scope is invalid. If access was recently granted, please refresh your credentials."}
}

// StorageRoles tells the storage endpoint what a principal's roles allow in a
// container of an account, "" for the account itself.
func (s *Service) StorageRoles(ctx context.Context, account, name string, p wherry.Principal) (read, write bool, err error) {
	scope, err := s.accountID(ctx, account)
	if err != nil || scope == "" {
		return false, false, err
	}
	verb := func(blobs, containers string) (bool, error) {
		if name == "" { // listing the containers
			return s.permits(ctx, p, container+containers, scope, false)
		}
		return s.permits(ctx, p, container+"blobs/"+blobs, scope+"/blobServices/default/containers/"+name, true)
	}
	if read, err = verb("read", "read"); err != nil {
		return false, false, err
	}
	write, err = verb("write", "write")
	return read, write, err
}
