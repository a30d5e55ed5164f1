package databricks

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/wherry-ml/wherry/terraform/provider"
)

// objects are the arguments that say what permissions are on, and the type of
// it in the API's path. A path is looked up for its id.
var objects = []struct{ field, kind string }{
	{"job_id", "jobs"},
	{"cluster_id", "clusters"},
	{"cluster_policy_id", "cluster-policies"},
	{"instance_pool_id", "instance-pools"},
	{"pipeline_id", "pipelines"},
	{"notebook_id", "notebooks"},
	{"notebook_path", "notebooks"},
	{"directory_id", "directories"},
	{"directory_path", "directories"},
	{"workspace_file_id", "files"},
	{"workspace_file_path", "files"},
	{"experiment_id", "experiments"},
	{"registered_model_id", "registered-models"},
	{"sql_endpoint_id", "sql/warehouses"},
	{"serving_endpoint_id", "serving-endpoints"},
	{"repo_id", "repos"},
	{"repo_path", "repos"},
	{"authorization", "authorization"},
}

func permissionsOf(ctx context.Context, c *Client, s *state) (string, error) {
	for _, o := range objects {
		v := s.String(o.field)
		if v == "" {
			continue
		}
		if strings.HasSuffix(o.field, "_path") {
			doc, err := c.do(ctx, "GET", files+"get-status?path="+url.QueryEscape(v), nil)
			if err != nil {
				return "", err
			}
			v = fmt.Sprint(doc["object_id"])
		}
		return "/" + o.kind + "/" + v, nil
	}
	return "", fmt.Errorf("%s names no object", s.Name)
}

func setPermissions(ctx context.Context, c *Client, s *state) error {
	id, err := permissionsOf(ctx, c, s)
	if err != nil {
		return err
	}
	list := []any{}
	for _, b := range s.Blocks("access_control") {
		entry := map[string]any{}
		for k, v := range b {
			if v != nil && v != "" {
				entry[k] = v
			}
		}
		list = append(list, entry)
	}
	if _, err = c.do(ctx, "PUT", "/api/2.0/permissions"+id, map[string]any{"access_control_list": list}); err != nil {
		return err
	}
	s.SetID(id)
	return nil
}

// readPermissions takes what was given to the object itself. What owners and
// admins always have is not in the configuration, and is left out unless it is
// written there.
func readPermissions(ctx context.Context, c *Client, s *state) error {
	doc, err := c.do(ctx, "GET", "/api/2.0/permissions"+s.ID(), nil)
	if err != nil {
		return err
	}
	written := map[string]bool{}
	for _, b := range s.Blocks("access_control") {
		written[who(b["user_name"], b["group_name"], b["service_principal_name"])] = true
	}
	blocks := []any{}
	items, _ := doc["access_control_list"].([]any)
	for _, item := range items {
		user, group, service := provider.At(item, "user_name"), provider.At(item, "group_name"), provider.At(item, "service_principal_name")
		all, _ := provider.At(item, "all_permissions").([]any)
		for _, p := range all {
			level := provider.At(p, "permission_level")
			if provider.At(p, "inherited") == true || (level == "IS_OWNER" || group == "admins") && !written[who(user, group, service)] {
				continue
			}
			blocks = append(blocks, provider.Values{"user_name": user, "group_name": group, "service_principal_name": service, "permission_level": level})
		}
	}
	if len(blocks) == 0 {
		return provider.ErrGone
	}
	s.Values["access_control"], s.Values["object_type"] = blocks, doc["object_type"]
	return nil
}

func who(user, group, service any) string { return fmt.Sprint(user, "|", group, "|", service) }

func dropPermissions(ctx context.Context, c *Client, s *state) error {
	_, err := c.do(ctx, "PUT", "/api/2.0/permissions"+s.ID(), map[string]any{"access_control_list": []any{}})
	return err
}

func importPermissions(s *state) error {
	for _, o := range objects {
		if id, ok := strings.CutPrefix(s.ID(), "/"+o.kind+"/"); ok && id != "" {
			s.Values[o.field] = id
			return nil
		}
	}
	return fmt.Errorf("an id of databricks_permissions looks like /jobs/1, and not like %q", s.ID())
}
