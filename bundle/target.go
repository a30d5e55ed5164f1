package bundle

import (
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/bundle/config"
)

// listKeys are the lists whose items are told apart by a key; a target's item
// is merged into the one with the same key.
var listKeys = map[string]string{
	"tasks": "task_key", "job_clusters": "job_cluster_key", "environments": "environment_key", "parameters": "name",
}

// merge lays over on base: maps deep, keyed lists by key, other lists one
// after the other, anything else replaced. It does not change its arguments.
func merge(path string, base, over *config.Value) *config.Value {
	if base == nil || over == nil || base.Kind != over.Kind || base.Kind != config.Map && base.Kind != config.List {
		if over == nil {
			return base
		}
		return over
	}
	if base.Kind == config.List {
		return mergeLists(path, base, over)
	}
	m := &config.Value{Kind: config.Map, At: base.At, Fields: slices.Clone(base.Fields)}
	for _, f := range over.Fields {
		old := m.Field(f.Key)
		if old == nil {
			m.Fields = append(m.Fields, f)
			continue
		}
		*old = config.Field{Key: f.Key, At: f.At, Value: merge(config.Join(path, f.Key), old.Value, f.Value)}
	}
	return m
}

func mergeLists(path string, base, over *config.Value) *config.Value {
	list := &config.Value{Kind: config.List, At: over.At, Items: slices.Clone(base.Items)}
	parts := strings.Split(path, ".")
	key := ""
	if len(parts) == 4 && parts[0] == "resources" && parts[1] == "jobs" {
		key = listKeys[parts[3]]
	}
	if len(parts) == 4 && parts[0] == "resources" && parts[1] == "pipelines" && parts[3] == "clusters" {
		key = "label"
	}
	for _, item := range over.Items {
		i := -1
		if key != "" {
			i = slices.IndexFunc(list.Items, func(v *config.Value) bool {
				return v.Get(key).Text() != "" && v.Get(key).Text() == item.Get(key).Text()
			})
		}
		if i < 0 {
			list.Items = append(list.Items, item)
			continue
		}
		list.Items[i] = merge(path+"[]", list.Items[i], item)
	}
	return list
}

// selectTarget finds the target and lays it over the bundle. It is false if
// there is nothing to go on with.
func (b *Bundle) selectTarget() bool {
	targets := b.Config.Get("targets")
	if targets == nil {
		targets = b.Config.Get("environments")
	}
	target := b.findTarget(targets)
	if target == nil {
		return false
	}
	b.Target = target.Key
	b.Mode = target.Value.Get("mode").Text()
	over := config.NewMap(target.At)
	for _, f := range target.Value.Entries() {
		switch f.Key {
		case "default", "mode", "variables":
		case "git":
			git := config.NewMap(f.At)
			git.Set("git", f.Value)
			over.Set("bundle", merge("bundle", git, over.Get("bundle")))
		case "cluster_id":
			b.opts.ClusterID = or(b.opts.ClusterID, f.Value.Text())
		default:
			over.Set(f.Key, merge(f.Key, over.Get(f.Key), f.Value))
		}
	}
	if over.Get("run_as") != nil { // one principal, not two merged
		b.Config.Delete("run_as")
	}
	b.Config = merge("", b.Config, over).Copy()
	b.Config.Delete("targets")
	b.Config.Delete("environments")
	b.targetVariables(target.Value.Get("variables"))
	return true
}

func (b *Bundle) findTarget(targets *config.Value) *config.Field {
	entries := targets.Entries()
	var names, defaults []string
	for _, f := range entries {
		names = append(names, f.Key)
		if f.Value.Get("default").True() {
			defaults = append(defaults, f.Key)
		}
	}
	name := b.opts.Target
	switch {
	case name == "" && len(entries) == 0:
		return &config.Field{Key: "default", Value: config.NewMap(config.Pos{File: b.File, Line: 1, Column: 1})}
	case name == "" && len(defaults) > 1:
		b.Problems.Errorf(targets.Field(defaults[1]).At, "two targets are the default: %s", strings.Join(defaults, ", "))
		return nil
	case name == "" && len(defaults) == 1:
		name = defaults[0]
	case name == "" && len(entries) == 1:
		name = names[0]
	case name == "":
		b.Problems.Errorf(targets.At, "no target is the default: name one with -t (%s), or write default: true in one", strings.Join(names, ", "))
		return nil
	}
	if f := targets.Field(name); f != nil {
		return f
	}
	p := config.Problem{Severity: config.Error, Message: "there is no target " + name, Hint: "the targets are " + or(strings.Join(names, ", "), "none")}
	if targets != nil {
		p.At = targets.At
	}
	b.Problems.Add(p)
	return nil
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// TargetNames lists the targets of the bundle at dir, for completions: none for
// a bundle that cannot be read.
func TargetNames(dir string) (names []string) {
	root, file, err := Find(dir)
	if err != nil {
		return nil
	}
	b := &Bundle{Root: root, File: file, Problems: &config.Problems{}}
	for _, f := range b.readFiles().Get("targets").Entries() {
		names = append(names, f.Key)
	}
	return names
}
