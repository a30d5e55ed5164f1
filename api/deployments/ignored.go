package deployments

import (
	"fmt"
	"strings"

	"github.com/wherry-ml/wherry/store/deployments"
)

// keepIgnored leaves in what is to be written back the fields that the
// environment ignores as they are now: someone may have paused a job. What a
// write does not name stays as it is anyway, but for jobs and clusters.
func (p *place) keepIgnored(row deployments.Resource, config, live map[string]any) map[string]any {
	now := compared(row.Kind, live, config)
	if row.Kind != "jobs" && row.Kind != "clusters" {
		for key := range now {
			if _, written := config[key]; !written {
				delete(now, key)
			}
		}
	}
	kept, _ := p.kept(row.Key, "", config, now).(map[string]any)
	return kept
}

// kept is want with the ignored fields below a path of a resource as live has
// them.
func (p *place) kept(resource, at string, want, live any) any {
	switch w := want.(type) {
	case map[string]any:
		if l, ok := live.(map[string]any); ok {
			return p.keptFields(resource, at, w, l)
		}
	case []any:
		if l, ok := live.([]any); ok {
			return p.keptItems(resource, at, w, l)
		}
	}
	return want
}

func (p *place) keptFields(resource, at string, want, live map[string]any) map[string]any {
	out := map[string]any{}
	for key, w := range want {
		l, there := live[key]
		switch field := join(at, key); {
		case !p.env.Ignores(resource, field):
			out[key] = p.kept(resource, field, w, l)
		case there:
			out[key] = l
		}
	}
	for key, l := range live {
		if _, wanted := want[key]; !wanted && p.env.Ignores(resource, join(at, key)) {
			out[key] = l
		}
	}
	return out
}

// keptItems goes by the names of items as diff does, else by their places.
func (p *place) keptItems(resource, at string, want, live []any) []any {
	key := listKeys[at[strings.LastIndex(at, ".")+1:]]
	named := key != "" && keyed(want, key) && keyed(live, key)
	if !named && len(want) != len(live) {
		return want
	}
	name := func(list []any, i int) string {
		if named {
			return text(list[i].(map[string]any)[key])
		}
		return fmt.Sprint(i)
	}
	find := func(list []any, n string) int {
		for i := range list {
			if name(list, i) == n {
				return i
			}
		}
		return -1
	}
	out := []any{}
	for i, w := range want {
		n := name(want, i)
		field, there := fmt.Sprintf("%s[%s]", at, n), find(live, n)
		switch ignored := p.env.Ignores(resource, field); {
		case there < 0 && !ignored:
			out = append(out, w)
		case there >= 0 && ignored:
			out = append(out, live[there])
		case there >= 0:
			out = append(out, p.kept(resource, field, w, live[there]))
		}
	}
	for i, l := range live {
		n := name(live, i)
		if find(want, n) < 0 && p.env.Ignores(resource, fmt.Sprintf("%s[%s]", at, n)) {
			out = append(out, l)
		}
	}
	return out
}
