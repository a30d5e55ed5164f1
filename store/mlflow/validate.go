package mlflow

import (
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of the reference server (mlflow/utils/validation.py), in characters.
const (
	maxKeyLen            = 250
	maxParamLen          = 6000
	maxTagLen            = 8000
	maxExperimentNameLen = 500
	maxExperimentTagLen  = 20000
	maxRegistryTagLen    = 100_000
	maxDatasetNameLen    = 500
	maxDatasetDigestLen  = 36
	maxDatasetSchemaLen  = 1048575
	maxDatasetSourceLen  = 65535
	maxDatasetProfileLen = 16777215
	maxAliasLen          = 255
	maxDescriptionLen    = 100_000
)

var (
	keyPattern   = regexp.MustCompile(`^[/\p{L}\p{N}_.\- :]*$`)
	aliasPattern = regexp.MustCompile(`^[\w\-]+$`)
	aliasVersion = regexp.MustCompile(`^[vV]\d+$`)
)

// checkKey refuses names that could be taken for a path elsewhere.
func checkKey(what, name string) error {
	if name == "" {
		return invalid("Missing value for required parameter '%s'. A key name must be provided.", what)
	}
	if utf8.RuneCountInString(name) > maxKeyLen {
		return invalid("'%s' exceeds the maximum length of %d characters", what, maxKeyLen)
	}
	if !keyPattern.MatchString(name) {
		return invalid("Invalid value %q for parameter '%s' supplied: Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).", name, what)
	}
	if n := path.Clean(name); n != name || n == "." || strings.HasPrefix(n, "..") || strings.HasPrefix(n, "/") {
		return invalid("Invalid value %q for parameter '%s' supplied: Names may be treated as files in certain cases, and must not resolve to other names when treated as such. This name would resolve to %q", name, what, n)
	}
	return nil
}

func checkLen(what, value string, limit int) error {
	if len(value) > limit && utf8.RuneCountInString(value) > limit {
		return invalid("'%s' exceeds the maximum length of %d characters", what, limit)
	}
	return nil
}

// truncate cuts a value as the reference server does (MLFLOW_TRUNCATE_LONG_VALUES
// is on there): autologging must not fail for a long param.
func truncate(value string, limit int) string {
	if len(value) <= limit || utf8.RuneCountInString(value) <= limit {
		return value
	}
	return string([]rune(value)[:limit])
}

// checkText refuses what neither database can store.
func checkText(what, value string) error {
	if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		return invalid("'%s' contains characters that are not text", what)
	}
	return nil
}

// ParseExperimentID reads an experiment's id.
func ParseExperimentID(id string) (int64, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n < 0 {
		return 0, invalid("Invalid experiment ID '%s'. Experiment ID must be a valid integer.", id)
	}
	return n, nil
}

func checkAlias(alias string) error {
	switch {
	case alias == "":
		return invalid("Registered model alias name cannot be empty.")
	case len(alias) > maxAliasLen:
		return invalid("'Registered model alias name' exceeds the maximum length of %d characters", maxAliasLen)
	case !aliasPattern.MatchString(alias):
		return invalid("Invalid alias name: '%s'. Names may only contain alphanumerics, underscores (_), and dashes (-).", alias)
	case strings.EqualFold(alias, "latest"):
		return invalid("'latest' alias name (case insensitive) is reserved.")
	case aliasVersion.MatchString(alias):
		return invalid("Version alias name '%s' is reserved.", alias)
	}
	return nil
}
