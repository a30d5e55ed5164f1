package notebook

import (
	"fmt"
	"html"
	"regexp"
	"strconv"
	"strings"
)

// escape matches a terminal's control sequences; only colours (ending in m) mean something here.
var escape = regexp.MustCompile("\x1b(?:\\[[0-9;?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-Z\\\\^_])")

// style is what SGR sequences have set.
type style struct {
	bold, italic, underline bool
	fg, bg                  string // class names or #rrggbb
}

// ANSI returns terminal output as HTML: text escaped, colours as spans of the
// classes ansi-0 … ansi-15 (ansi-bg-…) or with a style attribute, and what a
// carriage return overwrote left out.
func ANSI(text string) string {
	var b strings.Builder
	var s style
	text = overwrite(text)
	for {
		at := escape.FindStringIndex(text)
		if at == nil {
			s.write(&b, text)
			return b.String()
		}
		s.write(&b, text[:at[0]])
		if seq := text[at[0]:at[1]]; strings.HasPrefix(seq, "\x1b[") && strings.HasSuffix(seq, "m") {
			s.apply(strings.Split(seq[2:len(seq)-1], ";"))
		}
		text = text[at[1]:]
	}
}

// overwrite drops what a later text of the same line replaced: progress bars.
func overwrite(text string) string {
	if !strings.Contains(text, "\r") {
		return text
	}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, "\r")
		lines[i] = line[strings.LastIndex(line, "\r")+1:]
	}
	return strings.Join(lines, "\n")
}

func (s *style) write(b *strings.Builder, text string) {
	if text == "" {
		return
	}
	text = html.EscapeString(text)
	if *s == (style{}) {
		b.WriteString(text)
		return
	}
	var classes, styles []string
	add := func(on bool, class string) {
		if on {
			classes = append(classes, class)
		}
	}
	add(s.bold, "ansi-bold")
	add(s.italic, "ansi-italic")
	add(s.underline, "ansi-underline")
	if strings.HasPrefix(s.fg, "#") {
		styles = append(styles, "color:"+s.fg)
	} else {
		add(s.fg != "", "ansi-"+s.fg)
	}
	if strings.HasPrefix(s.bg, "#") {
		styles = append(styles, "background-color:"+s.bg)
	} else {
		add(s.bg != "", "ansi-bg-"+s.bg)
	}
	b.WriteString("<span")
	if len(classes) > 0 {
		b.WriteString(` class="` + strings.Join(classes, " ") + `"`)
	}
	if len(styles) > 0 {
		b.WriteString(` style="` + strings.Join(styles, ";") + `"`)
	}
	b.WriteString(">" + text + "</span>")
}

func (s *style) apply(codes []string) {
	for i := 0; i < len(codes); i++ {
		n, _ := strconv.Atoi(codes[i])
		switch {
		case n == 0:
			*s = style{}
		case n == 1:
			s.bold = true
		case n == 3:
			s.italic = true
		case n == 4:
			s.underline = true
		case n == 22:
			s.bold = false
		case n == 23:
			s.italic = false
		case n == 24:
			s.underline = false
		case n >= 30 && n <= 37:
			s.fg = strconv.Itoa(n - 30)
		case n >= 90 && n <= 97:
			s.fg = strconv.Itoa(n - 90 + 8)
		case n >= 40 && n <= 47:
			s.bg = strconv.Itoa(n - 40)
		case n >= 100 && n <= 107:
			s.bg = strconv.Itoa(n - 100 + 8)
		case n == 39:
			s.fg = ""
		case n == 49:
			s.bg = ""
		case n == 38 || n == 48:
			colour, used := extended(codes[i+1:])
			i += used
			if n == 38 {
				s.fg = colour
			} else {
				s.bg = colour
			}
		}
	}
}

// extended reads 5;n or 2;r;g;b and returns how many codes that were.
func extended(codes []string) (colour string, used int) {
	number := func(i int) int {
		n, _ := strconv.Atoi(codes[i])
		return min(max(n, 0), 255)
	}
	switch {
	case len(codes) >= 2 && codes[0] == "5":
		return palette(number(1)), 2
	case len(codes) >= 4 && codes[0] == "2":
		return fmt.Sprintf("#%02x%02x%02x", number(1), number(2), number(3)), 4
	}
	return "", len(codes)
}

// palette gives a colour of xterm's 256.
func palette(n int) string {
	if n < 16 {
		return strconv.Itoa(n)
	}
	if n >= 232 {
		grey := 8 + (n-232)*10
		return fmt.Sprintf("#%02x%02x%02x", grey, grey, grey)
	}
	level := func(v int) int {
		if v == 0 {
			return 0
		}
		return 55 + v*40
	}
	n -= 16
	return fmt.Sprintf("#%02x%02x%02x", level(n/36), level(n/6%6), level(n%6))
}
