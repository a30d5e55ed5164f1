package cli_test

import (
	"encoding/json"
	"strconv"
	"strings"
)

// lookup follows a dotted path; numbers index lists. Text is given as it is,
// anything else as JSON, nothing as "".
func lookup(doc any, path string) string {
	for part := range strings.SplitSeq(path, ".") {
		switch v := doc.(type) {
		case map[string]any:
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
