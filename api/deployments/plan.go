package deployments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/store/deployments"
)

// unknown stands in a plan for what only exists after the deploy.
const unknown = "(known after deploy)"

// plan is a deployment.Plan with what its execution needs.
type plan struct {
	deployment.Plan
	deployment deployments.Deployment
	exists     bool
	have       map[string]deployments.Resource
	order      []deployment.Resource // as they are to be made
	live       map[string]map[string]any
	lookups    map[string]string
	clusters   map[string]string // stand-in clusters by the id that the bundle names
	wants      []deployment.Want // to be made
	// renames are the new full names of catalogs and schemas by the old ones.
	renames map[string]string
	moved   map[string]string // former keys by the present ones
	forget  []string          // former keys
	// sharers names the other deployments that hold a resource.
	sharers func(ctx context.Context, kind, id string) ([]string, error)
}

// plan compares what is wanted with what is there. It changes nothing.
func (s *Service) plan(ctx context.Context, c *caller, in *deployment.Request) (*plan, error) {
	p := &plan{have: map[string]deployments.Resource{}, live: map[string]map[string]any{}, clusters: map[string]string{}, renames: map[string]string{}, moved: map[string]string{}}
	var err error
	if p.deployment, p.exists, err = s.store.AtRoot(ctx, c.WorkspaceID, in.RootPath); err != nil {
		return nil, err
	}
	p.sharers = s.sharers(c.WorkspaceID, p.deployment.ID)
	var last deployments.Version
	if p.exists {
		list, err := s.store.Resources(ctx, p.deployment.ID)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			p.have[r.Key] = r
		}
		if last, _, err = s.store.LastDeployed(ctx, p.deployment.ID); err != nil {
			return nil, err
		}
		p.DeploymentID, p.Version = p.deployment.ID, last.Version
	}
	if p.order, err = sortResources(in.Resources); err != nil {
		return nil, err
	}
	if p.order, err = selected(p.order, in.Select); err != nil {
		return nil, err
	}
	if p.lookups, err = lookUp(ctx, c, in.Lookups); err != nil {
		return nil, err
	}
	if err := s.planStandIns(ctx, c, in, p); err != nil {
		return nil, err
	}
	before := &deployment.Request{}
	if p.exists {
		if before, err = s.requestBefore(ctx, p.deployment.ID); err != nil {
			return nil, err
		}
	}
	p.moves(in)
	if err := p.changes(ctx, c, in); err != nil {
		return nil, err
	}
	if err := protected(p, in, before); err != nil {
		return nil, err
	}
	s.planFiles(c, in, p)
	p.Source = p.exists && last.Git != deployments.Git(in.Git)
	p.Changes = p.TreeDigest != p.deployment.TreeDigest || p.Source || len(p.Missing) > 0 || p.Version == 0 ||
		slices.ContainsFunc(p.Resources, func(c deployment.Change) bool { return c.Action != deployment.Unchanged }) ||
		slices.ContainsFunc(p.StandIns, func(s deployment.StandIn) bool { return s.New })
	p.Format, p.Digests = 1, p.digests(in)
	return p, nil
}

// changes compares the resources, and their permissions and grants.
func (p *plan) changes(ctx context.Context, c *caller, in *deployment.Request) error {
	known := p.known()
	for _, r := range p.order {
		change, err := p.resource(ctx, c, in, r, known)
		if err != nil {
			return about(r, err)
		}
		p.Resources = append(p.Resources, change)
		extras, err := p.extras(ctx, c, r, change.ID)
		if err != nil {
			return about(r, err)
		}
		p.Resources = append(p.Resources, extras...)
	}
	folder, err := p.folder(ctx, c, in)
	if err != nil {
		return err
	}
	p.Resources = append(p.Resources, folder...)
	if len(in.Select) == 0 {
		p.deletions(in)
	}
	return nil
}

// about puts a resource's name and place before an error for the caller.
func about(r deployment.Resource, err error) error {
	e, ok := errors.AsType[*wherry.Error](err)
	if !ok {
		return fmt.Errorf("%s: %w", r.ID(), err)
	}
	at := ""
	if r.At != "" {
		at = r.At + ": "
	}
	return wherry.Errorf(e.Code, "%s%s: %s", at, r.ID(), e.Message)
}

// known are the fields of resources that exist, by "jobs.x".
func (p *plan) known() map[string]map[string]any {
	known := map[string]map[string]any{}
	for key, r := range p.have {
		known[key] = outputs(r.Kind, r.ResourceID, nil)
	}
	return known
}

// outputs are the fields of a resource that references may name.
func outputs(kind, id string, config map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range config {
		out[key] = value
	}
	out["id"] = id
	switch kind {
	case "jobs":
		out["job_id"] = id
	case "experiments":
		out["experiment_id"] = id
	case "clusters":
		out["cluster_id"] = id
	case "schemas", "registered_models":
		out["full_name"] = id
	case "volumes":
		out["full_name"] = id
		out["volume_path"] = "/Volumes/" + strings.ReplaceAll(id, ".", "/")
	}
	return out
}

// sharers names the deployments besides one that hold a resource.
func (s *Service) sharers(ws int64, except string) func(ctx context.Context, kind, id string) ([]string, error) {
	return func(ctx context.Context, kind, id string) (names []string, err error) {
		list, err := s.store.Sharers(ctx, ws, deployments.Resource{DeploymentID: except, Kind: kind, ResourceID: id})
		for _, d := range list {
			names = append(names, fmt.Sprintf("bundle %s, target %s, at %s", d.Bundle, d.Target, d.RootPath))
		}
		return names, err
	}
}

func (p *plan) resource(ctx context.Context, c *caller, in *deployment.Request, r deployment.Resource, known map[string]map[string]any) (deployment.Change, error) {
	k, change := kinds[r.Type], deployment.Change{Key: r.ID(), At: r.At}
	config := p.resolve(in, r, known, true)
	change.Name = k.name(config)
	have, ours := p.have[r.ID()]
	id := have.ResourceID
	if !ours && k.find != nil && !strings.Contains(change.Name, unknown) {
		var err error
		if id, err = k.find(ctx, c, config); err != nil {
			return change, err
		}
	}
	var live map[string]any
	if id != "" {
		var err error
		if live, err = k.get(ctx, c, id); err != nil {
			return change, err
		}
	}
	p.follow(live, k)
	if live == nil {
		change.Action = deployment.Create
		if !ours {
			known[r.ID()] = map[string]any{}
		}
		return change, nil
	}
	p.live[r.ID()] = live
	change.ID = id
	known[r.ID()] = outputs(r.Type, id, config)
	var last map[string]any
	_ = json.Unmarshal([]byte(have.State), &last) // "" for one that is not ours yet
	change.Fields = diff("", config, live, last)
	change.Action = deployment.Unchanged
	if len(change.Fields) > 0 {
		change.Action = deployment.Update
	}
	if slices.ContainsFunc(change.Fields, func(f deployment.Field) bool { return slices.Contains(k.fixed, f.Path) && f.After != nil }) {
		change.Action = deployment.Recreate
	}
	if to, ok := renamed(k, id, config); ok {
		known[r.ID()] = outputs(r.Type, to, config)
		if change.Action == deployment.Update {
			p.renames[id] = to
		}
	}
	if !ours {
		change.Action = deployment.Bind
		var err error
		if change.SharedWith, err = p.sharers(ctx, r.Type, id); err != nil {
			return change, err
		}
	}
	if change.MovedFrom = p.moved[r.ID()]; change.MovedFrom != "" && change.Action == deployment.Unchanged {
		change.Action = deployment.Move
	}
	return change, nil
}

// follow writes the new names of a securable's parents that will be renamed, or
// were: it moves along and does not change.
func (p *plan) follow(live map[string]any, k kind) {
	if live == nil || k.securable == "" {
		return
	}
	catalog, schema := text(live["catalog_name"]), text(live["schema_name"])
	if to, ok := p.renames[catalog]; ok && catalog != "" {
		live["catalog_name"] = to
	}
	if to, ok := p.renames[catalog+"."+schema]; ok && schema != "" {
		live["schema_name"] = to[strings.LastIndex(to, ".")+1:]
	}
}

func stateOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "null"
	}
	return string(b)
}

// deletions are what the deployment holds and the bundle has no more.
func (p *plan) deletions(in *deployment.Request) {
	wanted := map[string]bool{}
	for _, r := range append([]deployment.Resource{rootFolder(in)}, in.Resources...) {
		wanted[r.ID()] = true
		wanted[r.ID()+".permissions"] = len(r.Permissions) > 0
		wanted[r.ID()+".grants"] = len(r.Grants) > 0
	}
	for _, key := range sortedKeys(p.have) {
		if !wanted[key] {
			p.Resources = append(p.Resources, deployment.Change{Key: key, Action: deployment.Delete, ID: p.have[key].ResourceID})
		}
	}
}

func sortedKeys(m map[string]deployments.Resource) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (s *Service) planFiles(c *caller, in *deployment.Request, p *plan) {
	p.TreeDigest = digestOf(in.Files)
	before := map[string]deployment.File{}
	for _, f := range s.filesOf(p.deployment.TreeDigest) {
		before[f.Path] = f
	}
	for _, f := range in.Files {
		old, there := before[f.Path]
		switch {
		case !there:
			p.Files.Added = append(p.Files.Added, f.Path)
		case old.SHA256 != f.SHA256 || old.Exec != f.Exec:
			p.Files.Changed = append(p.Files.Changed, f.Path)
		default:
			p.Files.Unchanged++
		}
		delete(before, f.Path)
	}
	for name := range before {
		p.Files.Removed = append(p.Files.Removed, name)
	}
	slices.Sort(p.Files.Removed)
	p.Missing, p.Files.Bytes = s.missingBlobs(in.Files, in.Libraries)
	if p.TreeDigest != "" && p.TreeDigest == p.deployment.TreeDigest {
		if !s.isLive(c.WorkspaceID, in.FilePath) { // someone deleted the live files
			p.Source = true
		}
	}
}

// reference is ${resources.jobs.x.id}.
var reference = regexp.MustCompile(`\$\{resources\.([\w-]+)\.([\w-]+)\.([\w.-]+)\}`)

// resolve replaces references in a resource's settings by what is known; in a
// plan the rest is named unknown.
func (p *plan) resolve(in *deployment.Request, r deployment.Resource, known map[string]map[string]any, planning bool) map[string]any {
	replace := func(s string) any {
		for ref, id := range p.lookups {
			s = strings.ReplaceAll(s, ref, id)
		}
		if m := reference.FindStringSubmatch(s); m != nil && m[0] == s {
			if v, ok := known[m[1]+"."+m[2]][m[3]]; ok {
				if m[1] == "jobs" && (m[3] == "id" || m[3] == "job_id") {
					return number(fmt.Sprint(v))
				}
				return v
			}
		}
		return reference.ReplaceAllStringFunc(s, func(whole string) string {
			m := reference.FindStringSubmatch(whole)
			if v, ok := known[m[1]+"."+m[2]][m[3]]; ok {
				return fmt.Sprint(v)
			}
			if planning {
				return unknown
			}
			return whole
		})
	}
	config, _ := walk(r.Config, replace).(map[string]any)
	if r.Type == "jobs" {
		p.decorate(in, config)
	}
	if normal := kinds[r.Type].normal; normal != nil {
		normal(config)
	}
	return config
}

// decorate adds what tells a bundle's job from one made by hand, and puts
// stand-ins in the place of clusters that do not exist.
func (p *plan) decorate(in *deployment.Request, config map[string]any) {
	config["deployment"] = map[string]any{"kind": "BUNDLE", "metadata_file_path": in.StatePath + "/metadata.json"}
	if _, ok := config["edit_mode"]; !ok {
		config["edit_mode"] = "UI_LOCKED"
	}
	if _, ok := config["format"]; !ok {
		config["format"] = "MULTI_TASK"
	}
	for _, task := range tasksOf(config) {
		if id, ok := p.clusters[text(task["existing_cluster_id"])]; ok {
			task["existing_cluster_id"] = id
		}
	}
}

// tasksOf lists a job's tasks and those inside of its loops.
func tasksOf(config map[string]any) (tasks []map[string]any) {
	list, _ := config["tasks"].([]any)
	for _, v := range list {
		task, _ := v.(map[string]any)
		if task == nil {
			continue
		}
		tasks = append(tasks, task)
		if loop, _ := task["for_each_task"].(map[string]any); loop != nil {
			if nested, _ := loop["task"].(map[string]any); nested != nil {
				tasks = append(tasks, nested)
			}
		}
	}
	return tasks
}

// walk copies a document with every string replaced.
func walk(v any, replace func(string) any) any {
	switch v := v.(type) {
	case string:
		return replace(v)
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = walk(item, replace)
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, item := range v {
			m[key] = walk(item, replace)
		}
		return m
	}
	return v
}
