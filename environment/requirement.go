package environment

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
)

// options of requirements files that say where packages come from, with what
// they take: an address, or nothing. All others are refused: they read files of
// the server, or have packages built.
var options = map[string]bool{
	"-i": true, "--index-url": true, "--extra-index-url": true, "-f": true, "--find-links": true,
	"--no-index": false, "--pre": false, "--prefer-binary": false, "--require-hashes": false,
}

// named is a package by name, perhaps with extras, followed by versions, a
// marker, hashes or an address.
var named = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^\]]*\])?\s*([<>=!~;@(\s].*)?$`)

// archive is the end of a file's name: uv takes such a name for a path.
var archive = regexp.MustCompile(`\.(whl|zip|tar|tgz|tbz|tar\.[a-z0-9]+)$`)

// sortRequirements checks lines as requirements files have them and tells those
// that say where packages come from from the packages. The server installs
// them, outside of all sandboxes: so it builds none, which would run their
// code, and reads no file that a line names.
func sortRequirements(lines []string) (sources, packages []string, err error) {
	for _, raw := range lines {
		line := strings.TrimSpace(comment.ReplaceAllString(raw, ""))
		switch {
		case line == "":
		case strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' }):
			return nil, nil, wherry.Errorf(wherry.CodeInvalidParameter, "the library %q is not one line", raw)
		case strings.HasPrefix(line, "-"):
			if line, err = source(line); err != nil {
				return nil, nil, err
			}
			sources = append(sources, line)
		default:
			if err := installable(line); err != nil {
				return nil, nil, err
			}
			packages = append(packages, line)
		}
	}
	return sources, packages, nil
}

var comment = regexp.MustCompile(`(^|\s)#.*`)

// source checks a line like "--index-url https://…".
func source(line string) (string, error) {
	name, value, _ := strings.Cut(line, " ")
	if before, after, ok := strings.Cut(name, "="); ok && value == "" {
		name, value = before, after
	}
	value = strings.TrimSpace(value)
	takes, known := options[name]
	switch {
	case !known:
		return "", wherry.Errorf(wherry.CodeInvalidParameter, "the option %s of libraries is not supported by wherry: take it out, or install with %%pip in a notebook", name)
	case !takes && value == "":
		return name, nil
	case !takes || !isAddress(value):
		return "", wherry.Errorf(wherry.CodeInvalidParameter, "the library option %q needs one address that begins with https:// or http://", line)
	}
	return name + " " + value, nil
}

// installable refuses a requirement that names a file, or sources.
func installable(line string) error {
	refused := func() error {
		return wherry.Errorf(wherry.CodeInvalidParameter, "the library %q is neither the name of a package nor the address of a wheel: build a wheel and name its path, or install with %%pip in a notebook", line)
	}
	fields := strings.Fields(line)
	if slices.ContainsFunc(fields[1:], func(f string) bool { return strings.HasPrefix(f, "-") && !strings.HasPrefix(f, "--hash=") }) {
		return refused()
	}
	if isAddress(fields[0]) {
		return nil
	}
	if !named.MatchString(line) || archive.MatchString(strings.ToLower(fields[0])) {
		return refused()
	}
	requirement, _, _ := strings.Cut(line, ";")
	if _, address, ok := strings.Cut(requirement, "@"); ok {
		if fields := strings.Fields(address); len(fields) == 0 || !isAddress(fields[0]) {
			return refused()
		}
	}
	return nil
}

// isAddress reports whether s is a web address. One with a variable is none:
// uv would fill in the server's own.
func isAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && !strings.ContainsAny(s, " \t$")
}
