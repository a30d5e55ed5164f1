package azure

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/azure"
)

const (
	vaultType   = "Microsoft.KeyVault/vaults"
	vaultDomain = ".vault.azure.net"
)

var vaultName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]$`)

func (s *Service) vaultKind() *kind {
	return &kind{
		name: vaultType, first: "2015-06-01", usual: "2023-07-01", tracked: true,
		prepare: s.keyVault,
		opened:  func(c *call, _ azure.Resource) error { s.NewHost(c.ctx()); return nil },
		// A deleted vault is gone with its secrets: there is nothing to recover.
		remove: func(tx *store.Tx, r azure.Resource) error { return azure.PurgeSecrets(tx, strings.ToLower(r.Name), "") },
	}
}

func (s *Service) keyVault(x *change) error {
	name := x.resource.Name
	if !vaultName.MatchString(name) || strings.Contains(name, "--") {
		return badRequest("VaultNameNotValid", "The vault name '"+name+"' is invalid: 3 to 24 letters, digits and single dashes, beginning with a letter.")
	}
	if x.old == nil {
		taken, err := azure.Named(x.tx, vaultType, name)
		if err != nil {
			return err
		}
		if len(taken) > 0 {
			return conflict("VaultAlreadyExists", "The vault name '"+name+"' is already in use. Vault names are globally unique so it is possible that the name is already taken.")
		}
	}
	p := x.properties()
	if text(object(p, "sku"), "name") == "" {
		return badRequest("BadRequest", "The vault needs properties.sku: {family: A, name: standard}.")
	}
	fill(p, Document{
		"tenantId": x.c.tenant, "accessPolicies": []any{}, "enabledForDeployment": false, "enableSoftDelete": true, "softDeleteRetentionInDays": 90,
		"enableRbacAuthorization": false, "publicNetworkAccess": "Enabled",
	})
	p["vaultUri"], p["provisioningState"] = "https://"+strings.ToLower(name)+vaultDomain+"/", "Succeeded"
	x.doc["properties"] = p
	return nil
}

// deletedVaults: none can be recovered, so none is there. Purging one is an
// operation that clients ask after at its Location (azurerm does, where
// purge_soft_delete_on_destroy is on, and takes only an empty 200 for its end).
func (s *Service) deletedVaults(c *call, t target) error {
	last := len(t.types) - 1
	switch {
	case c.r.Method == http.MethodPost && last == 2 && strings.EqualFold(t.types[last], "purge"):
		return s.purgeVault(c, t)
	case len(t.names) < len(t.types):
		return c.answer(http.StatusOK, Document{"value": []any{}})
	}
	return notFound("DeletedVaultNotFound", "The specified deleted vault does not exist.")
}

func (s *Service) purgeVault(c *call, t target) error {
	if err := s.allow(c, "Microsoft.KeyVault/locations/deletedVaults/purge/action", "/subscriptions/"+t.subscription); err != nil {
		return err
	}
	var there []azure.Resource
	var was bool
	if err := s.DB.Read(c.ctx(), func(tx *store.Tx) (err error) {
		if there, err = azure.Named(tx, vaultType, t.names[1]); err == nil {
			was, err = azure.Was(tx, t.subscription, vaultType, t.names[1])
		}
		return err
	}); err != nil {
		return err
	}
	if len(there) > 0 || !was { // not deleted yet, or never there
		return notFound("DeletedVaultNotFound", "The specified deleted vault does not exist.")
	}
	c.w.Header().Set("Location", "https://"+c.r.Host+"/subscriptions/"+t.subscription+"/providers/Microsoft.KeyVault/locations/"+url.PathEscape(t.names[0])+"/operationResults/"+purgeResult+"?api-version="+url.QueryEscape(c.r.URL.Query().Get("api-version")))
	c.w.Header().Set("Retry-After", "0")
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

// purgeResult is the operation that a purge says it began.
const purgeResult = "purge"

// purged tells of the end of a purge, which was done at once.
func (s *Service) purged(c *call, t target) error {
	if c.r.Method != http.MethodGet {
		return methodNotAllowed(c)
	}
	if err := s.allow(c, "Microsoft.KeyVault/locations/operationResults/read", "/subscriptions/"+t.subscription); err != nil {
		return err
	}
	if len(t.names) != len(t.types) || !strings.EqualFold(t.names[1], purgeResult) {
		return notFound("NotFound", "There is no such operation of a key vault.")
	}
	c.w.Header().Set("Content-Length", "0")
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// vault serves the secrets of a vault, below its own host name.
func (s *Service) vault(c *call) error {
	name, _, _ := strings.Cut(c.r.Host, ".")
	var list []azure.Resource
	if err := s.DB.Read(c.ctx(), func(tx *store.Tx) (err error) {
		list, err = azure.Named(tx, vaultType, name)
		return err
	}); err != nil {
		return err
	}
	if len(list) == 0 {
		return notFound("VaultNotFound", "There is no key vault '"+name+"' here.")
	}
	parts := strings.Split(strings.Trim(c.r.URL.Path, "/"), "/")
	v := &vaultCall{Service: s, call: c, vault: list[0], name: strings.ToLower(name)}
	switch method := c.r.Method; {
	case parts[0] == "secrets" && len(parts) == 1 && method == http.MethodGet:
		return v.list("", false)
	case parts[0] == "secrets" && len(parts) == 3 && parts[2] == "versions" && method == http.MethodGet:
		return v.list(parts[1], false)
	case parts[0] == "secrets" && (len(parts) == 2 || len(parts) == 3):
		return v.secret(parts[1], strings.Join(parts[2:], ""))
	case parts[0] == "deletedsecrets" && len(parts) == 1 && method == http.MethodGet:
		return v.list("", true)
	case parts[0] == "deletedsecrets" && len(parts) == 2 || len(parts) == 3 && parts[2] == "recover":
		return v.deleted(parts[1], len(parts) == 3)
	case strings.Join(parts, "/") == "certificates/contacts" && method == http.MethodGet: // azurerm asks of every vault
		return notFound("ContactsNotFound", "Certificate contacts are not set up.")
	}
	return &fault{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: "wherry's key vaults hold secrets: keys and certificates are not supported."}
}

// vaultCall is a request to one vault.
type vaultCall struct {
	*Service
	*call
	vault azure.Resource
	name  string
}

// may refuses what neither a role nor an access policy allows.
func (v *vaultCall) may(action, permission string) error {
	p := object(v.vault.Document, "properties")
	if p["enableRbacAuthorization"] == true || v.who.Admin {
		ok, err := v.permits(v.ctx(), v.who.Principal, vaultType+"/secrets/"+action, v.vault.ID, true)
		if err != nil || ok {
			return err
		}
	} else {
		policies, _ := p["accessPolicies"].([]any)
		for _, one := range policies {
			policy, _ := one.(map[string]any)
			allowed := texts(object(policy, "permissions")["secrets"])
			if strings.EqualFold(text(policy, "objectId"), v.object) && slices.ContainsFunc(allowed, func(a string) bool { return strings.EqualFold(a, permission) || strings.EqualFold(a, "all") }) {
				return nil
			}
		}
	}
	return &fault{Status: http.StatusForbidden, Code: "Forbidden", Message: "The user, group or application 'oid=" + v.object + "' does not have secrets " + permission + " permission on key vault '" + v.vault.Name + "'."}
}

func (v *vaultCall) url(parts ...string) string {
	return "https://" + v.name + vaultDomain + "/" + strings.Join(parts, "/")
}

func (v *vaultCall) show(one azure.VaultSecret, value *string, version bool) Document {
	doc := Document{}
	for name, x := range one.Document {
		doc[name] = x
	}
	doc["id"] = v.url("secrets", one.Name)
	if version {
		doc["id"] = v.url("secrets", one.Name, one.Version)
	}
	if value != nil {
		doc["value"] = *value
	}
	if one.DeletedAt > 0 {
		doc["recoveryId"], doc["deletedDate"], doc["scheduledPurgeDate"] = v.url("deletedsecrets", one.Name), one.DeletedAt/1000, one.DeletedAt/1000+90*24*3600
	}
	return doc
}

func (v *vaultCall) noSecret(name string) error {
	return notFound("SecretNotFound", "A secret with (name/id) "+name+" was not found in this key vault. If you recently deleted this secret you may be able to recover it using the correct recovery command.")
}

// list lists the newest version of each secret, or all of one.
func (v *vaultCall) list(name string, deleted bool) error {
	if err := v.may("readMetadata/action", "list"); err != nil {
		return err
	}
	all, err := v.store.Secrets(v.ctx(), v.name, name, deleted)
	if err != nil {
		return err
	}
	if name != "" && len(all) == 0 {
		return v.noSecret(name)
	}
	docs := []Document{}
	for i, one := range all {
		if name == "" && i > 0 && strings.EqualFold(all[i-1].Name, one.Name) {
			continue
		}
		docs = append(docs, v.show(one, nil, name != ""))
	}
	return v.answer(http.StatusOK, Document{"value": docs, "nextLink": nil})
}

func (v *vaultCall) secret(name, version string) error {
	switch v.r.Method {
	case http.MethodPut:
		return v.set(name)
	case http.MethodGet:
		if err := v.may("getSecret/action", "get"); err != nil {
			return err
		}
		one, err := v.find(name, version)
		if err != nil {
			return err
		}
		if object(one.Document, "attributes")["enabled"] == false {
			return &fault{Status: http.StatusForbidden, Code: "Forbidden", Message: "Operation get is not allowed on a disabled secret."}
		}
		value, err := v.Key.Open("vault/"+one.Vault, one.Name+"/"+one.Version, one.Sealed)
		if err != nil {
			return err
		}
		plain := string(value)
		return v.answer(http.StatusOK, v.show(one, &plain, true))
	case http.MethodPatch:
		return v.change(name, version)
	case http.MethodDelete:
		if err := v.may("delete", "delete"); err != nil {
			return err
		}
		one, err := v.find(name, "")
		if err != nil {
			return err
		}
		if err := v.store.DeleteSecret(v.ctx(), v.name, name, false); err != nil {
			return err
		}
		one.DeletedAt = nowMilli()
		return v.answer(http.StatusOK, v.show(one, nil, true))
	}
	return methodNotAllowed(v.call)
}

// find returns a version of a secret, the newest for "".
func (v *vaultCall) find(name, version string) (azure.VaultSecret, error) {
	all, err := v.store.Secrets(v.ctx(), v.name, name, false)
	if err != nil {
		return azure.VaultSecret{}, err
	}
	for _, one := range all {
		if version == "" || strings.EqualFold(one.Version, version) {
			return one, nil
		}
	}
	return azure.VaultSecret{}, v.noSecret(name)
}

var secretName = regexp.MustCompile(`^[A-Za-z0-9-]{1,127}$`)

// maxSecret is the longest value that Key Vault takes.
const maxSecret = 25 << 10

func (v *vaultCall) set(name string) error {
	if err := v.may("setSecret/action", "set"); err != nil {
		return err
	}
	in, err := v.body()
	if err != nil {
		return err
	}
	value, ok := in["value"].(string)
	if !secretName.MatchString(name) || !ok || len(value) > maxSecret {
		return badRequest("BadParameter", "A secret has a name of 1 to 127 letters, digits and dashes, and a value: a string of at most 25 KB.")
	}
	one := azure.VaultSecret{Vault: v.name, Name: name, Version: strings.ReplaceAll(auth.NewGUID(), "-", ""), CreatedAt: nowMilli(), Document: Document{"tags": object(in, "tags")}}
	if kind := text(in, "contentType"); kind != "" {
		one.Document["contentType"] = kind
	}
	attributes := object(in, "attributes")
	fill(attributes, Document{"enabled": true, "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90})
	attributes["created"], attributes["updated"] = one.CreatedAt/1000, one.CreatedAt/1000
	one.Document["attributes"] = attributes
	one.Sealed = v.Key.Seal("vault/"+one.Vault, one.Name+"/"+one.Version, []byte(value))
	err = v.store.AddSecret(v.ctx(), one)
	if wherry.CodeOf(err) == wherry.CodeConflict {
		return conflict("Conflict", err.Error())
	}
	if err != nil {
		return err
	}
	return v.answer(http.StatusOK, v.show(one, &value, true))
}

func (v *vaultCall) change(name, version string) error {
	if err := v.may("update/action", "set"); err != nil {
		return err
	}
	in, err := v.body()
	if err != nil {
		return err
	}
	one, err := v.find(name, version)
	if err != nil {
		return err
	}
	for _, key := range []string{"contentType", "tags"} {
		if x, ok := in[key]; ok {
			one.Document[key] = x
		}
	}
	attributes := object(one.Document, "attributes")
	for key, x := range object(in, "attributes") {
		attributes[key] = x
	}
	attributes["updated"] = time.Now().Unix()
	one.Document["attributes"] = attributes
	if err := v.store.ChangeSecret(v.ctx(), one); err != nil {
		return err
	}
	return v.answer(http.StatusOK, v.show(one, nil, true))
}

// deleted serves a deleted secret: it can be seen, recovered and purged.
func (v *vaultCall) deleted(name string, recover bool) error {
	all, err := v.store.Secrets(v.ctx(), v.name, name, true)
	if err != nil {
		return err
	}
	action, permission := "readMetadata/action", "get"
	switch {
	case recover:
		action, permission = "recover/action", "recover"
	case v.r.Method == http.MethodDelete:
		action, permission = "purge/action", "purge"
	}
	if err := v.may(action, permission); err != nil {
		return err
	}
	if len(all) == 0 {
		return v.noSecret(name)
	}
	switch {
	case recover && v.r.Method == http.MethodPost:
		if err := v.store.DeleteSecret(v.ctx(), v.name, name, true); err != nil {
			return err
		}
		all[0].DeletedAt = 0
	case v.r.Method == http.MethodDelete:
		if err := v.DB.Write(v.ctx(), func(tx *store.Tx) error { return azure.PurgeSecrets(tx, v.name, name) }); err != nil {
			return err
		}
		return v.empty(http.StatusNoContent)
	case v.r.Method != http.MethodGet:
		return methodNotAllowed(v.call)
	}
	return v.answer(http.StatusOK, v.show(all[0], nil, true))
}
