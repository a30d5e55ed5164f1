package deployments

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/store/deployments"
)

// Permissions and grants are set after their resource, as rows of their own. The
// bundle's entries are made what it says, those that its last deploy made and it
// has no more are taken away, and what others granted stays.

// setExtras make the permissions or grants of a resource those of list, where
// before are those that the last deploy set.
var setExtras = map[string]func(ctx context.Context, c *caller, k kind, id string, before, list []map[string]any) error{
	".permissions": setPermissions, ".grants": setGrants,
}

// folderKind is the folder of a deployment, which has permissions and is no
// resource.
const folderKind = "directories"

func kindOf(name string) kind {
	if name == folderKind {
		return kind{permissions: folderKind}
	}
	return kinds[name]
}

func rootFolder(in *deployment.Request) deployment.Resource {
	return deployment.Resource{Type: folderKind, Key: "root_path", Permissions: in.Permissions}
}

// folder compares the permissions of the deployment's folder.
func (p *plan) folder(ctx context.Context, c *caller, in *deployment.Request) ([]deployment.Change, error) {
	r := rootFolder(in)
	if len(r.Permissions) == 0 {
		return nil, nil
	}
	id, err := folderID(ctx, c, in.RootPath)
	if err != nil {
		return nil, err
	}
	return p.extras(ctx, c, r, id)
}

// folderID is the number of a folder, "" if it is not there.
func folderID(ctx context.Context, c *caller, at string) (string, error) {
	var out struct {
		ID json.Number `json:"object_id"`
	}
	err := c.call(ctx, "GET", "/api/2.0/workspace/get-status?path="+urlQuery(at), nil, &out)
	if missing(err) {
		return "", nil
	}
	return out.ID.String(), err
}

func (w *work) folder(ctx context.Context) error {
	r := rootFolder(w.in)
	if len(r.Permissions) == 0 {
		return nil
	}
	if err := w.c.call(ctx, "POST", "/api/2.0/workspace/mkdirs", map[string]any{"path": w.in.RootPath}, nil); err != nil {
		return err
	}
	id, err := folderID(ctx, w.c, w.in.RootPath)
	if err != nil {
		return err
	}
	return w.extras(ctx, kindOf(folderKind), r, id)
}

// extras compares permissions and grants with those there are, where id is the
// resource's, "" for one that is yet to be made.
func (p *plan) extras(ctx context.Context, c *caller, r deployment.Resource, id string) (changes []deployment.Change, err error) {
	k := kindOf(r.Type)
	for _, name := range []string{"permissions", "grants"} {
		list := r.Permissions
		if name == "grants" {
			list = r.Grants
		}
		if len(list) == 0 { // deletions handles those that were
			continue
		}
		have, ours := p.have[r.ID()+"."+name]
		change := deployment.Change{Key: r.ID() + "." + name, At: r.At, ID: id, Action: deployment.Unchanged}
		same, live, err := asWanted(ctx, c, k, name, id, listOf(have.State), list)
		if err != nil {
			return nil, err
		}
		switch {
		case !ours || have.ResourceID != id:
			change.Action = deployment.Create
		case !same || have.State != stateOf(list):
			change.Action = deployment.Update
			change.Fields = []deployment.Field{{Path: name, Before: live, After: list}}
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// asWanted tells whether a resource has the permissions or grants of list and
// no more those of before, and which it has.
func asWanted(ctx context.Context, c *caller, k kind, name, id string, before, list []map[string]any) (same bool, live []map[string]any, err error) {
	if id == "" {
		return false, nil, nil
	}
	if name == "grants" {
		if live, err = liveGrants(ctx, c, k, id); err != nil {
			return false, nil, err
		}
		have, want := privileges(live), privileges(list)
		for who, all := range want {
			if slices.ContainsFunc(all, func(p string) bool { return !slices.Contains(have[who], p) }) {
				return false, live, nil
			}
		}
		for who, all := range privileges(before) {
			if slices.ContainsFunc(all, func(p string) bool { return slices.Contains(have[who], p) && !slices.Contains(want[who], p) }) {
				return false, live, nil
			}
		}
		return true, live, nil
	}
	if live, err = livePermissions(ctx, c, k, id); err != nil {
		return false, nil, err
	}
	have, want := levels(k, live), levels(k, list)
	for who, level := range want {
		if have[who] != level {
			return false, live, nil
		}
	}
	for who := range levels(k, before) {
		if want[who] == "" && have[who] != "" && have[who] != "IS_OWNER" {
			return false, live, nil
		}
	}
	return true, live, nil
}

// levels are the levels of permissions by principal, in the words of the type of
// object.
func levels(k kind, list []map[string]any) map[string]string {
	found := map[string]string{}
	for _, p := range list {
		found[principal(p)] = level(k.permissions, text(p["level"]))
	}
	return found
}

// livePermissions are the permissions set on an object itself, in a bundle's
// shape.
func livePermissions(ctx context.Context, c *caller, k kind, id string) (list []map[string]any, err error) {
	if k.livePermissions != nil {
		return k.livePermissions(ctx, c, id)
	}
	var out struct {
		List []map[string]any `json:"access_control_list"`
	}
	err = c.call(ctx, "GET", "/api/2.0/permissions/"+k.permissions+"/"+url.PathEscape(id), nil, &out)
	if missing(err) {
		return nil, nil
	}
	for _, entry := range out.List {
		all, _ := entry["all_permissions"].([]any)
		for _, v := range all {
			granted, _ := v.(map[string]any)
			if inherited, _ := granted["inherited"].(bool); inherited {
				continue
			}
			p := map[string]any{"level": granted["permission_level"]}
			for _, key := range []string{"user_name", "group_name", "service_principal_name"} {
				if entry[key] != nil {
					p[key] = entry[key]
				}
			}
			list = append(list, p)
		}
	}
	return list, err
}

func liveGrants(ctx context.Context, c *caller, k kind, id string) ([]map[string]any, error) {
	var out struct {
		List []map[string]any `json:"privilege_assignments"`
	}
	err := c.call(ctx, "GET", fmt.Sprintf("/api/2.1/unity-catalog/permissions/%s/%s", k.securable, url.PathEscape(id)), nil, &out)
	if missing(err) {
		return nil, nil
	}
	return out.List, err
}

// extras sets permissions and grants where they are not as wanted.
func (w *work) extras(ctx context.Context, k kind, r deployment.Resource, id string) error {
	changes, err := w.plan.extras(ctx, w.c, r, id)
	if err != nil {
		return err
	}
	for _, change := range changes {
		list := r.Permissions
		if strings.HasSuffix(change.Key, ".grants") {
			list = r.Grants
		}
		row := deployments.Resource{Key: change.Key, Kind: r.Type + path.Ext(change.Key), ResourceID: id, State: stateOf(list), Action: actions[change.Action], Owned: true}
		if change.Action != deployment.Unchanged {
			if err := w.setExtras(ctx, k, row, list); err != nil {
				return err
			}
		} else {
			row.Action, row.Live = w.plan.have[change.Key].Action, w.plan.have[change.Key].Live
		}
		if row.Live == "" {
			live, err := w.look(ctx, row)
			if err != nil {
				return err
			}
			row.Live = live
		}
		w.upserts = append(w.upserts, row)
		w.report.Resources = append(w.report.Resources, change)
	}
	return nil
}

// setExtras journals and makes one change of permissions or grants.
func (w *work) setExtras(ctx context.Context, k kind, row deployments.Resource, list []map[string]any) error {
	if strings.HasSuffix(row.Key, ".permissions") && k.permissions == "" {
		return wherry.NotImplemented("permissions of " + row.Kind)
	}
	before := []map[string]any{}
	if have := w.plan.have[row.Key]; have.ResourceID == row.ResourceID { // else those of one that is gone
		before = w.extrasBefore(row.Key)
	}
	op := deployments.Operation{
		DeploymentID: w.version.DeploymentID, Version: w.version.Version, Key: row.Key, Kind: row.Kind, Action: row.Action,
		Status: deployments.OperationPending, ResourceID: row.ResourceID, State: row.State, Before: stateOf(before),
	}
	if err := w.s.store.PutOperation(ctx, op); err != nil {
		return err
	}
	if err := setExtras[path.Ext(row.Key)](ctx, w.c, k, row.ResourceID, before, list); err != nil {
		return err
	}
	op.Status = deployments.OperationSucceeded
	return w.s.store.PutOperation(ctx, op)
}

// extrasBefore are the permissions or grants that the last deploy set.
func (w *work) extrasBefore(key string) []map[string]any { return listOf(w.plan.have[key].State) }

// listOf reads permissions or grants as they are stored.
func listOf(state string) (list []map[string]any) {
	_ = json.Unmarshal([]byte(state), &list) // "" for none
	return list
}

// clearExtras takes permissions or grants away from a resource that stays; with
// one that goes they go by themselves.
func clearExtras(ctx context.Context, c *caller, in *deployment.Request, row deployments.Resource) error {
	owner, what := strings.TrimSuffix(row.Key, path.Ext(row.Key)), path.Ext(row.Kind)
	set, ok := setExtras[what]
	if !ok || !has(in, owner) && !strings.HasPrefix(owner, folderKind+".") {
		return nil
	}
	return set(ctx, c, kindOf(strings.TrimSuffix(row.Kind, what)), row.ResourceID, listOf(row.State), nil)
}

// setPermissions sets the permissions of a resource (stored, and not yet
// enforced). Where no owner is named the present one stays.
func setPermissions(ctx context.Context, c *caller, k kind, id string, before, list []map[string]any) error {
	if k.setPermissions != nil {
		return k.setPermissions(ctx, c, id, before, list)
	}
	live, err := livePermissions(ctx, c, k, id)
	if err != nil {
		return err
	}
	ours := merged(levels(k, before), levels(k, list))
	for _, p := range live { // those of others
		if _, is := ours[principal(p)]; !is && text(p["level"]) != "IS_OWNER" {
			list = append(slices.Clone(list), p)
		}
	}
	return c.call(ctx, "PUT", "/api/2.0/permissions/"+k.permissions+"/"+url.PathEscape(id), map[string]any{"access_control_list": accessList(k, list)}, nil)
}

// accessList writes a bundle's permissions as the APIs take them.
func accessList(k kind, list []map[string]any) []map[string]any {
	entries := []map[string]any{}
	for _, p := range list {
		entry := map[string]any{"permission_level": level(k.permissions, text(p["level"]))}
		for _, key := range []string{"user_name", "group_name", "service_principal_name"} {
			if p[key] != nil {
				entry[key] = p[key]
			}
		}
		entries = append(entries, entry)
	}
	return entries
}

// request is what makes a resource. The permissions of a job come with it: it is
// never there without them.
func request(kindName string, config map[string]any, permissions []map[string]any) map[string]any {
	if kindName != "jobs" || len(permissions) == 0 {
		return config
	}
	body := maps.Clone(config)
	body["access_control_list"] = accessList(kinds[kindName], permissions)
	return body
}

// level is a bundle's level in the words of one type of object: bundles have
// CAN_VIEW, CAN_RUN and CAN_MANAGE for all of them.
func level(object, level string) string {
	words := map[string]map[string]string{
		"jobs":              {"CAN_RUN": "CAN_MANAGE_RUN"},
		"experiments":       {"CAN_VIEW": "CAN_READ", "CAN_RUN": "CAN_READ"},
		"registered-models": {"CAN_VIEW": "CAN_READ", "CAN_RUN": "CAN_READ"},
		"clusters":          {"CAN_VIEW": "CAN_ATTACH_TO", "CAN_RUN": "CAN_RESTART"},
		"directories":       {"CAN_VIEW": "CAN_READ"},
		"secret-scopes":     {"CAN_VIEW": "READ", "CAN_RUN": "READ", "CAN_MANAGE": "MANAGE"},
	}
	if word, ok := words[object][level]; ok {
		return word
	}
	return level
}

// setGrants makes the grants those of list, where those of before were made by
// the last deploy; grants that others made stay.
func setGrants(ctx context.Context, c *caller, k kind, id string, before, list []map[string]any) error {
	add, remove := privileges(list), privileges(before)
	var changes []map[string]any
	for _, principal := range slices.Sorted(maps.Keys(merged(add, remove))) {
		gone := slices.DeleteFunc(remove[principal], func(p string) bool { return slices.Contains(add[principal], p) })
		changes = append(changes, map[string]any{"principal": principal, "add": add[principal], "remove": gone})
	}
	return c.call(ctx, "PATCH", fmt.Sprintf("/api/2.1/unity-catalog/permissions/%s/%s", k.securable, url.PathEscape(id)), map[string]any{"changes": changes}, nil)
}

// privileges are those of a bundle's grants, by principal.
func privileges(grants []map[string]any) map[string][]string {
	found := map[string][]string{}
	for _, g := range grants {
		list, _ := g["privileges"].([]any)
		for _, p := range list {
			found[text(g["principal"])] = append(found[text(g["principal"])], text(p))
		}
	}
	return found
}

func merged[V any](a, b map[string]V) map[string]V {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
