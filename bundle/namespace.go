package bundle

import (
	"regexp"

	"github.com/wherry-ml/wherry/bundle/config"
)

// A namespace lets one target be deployed many times beside itself, once for
// each pull request: the root path ends with it, and so every name begins.

// namespaceNames are fit for a path and, with "_" for "-", for a schema.
var namespaceNames = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

func (b *Bundle) checkNamespace() {
	ns := b.opts.Namespace
	if ns == "" {
		return
	}
	at := b.Config.Get("bundle")
	if !namespaceNames.MatchString(ns) {
		b.Problems.Errorf(posOf(at), "%q is no namespace: it has 1 to 40 small letters, digits and dashes, as in pr-12", ns)
	}
	if b.Mode == Production {
		b.Problems.Errorf(posOf(at), "a namespace is for trying things out, and target %s has mode: production", b.Target)
	}
}

// namespaced puts the namespace before what the mode and the presets put before
// names, and pauses what would start by itself.
func (b *Bundle) namespaced(p *preset) {
	ns := b.opts.Namespace
	p.own = normal(ns)
	p.prefix, p.ucPrefix = "["+ns+"] "+p.prefix, p.own+p.ucPrefix
	if p.pause == "" {
		p.pause = "PAUSED"
	}
	p.tags = append(p.tags, config.Field{Key: "namespace", Value: config.NewString(ns, config.Pos{})})
	p.schemas = map[string]bool{}
	for _, r := range b.Resources() {
		if r.Type == "schemas" {
			p.schemas[r.Value.Get("catalog_name").Text()+"."+r.Value.Get("name").Text()] = true
		}
	}
}

// captureParents lets volumes and models that name a schema of the bundle, and
// all that name a catalog of it, follow when that gets a prefix.
func (b *Bundle) captureParents() {
	catalogs, schemas := map[string]string{}, map[string]string{}
	for _, r := range b.Resources() {
		name := r.Value.Get("name").Text()
		switch r.Type {
		case "catalogs":
			catalogs[name] = r.Key
		case "schemas":
			schemas[r.Value.Get("catalog_name").Text()+"."+name] = r.Key
		}
	}
	for _, r := range b.Resources() {
		switch r.Type {
		case "volumes", "registered_models":
			schema := r.Value.Get("schema_name")
			if key, ok := schemas[r.Value.Get("catalog_name").Text()+"."+schema.Text()]; ok && schema.Text() != "" {
				schema.Scalar = "${resources.schemas." + key + ".name}"
			}
			fallthrough
		case "schemas":
			catalog := r.Value.Get("catalog_name")
			if key, ok := catalogs[catalog.Text()]; ok && catalog.Text() != "" {
				catalog.Scalar = "${resources.catalogs." + key + ".name}"
			}
		}
	}
}
