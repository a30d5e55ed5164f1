// Package adopt writes what drifted in a workspace into the YAML that a bundle
// came from: value by value at the place where each is written, so that
// comments, order and everything else stay as they are.
package adopt

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/diff"

	"github.com/wherry-ml/wherry/bundle/config"
	"github.com/wherry-ml/wherry/state"
)

// Field is one field of a resource that differs; a nil side is missing.
type Field struct {
	Resource string // "jobs.nightly"
	Path     string // "schedule.pause_status", "tasks[a].timeout_seconds"
	Before   any    // as deployed
	After    any    // as it is to be
}

// Left is a field that cannot be adopted, and why.
type Left struct {
	Field
	Why string
}

// Patch is the files of a bundle with what was adopted.
type Patch struct {
	root  string
	files map[string]*file
	// Adopted are the fields in it, Left those that are not.
	Adopted []Field
	Left    []Left
}

type file struct {
	raw    []byte // as it is on disk
	before []byte // the same, its last line ended
	edits  []edit
}

// edit puts text in the place of the bytes from start to end.
type edit struct {
	start, end int
	text       string
}

// Make works out the patch of fields in a bundle: its folder, and its
// configuration with the places where the values are written.
func Make(root string, bundle *config.Value, fields []Field) (*Patch, error) {
	p := &Patch{root: root, files: map[string]*file{}}
	for _, f := range fields {
		why, err := p.try(bundle, f)
		if err != nil {
			return nil, err
		}
		if why != "" {
			p.Left = append(p.Left, Left{f, why})
		} else {
			p.Adopted = append(p.Adopted, f)
		}
	}
	return p, nil
}

// listKeys tell the items of a list apart.
var listKeys = []string{"task_key", "job_cluster_key", "environment_key", "name", "key"}

// find follows a path as far as the bundle has it: the value, or the map that
// it is missing in and the rest of the path; nil if not even that is there.
func find(v *config.Value, path string) (at *config.Value, rest string) {
	if path == "" {
		return v, ""
	}
	if inner, ok := strings.CutPrefix(path, "["); ok {
		name, after, ok := strings.Cut(inner, "]")
		if !ok {
			return nil, path
		}
		if i := itemNamed(v, name); i >= 0 {
			return find(v.Items[i], strings.TrimPrefix(after, "."))
		}
		return nil, path
	}
	for end := len(path); end > 0; end = strings.LastIndexAny(path[:end], ".[") { // keys may hold dots
		if f := v.Field(path[:end]); f != nil {
			return find(f.Value, strings.TrimPrefix(path[end:], "."))
		}
	}
	if v == nil || v.Kind != config.Map {
		return nil, path
	}
	return v, path
}

// itemNamed is the index of a list's item by what tells it apart, else by its
// number; -1 for none.
func itemNamed(list *config.Value, name string) int {
	for i, item := range list.List() {
		for _, key := range listKeys {
			if item.Get(key).Text() == name && name != "" {
				return i
			}
		}
	}
	if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(list.List()) {
		return i
	}
	return -1
}

func (p *Patch) adopt(resource *config.Value, f Field) (why string, err error) {
	if list, name, ok := itemPath(resource, f.Path); ok {
		i := itemNamed(list, name)
		switch {
		case i < 0 && f.After != nil:
			return p.addItem(list, f)
		case i >= 0 && f.After == nil:
			return p.removeItem(list, i)
		}
	}
	at, rest := find(resource, f.Path)
	switch {
	case at == nil:
		return "its place in the bundle is not to be found", nil
	case rest == "" && f.After == nil:
		return p.remove(resource, f)
	case rest == "" && at.Kind == config.List:
		return p.replaceList(at, f)
	case rest == "":
		return p.replace(at, f)
	case f.After == nil:
		return "the bundle does not declare it", nil
	case strings.ContainsRune(rest, '['):
		return "the item of the list is not in the bundle", nil
	}
	keys := strings.Split(rest, ".") // the maps that it is in are to be written too
	for _, key := range slices.Backward(keys[1:]) {
		f.After = map[string]any{key: f.After}
	}
	return p.add(at, keys[0], f)
}

// open reads a file once.
func (p *Patch) open(name string) (*file, error) {
	if f := p.files[name]; f != nil {
		return f, nil
	}
	b, err := os.ReadFile(filepath.Join(p.root, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	whole := b
	if len(b) > 0 && b[len(b)-1] != '\n' {
		whole = append(slices.Clone(b), '\n')
	}
	p.files[name] = &file{raw: b, before: whole}
	return p.files[name], nil
}

// offset is the byte at a place; -1 for a place that is not in the file.
func (f *file) offset(at config.Pos) int {
	off := 0
	for range at.Line - 1 {
		next := bytes.IndexByte(f.before[off:], '\n')
		if next < 0 {
			return -1
		}
		off += next + 1
	}
	for range at.Column - 1 {
		if off >= len(f.before) {
			return -1
		}
		off += len(string([]rune(string(f.before[off : off+min(4, len(f.before)-off)]))[:1]))
	}
	return off
}

func (p *Patch) place(v *config.Value) (f *file, start int, why string, err error) {
	if v.At.File == "" {
		return nil, 0, "the bundle's YAML does not say it: it comes of a preset or a default", nil
	}
	if f, err = p.open(v.At.File); err != nil {
		return nil, 0, "", err
	}
	if start = f.offset(v.At); start < 0 || start >= len(f.before) {
		return nil, 0, "its place in the file is not to be found", nil
	}
	return f, start, "", nil
}

// replace changes a scalar where it is written.
func (p *Patch) replace(v *config.Value, field Field) (why string, err error) {
	if v.Kind == config.Map {
		return "it is a map: change it by hand to " + inline(field.After), nil
	}
	f, start, why, err := p.place(v)
	if err != nil || why != "" {
		return why, err
	}
	end := scalarEnd(f.before, start)
	raw := string(f.before[start:end])
	var said any
	switch {
	case end == start:
		return "it is written over several lines: change it by hand", nil
	case strings.Contains(raw, "${"):
		return "it is written as " + raw + ": change it there", nil
	case yaml.Unmarshal([]byte(raw), &said) != nil || !equal(said, field.Before):
		return fmt.Sprintf("%s says %s, and %s was deployed: a preset, a variable or a change since made the difference", v.At, raw, inline(field.Before)), nil
	}
	f.edits = append(f.edits, edit{start, end, inStyle(raw[0], field.After)})
	return "", nil
}

// inStyle is a value as YAML in one line; text is quoted as what it replaces.
func inStyle(first byte, v any) string {
	text, ok := v.(string)
	switch plain := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0; {
	case !ok || !plain:
	case first == '\'':
		return "'" + strings.ReplaceAll(text, "'", "''") + "'"
	case first == '"':
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
	}
	return inline(v)
}

// scalarEnd is where the scalar at start ends; start itself for one that goes
// on in another line.
func scalarEnd(b []byte, start int) int {
	line := b[start:]
	if n := bytes.IndexByte(line, '\n'); n >= 0 {
		line = line[:n]
	}
	switch line[0] {
	case '|', '>':
		return start
	case '"', '\'':
		for i := 1; i < len(line); i++ {
			switch {
			case line[0] == '"' && line[i] == '\\':
				i++
			case line[i] == line[0] && line[0] == '\'' && i+1 < len(line) && line[i+1] == '\'':
				i++
			case line[i] == line[0]:
				return start + i + 1
			}
		}
		return start
	}
	text := line
	if n := bytes.Index(text, []byte(" #")); n >= 0 {
		text = text[:n]
	}
	if inFlow(b, start) {
		if n := bytes.IndexAny(text, ",}]"); n >= 0 && !bytes.Contains(text[:n], []byte("${")) {
			text = text[:n]
		}
	}
	return start + len(bytes.TrimRight(text, " \t\r"))
}

// inFlow tells whether a place is within { } or [ ] that was opened in its line.
func inFlow(b []byte, at int) bool {
	line := b[bytes.LastIndexByte(b[:at], '\n')+1 : at]
	return bytes.Count(line, []byte("{"))+bytes.Count(line, []byte("[")) > bytes.Count(line, []byte("}"))+bytes.Count(line, []byte("]"))
}

// add writes a new entry after the last one of a map.
func (p *Patch) add(parent *config.Value, key string, field Field) (why string, err error) {
	if len(parent.Fields) == 0 {
		return "what it is in is empty in the bundle: write it by hand", nil
	}
	// A map is merged of the bundle's and the target's: the entries of the first
	// file and column are those of one place.
	first := parent.Fields[0]
	last := first
	for _, f := range parent.Fields {
		if f.At.File == first.At.File && f.At.Column == first.At.Column && f.At.Line > last.At.Line && near(parent, f) {
			last = f
		}
	}
	f, start, why, err := p.place(&config.Value{At: last.At})
	if err != nil || why != "" {
		return why, err
	}
	entry := inline(key) + ": " + inline(field.After)
	if inFlow(f.before, start) {
		f.edits = append(f.edits, edit{start, start, entry + ", "})
		return "", nil
	}
	end := entryEnd(f.before, start)
	text := strings.Repeat(" ", first.At.Column-1) + entry + "\n"
	f.edits = append(f.edits, edit{end, end, text})
	return "", nil
}

// near tells whether an entry is written below its map, and not by a target.
func near(parent *config.Value, f config.Field) bool {
	return f.At.File == parent.Fields[0].At.File && f.At.Line >= parent.Fields[0].At.Line && (f.Value == nil || f.Value.At.File == f.At.File)
}

// entryEnd is where the lines of a block entry end whose key is at start:
// before the next line that is indented no deeper, without comments and empty
// lines that lead over to it.
func entryEnd(b []byte, start int) int {
	lineStart := bytes.LastIndexByte(b[:start], '\n') + 1
	deep := start - lineStart
	end := nextLine(b, start)
	for at := end; at < len(b); {
		next := nextLine(b, at)
		line := b[at:next]
		text := bytes.TrimLeft(line, " ")
		depth := len(line) - len(text)
		switch {
		case len(bytes.TrimSpace(text)) == 0 || text[0] == '#' && depth <= deep:
		case depth > deep || depth == deep && bytes.HasPrefix(text, []byte("- ")) && b[start] != '-':
			end = next
		default:
			return end
		}
		at = next
	}
	return end
}

func nextLine(b []byte, at int) int {
	if n := bytes.IndexByte(b[at:], '\n'); n >= 0 {
		return at + n + 1
	}
	return len(b)
}

// remove takes a block entry away.
func (p *Patch) remove(resource *config.Value, field Field) (why string, err error) {
	parent, key := resource, field.Path
	if i := strings.LastIndexAny(field.Path, "."); i >= 0 {
		var rest string
		if parent, rest = find(resource, field.Path[:i]); parent == nil || rest != "" {
			return "its place in the bundle is not to be found", nil
		}
		key = field.Path[i+1:]
	}
	entry := parent.Field(key)
	if entry == nil {
		return "its place in the bundle is not to be found: take it out by hand", nil
	}
	f, start, why, err := p.place(&config.Value{At: entry.At})
	if err != nil || why != "" {
		return why, err
	}
	lineStart := bytes.LastIndexByte(f.before[:start], '\n') + 1
	if len(bytes.TrimSpace(f.before[lineStart:start])) > 0 {
		return "it is written in one line with others: take it out by hand", nil
	}
	f.edits = append(f.edits, edit{lineStart, entryEnd(f.before, start), ""})
	return "", nil
}

// inline is a value as YAML in one line.
func inline(v any) string {
	b, err := yaml.MarshalWithOptions(whole(v), yaml.Flow(true))
	if err != nil {
		return fmt.Sprint(v)
	}
	if bytes.ContainsAny(bytes.TrimSpace(b), "\n\t") { // text of several lines, which flow style cannot hold unquoted
		if b, err = yaml.MarshalWithOptions(whole(v), yaml.JSON()); err != nil {
			return fmt.Sprint(v)
		}
	}
	return strings.TrimSpace(string(b))
}

// whole makes integers of JSON's numbers that are some.
func whole(v any) any {
	switch v := v.(type) {
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = whole(item)
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, item := range v {
			m[key] = whole(item)
		}
		return m
	}
	return v
}

// equal compares as JSON.
func equal(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

// after is the file with the edits made.
func (f *file) after() []byte {
	edits := slices.Clone(f.edits)
	slices.Reverse(edits)
	slices.SortStableFunc(edits, func(a, b edit) int {
		// From the end on; of two at one place the deeper is written last, and so
		// stands first.
		return cmp.Or(b.start-a.start, indent(a.text)-indent(b.text))
	})
	out := slices.Clone(f.before)
	for _, e := range edits {
		out = slices.Concat(out[:e.start], []byte(e.text), out[e.end:])
	}
	return out
}

func indent(text string) int { return len(text) - len(strings.TrimLeft(text, " ")) }

func (p *Patch) names() (names []string) {
	for name, f := range p.files {
		if len(f.edits) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Diff shows the patch, as diff -u does.
func (p *Patch) Diff() []byte {
	var out []byte
	for _, name := range p.names() {
		out = append(out, diff.Diff("a/"+name, p.files[name].raw, "b/"+name, p.files[name].after())...)
	}
	return out
}

// Write makes the changes, each file's all or none of them.
func (p *Patch) Write() error {
	for _, name := range p.names() {
		full, err := filepath.EvalSymlinks(filepath.Join(p.root, filepath.FromSlash(name))) // a link stays one
		if err != nil {
			return err
		}
		info, err := os.Stat(full)
		if err != nil {
			return err
		}
		if err := state.WriteFile(full, p.files[name].after(), info.Mode().Perm()); err != nil {
			return err
		}
	}
	return nil
}
