package bundle

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/wherry-ml/wherry/bundle/config"
	"github.com/wherry-ml/wherry/bundle/schema"
)

// readFiles reads the main file and those it includes into one tree. Each is
// checked by itself first, so that a mistake in any target is told.
func (b *Bundle) readFiles() *config.Value {
	main := b.readFile(b.File)
	if main == nil {
		return nil
	}
	for _, name := range b.included(main.Get("include")) {
		v := b.readFile(name)
		if v == nil {
			continue
		}
		if include := v.Field("include"); include != nil {
			b.Problems.Warnf(include.At, "include has an effect in %s only", b.File)
		}
		b.duplicates(main, v)
		v.Delete("include")
		main = merge("", main, v)
	}
	if main.Get("bundle", "name") == nil && !b.Problems.Failed() {
		b.Problems.Errorf(config.Pos{File: b.File, Line: 1, Column: 1}, `the bundle needs a name: write "bundle: {name: …}"`)
	}
	return main
}

func (b *Bundle) readFile(name string) *config.Value {
	src, err := os.ReadFile(filepath.Join(b.Root, name))
	if err != nil {
		b.Problems.Errorf(config.Pos{File: name}, "cannot be read: %v", err)
		return nil
	}
	b.Includes = append(b.Includes, name)
	v := config.Parse(filepath.ToSlash(name), src, b.Problems)
	if v == nil {
		return nil
	}
	if v.Kind != config.Map {
		b.Problems.Errorf(v.At, "a bundle file is a map of keys, and this is %s", v.Kind)
		return nil
	}
	v.Fields = slices.DeleteFunc(v.Fields, func(f config.Field) bool { // places for YAML anchors
		return strings.HasPrefix(f.Key, "_") || strings.HasPrefix(f.Key, "x-") || strings.HasPrefix(f.Key, ".")
	})
	check := schema.Checker{Problems: b.Problems, References: true, Partial: true}
	check.Check(v, "bundle_file", "")
	return v
}

// included expands the include globs: sorted within each, each file once.
func (b *Bundle) included(include *config.Value) (names []string) {
	for _, pattern := range include.List() {
		glob := filepath.ToSlash(filepath.Clean(pattern.Text()))
		if strings.Contains(glob, "${") {
			b.Problems.Errorf(pattern.At, "include cannot hold references: %q is taken as it stands", pattern.Text())
			continue
		}
		if strings.HasPrefix(glob, "../") || strings.HasPrefix(glob, "/") {
			b.Problems.Errorf(pattern.At, "%q is outside of the bundle's folder", pattern.Text())
			continue
		}
		found, err := doublestar.Glob(os.DirFS(b.Root), glob, doublestar.WithFilesOnly())
		if err != nil {
			b.Problems.Errorf(pattern.At, "%q is not a valid pattern", pattern.Text())
			continue
		}
		if len(found) == 0 && !strings.ContainsAny(glob, "*?[{") {
			b.Problems.Errorf(pattern.At, "there is no file %s", pattern.Text())
		}
		slices.Sort(found)
		for _, name := range found {
			if ext := filepath.Ext(name); ext != ".yml" && ext != ".yaml" && ext != ".json" {
				b.Problems.Errorf(pattern.At, "%s is included and is no YAML or JSON file", name)
				continue
			}
			if name != b.File && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// duplicates reports resources that two files define.
func (b *Bundle) duplicates(have, more *config.Value) {
	for _, section := range more.Get("resources").Entries() {
		for _, f := range section.Value.Entries() {
			if old := have.Get("resources", section.Key).Field(f.Key); old != nil {
				b.Problems.Add(config.Problem{
					Severity: config.Error, At: f.At, Message: "resources." + section.Key + "." + f.Key + " is defined twice",
					Hint: "the other one is at " + old.At.String(),
				})
			}
		}
	}
}

// checkTypes checks the resolved tree: values that came through references, and
// required keys. Sections that are of no use any more are left out.
func checkTypes(v *config.Value, problems *config.Problems) {
	check := schema.Checker{Problems: problems, References: true}
	for section, typ := range map[string]string{
		"resources": "resources", "permissions": "[]permission", "run_as": "job_run_as", "artifacts": "map[]artifact", "sync": "sync", "presets": "presets",
	} {
		check.Check(v.Get(section), typ, section)
	}
}
