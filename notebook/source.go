package notebook

import (
	"bytes"
	"regexp"
	"strings"
)

func parseSource(f format, text string) *Notebook {
	text = strings.ReplaceAll(strings.TrimPrefix(text, "\ufeff"), "\r\n", "\n")
	lines := strings.Split(text, "\n")
	n := &Notebook{Language: f.language}
	if !hasHeader(f, []byte(text)) {
		n.add(newCell(f.language, lines, 1, ""))
		return n
	}
	start, current := 2, []string(nil)
	for i, line := range append(lines[1:len(lines):len(lines)], f.comment+separator) {
		if isSeparator(f, line) {
			n.add(sourceCell(f, current, start))
			start, current = i+3, nil
		} else {
			current = append(current, line)
		}
	}
	return n
}

// add appends a cell unless it is empty. An empty %run is kept: it is an error
// when it runs.
func (n *Notebook) add(c Cell) {
	if strings.TrimSpace(c.Source) == "" && c.Language != "run" {
		return
	}
	c.Index = len(n.Cells)
	n.Cells = append(n.Cells, c)
}

func isSeparator(f format, line string) bool {
	rest, ok := strings.CutPrefix(strings.TrimRight(line, " \t\r\f\v"), f.comment+separator)
	return ok && strings.Trim(rest, "-") == ""
}

var titleLine = regexp.MustCompile(`^ DBTITLE \d+,(.*)$`)

// sourceCell takes what the file format adds off the lines of a cell.
func sourceCell(f format, lines []string, start int) Cell {
	lines, start = skipBlank(lines, start)
	title := ""
	if len(lines) > 0 {
		if rest, ok := strings.CutPrefix(lines[0], f.comment); ok {
			if m := titleLine.FindStringSubmatch(rest); m != nil {
				title, lines, start = strings.TrimSpace(m[1]), lines[1:], start+1
			}
		}
	}
	plain := make([]string, len(lines))
	for i, line := range lines {
		if rest, ok := strings.CutPrefix(line, f.comment+" MAGIC"); ok {
			line = strings.TrimPrefix(rest, " ")
		}
		plain[i] = line
	}
	return newCell(f.language, plain, start, title)
}

func skipBlank(lines []string, start int) ([]string, int) {
	for len(lines) > 0 && strings.TrimSpace(lines[0]) == "" {
		lines, start = lines[1:], start+1
	}
	return lines, start
}

var magic = regexp.MustCompile(`^\s*%(python|sql|scala|run|r|sh|fs|md-sandbox|md)(?:[ \t]+|$|\n)[ \t]*\n?`)

// newCell tells the cell's language by its magic. %pip and IPython's magics
// stay in the source: IPython runs them.
func newCell(language string, lines []string, line int, title string) Cell {
	lines, line = skipBlank(lines, line)
	source := strings.TrimRight(strings.Join(lines, "\n"), " \t\n\r\f\v")
	c := Cell{Kind: Code, Language: language, Line: line, Title: title, Source: source}
	if m := magic.FindStringSubmatch(source); m != nil {
		c.Language, c.Source = m[1], source[len(m[0]):]
		c.Line += strings.Count(m[0], "\n")
		if strings.HasPrefix(c.Language, "md") {
			c.Kind, c.Language = Markdown, "md"
		}
	}
	return c
}

// SourceFile writes the notebook in its language's source format.
func (n *Notebook) SourceFile() []byte {
	f, ok := formats[Extension(n.Language)]
	if !ok {
		f = formats[".py"]
	}
	var b bytes.Buffer
	b.WriteString(f.comment + header + "\n")
	for i, c := range n.Cells {
		if i > 0 {
			b.WriteString("\n" + f.comment + separator + "\n\n")
		}
		if c.Title != "" {
			b.WriteString(f.comment + " DBTITLE 1," + c.Title + "\n")
		}
		text := c.withMagic(n.Language)
		asMagic := strings.HasPrefix(strings.TrimSpace(text), "%")
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if asMagic {
				line = strings.TrimRight(f.comment+" MAGIC "+line, " ")
			}
			b.WriteString(line + "\n")
		}
	}
	return b.Bytes()
}

// withMagic is the cell as a user writes it in a notebook of the language.
func (c Cell) withMagic(language string) string {
	switch c.Language {
	case language:
		return c.Source
	case "run", "fs":
		return "%" + c.Language + " " + c.Source
	}
	return "%" + c.Language + "\n" + c.Source
}
