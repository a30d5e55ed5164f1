package wherry

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// keyed are the lists that an update merges by key.
var keyed = map[string]string{"tasks": "task_key", "job_clusters": "job_cluster_key"}

// Merge applies jobs/update: top-level fields of change replace those of s
// whole, but the entries of tasks and job_clusters are replaced by key and the
// others stay. remove names top-level fields, tasks/KEY and job_clusters/KEY.
func (s *JobSettings) Merge(change json.RawMessage, remove []string) (*JobSettings, error) {
	have, order, err := object(s.Raw)
	if err != nil {
		return nil, err
	}
	for _, name := range remove {
		list, key, isEntry := strings.Cut(name, "/")
		if !isEntry {
			delete(have, name)
			continue
		}
		if keyed[list] == "" {
			return nil, Errorf(CodeInvalidParameter, "fields_to_remove: %q is neither a field nor tasks/KEY nor job_clusters/KEY", name)
		}
		if have[list], err = mergeList(have[list], nil, keyed[list], key); err != nil {
			return nil, err
		}
	}
	if isSet(change) {
		given, names, err := object(change)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if key := keyed[name]; key != "" {
				if given[name], err = mergeList(have[name], given[name], key, ""); err != nil {
					return nil, err
				}
			}
			have[name] = given[name]
			if !slices.Contains(order, name) {
				order = append(order, name)
			}
		}
	}
	return settingsOf(have, order)
}

// With returns the settings with one more field, unless they have it.
func (s *JobSettings) With(name string, value json.RawMessage) (*JobSettings, error) {
	have, order, err := object(s.Raw)
	if err != nil || have[name] != nil {
		return s, err
	}
	have[name] = value
	return settingsOf(have, append(order, name))
}

func settingsOf(fields map[string]json.RawMessage, order []string) (*JobSettings, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for _, name := range order {
		if fields[name] == nil {
			continue
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(fields[name])
	}
	b.WriteByte('}')
	merged := &JobSettings{}
	return merged, json.Unmarshal(b.Bytes(), merged)
}

// object reads a JSON object, and the order of its names.
func object(raw json.RawMessage) (fields map[string]json.RawMessage, order []string, err error) {
	fields = map[string]json.RawMessage{}
	if len(raw) == 0 {
		return fields, nil, nil
	}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, nil, Errorf(CodeInvalidParameter, "the settings are not a JSON object: %v", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return nil, nil, err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, nil, err
		}
		if key := name.(string); !slices.Contains(order, key) {
			order = append(order, key)
		}
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			return nil, nil, err
		}
	}
	return fields, order, nil
}

// mergeList replaces by key the entries of have that given has too, appends the
// new ones, and takes the entry with the key drop out.
func mergeList(have, given json.RawMessage, key, drop string) (json.RawMessage, error) {
	if have == nil && given == nil {
		return nil, nil
	}
	var list, news []json.RawMessage
	for raw, to := range map[*json.RawMessage]*[]json.RawMessage{&have: &list, &given: &news} {
		if len(*raw) > 0 {
			if err := json.Unmarshal(*raw, to); err != nil {
				return nil, Errorf(CodeInvalidParameter, "a list of objects with %s is expected: %v", key, err)
			}
		}
	}
	nameOf := func(e json.RawMessage) string {
		var fields map[string]json.RawMessage
		var name string
		if json.Unmarshal(e, &fields) == nil {
			_ = json.Unmarshal(fields[key], &name) // an entry without a key is refused by Validate
		}
		return name
	}
	list = slices.DeleteFunc(list, func(e json.RawMessage) bool { return drop != "" && nameOf(e) == drop })
	for _, e := range news {
		name := nameOf(e)
		i := slices.IndexFunc(list, func(o json.RawMessage) bool { return nameOf(o) == name })
		if i >= 0 {
			list[i] = e
		} else {
			list = append(list, e)
		}
	}
	if list == nil {
		list = []json.RawMessage{}
	}
	return json.Marshal(list)
}
