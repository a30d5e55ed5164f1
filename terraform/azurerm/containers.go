package azurerm

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/terraform/azure"
	"github.com/wherry-ml/wherry/terraform/provider"
)

const containers = "/blobServices/default/containers/"

// containerID is a container's id in the management API. A configuration that
// names only the account has its resource looked for.
func containerID(ctx context.Context, c *azure.Client, s *state) (string, error) {
	account := s.String("storage_account_id")
	if account == "" {
		doc, err := call(ctx, c, "GET", "/subscriptions/"+c.Subscription+"/providers/Microsoft.Storage/storageAccounts", version(s), nil)
		if err != nil {
			return "", err
		}
		items, _ := doc["value"].([]any)
		i := slices.IndexFunc(items, func(item any) bool { return provider.At(item, "name") == s.String("storage_account_name") })
		if i < 0 {
			return "", &provider.FieldError{Field: "storage_account_name", Err: fmt.Errorf("the subscription has no storage account %q", s.String("storage_account_name"))}
		}
		account = fmt.Sprint(provider.At(items[i], "id"))
	}
	return account + containers + s.String("name"), nil
}

var access = map[string]string{"private": "None", "blob": "Blob", "container": "Container"}

func putContainer(ctx context.Context, c *azure.Client, s *state, id string) error {
	doc := s.Encode()
	p, ok := doc["properties"].(provider.Document)
	if !ok {
		p = provider.Document{}
	}
	p["publicAccess"] = access[s.String("container_access_type")]
	doc["properties"] = p
	_, err := call(ctx, c, "PUT", id, version(s), doc)
	return err
}

func createContainer(ctx context.Context, c *azure.Client, s *state) error {
	id, err := containerID(ctx, c, s)
	if err != nil {
		return err
	}
	if err := absent(ctx, c, id, version(s)); err != nil {
		return err
	}
	if err := putContainer(ctx, c, s, id); err != nil {
		return err
	}
	if s.SetID(id); s.String("storage_account_id") == "" {
		s.SetID("https://" + s.String("storage_account_name") + ".blob.core.windows.net/" + s.String("name"))
	}
	return nil
}

func readContainer(ctx context.Context, c *azure.Client, s *state) error {
	id, err := containerID(ctx, c, s)
	if err != nil {
		if _, ok := errors.AsType[*provider.FieldError](err); ok { // the account is gone, and the container with it
			return provider.ErrGone
		}
		return err
	}
	doc, err := call(ctx, c, "GET", id, version(s), nil)
	if err != nil {
		return err
	}
	s.Decode(doc)
	for word, name := range access {
		if provider.At(doc, "properties", "publicAccess") == name {
			s.Values["container_access_type"] = word
		}
	}
	s.Values["resource_manager_id"] = id
	return nil
}

func updateContainer(ctx context.Context, c *azure.Client, s *state) error {
	id, err := containerID(ctx, c, s)
	if err != nil {
		return err
	}
	return putContainer(ctx, c, s, id)
}

func deleteContainer(ctx context.Context, c *azure.Client, s *state) error {
	id, err := containerID(ctx, c, s)
	if err != nil {
		return err
	}
	_, err = call(ctx, c, "DELETE", id, version(s), nil)
	return err
}

func importContainer(s *state) error {
	account, name, ok := strings.Cut(s.ID(), containers)
	if !ok {
		return s.Match("https://{storage_account_name}.blob.core.windows.net/{name}", s.ID())
	}
	s.Values["storage_account_id"], s.Values["name"] = account, name
	return nil
}

// File systems of Data Lake Gen2 are made at the account itself.

func filesystem(s *state) string {
	account := s.String("storage_account_id")
	return "https://" + account[strings.LastIndex(account, "/")+1:] + ".dfs.core.windows.net/" + s.String("name")
}

func sendFilesystem(ctx context.Context, c *azure.Client, s *state, method string) (http.Header, error) {
	h := http.Header{"X-Ms-Version": {"2021-12-02"}}
	p, _ := s.Values["properties"].(provider.Values)
	if method == http.MethodPut || method == http.MethodPatch {
		var list []string
		for _, k := range slices.Sorted(maps.Keys(p)) {
			list = append(list, k+"="+fmt.Sprint(p[k])) // the configuration has them in base64
		}
		h["X-Ms-Properties"] = []string{strings.Join(list, ",")}
	}
	_, header, err := c.Send(ctx, azure.Storage, method, filesystem(s)+"?resource=filesystem", h, nil)
	return header, err
}

func createFilesystem(ctx context.Context, c *azure.Client, s *state) error {
	if _, err := sendFilesystem(ctx, c, s, http.MethodPut); err != nil {
		return err
	}
	s.SetID(filesystem(s))
	return nil
}

func updateFilesystem(ctx context.Context, c *azure.Client, s *state) error {
	_, err := sendFilesystem(ctx, c, s, http.MethodPatch)
	return err
}

func readFilesystem(ctx context.Context, c *azure.Client, s *state) error {
	header, err := sendFilesystem(ctx, c, s, http.MethodHead)
	if err != nil {
		return err
	}
	now := provider.Values{}
	for pair := range strings.SplitSeq(header.Get("X-Ms-Properties"), ",") {
		k, v, ok := strings.Cut(pair, "=")
		if _, bad := base64.StdEncoding.DecodeString(v); ok && bad == nil {
			now[strings.TrimSpace(k)] = v
		}
	}
	if len(now) > 0 || s.Values["properties"] != nil {
		s.Values["properties"] = now
	}
	return nil
}

func deleteFilesystem(ctx context.Context, c *azure.Client, s *state) error {
	_, err := sendFilesystem(ctx, c, s, http.MethodDelete)
	return err
}

func importFilesystem(*state) error {
	return errors.New("a file system's id does not name its account's resource: import it as an azurerm_storage_container")
}

// Secrets of key vaults.

func vaultURL(vault string) string {
	return "https://" + strings.ToLower(vault[strings.LastIndex(vault, "/")+1:]) + ".vault.azure.net"
}

func secretURL(base, name, version string) string {
	u := base + "/secrets/" + url.PathEscape(name)
	if version != "" {
		u += "/" + url.PathEscape(version)
	}
	return u + "?api-version=7.4"
}

// setSecret makes a new version of a secret.
func setSecret(ctx context.Context, c *azure.Client, s *state) error {
	doc := s.Encode()
	attributes := provider.Document{"enabled": true}
	for field, name := range map[string]string{"not_before_date": "nbf", "expiration_date": "exp"} {
		if v := s.String(field); v != "" {
			at, err := azure.Time(v)
			if err != nil {
				return &provider.FieldError{Field: field, Err: err}
			}
			attributes[name] = at.Unix()
		}
	}
	doc["attributes"] = attributes
	out, err := c.Do(ctx, azure.Vault, "PUT", secretURL(vaultURL(s.String("key_vault_id")), s.String("name"), ""), doc)
	if err != nil {
		return err
	}
	s.SetID(fmt.Sprint(out["id"]))
	return nil
}

func readSecret(ctx context.Context, c *azure.Client, s *state) error {
	base, name, ok := strings.Cut(s.ID(), "/secrets/")
	name, _, _ = strings.Cut(name, "/")
	if !ok || name == "" {
		return fmt.Errorf("an id of azurerm_key_vault_secret is https://VAULT.vault.azure.net/secrets/NAME/VERSION, and not %q", s.ID())
	}
	doc, err := c.Do(ctx, azure.Vault, "GET", secretURL(base, name, ""), nil) // the newest: another version is drift
	if err != nil {
		return err
	}
	s.Decode(doc)
	id := fmt.Sprint(doc["id"])
	version := id[strings.LastIndex(id, "/")+1:]
	s.SetID(id)
	s.Values["name"], s.Values["version"], s.Values["versionless_id"] = name, version, base+"/secrets/"+name
	resource := s.String("key_vault_id") + "/secrets/" + name
	s.Values["resource_versionless_id"], s.Values["resource_id"] = resource, resource+"/versions/"+version
	return nil
}

func findSecret(ctx context.Context, c *azure.Client, s *state) error {
	doc, err := c.Do(ctx, azure.Vault, "GET", secretURL(vaultURL(s.String("key_vault_id")), s.String("name"), s.String("version")), nil)
	if err != nil {
		return err
	}
	s.Decode(doc)
	id := fmt.Sprint(doc["id"])
	i := strings.LastIndex(id, "/")
	s.SetID(id)
	s.Values["versionless_id"], s.Values["version"] = id[:i], id[i+1:]
	return nil
}

func deleteSecret(ctx context.Context, c *azure.Client, s *state) error {
	base, name := vaultURL(s.String("key_vault_id")), s.String("name")
	if _, err := c.Do(ctx, azure.Vault, "DELETE", secretURL(base, name, ""), nil); err != nil {
		return err
	}
	if !feature(c, "key_vault", "purge_soft_deleted_secrets_on_destroy", true) {
		return nil
	}
	_, err := c.Do(ctx, azure.Vault, "DELETE", base+"/deletedsecrets/"+url.PathEscape(name)+"?api-version=7.4", nil)
	if errors.Is(err, provider.ErrGone) {
		return nil
	}
	return err
}
