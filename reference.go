package wherry

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// References resolves dynamic value references, {{job.id}} and the like, for
// one attempt. They are substituted in strings; there are no expressions. What
// is malformed, or of an unknown namespace, stays as it is.
type References struct {
	Run     *Run
	TaskRun *TaskRun
	BaseURL string // workspace.url
	// Value returns a task value as JSON, ok false if it was not set.
	Value func(taskKey, name string) (value json.RawMessage, ok bool)

	// Scalars refuses task values that are neither numbers, strings nor booleans,
	// as the operands of a condition do.
	Scalars bool

	parameters map[string]string // job parameters, their own references resolved
}

// aliases are the deprecated references that have one name only.
var aliases = map[string][]string{
	"job_id": {"job", "id"}, "run_id": {"task", "run_id"}, "parent_run_id": {"job", "run_id"}, "task_key": {"task", "name"},
	"start_date": {"job", "start_time", "iso_date"}, "start_time": {"job", "start_time", "timestamp_ms"},
	"task_retry_count": {"task", "retry_count"},
}

// Expand replaces the references in text. It fails, for the task that wanted
// it, on a value that should exist and does not.
func (x *References) Expand(text string) (string, error) {
	return expand(text, x.lookup)
}

// expand calls lookup for each well-formed reference; ok false leaves the text.
func expand(text string, lookup func(path []string) (value string, ok bool, err error)) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	var b strings.Builder
	for {
		i := strings.Index(text, "{{")
		if i < 0 {
			b.WriteString(text)
			return b.String(), nil
		}
		b.WriteString(text[:i])
		text = text[i:]
		path, n := parseReference(text)
		if n == 0 {
			b.WriteString("{{")
			text = text[2:]
			continue
		}
		if len(path) == 1 && aliases[path[0]] != nil {
			path = aliases[path[0]]
		}
		value, ok, err := lookup(path)
		if err != nil {
			return "", err
		}
		if !ok {
			value = text[:n]
		}
		b.WriteString(value)
		text = text[n:]
	}
}

// parseReference reads `{{ a.b.`c d` }}` at the start of text and returns its
// parts and length; length 0 if it is not well formed.
func parseReference(text string) (path []string, length int) {
	rest := strings.TrimLeft(text[2:], " \t\r\n")
	for {
		var part string
		if strings.HasPrefix(rest, "`") {
			end := strings.IndexByte(rest[1:], '`')
			if end <= 0 {
				return nil, 0
			}
			part, rest = rest[1:1+end], rest[end+2:]
		} else {
			n := strings.IndexFunc(rest, func(r rune) bool { return !isIdentifier(r) })
			if n <= 0 {
				return nil, 0
			}
			part, rest = rest[:n], rest[n:]
		}
		path = append(path, part)
		if after, more := strings.CutPrefix(rest, "."); more {
			rest = after
			continue
		}
		rest, ok := strings.CutPrefix(strings.TrimLeft(rest, " \t\r\n"), "}}")
		if !ok {
			return nil, 0
		}
		return path, len(text) - len(rest)
	}
}

func isIdentifier(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

var timeParts = []string{"iso_weekday", "is_weekday", "iso_date", "iso_datetime", "year", "month", "day", "hour", "minute", "second", "timestamp_ms"}

// timePart renders a part of a time, in UTC.
func timePart(ms int64, part string) (string, bool) {
	t := time.UnixMilli(ms).UTC()
	weekday := (int(t.Weekday())+6)%7 + 1
	switch part {
	case "iso_weekday":
		return strconv.Itoa(weekday), true
	case "is_weekday":
		return strconv.FormatBool(weekday < 6), true
	case "iso_date":
		return t.Format(time.DateOnly), true
	case "iso_datetime":
		return t.Format(time.RFC3339), true
	case "year":
		return strconv.Itoa(t.Year()), true
	case "month":
		return strconv.Itoa(int(t.Month())), true
	case "day":
		return strconv.Itoa(t.Day()), true
	case "hour":
		return strconv.Itoa(t.Hour()), true
	case "minute":
		return strconv.Itoa(t.Minute()), true
	case "second":
		return strconv.Itoa(t.Second()), true
	case "timestamp_ms":
		return strconv.FormatInt(ms, 10), true
	}
	return "", false
}

func (x *References) lookup(path []string) (string, bool, error) {
	if checkReference(path) != nil {
		return "", false, nil
	}
	r := x.Run
	switch path[0] {
	case "job":
		return x.jobReference(path[1:])
	case "task":
		return x.taskReference(x.TaskRun, path[1])
	case "tasks":
		return x.upstreamReference(path[1], path[2:])
	case "workspace":
		if path[1] == "id" {
			return strconv.FormatInt(r.WorkspaceID, 10), true, nil
		}
		return x.BaseURL, x.BaseURL != "", nil
	case "input":
		return x.inputReference(path[1:])
	}
	return "", false, nil
}

func (x *References) jobReference(path []string) (string, bool, error) {
	r := x.Run
	switch path[0] {
	case "id":
		return strconv.FormatInt(r.JobID, 10), true, nil
	case "name":
		return r.Name, true, nil
	case "run_id":
		return strconv.FormatInt(r.ID, 10), true, nil
	case "repair_count":
		return strconv.Itoa(len(r.Repairs)), true, nil
	case "start_time":
		v, ok := timePart(r.StartTime, path[1])
		return v, ok, nil
	case "parameters":
		v, ok := x.parameters[path[1]]
		if !ok && x.parameters != nil {
			return "", false, Errorf(CodeInvalidParameter, "{{job.parameters.%s}}: the job has no parameter of that name", path[1])
		}
		return v, ok, nil
	case "trigger":
		if path[1] == "type" {
			return strings.ToLower(r.Trigger), true, nil
		}
		if path[1] == "time" && r.TriggerTime > 0 {
			v, ok := timePart(r.TriggerTime, path[2])
			return v, ok, nil
		}
	}
	return "", false, nil
}

func (x *References) taskReference(t *TaskRun, name string) (string, bool, error) {
	if t == nil {
		return "", false, nil
	}
	switch name {
	case "name":
		return t.Key, true, nil
	case "run_id":
		return strconv.FormatInt(t.ID, 10), true, nil
	case "execution_count":
		return strconv.Itoa(t.Number + 1), true, nil
	case "retry_count":
		return strconv.Itoa(x.Run.tries(t) - 1), true, nil
	case "notebook_path":
		if task := x.Run.TaskOf(t); task != nil && task.Notebook != nil {
			return task.Notebook.Path, true, nil
		}
	}
	return "", false, nil
}

func (x *References) upstreamReference(key string, path []string) (string, bool, error) {
	t := x.Run.Latest(key)
	switch path[0] {
	case "values":
		raw, ok := x.Value(key, path[1])
		if !ok {
			return "", false, Errorf(CodeInvalidParameter, "{{tasks.%s.values.%s}}: task %q has set no value of that name", key, path[1], key)
		}
		if x.Scalars && len(raw) > 0 && (raw[0] == '{' || raw[0] == '[') {
			return "", false, Errorf(CodeInvalidParameter, "{{tasks.%s.values.%s}} is neither a number, a string nor a boolean", key, path[1])
		}
		v, err := valueText(raw)
		return v, err == nil, err
	case "result_state":
		if t != nil && t.Terminal() {
			return strings.ToLower(t.Result), true, nil
		}
	case "error_code":
		if t != nil && t.Terminal() {
			return t.Status().Termination.Code, true, nil
		}
	default:
		return x.taskReference(t, path[0])
	}
	return "", false, nil
}

func (x *References) inputReference(path []string) (string, bool, error) {
	if x.TaskRun == nil || x.TaskRun.Input == nil {
		return "", false, nil
	}
	raw := x.TaskRun.Input
	for _, key := range path {
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil || object[key] == nil {
			return "", false, Errorf(CodeInvalidParameter, "{{input.%s}}: the element %s has no such key", strings.Join(path, "."), x.TaskRun.Input)
		}
		raw = object[key]
	}
	v, err := valueText(raw)
	return v, err == nil, err
}

// valueText is a JSON value as references and widgets show it: strings without
// quotes, everything else as JSON.
func valueText(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || raw[0] != '"' {
		return string(raw), nil
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

// checkReference returns what is wrong with a reference of a known namespace,
// and nil with ok for a good one. An unknown namespace is an error too: callers
// that validate ask knownNamespace first.
func checkReference(path []string) error {
	bad := Errorf(CodeInvalidParameter, "{{%s}} is not a reference that exists", strings.Join(path, "."))
	at := func(i int) string {
		if i < len(path) {
			return path[i]
		}
		return ""
	}
	isTime := func(i int) bool { return len(path) == i+1 && slices.Contains(timeParts, path[i]) }
	ok := false
	switch path[0] {
	case "job":
		switch at(1) {
		case "id", "name", "run_id", "repair_count":
			ok = len(path) == 2
		case "start_time":
			ok = isTime(2)
		case "parameters":
			ok = len(path) == 3
		case "trigger":
			ok = at(2) == "type" && len(path) == 3 || at(2) == "time" && isTime(3) ||
				at(2) == "file_arrival" && at(3) == "location" || at(2) == "table_update" && len(path) > 3
		}
	case "task":
		ok = len(path) == 2 && slices.Contains([]string{"name", "run_id", "execution_count", "notebook_path", "retry_count"}, path[1])
	case "tasks":
		switch at(2) {
		case "run_id", "result_state", "error_code", "execution_count", "notebook_path":
			ok = len(path) == 3
		case "values":
			ok = len(path) == 4
		case "output":
			ok = len(path) > 3
		}
	case "workspace":
		ok = len(path) == 2 && (path[1] == "id" || path[1] == "url")
	case "input":
		ok = true
	case "backfill":
		ok = isTime(1)
	}
	if !ok {
		return bad
	}
	return nil
}

func knownNamespace(name string) bool {
	return slices.Contains([]string{"job", "task", "tasks", "workspace", "input", "backfill"}, name)
}

// CheckReferences finds references in text that can never be resolved:
// {{job.naem}}, or a task that is not an ancestor, which upstream decides.
func CheckReferences(text string, upstream func(taskKey string) bool) error {
	_, err := expand(text, func(path []string) (string, bool, error) {
		if !knownNamespace(path[0]) {
			return "", false, nil
		}
		if err := checkReference(path); err != nil {
			return "", false, err
		}
		if path[0] == "tasks" && !upstream(path[1]) {
			return "", false, Errorf(CodeInvalidParameter, "{{%s}}: task %q is not upstream of the task that refers to it",
				strings.Join(path, "."), path[1])
		}
		return "", false, nil
	})
	return err
}

// expandStrings replaces references in each string below v, a value as
// encoding/json makes it.
func (x *References) expandStrings(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return x.Expand(v)
	case []any:
		for i := range v {
			e, err := x.expandStrings(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = e
		}
	case map[string]any:
		for k := range v {
			e, err := x.expandStrings(v[k])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			v[k] = e
		}
	}
	return v, nil
}
