package deployments

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/bundle/deployment"
)

// listKeys tell the items of a list apart.
var listKeys = map[string]string{
	"tasks": "task_key", "job_clusters": "job_cluster_key", "environments": "environment_key", "parameters": "name", "tags": "key",
}

// diff lists the fields in which want differs from what is there. Fields that
// only live has are the server's, unless last, the settings of the last deploy,
// had them too: then they are taken away.
func diff(path string, want, live, last any) (fields []deployment.Field) {
	switch w := want.(type) {
	case map[string]any:
		l, ok := live.(map[string]any)
		if !ok {
			break
		}
		before, _ := last.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(w)) {
			if _, there := l[key]; !there && empty(w[key]) {
				continue
			}
			fields = append(fields, diff(join(path, key), w[key], l[key], before[key])...)
		}
		for _, key := range slices.Sorted(maps.Keys(before)) {
			if _, wanted := w[key]; !wanted && l[key] != nil && !empty(l[key]) {
				fields = append(fields, deployment.Field{Path: join(path, key), Before: l[key]})
			}
		}
		return fields
	case []any:
		l, ok := live.([]any)
		if !ok {
			break
		}
		before, _ := last.([]any)
		return diffLists(path, w, l, before)
	}
	if same(want, live) {
		return nil
	}
	return []deployment.Field{{Path: path, Before: live, After: want}}
}

func diffLists(path string, want, live, last []any) (fields []deployment.Field) {
	key := listKeys[path[strings.LastIndex(path, ".")+1:]]
	if key == "" || !keyed(want, key) || !keyed(live, key) {
		if len(want) != len(live) {
			return []deployment.Field{{Path: path, Before: live, After: want}}
		}
		for i := range want {
			var before any
			if i < len(last) {
				before = last[i]
			}
			fields = append(fields, diff(fmt.Sprintf("%s[%d]", path, i), want[i], live[i], before)...)
		}
		return fields
	}
	name := func(v any) string { return text(v.(map[string]any)[key]) }
	find := func(list []any, n string) any {
		for _, v := range list {
			if m, ok := v.(map[string]any); ok && text(m[key]) == n {
				return v
			}
		}
		return nil
	}
	for _, w := range want {
		at := fmt.Sprintf("%s[%s]", path, name(w))
		if l := find(live, name(w)); l != nil {
			fields = append(fields, diff(at, w, l, find(last, name(w)))...)
		} else {
			fields = append(fields, deployment.Field{Path: at, After: w})
		}
	}
	for _, l := range live {
		if find(want, name(l)) == nil && (key != "key" || find(last, name(l)) != nil) { // an experiment has tags of its own
			fields = append(fields, deployment.Field{Path: fmt.Sprintf("%s[%s]", path, name(l)), Before: l})
		}
	}
	return fields
}

func keyed(list []any, key string) bool {
	for _, v := range list {
		if m, ok := v.(map[string]any); !ok || text(m[key]) == "" {
			return false
		}
	}
	return true
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// empty tells whether a value says no more than a missing one.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// same compares as JSON, an integer and its text being the same: APIs give ids
// back as either.
func same(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	if errA != nil || errB != nil {
		return false
	}
	return string(x) == string(y) || strings.Trim(string(x), `"`) == strings.Trim(string(y), `"`)
}
