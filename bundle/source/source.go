// Package source reads notebooks and Python files for what they take for
// granted: volumes, tables, secrets, data sets, and features that do not work
// here. It sees constants, and f-strings of names that the same file sets to
// constants; what is worked out at run time it cannot see.
package source

import (
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Kinds of Reference.
const (
	Volume  = "volume"      // Name is catalog.schema.volume, Path the file
	Table   = "table"       // Name is as written, one to three parts
	Schema  = "schema"      // Name is catalog.schema or schema
	Catalog = "catalog"     //
	Secret  = "secret"      // Name is scope/key
	Dataset = "dataset"     // /databricks-datasets/…, samples.…
	Library = "library"     // Name is a module of the ML runtime that ours lacks; with Write a package that is installed
	Feature = "unsupported" // Name says what does not work
)

// Reference is one thing that a source names.
type Reference struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Path   string `json:"path,omitempty"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	// Write tells that the source makes it: a table that is written.
	Write bool `json:"write,omitempty"`
}

// Extensions are the files that Scan understands.
var Extensions = []string{".py", ".ipynb", ".sql"}

// Scan returns the references in a file, in the order of its lines. Lines of a
// Jupyter notebook count within the JSON's source lines.
func Scan(name string, text []byte) []Reference {
	switch path.Ext(name) {
	case ".ipynb":
		return scanJupyter(name, text)
	case ".py", ".sql":
		return scanLines(name, strings.Split(string(text), "\n"), 1)
	}
	return nil
}

// scanJupyter scans the code cells; a reference's line is that in the file
// where a cell's text is found as JSON writes it.
func scanJupyter(name string, text []byte) (all []Reference) {
	var nb struct {
		Cells []struct {
			Type   string          `json:"cell_type"`
			Source json.RawMessage `json:"source"`
		} `json:"cells"`
	}
	if json.Unmarshal(text, &nb) != nil {
		return nil
	}
	whole := strings.Split(string(text), "\n")
	var lines []string
	var numbers []int
	at := 0
	for _, cell := range nb.Cells {
		var parts []string
		if json.Unmarshal(cell.Source, &parts) != nil {
			var one string
			_ = json.Unmarshal(cell.Source, &one) // neither: no source
			parts = strings.SplitAfter(one, "\n")
		}
		for _, line := range parts {
			quoted, _ := json.Marshal(line)
			found := slices.IndexFunc(whole[at:], func(l string) bool { return strings.Contains(l, strings.Trim(string(quoted), `"`)) })
			if found >= 0 {
				at += found
			}
			if cell.Type == "code" {
				lines = append(lines, strings.TrimRight(line, "\n"))
				numbers = append(numbers, at+1)
			}
		}
	}
	for _, r := range scanLines(name, lines, 1) {
		r.Line = numbers[r.Line-1]
		all = append(all, r)
	}
	return all
}

const ident = `[A-Za-z_][\w]*`

var (
	assignment = regexp.MustCompile(`^\s*(` + ident + `)\s*(?::\s*str\s*)?=\s*(f?)(["'])([^"'\\]*)["']\s*(?:#.*)?$`)
	braces     = regexp.MustCompile(`\{(` + ident + `)\}`)
	volume     = regexp.MustCompile(`(?:dbfs:)?/Volumes/([\w-]+)/([\w-]+)/([\w-]+)(/[^"'\s)]*)?`)
	dataset    = regexp.MustCompile(`(?:dbfs:)?/databricks-datasets/[^"'\s)]*|\bsamples\.\w+\.\w+`)
	readTable  = regexp.MustCompile(`\.table\(\s*f?["']([\w.` + "`" + `-]+)["']`)
	writeTable = regexp.MustCompile(`\.(?:saveAsTable|insertInto|writeTo|toTable)\(\s*f?["']([\w.` + "`" + `-]+)["']`)
	sqlRead    = regexp.MustCompile(`(?i)\b(?:from|join)\s+([\w` + "`" + `-]+(?:\.[\w` + "`" + `-]+){1,2})\b`)
	sqlWrite   = regexp.MustCompile(`(?i)\b(?:create\s+(?:or\s+replace\s+)?(?:table|view)(?:\s+if\s+not\s+exists)?|insert\s+(?:into|overwrite)(?:\s+table)?|merge\s+into)\s+([\w` + "`" + `.-]+)`)
	sqlSchema  = regexp.MustCompile(`(?i)\bcreate\s+(?:schema|database)\s+(?:if\s+not\s+exists\s+)?([\w` + "`" + `.-]+)`)
	sqlUse     = regexp.MustCompile(`(?i)\buse\s+(catalog|schema|database)\s+([\w` + "`" + `.-]+)`)
	secretPos  = regexp.MustCompile(`secrets\.get\(\s*["']([\w.-]+)["']\s*,\s*["']([\w.-]+)["']`)
	secretKey  = regexp.MustCompile(`secrets\.get\(\s*scope\s*=\s*["']([\w.-]+)["']\s*,\s*key\s*=\s*["']([\w.-]+)["']`)
	sqlSecret  = regexp.MustCompile(`(?i)\bsecret\(\s*["']([\w.-]+)["']\s*,\s*["']([\w.-]+)["']`)
)

// features do not work here, by what shows them.
var features = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`^\s*(?:# MAGIC |-- MAGIC )?%scala\b`), "cells in Scala (%scala)"},
	{regexp.MustCompile(`^\s*(?:# MAGIC |-- MAGIC )?%r\b`), "cells in R (%r)"},
	{regexp.MustCompile(`^\s*(?:import|from)\s+(?:dlt|pyspark\.pipelines)\b`), "Lakeflow pipelines (import dlt)"},
	{regexp.MustCompile(`^\s*(?:import|from)\s+databricks\.(?:feature_store|vector_search|automl)\b`), "databricks.feature_store, databricks.vector_search and databricks.automl"},
	{regexp.MustCompile(`\bdbutils\.(?:library\.install|fs\.mount)\w*\(`), "dbutils.library.install and dbutils.fs.mount"},
	{regexp.MustCompile(`\bai_query\(|\bai_\w+\(`), "AI functions of SQL"},
}

// scanLines scans text of any language: what looks like a name in Python, SQL
// or a magic cell looks the same in each.
func scanLines(name string, lines []string, first int) (all []Reference) {
	names := constants(lines)
	for i, raw := range lines {
		line := expand(raw, names)
		if comment(line) {
			continue
		}
		add := func(kind, what, file string, column int, write bool) {
			if strings.EqualFold(what, "identifier") { // IDENTIFIER(:name) is worked out at run time
				return
			}
			what = strings.ReplaceAll(what, "`", "")
			if line != raw { // the place in the line as written is not known
				column = len(raw) - len(strings.TrimLeft(raw, " \t"))
			}
			all = append(all, Reference{Kind: kind, Name: what, Path: file, File: name, Line: first + i, Column: column + 1, Write: write})
		}
		for _, m := range volume.FindAllStringSubmatchIndex(line, -1) {
			file := strings.TrimPrefix(line[m[0]:m[1]], "dbfs:")
			add(Volume, line[m[2]:m[3]]+"."+line[m[4]:m[5]]+"."+line[m[6]:m[7]], file, m[0], false)
		}
		for _, m := range dataset.FindAllStringIndex(line, -1) {
			add(Dataset, line[m[0]:m[1]], "", m[0], false)
		}
		each := func(re *regexp.Regexp, kind string, write bool) {
			for _, m := range re.FindAllStringSubmatchIndex(line, -1) {
				add(kind, line[m[2]:m[3]], "", m[2], write)
			}
		}
		each(readTable, Table, false)
		each(writeTable, Table, true)
		each(sqlWrite, Table, true)
		each(sqlSchema, Schema, true)
		if !pythonImport.MatchString(line) {
			each(sqlRead, Table, false)
		}
		for _, m := range sqlUse.FindAllStringSubmatchIndex(line, -1) {
			kind := Schema
			if strings.EqualFold(line[m[2]:m[3]], "catalog") {
				kind = Catalog
			}
			add(kind, line[m[4]:m[5]], "", m[4], false)
		}
		for _, re := range []*regexp.Regexp{secretPos, secretKey, sqlSecret} {
			for _, m := range re.FindAllStringSubmatchIndex(line, -1) {
				add(Secret, line[m[2]:m[3]]+"/"+line[m[4]:m[5]], "", m[0], false)
			}
		}
		libraries(name, line, add)
		for _, f := range features {
			if m := f.pattern.FindStringIndex(line); m != nil {
				add(Feature, f.name, "", m[0], false)
			}
		}
	}
	return slices.DeleteFunc(all, func(r Reference) bool {
		return r.Name == "" || strings.ContainsAny(r.Name, "{}$") || strings.HasPrefix(r.Name, "samples.") && r.Kind == Table
	})
}

var pythonImport = regexp.MustCompile(`^\s*from\s+[\w.]+\s+import\b`)

// comment tells whether a line is one; magic cells are comments to Python.
func comment(line string) bool {
	t := strings.TrimSpace(line)
	return (strings.HasPrefix(t, "#") && !strings.HasPrefix(t, "# MAGIC")) || (strings.HasPrefix(t, "--") && !strings.HasPrefix(t, "-- MAGIC")) || strings.HasPrefix(t, "# MAGIC %md")
}

// constants are the names that a file sets once, to one text.
func constants(lines []string) map[string]string {
	names, twice := map[string]string{}, map[string]bool{}
	for _, line := range lines {
		m := assignment.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		value := m[4]
		if m[2] == "f" {
			value = expand(value, names)
		}
		if old, ok := names[m[1]]; ok && old != value {
			twice[m[1]] = true
		}
		names[m[1]] = value
	}
	for name := range twice {
		delete(names, name)
	}
	return names
}

// expand puts constants in the place of {name}.
func expand(line string, names map[string]string) string {
	if !strings.Contains(line, "{") {
		return line
	}
	return braces.ReplaceAllStringFunc(line, func(s string) string {
		if v, ok := names[s[1:len(s)-1]]; ok {
			return v
		}
		return s
	})
}
