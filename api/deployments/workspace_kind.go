package deployments

import (
	"context"
	"net/url"
	"time"

	"github.com/wherry-ml/wherry"
)

// Models of the workspace's registry, clusters and secret scopes: kinds that
// have an API of their own each.

func findModel(ctx context.Context, c *caller, config map[string]any) (string, error) {
	live, err := getModel(ctx, c, text(config["name"]))
	if err != nil || live == nil {
		return "", err
	}
	return text(config["name"]), nil
}

func getModel(ctx context.Context, c *caller, id string) (map[string]any, error) {
	var out struct {
		Model struct {
			Name        string           `json:"name"`
			Description string           `json:"description"`
			Tags        []map[string]any `json:"tags"`
		} `json:"registered_model"`
	}
	err := c.call(ctx, "GET", "/api/2.0/mlflow/registered-models/get?name="+url.QueryEscape(id), nil, &out)
	if missing(err) {
		return nil, nil
	}
	tags := []any{}
	for _, tag := range out.Model.Tags {
		tags = append(tags, map[string]any{"key": tag["key"], "value": tag["value"]})
	}
	return map[string]any{"name": out.Model.Name, "description": out.Model.Description, "tags": tags}, err
}

func createModel(ctx context.Context, c *caller, config map[string]any) (string, error) {
	return text(config["name"]), c.call(ctx, "POST", "/api/2.0/mlflow/registered-models/create", config, nil)
}

func updateModel(ctx context.Context, c *caller, id string, before, config map[string]any) (string, error) {
	const base = "/api/2.0/mlflow/registered-models/"
	if name := text(config["name"]); name != "" && name != id {
		if err := c.call(ctx, "POST", base+"rename", map[string]any{"name": id, "new_name": name}, nil); err != nil {
			return id, err
		}
		id = name
	}
	if !same(before["description"], config["description"]) && !(empty(before["description"]) && empty(config["description"])) {
		if err := c.call(ctx, "PATCH", base+"update", map[string]any{"name": id, "description": text(config["description"])}, nil); err != nil {
			return id, err
		}
	}
	want, have := tagsOf(config), tagsOf(before)
	for key, value := range want {
		if old, ok := have[key]; ok && old == value {
			continue
		}
		if err := c.call(ctx, "POST", base+"set-tag", map[string]any{"name": id, "key": key, "value": value}, nil); err != nil {
			return id, err
		}
	}
	for key := range have {
		if _, ok := want[key]; ok || config["tags"] == nil {
			continue
		}
		if err := c.call(ctx, "DELETE", base+"delete-tag", map[string]any{"name": id, "key": key}, nil); err != nil {
			return id, err
		}
	}
	return id, nil
}

func tagsOf(config map[string]any) map[string]string {
	found := map[string]string{}
	list, _ := config["tags"].([]any)
	for _, v := range list {
		if tag, ok := v.(map[string]any); ok {
			found[text(tag["key"])] = text(tag["value"])
		}
	}
	return found
}

func getCluster(ctx context.Context, c *caller, id string) (map[string]any, error) {
	var out map[string]any
	err := c.call(ctx, "GET", "/api/2.1/clusters/get?cluster_id="+url.QueryEscape(id), nil, &out)
	if missing(err) || wherry.CodeOf(err) == wherry.CodeInvalidParameter { // the Clusters API's own code for one that is not there
		return nil, nil
	}
	return out, err
}

// normalCluster leaves out what only guides a request.
func normalCluster(config map[string]any) { delete(config, "apply_policy_default_values") }

func createCluster(ctx context.Context, c *caller, config map[string]any) (string, error) {
	var out struct {
		ID string `json:"cluster_id"`
	}
	err := c.call(ctx, "POST", "/api/2.1/clusters/create", config, &out)
	return out.ID, err
}

// clusterWait is how long a deploy waits for a cluster that is starting or
// stopping, which cannot be changed meanwhile; it asks each clusterPoll.
const (
	clusterWait = 3 * time.Minute
	clusterPoll = 300 * time.Millisecond
)

func updateCluster(ctx context.Context, c *caller, id string, _, config map[string]any) (string, error) {
	body := map[string]any{}
	for key, value := range config {
		body[key] = value
	}
	body["cluster_id"] = id
	ctx, cancel := context.WithTimeout(ctx, clusterWait)
	defer cancel()
	for {
		err := c.call(ctx, "POST", "/api/2.1/clusters/edit", body, nil)
		if wherry.CodeOf(err) != wherry.CodeInvalidState {
			return id, err
		}
		select {
		case <-ctx.Done():
			return id, err
		case <-time.After(clusterPoll):
		}
	}
}

func findScope(ctx context.Context, c *caller, config map[string]any) (string, error) {
	var out struct {
		Scopes []struct {
			Name string `json:"name"`
		} `json:"scopes"`
	}
	if err := c.call(ctx, "GET", "/api/2.0/secrets/scopes/list", nil, &out); err != nil {
		return "", err
	}
	for _, scope := range out.Scopes {
		if scope.Name == text(config["name"]) {
			return scope.Name, nil
		}
	}
	return "", nil
}

// createScope makes a scope. The words of one backed by a key vault differ
// between bundles and the API.
func createScope(ctx context.Context, c *caller, config map[string]any) (string, error) {
	name := text(config["name"])
	body := map[string]any{"scope": name}
	if backend := text(config["backend_type"]); backend != "" {
		body["scope_backend_type"] = backend
	}
	if vault, ok := config["keyvault_metadata"]; ok {
		body["backend_azure_keyvault"] = vault
	}
	return name, c.call(ctx, "POST", "/api/2.0/secrets/scopes/create", body, nil)
}

// setScopePermissions sets the grants on a scope: its API names a principal of
// any kind by one field.
func setScopePermissions(ctx context.Context, c *caller, id string, before, list []map[string]any) error {
	wanted := map[string]bool{}
	for _, p := range list {
		who := principal(p)
		wanted[who] = true
		if err := c.call(ctx, "POST", "/api/2.0/secrets/acls/put", map[string]any{"scope": id, "principal": who, "permission": level("secret-scopes", text(p["level"]))}, nil); err != nil {
			return err
		}
	}
	for _, p := range before {
		if wanted[principal(p)] {
			continue
		}
		err := c.call(ctx, "POST", "/api/2.0/secrets/acls/delete", map[string]any{"scope": id, "principal": principal(p)}, nil)
		if err != nil && !missing(err) {
			return err
		}
	}
	return nil
}

func scopePermissions(ctx context.Context, c *caller, id string) (list []map[string]any, err error) {
	var out struct {
		Items []struct{ Principal, Permission string } `json:"items"`
	}
	err = c.call(ctx, "GET", "/api/2.0/secrets/acls/list?scope="+url.QueryEscape(id), nil, &out)
	for _, item := range out.Items {
		list = append(list, map[string]any{"principal": item.Principal, "level": item.Permission})
	}
	return list, err
}

// principal is who an entry of a bundle's permissions is for.
func principal(p map[string]any) string {
	for _, key := range []string{"user_name", "group_name", "service_principal_name", "principal"} {
		if name := text(p[key]); name != "" {
			return name
		}
	}
	return ""
}
