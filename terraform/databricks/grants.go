package databricks

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry/terraform/provider"
)

const unity = "/api/2.1/unity-catalog/"

var securables = []string{"metastore", "catalog", "schema", "table", "volume", "function", "model", "external_location", "storage_credential"}

// securable is what grants are on: its kind and name, "catalog/main".
func securable(s *state) (string, error) {
	for _, kind := range securables {
		if name := s.String(kind); name != "" {
			return kind + "/" + name, nil
		}
	}
	return "", fmt.Errorf("%s names nothing to grant on", s.Name)
}

func grantsPath(what string) string {
	kind, name, _ := strings.Cut(what, "/")
	if kind == "model" { // as the API calls it
		kind = "function"
	}
	return unity + "permissions/" + kind + "/" + url.PathEscape(name)
}

// granted reads who has which privileges.
func granted(ctx context.Context, c *Client, what string) (map[string][]string, error) {
	doc, err := c.do(ctx, "GET", grantsPath(what), nil)
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	items, _ := doc["privilege_assignments"].([]any)
	for _, item := range items {
		who, _ := provider.At(item, "principal").(string)
		list, _ := provider.At(item, "privileges").([]any)
		for _, p := range list {
			out[who] = append(out[who], strings.ReplaceAll(fmt.Sprint(p), " ", "_"))
		}
	}
	return out, nil
}

// grant makes the privileges of each principal in want exactly those.
func grant(ctx context.Context, c *Client, what string, want map[string][]string) error {
	have, err := granted(ctx, c, what)
	if err != nil {
		return err
	}
	changes := []any{}
	for _, who := range slices.Sorted(maps.Keys(want)) {
		add := slices.DeleteFunc(slices.Clone(want[who]), func(p string) bool { return slices.Contains(have[who], p) })
		remove := slices.DeleteFunc(slices.Clone(have[who]), func(p string) bool { return slices.Contains(want[who], p) })
		if len(add)+len(remove) > 0 {
			changes = append(changes, map[string]any{"principal": who, "add": add, "remove": remove})
		}
	}
	if len(changes) == 0 {
		return nil
	}
	_, err = c.do(ctx, "PATCH", grantsPath(what), map[string]any{"changes": changes})
	return err
}

func stringsOf(v any) []string {
	items, _ := v.([]any)
	out := []string{}
	for _, item := range items {
		out = append(out, fmt.Sprint(item))
	}
	return out
}

// setGrants makes the grants on a securable those of the blocks and no others.
func setGrants(ctx context.Context, c *Client, s *state) error {
	what, err := securable(s)
	if err != nil {
		return err
	}
	want, err := granted(ctx, c, what)
	if err != nil {
		return err
	}
	for who := range want {
		want[who] = nil
	}
	for _, b := range s.Blocks("grant") {
		want[fmt.Sprint(b["principal"])] = stringsOf(b["privileges"])
	}
	s.SetID(what)
	return grant(ctx, c, what, want)
}

func readGrants(ctx context.Context, c *Client, s *state) error {
	have, err := granted(ctx, c, s.ID())
	if err != nil {
		return err
	}
	if len(have) == 0 {
		return provider.ErrGone
	}
	blocks := []any{}
	for _, who := range slices.Sorted(maps.Keys(have)) {
		blocks = append(blocks, provider.Values{"principal": who, "privileges": list(have[who])})
	}
	s.Values["grant"] = blocks
	return nil
}

func list(words []string) []any {
	out := make([]any, 0, len(words))
	for _, w := range words {
		out = append(out, w)
	}
	return out
}

func dropGrants(ctx context.Context, c *Client, s *state) error {
	want := map[string][]string{}
	for _, b := range s.Blocks("grant") {
		want[fmt.Sprint(b["principal"])] = nil
	}
	return grant(ctx, c, s.ID(), want)
}

func importGrants(s *state) error {
	kind, name, ok := strings.Cut(s.ID(), "/")
	if !ok || !slices.Contains(securables, kind) {
		return fmt.Errorf("an id of databricks_grants looks like catalog/main, and not like %q", s.ID())
	}
	s.Values[kind] = name
	return nil
}

// setGrant makes the privileges of one principal those that are written.
func setGrant(ctx context.Context, c *Client, s *state) error {
	what, err := securable(s)
	if err != nil {
		return err
	}
	who := s.String("principal")
	s.SetID(what + "/" + who)
	return grant(ctx, c, what, map[string][]string{who: s.Strings("privileges")})
}

func grantOf(s *state) (what, who string) {
	parts := strings.SplitN(s.ID(), "/", 3)
	if len(parts) != 3 {
		return s.ID(), ""
	}
	return parts[0] + "/" + parts[1], parts[2]
}

func readGrant(ctx context.Context, c *Client, s *state) error {
	what, who := grantOf(s)
	have, err := granted(ctx, c, what)
	if err != nil {
		return err
	}
	if len(have[who]) == 0 {
		return provider.ErrGone
	}
	s.Values["principal"], s.Values["privileges"] = who, list(have[who])
	return nil
}

func dropGrant(ctx context.Context, c *Client, s *state) error {
	what, who := grantOf(s)
	return grant(ctx, c, what, map[string][]string{who: nil})
}

func importGrant(s *state) error {
	what, who := grantOf(s)
	kind, name, _ := strings.Cut(what, "/")
	if who == "" || !slices.Contains(securables, kind) {
		return fmt.Errorf("an id of databricks_grant looks like catalog/main/users, and not like %q", s.ID())
	}
	s.Values[kind] = name
	return nil
}

// assign gives a workspace its metastore. An installation has one, and its
// workspaces have it from the start: what is so already is not asked for.
func assign(ctx context.Context, c *Client, s *state) error {
	doc, err := c.do(ctx, "GET", unity+"current-metastore-assignment", nil)
	if err != nil {
		return err
	}
	workspace := fmt.Sprint(s.Values["workspace_id"])
	id := workspace + "|" + s.String("metastore_id")
	wanted := s.String("default_catalog_name")
	if fmt.Sprint(doc["workspace_id"]) != workspace || doc["metastore_id"] != s.String("metastore_id") || wanted != "" && doc["default_catalog_name"] != wanted {
		body := map[string]any{"metastore_id": s.String("metastore_id")}
		if wanted != "" {
			body["default_catalog_name"] = wanted
		}
		if _, err := c.do(ctx, "PUT", unity+"workspaces/"+url.PathEscape(workspace)+"/metastore", body); err != nil {
			return err
		}
	}
	s.SetID(id)
	return nil
}

func readAssignment(ctx context.Context, c *Client, s *state) error {
	doc, err := c.do(ctx, "GET", unity+"current-metastore-assignment", nil)
	if err != nil {
		return err
	}
	number, metastore, _ := strings.Cut(s.ID(), "|")
	workspace, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return fmt.Errorf("the id %q is not workspace_id|metastore_id", s.ID())
	}
	if doc["metastore_id"] != metastore {
		return provider.ErrGone
	}
	s.Values["workspace_id"], s.Values["metastore_id"], s.Values["default_catalog_name"] = workspace, metastore, doc["default_catalog_name"]
	return nil
}

func unassign(ctx context.Context, c *Client, s *state) error {
	workspace, metastore, _ := strings.Cut(s.ID(), "|")
	_, err := c.do(ctx, "DELETE", unity+"workspaces/"+url.PathEscape(workspace)+"/metastore?metastore_id="+url.QueryEscape(metastore), nil)
	return err
}
