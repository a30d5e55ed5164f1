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
			path, list, name, id = "/api/2.1/clusters/list?page_size=100", "clusters", "cluster_name", "cluster_id"
		case "service_principal":
			path, list, name, id = "/api/2.0/preview/scim/v2/ServicePrincipals", "Resources", "displayName", "applicationId"
		case "metastore":
			path, list, id = "/api/2.1/unity-catalog/metastores", "metastores", "metastore_id"
		case "notification_destination":
			path, list, name, id = "/api/2.0/notification-destinations?page_size=100", "results", "display_name", "id"
		default: // there are no such objects here to find
			return nil, wherry.NotImplemented("lookup of a " + l.Kind)
		}
		ids, err := named(ctx, c, path, list, name, id, l.Name)
		if err != nil {
			return nil, err
		}
		what := strings.ReplaceAll(l.Kind, "_", " ")
		switch len(ids) {
		case 0:
			return nil, wherry.Errorf(wherry.CodeDoesNotExist, "there is no %s named %q in the workspace", what, l.Name)
		case 1:
			found[ref] = ids[0]
		default:
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%d of the workspace's %ss are named %q: give the id (%s) as the variable's value", len(ids), what, l.Name, strings.Join(ids, " or "))
		}
	}
	return found, nil
}

// named lists the ids of the objects of a list that have a name.
func named(ctx context.Context, c *caller, path, list, name, id, want string) (ids []string, err error) {
	token := ""
	for {
		var doc map[string]any
		at := path
		if token != "" {
			at += map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "page_token=" + urlQuery(token)
		}
		if err := c.call(ctx, "GET", at, nil, &doc); err != nil {
			return nil, err
		}
		items, _ := doc[list].([]any)
		for _, v := range items {
			item, _ := v.(map[string]any)
			settings, _ := item["settings"].(map[string]any)
			if text(item[name]) == want || text(settings[name]) == want {
				ids = append(ids, idText(item[id]))
			}
		}
		if token = text(doc["next_page_token"]); token == "" {
			return ids, nil
		}
	}
}

func idText(v any) string {
	if f, ok := v.(float64); ok {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprint(v)
}
