package deploy

import (
	"slices"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deployment"
)

// securables have grants instead of permissions.
var securables = []string{"catalogs", "schemas", "volumes", "registered_models", "external_locations"}

// shared are the permissions of the bundle and its target.
func shared(b *bundle.Bundle) []map[string]any {
	list, _ := b.Config.Get("permissions").Plain().([]any)
	return entries(list)
}

func entries(list []any) (found []map[string]any) {
	for _, v := range list {
		if m, ok := v.(map[string]any); ok {
			found = append(found, m)
		}
	}
	return found
}

// resources turns the bundle's resources into create requests; the bundle's
// permissions and run_as go to each resource that takes them.
func resources(b *bundle.Bundle) (list []deployment.Resource) {
	runAs := b.Config.Get("run_as").Plain()
	for _, r := range b.Resources() {
		config, _ := r.Value.Plain().(map[string]any)
		out := deployment.Resource{Type: r.Type, Key: r.Key, Config: config, At: r.At.String()}
		own, _ := config["permissions"].([]any)
		grants, _ := config["grants"].([]any)
		lifecycle, _ := config["lifecycle"].(map[string]any)
		out.PreventDestroy, _ = lifecycle["prevent_destroy"].(bool)
		for _, key := range []string{"permissions", "grants", "lifecycle"} {
			delete(config, key)
		}
		if r.Type == "jobs" {
			if _, ok := config["run_as"]; !ok && runAs != nil {
				config["run_as"] = runAs
			}
		}
		out.Permissions, out.Grants = entries(own), entries(grants)
		if !slices.Contains(securables, r.Type) {
			out.Permissions = withShared(out.Permissions, shared(b))
		}
		list = append(list, out)
	}
	return list
}

// withShared adds the bundle's permissions to a resource's own. Of two entries
// for one principal its own holds.
func withShared(own, shared []map[string]any) []map[string]any {
	for _, p := range shared {
		if !slices.ContainsFunc(own, func(o map[string]any) bool { return who(o) == who(p) }) {
			own = append(own, p)
		}
	}
	return own
}

// who is the principal of an entry, with its kind.
func who(p map[string]any) string {
	for _, key := range []string{"user_name", "group_name", "service_principal_name"} {
		if name, ok := p[key].(string); ok {
			return key + " " + name
		}
	}
	return ""
}
