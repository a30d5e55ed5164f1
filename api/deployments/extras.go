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

// setExtras make the permissions or grants of a resource those of list, where
// before are those that the last deploy set.
var setExtras = map[string]func(ctx context.Context, c *caller, k kind, id string, before, list []map[string]any) error{
	".permissions": setPermissions, ".grants": setGrants,
}

// extras sets permissions and grants where they differ from the last deploy's.
func (w *work) extras(ctx context.Context, k kind, r deployment.Resource, id string) error {
	for _, change := range w.plan.extras(r) {
		list := r.Permissions
		if strings.HasSuffix(change.Key, ".grants") {
			list = r.Grants
		}
		row := deployments.Resource{Key: change.Key, Kind: r.Type + path.Ext(change.Key), ResourceID: id, State: stateOf(list), Action: actions[change.Action], Owned: true}
		if change.Action != deployment.Unchanged {
			if strings.HasSuffix(change.Key, ".permissions") && k.permissions == "" {
				return wherry.NotImplemented("permissions of " + r.Type)
			}
			op := deployments.Operation{
				DeploymentID: w.version.DeploymentID, Version: w.version.Version, Key: change.Key, Kind: row.Kind, Action: row.Action,
				Status: deployments.OperationPending, ResourceID: id, State: row.State, Before: stateOf(w.extrasBefore(change.Key)),
			}
			if err := w.s.store.PutOperation(ctx, op); err != nil {
				return err
			}
			if err := setExtras[path.Ext(change.Key)](ctx, w.c, k, id, w.extrasBefore(change.Key), list); err != nil {
				return err
			}
			op.Status = deployments.OperationSucceeded
			if err := w.s.store.PutOperation(ctx, op); err != nil {
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
		change.ID = id
		w.upserts = append(w.upserts, row)
		w.report.Resources = append(w.report.Resources, change)
	}
	return nil
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
	if !ok || !has(in, owner) {
		return nil
	}
	return set(ctx, c, kinds[strings.TrimSuffix(row.Kind, what)], row.ResourceID, listOf(row.State), nil)
}

// setPermissions replaces the permissions of a resource (stored, and not yet
// enforced); its maker stays its owner.
func setPermissions(ctx context.Context, c *caller, k kind, id string, _, list []map[string]any) error {
	entries := []map[string]any{}
	owner := false
	for _, p := range list {
		level := level(k.permissions, text(p["level"]))
		owner = owner || level == "IS_OWNER"
		entry := map[string]any{"permission_level": level}
		for _, key := range []string{"user_name", "group_name", "service_principal_name"} {
			if p[key] != nil {
				entry[key] = p[key]
			}
		}
		entries = append(entries, entry)
	}
	if !owner && k.permissions == "jobs" {
		entries = append(entries, map[string]any{"user_name": c.UserName, "permission_level": "IS_OWNER"})
	}
	return c.call(ctx, "PUT", "/api/2.0/permissions/"+k.permissions+"/"+url.PathEscape(id), map[string]any{"access_control_list": entries}, nil)
}

// level is a bundle's level in the words of one type of object.
func level(object, level string) string {
	switch {
	case object == "jobs" && level == "CAN_RUN":
		return "CAN_MANAGE_RUN"
	case object == "experiments" && (level == "CAN_VIEW" || level == "CAN_RUN"):
		return "CAN_READ"
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

func merged(a, b map[string][]string) map[string][]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
