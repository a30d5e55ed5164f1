package deployments

import (
	"context"
	"fmt"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle/deployment"
)

// lookUp finds the ids of what variables name in the workspace.
func lookUp(ctx context.Context, c *caller, lookups map[string]deployment.Lookup) (map[string]string, error) {
	found := map[string]string{}
	for ref, l := range lookups {
		var path, list, id string
		name := "name"
		switch l.Kind {
		case "job":
			path, list, id = "/api/2.2/jobs/list?name="+urlQuery(l.Name), "jobs", "job_id"
		case "cluster":
			path, list, name, id = "/api/2.1/clusters/list", "clusters", "cluster_name", "cluster_id"
		case "service_principal":
			path, list, name, id = "/api/2.0/preview/scim/v2/ServicePrincipals", "Resources", "displayName", "applicationId"
		default:
			return nil, wherry.NotImplemented("lookup of a " + l.Kind)
		}
		var doc map[string]any
		if err := c.call(ctx, "GET", path, nil, &doc); err != nil {
			return nil, err
		}
		items, _ := doc[list].([]any)
		for _, v := range items {
			item, _ := v.(map[string]any)
			settings, _ := item["settings"].(map[string]any)
			if text(item[name]) == l.Name || text(settings[name]) == l.Name {
				found[ref] = idText(item[id])
			}
		}
		if found[ref] == "" {
			return nil, wherry.Errorf(wherry.CodeDoesNotExist, "there is no %s named %q in the workspace", strings.ReplaceAll(l.Kind, "_", " "), l.Name)
		}
	}
	return found, nil
}

func idText(v any) string {
	if f, ok := v.(float64); ok {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprint(v)
}
