package deployments

import (
	"context"
	"encoding/json"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/drift"
)

// watched are the fields of a kind that are compared beside those that the
// bundle declares; all others are the server's own. A job is compared whole.
var watched = map[string][]string{
	"experiments": {"name"}, "schemas": {"name", "comment", "owner"}, "volumes": {"name", "comment", "owner"}, "registered_models": {"name", "comment", "owner"},
	"catalogs": {"name", "comment", "owner"}, "external_locations": {"name", "comment", "owner", "read_only"}, "models": {"name", "description"},
	"clusters": {
		"cluster_name", "spark_version", "node_type_id", "driver_node_type_id", "num_workers", "autoscale", "autotermination_minutes", "spark_conf", "spark_env_vars",
		"custom_tags", "init_scripts", "policy_id", "data_security_mode", "single_user_name", "runtime_engine",
	},
}

// liveOf returns the settings of a resource, or the permissions or grants on
// one by principal, as they are; nil if there is no such resource.
func (s *Service) liveOf(ctx context.Context, c *caller, kindName, id string) (map[string]any, error) {
	base, ext := strings.TrimSuffix(kindName, path.Ext(kindName)), path.Ext(kindName)
	k, ok := kinds[base]
	switch {
	case !ok:
		return nil, nil
	case ext == ".permissions":
		return permissionsOf(ctx, c, k, id)
	case ext == ".grants":
		return grantsOf(ctx, c, k, id)
	}
	return k.get(ctx, c, id)
}

func permissionsOf(ctx context.Context, c *caller, k kind, id string) (map[string]any, error) {
	if k.livePermissions != nil {
		list, err := k.livePermissions(ctx, c, id)
		if missing(err) {
			return nil, nil
		}
		found := map[string]any{}
		for _, p := range list {
			found[principal(p)] = p["level"]
		}
		return found, err
	}
	var out struct {
		List []struct {
			User    string `json:"user_name"`
			Group   string `json:"group_name"`
			Service string `json:"service_principal_name"`
			All     []struct {
				Level     string `json:"permission_level"`
				Inherited bool   `json:"inherited"`
			} `json:"all_permissions"`
		} `json:"access_control_list"`
	}
	if err := c.call(ctx, "GET", "/api/2.0/permissions/"+k.permissions+"/"+url.PathEscape(id), nil, &out); err != nil {
		if missing(err) {
			return nil, nil
		}
		return nil, err
	}
	found := map[string]any{}
	for _, entry := range out.List {
		for _, level := range entry.All {
			if level.Inherited {
				continue
			}
			for word, name := range map[string]string{"user_name": entry.User, "group_name": entry.Group, "service_principal_name": entry.Service} {
				if name != "" {
					found[word+" "+name] = level.Level
				}
			}
		}
	}
	return found, nil
}

func grantsOf(ctx context.Context, c *caller, k kind, id string) (map[string]any, error) {
	var out struct {
		List []struct {
			Principal  string   `json:"principal"`
			Privileges []string `json:"privileges"`
		} `json:"privilege_assignments"`
	}
	if err := c.call(ctx, "GET", "/api/2.1/unity-catalog/permissions/"+k.securable+"/"+url.PathEscape(id), nil, &out); err != nil {
		if missing(err) {
			return nil, nil
		}
		return nil, err
	}
	found := map[string]any{}
	for _, entry := range out.List {
		slices.Sort(entry.Privileges)
		list := make([]any, len(entry.Privileges))
		for i, p := range entry.Privileges {
			list[i] = p
		}
		found[entry.Principal] = list
	}
	return found, nil
}

// compared leaves of settings what is compared for drift.
func compared(kind string, settings, declared map[string]any) map[string]any {
	kept := map[string]any{}
	for key, value := range settings {
		_, said := declared[key]
		switch {
		case path.Ext(kind) != "":
			kept[key] = value
		case kind == "jobs":
			if key != "deployment" { // what ties it to its deploy
				kept[key] = value
			}
		case kind == "experiments" && key == "tags":
			kept[key] = declaredTags(value, declared[key])
		case said || slices.Contains(watched[kind], key):
			kept[key] = value
		}
	}
	return kept
}

// declaredTags leaves the tags that the bundle sets: an experiment gets others
// from its runs.
func declaredTags(have, declared any) []any {
	names := map[string]bool{}
	list, _ := declared.([]any)
	for _, v := range list {
		tag, _ := v.(map[string]any)
		names[text(tag["key"])] = true
	}
	kept := []any{}
	list, _ = have.([]any)
	for _, v := range list {
		if tag, _ := v.(map[string]any); names[text(tag["key"])] {
			kept = append(kept, v)
		}
	}
	return kept
}

// drifted lists the fields in which what is there differs from what was
// deployed. Without a look right after the deploy, only what the bundle
// declares is compared.
func drifted(r deployments.Resource, live map[string]any) []drift.Field {
	var declared, was map[string]any
	_ = json.Unmarshal([]byte(r.State), &declared) // permissions are a list: nothing is declared by name
	if r.Live == "" {
		return turned(diff("", declared, live, nil))
	}
	_ = json.Unmarshal([]byte(r.Live), &was)
	was, live = compared(r.Kind, was, declared), compared(r.Kind, live, declared)
	var fields []drift.Field
	seen := map[string]bool{}
	for _, f := range diff("", live, was, nil) { // what is there now, and was another or none
		seen[f.Path] = true
		fields = append(fields, drift.Field{Path: f.Path, Before: f.Before, After: f.After})
	}
	for _, f := range turned(diff("", was, live, nil)) { // what was, and is gone
		if !seen[f.Path] {
			fields = append(fields, f)
		}
	}
	return fields
}

// turned lists differences of a plan, whose Before is what there is.
func turned(list []deployment.Field) []drift.Field {
	fields := make([]drift.Field, len(list))
	for i, f := range list {
		fields[i] = drift.Field{Path: f.Path, Before: f.After, After: f.Before}
	}
	return fields
}

// rebased is the look of an earlier deploy with what a new one declares
// otherwise, where it changed nothing: a bundle that adopted what drifted.
func rebased(r deployments.Resource, declared string, live map[string]any) string {
	var was, before, after map[string]any
	if r.Live == "" || json.Unmarshal([]byte(r.Live), &was) != nil || json.Unmarshal([]byte(r.State), &before) != nil || json.Unmarshal([]byte(declared), &after) != nil {
		return r.Live
	}
	for key := range live {
		if !same(before[key], after[key]) {
			was[key] = live[key]
		}
	}
	for key := range before {
		if _, there := live[key]; !there && after[key] == nil {
			delete(was, key)
		}
	}
	return stateOf(was)
}
