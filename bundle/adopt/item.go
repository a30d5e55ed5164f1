package adopt

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/wherry-ml/wherry/bundle/config"
)

// flowEnd is where a list or map written in one line, [a, b], ends; start itself
// for one that is not.
func flowEnd(b []byte, start int) int {
	if b[start] != '[' && b[start] != '{' {
		return start
	}
	depth, quote := 0, byte(0)
	for i := start; i < len(b) && b[i] != '\n'; i++ {
		switch c := b[i]; {
		case quote == '"' && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return start
}

// dash is where the "- " of an item stands that begins at start, in a line of
// its own; -1 for an item that is written otherwise.
func dash(b []byte, start int) int {
	before := b[bytes.LastIndexByte(b[:start], '\n')+1 : start]
	if text := bytes.TrimSpace(before); len(text) != 1 || text[0] != '-' {
		return -1
	}
	return start - len(bytes.TrimLeft(before, " "))
}

// addItem writes a new item after the last one of a list.
func (p *Patch) addItem(resource *config.Value, field Field) (why string, err error) {
	list, rest := find(resource, field.Path[:strings.LastIndex(field.Path, "[")])
	switch {
	case list == nil || rest != "" || list.Kind != config.List:
		return "the list that it is in is not in the bundle: add " + inline(field.After), nil
	case len(list.List()) == 0:
		return fmt.Sprintf("%s: the list is empty: add %s by hand", list.At, inline(field.After)), nil
	}
	last := list.List()[len(list.List())-1]
	f, start, why, err := p.place(last)
	if err != nil || why != "" {
		return why, err
	}
	at := dash(f.before, start)
	if at < 0 {
		return fmt.Sprintf("%s: the list is not written item by item in lines of their own: add %s by hand", last.At, inline(field.After)), nil
	}
	end := entryEnd(f.before, at)
	indent := at - bytes.LastIndexByte(f.before[:at], '\n') - 1
	text := strings.Repeat(" ", indent) + "- " + inline(field.After) + "\n"
	if end > 0 && f.before[end-1] != '\n' {
		text = "\n" + strings.TrimSuffix(text, "\n")
	}
	f.edits = append(f.edits, edit{end, end, text})
	return "", nil
}

// removeItem takes an item out of a list that keeps others.
func (p *Patch) removeItem(resource *config.Value, field Field) (why string, err error) {
	item, rest := find(resource, field.Path)
	list, more := find(resource, field.Path[:max(strings.LastIndex(field.Path, "["), 0)])
	if item == nil || rest != "" || list == nil || more != "" || list.Kind != config.List {
		return "its place in the bundle is not to be found", nil
	}
	f, start, why, err := p.place(item)
	if err != nil || why != "" {
		return why, err
	}
	at := dash(f.before, start)
	if at < 0 || len(list.List()) == 1 {
		return fmt.Sprintf("%s: take it out by hand", item.At), nil
	}
	f.edits = append(f.edits, edit{bytes.LastIndexByte(f.before[:at], '\n') + 1, entryEnd(f.before, at), ""})
	return "", nil
}
