package deployments

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
)

// securable is a kind of the catalog: its id is its full name. The last of
// parts is its own name, those before name its parents.
func securable(path, grants string, parts ...string) kind {
	base := "/api/2.1/unity-catalog/" + path
	parents := parts[:len(parts)-1]
	full := func(config map[string]any) string {
		var names []string
		for _, part := range parts {
			names = append(names, text(config[part]))
		}
		return strings.Join(names, ".")
	}
	get := func(ctx context.Context, c *caller, id string) (map[string]any, error) {
		var out map[string]any
		err := c.call(ctx, "GET", base+"/"+url.PathEscape(id), nil, &out)
		if missing(err) {
			return nil, nil
		}
		return out, err
	}
	k := kind{get: get, fixed: append([]string{"storage_root", "storage_location", "volume_type"}, parents...), securable: grants, name: full}
	k.find = func(ctx context.Context, c *caller, config map[string]any) (string, error) {
		live, err := get(ctx, c, full(config))
		if err != nil || live == nil {
			return "", err
		}
		return full(config), nil
	}
	k.normal = func(config map[string]any) { normalSecurable(config, parts) }
	k.create = func(ctx context.Context, c *caller, config map[string]any) (string, error) {
		body := map[string]any{}
		for key, value := range config {
			body[key] = value
		}
		if path == "volumes" && body["volume_type"] == nil {
			body["volume_type"] = "MANAGED"
		}
		return full(config), c.call(ctx, "POST", base, body, nil)
	}
	k.update = func(ctx context.Context, c *caller, id string, before, config map[string]any) (string, error) {
		body := map[string]any{}
		for key, value := range config {
			if !slices.Contains(parts, key) && !same(before[key], value) {
				body[key] = value
			}
		}
		name := text(config["name"])
		if name != "" && !same(before["name"], name) {
			body["new_name"] = name
		}
		err := c.call(ctx, "PATCH", base+"/"+url.PathEscape(id), body, nil)
		if err == nil && body["new_name"] != nil {
			id = id[:strings.LastIndex(id, ".")+1] + name
		}
		return id, err
	}
	k.remove = func(ctx context.Context, c *caller, id string) error {
		return c.call(ctx, "DELETE", base+"/"+url.PathEscape(id)+"?force=true", nil, nil)
	}
	return k
}

// normalSecurable writes names in lower case, and places without a slash at the
// end or, if they are a whole container, with one, as the catalog keeps them; and
// leaves out what only guides a request.
func normalSecurable(config map[string]any, names []string) {
	for _, name := range names {
		if s, ok := config[name].(string); ok && s != unknown {
			config[name] = strings.ToLower(s)
		}
	}
	if s, ok := config["url"].(string); ok {
		config["url"] = wherry.LocationURL(s)
	}
	if s, ok := config["storage_location"].(string); ok {
		config["storage_location"] = strings.TrimRight(s, "/")
	}
	delete(config, "skip_validation")
	delete(config, "force")
}

// renamed tells a catalog or schema that gets another name from one that is
// made anew: what is in it moves along.
func renamed(k kind, id string, config map[string]any) (to string, ok bool) {
	to = k.name(config)
	return to, k.securable != "" && id != "" && to != id && !strings.Contains(to, unknown)
}

// follow is the id of something below what was renamed.
func follow(id, from, to string) string {
	if rest, ok := strings.CutPrefix(id, from+"."); ok {
		return to + "." + rest
	}
	return id
}
