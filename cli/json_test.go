package cli_test

import (
	"encoding/json"
	"strconv"
	"strings"
)

// lookup follows a dotted path; numbers index lists, and the last key may have
// dots itself. Text is given as it is, anything else as JSON, nothing as "".
func lookup(doc any, path string) string {
	for rest := path; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, ".")
		switch v := doc.(type) {
		case map[string]any:
			if whole, ok := v[part+"."+rest]; ok {
				rest, doc = "", whole
				break
			}
			doc = v[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(v) {
				return ""
			}
			doc = v[i]
		default:
			return ""
		}
	}
	if s, ok := doc.(string); ok {
		return s
	}
	if doc == nil {
		return ""
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
