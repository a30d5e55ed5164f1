package bundle

import (
	"path"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/bundle/config"
)

// Modes.
const (
	Development = "development"
	Production  = "production"
)

// devConcurrentRuns is how many runs of a job may go on at once in development,
// unless the job says so itself.
const devConcurrentRuns = 4

// preset is what a mode and the presets section change in resources.
type preset struct {
	prefix     string // of names that people read: "[dev ada] "
	ucPrefix   string // of names that take letters, digits and _ only: "dev_ada_"
	pause      string // trigger_pause_status
	concurrent int64
	tags       []config.Field
	home       string // the user's folder, for experiments without one
	// own is the prefix, in the manner of ucPrefix, of what else must not be
	// shared with another namespace; "" outside of one.
	own     string
	schemas map[string]bool // those of the bundle, by full name: volumes in them need no prefix
}

// applyMode changes names, triggers, tags and compute as the target's mode and
// presets say. The presets win over the mode.
func (b *Bundle) applyMode() {
	p := b.preset()
	b.captureParents()
	for _, r := range b.Resources() {
		b.checkSupported(r)
		if r.Value.Kind == config.Map {
			p.apply(r)
		}
	}
	if b.opts.ClusterID == "" {
		b.opts.ClusterID = b.Config.Get("bundle", "cluster_id").Text()
	}
	if b.opts.ClusterID != "" {
		b.overrideCompute(b.opts.ClusterID)
	}
}

func (b *Bundle) preset() preset {
	home := "/Users/" + b.User + "/"
	p, s := preset{home: home}, b.Config.Get("presets")
	if b.Mode == Development {
		short := b.ShortName()
		p = preset{home: home, prefix: "[dev " + short + "] ", ucPrefix: "dev_" + short + "_", pause: "PAUSED", concurrent: devConcurrentRuns}
		p.tags = []config.Field{{Key: "dev", Value: config.NewString(short, config.Pos{})}}
	}
	if v := s.Get("name_prefix"); v != nil && v.Kind == config.String {
		p.prefix = v.Text()
		p.ucPrefix = normal(v.Text())
	}
	if v := s.Get("trigger_pause_status").Text(); v != "" {
		p.pause = v
	}
	if v := s.Get("jobs_max_concurrent_runs"); v != nil && v.Kind == config.Int {
		p.concurrent = v.Scalar.(int64)
	}
	for _, f := range s.Get("tags").Entries() {
		if f.Value.Kind != config.Null {
			p.tags = append(p.tags, f)
		}
	}
	if b.opts.Namespace != "" {
		b.namespaced(&p)
	}
	return p
}

// normal makes a prefix fit for a catalog object: "[dev ada] " → "dev_ada_".
func normal(prefix string) string {
	if prefix == "" {
		return ""
	}
	words := strings.FieldsFunc(clean(prefix, ' '), func(r rune) bool { return r == ' ' })
	if len(words) == 0 {
		return ""
	}
	return strings.TrimSuffix(strings.Join(words, "_"), "_") + "_"
}

func (p preset) apply(r Resource) {
	name := r.Value.Get("name")
	switch r.Type {
	case "jobs":
		if name == nil {
			name = config.NewString(r.Key, r.At)
			r.Value.Set("name", name)
		}
		p.rename(name, p.prefix)
		p.job(r.Value)
		p.tagMap(r.Value)
	case "experiments":
		p.experiment(r.Value, name)
	case "schemas", "registered_models":
		p.rename(name, p.ucPrefix)
	case "models":
		p.rename(name, p.prefix)
		p.tagList(r.Value)
	case "clusters":
		p.rename(r.Value.Get("cluster_name"), p.prefix)
		for _, tag := range p.tags {
			r.Value.Child("custom_tags").SetDefault(tag.Key, tag.Value)
		}
	case "catalogs", "external_locations", "secret_scopes":
		p.rename(name, p.own)
	case "volumes":
		if !p.schemas[r.Value.Get("catalog_name").Text()+"."+r.Value.Get("schema_name").Text()] && !strings.HasPrefix(r.Value.Get("schema_name").Text(), "${resources.") {
			p.rename(name, p.own)
		}
	}
}

func (p preset) rename(name *config.Value, prefix string) {
	if name != nil && name.Kind == config.String && !strings.HasPrefix(name.Text(), prefix) {
		name.Scalar = prefix + name.Text()
	}
}

// experiment prefixes the last part of an experiment's path, and puts a
// relative name into a folder, as the tracking server asks for one.
func (p preset) experiment(v, name *config.Value) {
	if name == nil || name.Kind != config.String {
		return
	}
	dir, base := path.Split(name.Text())
	if !strings.HasPrefix(dir, "/") {
		dir = p.home + dir
		name.Scalar = dir + base
	}
	if base != "" && !strings.HasPrefix(base, p.prefix) {
		name.Scalar = dir + p.prefix + base
	}
	p.tagList(v)
}

// tagList adds tags to a list of keys and values.
func (p preset) tagList(v *config.Value) {
	tags := v.Get("tags")
	for _, tag := range p.tags {
		if tags == nil {
			tags = &config.Value{Kind: config.List, At: v.At}
			v.Set("tags", tags)
		}
		item := config.NewMap(v.At)
		item.Set("key", config.NewString(tag.Key, v.At))
		item.Set("value", config.NewString(tag.Value.Text(), v.At))
		tags.Items = append(tags.Items, item)
	}
}

func (p preset) tagMap(v *config.Value) {
	for _, tag := range p.tags {
		v.Child("tags").SetDefault(tag.Key, tag.Value)
	}
}

func (p preset) job(v *config.Value) {
	if p.concurrent > 0 {
		v.SetDefault("max_concurrent_runs", config.Of(p.concurrent, v.At))
	}
	if p.pause == "" {
		return
	}
	for _, kind := range []string{"schedule", "trigger", "continuous"} {
		if t := v.Get(kind); t != nil && t.Kind == config.Map {
			t.SetDefault("pause_status", config.NewString(p.pause, t.At))
		}
	}
	for _, t := range v.Get("triggers").List() {
		if t.Kind == config.Map {
			t.SetDefault("pause_status", config.NewString(p.pause, t.At))
		}
	}
}

// overrideCompute lets all tasks run on one cluster, in development only.
func (b *Bundle) overrideCompute(id string) {
	if b.Mode != Development {
		b.Problems.Errorf(b.Config.Get("bundle").At, "a cluster that replaces all compute (cluster_id, --cluster-id) is for mode: development, and target %s has mode %q", b.Target, b.Mode)
		return
	}
	for _, r := range b.Resources() {
		for _, task := range r.Value.Get("tasks").List() {
			overrideTask(task, id)
			overrideTask(task.Get("for_each_task", "task"), id)
		}
		if r.Type == "jobs" {
			r.Value.Delete("job_clusters")
		}
	}
}

func overrideTask(task *config.Value, id string) {
	if task == nil || task.Kind != config.Map || task.Get("environment_key") != nil {
		return
	}
	if task.Get("new_cluster") == nil && task.Get("job_cluster_key") == nil && task.Get("existing_cluster_id") == nil {
		return
	}
	task.Delete("new_cluster")
	task.Delete("job_cluster_key")
	task.Set("existing_cluster_id", config.NewString(id, task.At))
}

// Supported are the resource types that can be deployed.
var Supported = []string{
	"jobs", "experiments", "models", "registered_models", "catalogs", "schemas", "volumes", "external_locations", "clusters", "secret_scopes",
}

func (b *Bundle) checkSupported(r Resource) {
	if !slices.Contains(Supported, r.Type) {
		b.Problems.Errorf(r.At, "resources of type %s are not supported by wherry yet (it deploys %s)", r.Type, strings.Join(Supported, ", "))
	}
}
