package action

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// versions of a program that this machine has, by path.
type installed struct {
	path, version string
}

func (c *call) versions(ctx context.Context, paths []string, argv ...string) (list []installed) {
	for _, p := range paths {
		text, err := ask(ctx, "", append([]string{p}, argv...)...)
		if err != nil {
			continue // it does not run: as good as not there
		}
		for word := range strings.FieldsSeq(text) {
			word = strings.Trim(strings.TrimPrefix(word, "v"), `"`)
			if word != "" && word[0] >= '0' && word[0] <= '9' {
				list = append(list, installed{p, word})
				break
			}
		}
	}
	slices.SortStableFunc(list, func(a, b installed) int { return compare(b.version, a.version) })
	return list
}

// compare orders dotted versions by their numbers.
func compare(a, b string) int {
	as, bs := numbers(a), numbers(b)
	for i := range max(len(as), len(bs)) {
		x, y := 0, 0
		if i < len(as) {
			x = as[i]
		}
		if i < len(bs) {
			y = bs[i]
		}
		if x != y {
			return x - y
		}
	}
	return 0
}

func numbers(version string) (list []int) {
	for part := range strings.FieldsFuncSeq(version, func(r rune) bool { return r == '.' || r == '_' || r == '+' || r == '-' }) {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		list = append(list, n)
	}
	return list
}

// dotted is an operator with a version, x for any in its last places; what comes
// after - is not looked at.
var dotted = regexp.MustCompile(`^[<>=~^!]*v?\d+([._+]\d+)*([._][xX*])*(-.*)?$`)

// spaced are operators with a space before their version.
var spaced = regexp.MustCompile(`([<>=~^!]+)\s+`)

// satisfies reports whether a version is what a workflow asks for: an exact
// version or its first parts, x for any, or comparisons, all of which must hold;
// of several with || between them, one must.
func satisfies(version, want string) bool {
	for either := range strings.SplitSeq(want, "||") {
		all := true
		for term := range strings.FieldsFuncSeq(spaced.ReplaceAllString(either, "$1"), func(r rune) bool { return r == ' ' || r == ',' }) {
			all = all && holds(version, term)
		}
		if all {
			return true
		}
	}
	return false
}

// holds is one comparison. The operators are those of npm's ranges, of
// Terraform's constraints (~>) and of Python's (~=, ==, !=).
func holds(version, term string) bool {
	if term == "*" || term == "x" || term == "latest" {
		return true
	}
	if !dotted.MatchString(term) { // such as pypy3.10, or 3.13t: another program
		return false
	}
	op := term[:len(term)-len(strings.TrimLeft(term, "<>=~^!"))]
	value := strings.TrimPrefix(term[len(op):], "v")
	n, have, want := compare(version, value), numbers(version), numbers(value)
	begins := slices.Equal(first(have, len(want)), want)
	switch op {
	case ">=":
		return n >= 0
	case ">":
		return n > 0
	case "<=":
		return n <= 0
	case "<":
		return n < 0
	case "!=":
		return !begins
	case "^":
		return n >= 0 && slices.Equal(first(have, 1), first(want, 1))
	case "~":
		return n >= 0 && slices.Equal(first(have, 2), first(want, 2))
	case "~>", "~=":
		keep := max(1, len(want)-1)
		return n >= 0 && slices.Equal(first(have, keep), first(want, keep))
	default:
		return begins
	}
}

func first(list []int, n int) []int { return list[:min(n, len(list))] }

// choose takes the newest version that is wanted, or says which there are.
func choose(what string, have []installed, want string) (installed, error) {
	for _, h := range have {
		if satisfies(h.version, want) {
			return h, nil
		}
	}
	var names []string
	for _, h := range have {
		names = append(names, h.version)
	}
	if len(names) == 0 {
		return installed{}, fmt.Errorf("there is no %s on this machine: install %s %s", what, what, want)
	}
	return installed{}, fmt.Errorf("%s %s is not on this machine, which has %s: install it, or ask for one of these", what, want, strings.Join(names, ", "))
}

// wanted are the versions that an input lists, or else the one in a file that
// another names, or that is there by a usual name. None is any.
func (c *call) wanted(input, file string, usual ...string) ([]string, error) {
	if v := c.lines(input); len(v) > 0 {
		return v, nil
	}
	name := c.input(file)
	for _, u := range usual {
		if _, err := os.Stat(filepath.Join(workspace(), u)); err == nil && name == "" {
			name = u
		}
	}
	if name == "" {
		return []string{""}, nil
	}
	b, err := os.ReadFile(filepath.Join(workspace(), name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	version, err := versionIn(filepath.Base(name), string(b), strings.TrimSuffix(file, "-version-file"))
	if err != nil {
		return nil, fmt.Errorf("%s: %s %w", file, name, err)
	}
	return []string{version}, nil
}

// versionIn finds a tool's version in a file of the kinds that projects keep.
func versionIn(name, text, tool string) (string, error) {
	switch {
	case strings.HasSuffix(name, ".toml"):
		for line := range strings.SplitSeq(text, "\n") {
			if key, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == "requires-python" {
				return strings.Trim(strings.TrimSpace(value), `"'`), nil
			}
		}
		return "", errors.New("has no requires-python")
	case name == ".tool-versions":
		for line := range strings.SplitSeq(text, "\n") {
			if words := strings.Fields(line); len(words) > 1 && (words[0] == tool || words[0] == tool+"js") { // nodejs
				return words[1][strings.LastIndex(words[1], "-")+1:], nil // temurin-17.0.1
			}
		}
		return "", fmt.Errorf("has no %s", tool)
	case name == "package.json":
		var p struct{ Volta, Engines struct{ Node string } }
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			return "", err
		}
		return cmp.Or(p.Volta.Node, p.Engines.Node), nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return line, nil
		}
	}
	return "", errors.New("is empty")
}
