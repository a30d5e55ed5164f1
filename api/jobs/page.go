package jobs

import (
	"encoding/json"
	"strconv"

	"github.com/wherry-ml/wherry"
)

// pageSize is at how many elements version 2.2 cuts the lists inside of an
// object.
const pageSize = 100

func pageOffset(token string) (int, error) {
	if token == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(token)
	if err != nil || n < 0 {
		return 0, wherry.Errorf(wherry.CodeInvalidParameter, "page_token %q is not one that this server gave", token)
	}
	return n, nil
}

// page cuts a list; more reports whether something follows.
func page[T any](list []T, offset int) (part []T, more bool) {
	if offset >= len(list) {
		return []T{}, false
	}
	end := min(offset+pageSize, len(list))
	return list[offset:end], end < len(list)
}

// tooLarge refuses what versions before 2.2 cannot show.
func tooLarge(v version, what string, id int64, tasks int) error {
	if v.paged || tasks <= pageSize {
		return nil
	}
	return wherry.Errorf(wherry.CodeInvalidParameter, "The %s %d has more than %d tasks: API version 2.2 is needed to read it.", what, id, pageSize)
}

// pagedFields are the lists of the settings that are cut.
var pagedFields = []string{"tasks", "job_clusters", "environments", "parameters"}

// settingsPage renders settings as they were received, with the defaults that
// clients rely on, from an offset into the long lists on. Without expand, tasks
// and clusters are left out.
func settingsPage(s *wherry.JobSettings, v version, offset int, expand bool) (raw json.RawMessage, more bool, err error) {
	fields := map[string]json.RawMessage{
		"format":                json.RawMessage(`"MULTI_TASK"`),
		"timeout_seconds":       json.RawMessage("0"),
		"max_concurrent_runs":   json.RawMessage("1"),
		"email_notifications":   json.RawMessage("{}"),
		"webhook_notifications": json.RawMessage("{}"),
	}
	if err := json.Unmarshal(s.Raw, &fields); err != nil {
		return nil, false, err
	}
	fields["format"] = json.RawMessage(`"MULTI_TASK"`)
	for _, name := range pagedFields {
		if !expand && (name == "tasks" || name == "job_clusters") {
			more = more || v.paged && len(s.Tasks) > pageSize
			delete(fields, name)
			continue
		}
		var list []json.RawMessage
		if fields[name] == nil || json.Unmarshal(fields[name], &list) != nil || !v.paged || offset == 0 && len(list) <= pageSize {
			continue
		}
		part, again := page(list, offset)
		more = more || again
		if fields[name], err = json.Marshal(part); err != nil {
			return nil, false, err
		}
	}
	raw, err = json.Marshal(fields)
	return raw, more, err
}
