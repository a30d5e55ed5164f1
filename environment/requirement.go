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

// wanted is what requirements say, line by line.
type wanted struct {
	sources     []string // options that say where packages come from
	packages    []string
	constraints []string // as packages; they say what is not to be taken
}

// sortRequirements checks lines as requirements files have them, but for -c,
// after which comes a line of a constraints file. The server installs the
// packages, outside of all sandboxes: so it builds none, which would run their
// code, and reads no file that a line names.
func sortRequirements(lines []string) (w wanted, err error) {
	for _, raw := range lines {
		line := strings.TrimSpace(comment.ReplaceAllString(raw, ""))
		constraint, isConstraint := strings.CutPrefix(line, "-c ")
		switch {
		case line == "":
		case strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' }):
			return w, wherry.Errorf(wherry.CodeInvalidParameter, "the library %q is not one line", raw)
		case isConstraint:
			constraint = strings.TrimSpace(constraint)
			if err := installable(constraint); err != nil {
				return w, err
			}
			w.constraints = append(w.constraints, constraint)
		case strings.HasPrefix(line, "-"):
			if line, err = source(line); err != nil {
				return w, err
			}
			w.sources = append(w.sources, line)
		default:
			if err := installable(line); err != nil {
				return w, err
			}
			w.packages = append(w.packages, line)
		}
	}
	return w, nil
}

// hashes are the options --hash of a package's lines, "" if it has none.
func (w wanted) hashes(name string) (all string) {
	for _, line := range slices.Concat(w.packages, w.constraints) {
		for _, f := range strings.Fields(line) {
			if strings.HasPrefix(f, "--hash=") && normal(line) == normal(name) {
				all += " " + f
			}
		}
	}
	return all
}

// normal is the name at the beginning of a requirement in the one spelling that
// indexes give it.
func normal(requirement string) string {
	return strings.ToLower(separators.ReplaceAllString(beginning.FindString(requirement), "-"))
}

var (
	beginning  = regexp.MustCompile(`^[A-Za-z0-9._-]+`)
	separators = regexp.MustCompile(`[._-]+`)
)

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
