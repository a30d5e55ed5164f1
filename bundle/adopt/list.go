package adopt

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/wherry-ml/wherry/bundle/config"
)

// replaceList writes the items that a list has now, and keeps the lines of those
// that stay.
func (p *Patch) replaceList(v *config.Value, field Field) (why string, err error) {
	after, ok := field.After.([]any)
	if !ok || v.Kind != config.List {
		return "it is a list or a map, and the change is none: change it by hand to " + inline(field.After), nil
	}
	f, start, why, err := p.place(v)
	if err != nil || why != "" {
		return why, err
	}
	end := flowEnd(f.before, start)
	items := blockItems(f.before, v)
	switch {
	case end > 0:
	case items != nil:
		start, end = items[0].start, items[len(items)-1].end
	default:
		return "it is written in a way that is changed by hand only, to " + inline(field.After), nil
	}
	raw := string(f.before[start:end])
	var said any
	switch {
	case strings.Contains(raw, "${"):
		return "it is written with ${…}: change it by hand to " + inline(field.After), nil
	case yaml.Unmarshal([]byte(raw), &said) != nil || !equal(said, field.Before):
		return "the bundle says another list than " + inline(field.Before) + ", which was deployed: a preset, a variable or a change since made the difference", nil
	case items == nil && strings.ContainsRune(raw, '\n') && strings.Contains(raw, "#"):
		return "it is written with comments between its items: change it by hand to " + inline(field.After), nil
	case items != nil && len(after) == 0:
		return "all its items are gone: take it out by hand", nil
	case items == nil:
		f.edits = append(f.edits, edit{start, end, inline(after)})
		return "", nil
	}
	f.replaceItems(items, said.([]any), after)
	return "", nil
}

// replaceItems takes lines away and adds some so that the items before become
// those after: what both begin and end with stays.
func (f *file) replaceItems(items []item, before, after []any) {
	head := 0
	for head < min(len(before), len(after)) && equal(before[head], after[head]) {
		head++
	}
	tail := 0
	for tail < min(len(before), len(after))-head && equal(before[len(before)-1-tail], after[len(after)-1-tail]) {
		tail++
	}
	for _, gone := range items[head : len(items)-tail] {
		f.edits = append(f.edits, edit{gone.start, gone.end, ""})
	}
	at := items[len(items)-1].end
	if tail > 0 {
		at = items[len(items)-tail].start
	}
	text := ""
	for _, v := range after[head : len(after)-tail] {
		text += block(v, items[0].indent)
	}
	if text != "" {
		f.edits = append(f.edits, edit{at, at, text})
	}
}

// addItem writes an item after those of a list.
func (p *Patch) addItem(list *config.Value, field Field) (why string, err error) {
	f, start, why, err := p.place(list)
	if err != nil || why != "" {
		return why, err
	}
	if items := blockItems(f.before, list); items != nil {
		end := items[len(items)-1].end
		f.edits = append(f.edits, edit{end, end, block(field.After, items[0].indent)})
		return "", nil
	}
	end := flowEnd(f.before, start)
	if end < 0 || strings.ContainsRune(string(f.before[start:end]), '\n') {
		return "the list is written in a way that is changed by hand only: add " + inline(field.After), nil
	}
	text := inline(field.After)
	if len(list.Items) > 0 {
		text = ", " + text
	}
	inner := bytes.TrimRight(f.before[start:end-1], " ,")
	f.edits = append(f.edits, edit{start + len(inner), end - 1, text})
	return "", nil
}

// removeItem takes the lines of a list's item away.
func (p *Patch) removeItem(list *config.Value, index int) (why string, err error) {
	f, _, why, err := p.place(list)
	if err != nil || why != "" {
		return why, err
	}
	items := blockItems(f.before, list)
	switch {
	case items == nil:
		return "the list is written in one line: take the item out by hand", nil
	case len(items) == 1:
		return "it is the last item of its list: take the list out by hand", nil
	}
	f.edits = append(f.edits, edit{items[index].start, items[index].end, ""})
	return "", nil
}

// item are the lines of an item of a block list.
type item struct{ start, end, indent int }

// blockItems finds the lines of a list's items, each of which begins with its
// own dash; nil if it is not written so, or not in one place.
func blockItems(b []byte, list *config.Value) (items []item) {
	f := &file{before: b}
	for _, v := range list.Items {
		start := f.offset(v.At)
		if v.At.File != list.At.File || start < 0 || start >= len(b) {
			return nil
		}
		line := bytes.LastIndexByte(b[:start], '\n') + 1
		lead := string(b[line:start])
		indent := strings.IndexByte(lead, '-')
		if strings.TrimSpace(lead) != "-" {
			return nil
		}
		i := item{line, entryEnd(b, line+indent), indent}
		if n := len(items); n > 0 && (i.indent != items[0].indent || i.start < items[n-1].end || !onlyComments(b[items[n-1].end:i.start])) {
			return nil
		}
		items = append(items, i)
	}
	return items
}

// onlyComments tells whether lines say nothing.
func onlyComments(lines []byte) bool {
	for line := range bytes.Lines(lines) {
		if text := bytes.TrimSpace(line); len(text) > 0 && text[0] != '#' {
			return false
		}
	}
	return true
}

// flowEnd is where a list in [ ] that begins at start ends, -1 for none.
func flowEnd(b []byte, start int) int {
	if start >= len(b) || b[start] != '[' {
		return -1
	}
	depth := 0
	for i := start; i < len(b); i++ {
		switch b[i] {
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"', '\'':
			if end := scalarEnd(b, i); end > i {
				i = end - 1
			}
		case '#':
			if i > 0 && (b[i-1] == ' ' || b[i-1] == '\n') {
				i = nextLine(b, i) - 1
			}
		}
	}
	return -1
}

// block is an item of a list in lines: a map has one for each of its keys, what
// tells it apart first.
func block(v any, indent int) string {
	pad := strings.Repeat(" ", indent)
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		return pad + "- " + inline(v) + "\n"
	}
	keys := slices.Sorted(maps.Keys(m))
	for _, first := range slices.Backward(listKeys) {
		if i := slices.Index(keys, first); i >= 0 {
			keys = slices.Concat([]string{first}, keys[:i], keys[i+1:])
			break
		}
	}
	text, lead := "", "- "
	for _, key := range keys {
		text += pad + lead + inline(key) + ": " + inline(m[key]) + "\n"
		lead = "  "
	}
	return text
}
