package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity tells an error, which stops a deploy, from a warning.
type Severity string

// Severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Problem is one thing that is wrong, and where.
type Problem struct {
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"` // what to do about it
	At       Pos      `json:"at"`
}

// Problems collects what is wrong with a bundle, so that all of it is told at
// once, and holds the files' text for the excerpts.
type Problems struct {
	list    []Problem
	sources map[string][]string
}

// Source remembers the text of a file for excerpts.
func (ps *Problems) Source(name string, src []byte) {
	if ps.sources == nil {
		ps.sources = map[string][]string{}
	}
	ps.sources[name] = strings.Split(strings.ReplaceAll(string(src), "\r\n", "\n"), "\n")
}

// Add adds a problem unless the same one is there already.
func (ps *Problems) Add(p Problem) {
	if !slices.Contains(ps.list, p) {
		ps.list = append(ps.list, p)
	}
}

// Errorf adds an error.
func (ps *Problems) Errorf(at Pos, format string, args ...any) {
	ps.Add(Problem{Severity: Error, At: at, Message: fmt.Sprintf(format, args...)})
}

// Warnf adds a warning.
func (ps *Problems) Warnf(at Pos, format string, args ...any) {
	ps.Add(Problem{Severity: Warning, At: at, Message: fmt.Sprintf(format, args...)})
}

// List returns the problems by place: errors and warnings as they stand in the
// files, those without a place first.
func (ps *Problems) List() []Problem {
	sorted := slices.Clone(ps.list)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.At.File, b.At.File), cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Column, b.At.Column))
	})
	return sorted
}

// Failed tells whether there is an error among the problems.
func (ps *Problems) Failed() bool {
	return slices.ContainsFunc(ps.list, func(p Problem) bool { return p.Severity == Error })
}

// Count returns how many errors and warnings there are.
func (ps *Problems) Count() (errors, warnings int) {
	for _, p := range ps.list {
		if p.Severity == Error {
			errors++
		} else {
			warnings++
		}
	}
	return errors, warnings
}

// Format renders one problem with its line and a caret:
//
//	databricks.yml:12:9: error: unknown key "ntebook_task": did you mean "notebook_task"?
//	  12 |         ntebook_task:
//	     |         ^
func (ps *Problems) Format(p Problem) string {
	var b strings.Builder
	if at := p.At.String(); at != "" {
		b.WriteString(at + ": ")
	}
	fmt.Fprintf(&b, "%s: %s\n", p.Severity, p.Message)
	if lines := ps.sources[p.At.File]; p.At.Line >= 1 && p.At.Line <= len(lines) {
		number := fmt.Sprint(p.At.Line)
		line := []rune(strings.ReplaceAll(lines[p.At.Line-1], "\t", " "))
		column := min(max(p.At.Column-1, 0), len(line))
		from := 0
		if column > 80 { // keep the caret in sight of a very long line
			from = column - 40
		}
		fmt.Fprintf(&b, "  %s | %s\n", number, string(line[from:min(len(line), from+120)]))
		fmt.Fprintf(&b, "  %s | %s^\n", strings.Repeat(" ", len(number)), strings.Repeat(" ", column-from))
	}
	if p.Hint != "" {
		fmt.Fprintf(&b, "  %s\n", p.Hint)
	}
	return b.String()
}

// Nearest returns the name among names that is most like name, "" if none is
// near enough to be meant.
func Nearest(name string, names []string) string {
	best, bestDistance := "", max(2, len(name)/3)+1
	for _, n := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d < bestDistance {
			best, bestDistance = n, d
		}
	}
	return best
}

// distance counts insertions, deletions, changes and swaps of neighbours.
func distance(a, b string) int {
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			change := row[j]
			if a[i] != b[j] {
				change++
			}
			next[j+1] = min(change, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
