package azure

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	storageapi "github.com/wherry-ml/wherry/api/storage"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/azure"
	accounts "github.com/wherry-ml/wherry/store/storage"
)

// accountType is the type of storage accounts.
const accountType = "Microsoft.Storage/storageAccounts"

var accountName = regexp.MustCompile(`^[a-z0-9]{3,24}$`)

func (s *Service) storageAccountKind() *kind {
	return &kind{
		name: accountType, first: "2015-06-15", usual: "2023-05-01", tracked: true, created: http.StatusOK,
		prepare: s.storageAccount,
		opened:  func(c *call, r azure.Resource) error { return s.Lake.Opened(c.ctx(), r.Name) },
		remove:  func(tx *store.Tx, r azure.Resource) error { return accounts.Remove(tx, r.Name) },
		removed: func(c *call, r azure.Resource) error { return s.Lake.Drop(c.ctx(), r.Name) },
		actions: map[string]func(*call, azure.Resource) error{"listkeys": s.listKeys, "regeneratekey": s.regenerateKey},
	}
}

// storageAccount makes an account of the storage endpoint. One that is there
// already, but in no resource group, was made by wherry's own API: the resource
// takes it over.
func (s *Service) storageAccount(x *change) error {
	name := x.resource.Name
	if !accountName.MatchString(name) {
		return badRequest("AccountNameInvalid", name+" is not a valid storage account name. Storage account name must be between 3 and 24 characters in length and use numbers and lower-case letters only.")
	}
	if x.old == nil {
		taken, err := azure.Named(x.tx, accountType, name)
		if err != nil {
			return err
		}
		if len(taken) > 0 {
			return conflict("StorageAccountAlreadyTaken", "The storage account named "+name+" is already taken.")
		}
	}
	if _, err := accounts.Create(x.tx, name, x.c.by()); err != nil {
		return err
	}
	sku := object(x.doc, "sku")
	if text(sku, "name") == "" {
		sku["name"] = "Standard_RAGRS"
	}
	sku["tier"], _, _ = strings.Cut(text(sku, "name"), "_")
	x.doc["sku"] = sku
	fill(x.doc, Document{"kind": "StorageV2"})
	created := time.Now()
	if x.old != nil {
		created = time.UnixMilli(x.old.CreatedAt)
	}
	p := x.properties()
	fill(p, Document{
		"accessTier": "Hot", "supportsHttpsTrafficOnly": true, "minimumTlsVersion": "TLS1_2", "allowBlobPublicAccess": false, "allowSharedKeyAccess": true,
		"isHnsEnabled": false, "publicNetworkAccess": "Enabled", "allowCrossTenantReplication": false, "defaultToOAuthAuthentication": false,
		"networkAcls": Document{"bypass": "AzureServices", "defaultAction": "Allow", "virtualNetworkRules": []any{}, "ipRules": []any{}, "resourceAccessRules": []any{}},
		"encryption": Document{"keySource": "Microsoft.Storage", "services": Document{
			"blob": Document{"enabled": true, "keyType": "Account", "lastEnabledTime": created.UTC().Format(time.RFC3339Nano)},
			"file": Document{"enabled": true, "keyType": "Account", "lastEnabledTime": created.UTC().Format(time.RFC3339Nano)},
		}},
	})
	endpoints := Document{}
	for _, service := range []string{"blob", "dfs"} { // those that are served
		endpoints[service] = "https://" + name + "." + service + ".core.windows.net/"
	}
	for _, service := range []string{"queue", "table", "file"} { // refused by name: providers want to read them
		endpoints[service] = "https://" + name + "." + service + ".core.windows.net/"
	}
	endpoints["web"] = "https://" + name + ".z6.web.core.windows.net/"
	p["primaryEndpoints"], p["primaryLocation"], p["statusOfPrimary"] = endpoints, x.doc["location"], "available"
	p["provisioningState"], p["creationTime"] = "Succeeded", created.UTC().Format(time.RFC3339Nano)
	p["keyCreationTime"] = Document{"key1": p["creationTime"], "key2": p["creationTime"]}
	if p["networkAcls"] == nil {
		delete(p, "networkAcls")
	}
	x.doc["properties"] = p
	return accounts.AllowSharedKey(x.tx, name, p["allowSharedKeyAccess"] != false)
}

func (s *Service) listKeys(c *call, r azure.Resource) error {
	a, err := s.Accounts.Account(c.ctx(), r.Name)
	if err != nil {
		return err
	}
	list := []Document{}
	for i, key := range s.Lake.Keys(a) {
		list = append(list, Document{"keyName": [...]string{"key1", "key2"}[i], "value": key, "permissions": "FULL", "creationTime": stamp(r.CreatedAt)})
	}
	return c.answer(http.StatusOK, Document{"keys": list})
}

func (s *Service) regenerateKey(c *call, r azure.Resource) error {
	in, err := c.body()
	if err != nil {
		return err
	}
	name := text(in, "keyName")
	if name != "key1" && name != "key2" {
		return badRequest("InvalidValuesForRequestParameters", "keyName must be key1 or key2.")
	}
	if err := s.Accounts.RenewKey(c.ctx(), r.Name, name == "key2"); err != nil {
		return err
	}
	return s.listKeys(c, r)
}

func (s *Service) checkName(c *call, t target) error {
	in, err := c.body()
	if err != nil {
		return err
	}
	if err := s.allow(c, t.namespace+"/checkNameAvailability/read", "/subscriptions/"+t.subscription); err != nil {
		return err
	}
	name, kind := text(in, "name"), map[string]string{"microsoft.storage": accountType, "microsoft.keyvault": vaultType}[strings.ToLower(t.namespace)]
	if kind == "" {
		return notFound("InvalidResourceType", "There is no action 'checkNameAvailability' in the namespace '"+t.namespace+"'.")
	}
	invalid := kind == accountType && !accountName.MatchString(name) || kind == vaultType && !vaultName.MatchString(name)
	if invalid {
		return c.answer(http.StatusOK, Document{"nameAvailable": false, "reason": "AccountNameInvalid", "message": name + " is not a valid name."})
	}
	var taken []azure.Resource
	err = s.DB.Read(c.ctx(), func(tx *store.Tx) (err error) {
		taken, err = azure.Named(tx, kind, name)
		return err
	})
	if err == nil && len(taken) > 0 {
		return c.answer(http.StatusOK, Document{"nameAvailable": false, "reason": "AlreadyExists", "message": "The name " + name + " is already taken."})
	}
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, Document{"nameAvailable": true})
}

// accountID is the id of the resource that an account is, "" if it is none.
func (s *Service) accountID(ctx context.Context, account string) (id string, err error) {
	err = s.DB.Read(ctx, func(tx *store.Tx) error {
		list, err := azure.Named(tx, accountType, account)
		if len(list) > 0 {
			id = list[0].ID
		}
		return err
	})
	return id, err
}

func corsDefaults(x *change) error {
	p := x.properties()
	fill(p, Document{"cors": Document{"corsRules": []any{}}})
	x.doc["properties"] = p
	return nil
}

func blobServiceDefaults(x *change) error {
	p := x.properties()
	fill(p, Document{
		"cors": Document{"corsRules": []any{}}, "deleteRetentionPolicy": Document{"enabled": false, "allowPermanentDelete": false},
		"isVersioningEnabled": false, "changeFeed": Document{"enabled": false},
	})
	x.doc["properties"] = p
	return nil
}

func fileServiceDefaults(x *change) error {
	p := x.properties()
	fill(p, Document{"cors": Document{"corsRules": []any{}}, "shareDeleteRetentionPolicy": Document{"enabled": false}, "protocolSettings": Document{"smb": Document{}}})
	x.doc["properties"] = p
	return nil
}

// containerKind shows the endpoint's containers: the files are the truth, so a
// container that a client made through the endpoint is here too.
func (s *Service) containerKind() *kind {
	return &kind{
		name: "Microsoft.Storage/storageAccounts/blobServices/containers", first: "2018-02-01", usual: "2023-05-01",
		serve: s.containerCall,
		list: func(c *call, t target) error {
			list, err := s.Lake.ContainersOf(t.names[0])
			if err != nil {
				return err
			}
			docs := []Document{}
			for _, one := range list {
				docs = append(docs, s.showContainer(t, one))
			}
			return c.answer(http.StatusOK, Document{"value": docs})
		},
	}
}

func (s *Service) showContainer(t target, one storageapi.Container) Document {
	t.names = []string{t.names[0], t.names[1], one.Name}
	metadata := one.Metadata
	if metadata == nil {
		metadata = map[string]string{}
	}
	return Document{
		"id": s.id(t), "name": one.Name, "type": "Microsoft.Storage/storageAccounts/blobServices/containers", "etag": one.ETag,
		"properties": Document{
			"deleted": false, "remainingRetentionDays": 0, "publicAccess": "None", "leaseStatus": "Unlocked", "leaseState": "Available", "hasImmutabilityPolicy": false, "hasLegalHold": false,
			"defaultEncryptionScope": "$account-encryption-key", "denyEncryptionScopeOverride": false, "lastModifiedTime": one.Modified.UTC().Format(time.RFC3339Nano), "metadata": metadata,
		},
	}
}

func (s *Service) containerCall(c *call, t target) error {
	account, name := t.names[0], t.names[2]
	have, err := s.Lake.ContainerOf(account, name)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return err
	}
	switch c.r.Method {
	case http.MethodPut, http.MethodPatch:
		if missing && c.r.Method == http.MethodPatch {
			return notFound("ContainerNotFound", "The specified container does not exist.")
		}
		if err := s.putContainer(c, account, name); err != nil {
			return err
		}
		if have, err = s.Lake.ContainerOf(account, name); err != nil {
			return err
		}
		status := http.StatusOK
		if missing {
			status = http.StatusCreated
		}
		return c.answer(status, s.showContainer(t, have))
	case http.MethodDelete:
		if missing {
			return c.empty(http.StatusNoContent)
		}
		if err := s.Lake.DropContainer(account, name); err != nil {
			return err
		}
		return c.empty(http.StatusOK)
	}
	if missing {
		return notFound("ContainerNotFound", "The specified container does not exist.")
	}
	return c.answer(http.StatusOK, s.showContainer(t, have))
}

func (s *Service) putContainer(c *call, account, name string) error {
	in, err := c.body()
	if err != nil {
		return err
	}
	if access := text(object(in, "properties"), "publicAccess"); access != "" && access != "None" {
		return conflict("PublicAccessNotPermitted", "Public access is not permitted on this storage account.")
	}
	metadata := map[string]string{}
	for key, v := range object(object(in, "properties"), "metadata") {
		value, ok := v.(string)
		if !ok {
			return badRequest("InvalidRequestContent", "The metadata of a container are strings.")
		}
		metadata[key] = value
	}
	err = s.Lake.MakeContainer(account, name, metadata, true)
	if wherry.CodeOf(err) == wherry.CodeInvalidParameter {
		return badRequest("InvalidResourceName", err.Error())
	}
	return err
}
