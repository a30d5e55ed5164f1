package adopt

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/wherry-ml/wherry/bundle/config"
)

// try adopts a field and looks at what came of it: the file must be YAML still,
// and differ in that field only. Else it stays as it was.
func (p *Patch) try(bundle *config.Value, f Field) (why string, err error) {
	before := map[string][]byte{}
	edits := map[string]int{}
	for name, file := range p.files {
		before[name], edits[name] = file.after(), len(file.edits)
	}
	resource, rest := find(bundle.Get("resources"), f.Resource)
	switch {
	case resource == nil || rest != "":
		return "the bundle does not declare " + f.Resource, nil
	case resource.Kind != config.Map:
		return fmt.Sprintf("%s: it is a list: change it by hand, %s to %s", resource.At, inline(f.Before), inline(f.After)), nil
	case strings.Contains(inline(f.After), "${"):
		return fmt.Sprintf("%s: a bundle reads ${…} in %s as a variable: write it by hand", resource.At, inline(f.After)), nil
	}
	at := resource.At
	if v, _ := find(resource, f.Path); v != nil && v.At.File != "" {
		at = v.At
	}
	if why, err = p.adopt(resource, f); err != nil || why != "" {
		if why != "" && at.File != "" && !strings.Contains(why, at.File) {
			why = at.String() + ": " + why
		}
		return why, err
	}
	for name, file := range p.files {
		if len(file.edits) == edits[name] {
			continue
		}
		was, ok := before[name]
		if !ok {
			was = file.before
		}
		if !onlyThat(was, file.after(), f) {
			file.edits = file.edits[:edits[name]]
			return fmt.Sprintf("%s: it is written in a way that cannot be changed in place: change it by hand to %s", at, inline(f.After)), nil
		}
	}
	return "", nil
}

// itemPath tells whether a path ends in an item of a list that the resource has:
// "tasks[a]".
func itemPath(resource *config.Value, path string) (list *config.Value, name string, ok bool) {
	inner, ok := strings.CutSuffix(path, "]")
	i := strings.LastIndexByte(inner, '[')
	if !ok || i < 0 {
		return nil, "", false
	}
	list, rest := find(resource, inner[:i])
	return list, inner[i+1:], list != nil && rest == "" && list.Kind == config.List
}

// change is a place in which two documents differ; nil for what is missing.
type change struct {
	path    string // as of a Field, from the document's root on
	was, is any
}

// differ lists where two documents differ. A list is one place if items came or
// went, or if they are no maps. Items are called by their names where a path
// that is looked for does.
func differ(path, wanted string, was, is any) (list []change) {
	switch w := was.(type) {
	case map[string]any:
		m, ok := is.(map[string]any)
		if !ok {
			break
		}
		keys := slices.AppendSeq(slices.Collect(maps.Keys(w)), maps.Keys(m))
		slices.Sort(keys)
		for _, key := range slices.Compact(keys) {
			list = append(list, differ(path+"."+key, wanted, w[key], m[key])...)
		}
		return list
	case []any:
		l, ok := is.([]any)
		if !ok || len(w) != len(l) || !maplike(w) || !maplike(l) {
			break
		}
		for i := range w {
			name := fmt.Sprintf("[%d]", i)
			for _, key := range listKeys {
				if n := fmt.Sprintf("[%v]", w[i].(map[string]any)[key]); strings.Contains(wanted, n) {
					name = n
				}
			}
			list = append(list, differ(path+name, wanted, w[i], l[i])...)
		}
		return list
	}
	if equal(was, is) {
		return nil
	}
	return []change{{path, was, is}}
}

func maplike(list []any) bool {
	return !slices.ContainsFunc(list, func(v any) bool {
		_, ok := v.(map[string]any)
		return !ok
	})
}

// onlyThat tells whether a file, read as YAML before and after, differs in what
// a field says and in nothing else: an anchor, for one, says it elsewhere too.
func onlyThat(before, after []byte, f Field) bool {
	var was, is any
	if yaml.Unmarshal(before, &was) != nil || yaml.Unmarshal(after, &is) != nil {
		return false
	}
	list := differ("", f.Path, was, is)
	if len(list) != 1 {
		return false
	}
	c, wanted := list[0], "."+f.Resource+"."+f.Path
	if w, ok := c.was.([]any); ok && strings.HasSuffix(f.Path, "]") {
		l, _ := c.is.([]any)
		if f.After == nil {
			w, l = l, w
		}
		return strings.HasSuffix(c.path, wanted[:strings.LastIndexByte(wanted, '[')]) && oneMore(w, l, f)
	}
	for !equal(c.is, f.After) { // the maps that a new field is in are new too
		m, ok := c.is.(map[string]any)
		if !ok || len(m) != 1 {
			return false
		}
		for key, v := range m {
			c.path, c.is = c.path+"."+key, v
		}
	}
	return strings.HasSuffix(c.path, wanted)
}

// oneMore tells whether a list has one item more than another, the one that a
// field names.
func oneMore(less, more []any, f Field) bool {
	for i, v := range more {
		if len(more) != len(less)+1 || !equal(less, slices.Delete(slices.Clone(more), i, i+1)) {
			continue
		}
		if f.After != nil {
			return equal(v, f.After)
		}
		name := strings.TrimSuffix(f.Path[strings.LastIndexByte(f.Path, '[')+1:], "]")
		m, _ := v.(map[string]any)
		return name == fmt.Sprint(i) || slices.ContainsFunc(listKeys, func(key string) bool { return fmt.Sprint(m[key]) == name })
	}
	return false
}
