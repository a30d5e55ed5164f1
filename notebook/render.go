package notebook

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"regexp"
	"strings"
	"sync"

	"github.com/alecthomas/chroma/v2"
	chromahtml "github.com/alecthomas/chroma/v2/formatters/html"
	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	gmhtml "github.com/yuin/goldmark/renderer/html"
)

// Render writes the notebook with what events tell of its execution as an HTML
// fragment. Nothing that the notebook printed can act in the page: HTML is
// sanitized, or isolated in a frame without an origin if it needs scripts.
func Render(w io.Writer, cells []Cell, events io.Reader) error {
	x, err := ReadExecution(events)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString(`<div class="nb">` + "\n")
	for _, c := range cells {
		renderCell(&b, c, x.Results[c.Index])
	}
	if x.Exit != nil {
		fmt.Fprintf(&b, "<div class=\"nb-exit\">Notebook exited: <code>%s</code></div>\n", html.EscapeString(*x.Exit))
	}
	b.WriteString("</div>\n")
	_, err = b.WriteTo(w)
	return err
}

// RenderCell writes one cell, for pages that follow a run.
func RenderCell(w io.Writer, c Cell, r *Result) error {
	var b bytes.Buffer
	renderCell(&b, c, r)
	_, err := b.WriteTo(w)
	return err
}

func renderCell(b *bytes.Buffer, c Cell, r *Result) {
	if r == nil {
		r = &Result{}
	}
	state := r.State
	if state == "" && c.Kind == Code {
		state = "pending"
	}
	fmt.Fprintf(b, "<section class=\"nb-cell nb-%s\" id=\"cell-%d\" data-state=\"%s\">\n", html.EscapeString(c.Kind), c.Index, html.EscapeString(state))
	if c.Title != "" {
		fmt.Fprintf(b, "<h4 class=\"nb-title\">%s</h4>\n", html.EscapeString(c.Title))
	}
	if c.Kind == Markdown {
		b.WriteString(`<div class="nb-md">` + RenderMarkdown(c.Source) + "</div>\n</section>\n")
		return
	}
	b.WriteString(`<div class="nb-src">`)
	if c.Language != Python {
		fmt.Fprintf(b, "<span class=\"nb-lang\">%%%s</span>", html.EscapeString(c.Language))
	}
	b.WriteString(highlight(c.Language, c.Source) + "</div>\n")
	if r.State == "done" || r.State == "failed" {
		fmt.Fprintf(b, "<span class=\"nb-time\">%s</span>\n", duration(r.Millis))
	}
	for _, e := range r.Includes {
		renderInclude(b, e)
	}
	for _, o := range r.Outputs {
		renderOutput(b, o)
	}
	b.WriteString("</section>\n")
}

func duration(ms int64) string {
	if ms < 1000 {
		return fmt.Sprintf("%d ms", ms)
	}
	return fmt.Sprintf("%.2f s", float64(ms)/1000)
}

func renderInclude(b *bytes.Buffer, e Event) {
	fmt.Fprintf(b, "<details class=\"nb-include\"><summary>%s</summary>\n", html.EscapeString(e.Path))
	for _, c := range e.Cells {
		if c.Kind == Markdown {
			b.WriteString(`<div class="nb-md">` + RenderMarkdown(c.Source) + "</div>\n")
		} else {
			b.WriteString(`<div class="nb-src">` + highlight(c.Language, c.Source) + "</div>\n")
		}
	}
	b.WriteString("</details>\n")
}

func renderOutput(b *bytes.Buffer, o Output) {
	switch o.Type {
	case "stream":
		class := "nb-stdout"
		if o.Name == "stderr" {
			class = "nb-stderr"
		}
		fmt.Fprintf(b, "<pre class=\"nb-out %s\">%s</pre>\n", class, ANSI(o.Text))
	case "error":
		trace := strings.Join(o.Traceback, "\n")
		if trace == "" {
			trace = o.ErrorName + ": " + o.ErrorValue
		}
		fmt.Fprintf(b, "<pre class=\"nb-out nb-error\">%s</pre>\n", ANSI(trace))
	default:
		b.WriteString(`<div class="nb-out">` + rich(o.Data) + "</div>\n")
	}
}

// rich writes the best representation that a page can show.
func rich(data map[string]json.RawMessage) string {
	text := func(mime string) (string, bool) {
		raw, ok := data[mime]
		var m multi
		if !ok || json.Unmarshal(raw, &m) != nil {
			return "", false
		}
		return string(m), true
	}
	if s, ok := text("text/html"); ok {
		return safeHTML(s)
	}
	if s, ok := text("text/markdown"); ok {
		return RenderMarkdown(s)
	}
	if s, ok := text("image/svg+xml"); ok {
		return image("image/svg+xml", base64.StdEncoding.EncodeToString([]byte(s)))
	}
	for _, mime := range []string{"image/png", "image/jpeg", "image/gif"} {
		if s, ok := text(mime); ok {
			return image(mime, s)
		}
	}
	if raw, ok := data["application/json"]; ok {
		var b bytes.Buffer
		if json.Indent(&b, raw, "", "  ") == nil {
			return "<pre>" + html.EscapeString(b.String()) + "</pre>"
		}
	}
	s, _ := text("text/plain")
	return "<pre>" + ANSI(s) + "</pre>"
}

var notBase64 = regexp.MustCompile(`[^A-Za-z0-9+/=]`)

func image(mime, data string) string {
	return fmt.Sprintf(`<img alt="output" src="data:%s;base64,%s">`, mime, notBase64.ReplaceAllString(data, ""))
}

var (
	// scoped is what pandas writes before its tables.
	scoped = regexp.MustCompile(`(?is)<style scoped>.*?</style>`)
	active = regexp.MustCompile(`(?i)<(?:script|style|iframe|svg|canvas|object|embed|link|form|video|audio)\b|\son\w+\s*=`)
)

// policy admits tables, text and images with the classes of our own tables.
var policy = sync.OnceValue(func() *bluemonday.Policy {
	p := bluemonday.UGCPolicy()
	p.AllowAttrs("class").Matching(regexp.MustCompile(`^[\w -]+$`)).Globally()
	p.AllowAttrs("border", "style").OnElements("table")
	p.AllowStyles("text-align", "width").Globally()
	p.AllowDataURIImages()
	return p
})

// safeHTML sanitizes HTML that only shows something, and isolates the rest.
func safeHTML(s string) string {
	s = scoped.ReplaceAllString(s, "")
	if !active.MatchString(s) {
		return policy().Sanitize(s)
	}
	const report = `<script>const r=()=>parent.postMessage({notebookFrameHeight:Math.ceil(document.documentElement.getBoundingClientRect().height)},"*");addEventListener("load",r);new ResizeObserver(r).observe(document.documentElement)</script>`
	return fmt.Sprintf(`<iframe class="nb-frame" sandbox="allow-scripts" loading="lazy" srcdoc="%s"></iframe>`, html.EscapeString("<!doctype html>"+s+report)) // in quirks mode the page is as high as the frame: it would grow for ever
}

// FrameScript is JavaScript for pages with rendered notebooks: it gives each
// output's frame the height that the frame reports.
const FrameScript = `addEventListener("message",e=>{const h=e.data&&e.data.notebookFrameHeight;if(typeof h!=="number")return;for(const f of document.querySelectorAll("iframe.nb-frame"))if(f.contentWindow===e.source)f.style.height=Math.min(h+8,4000)+"px"});`

var converter = sync.OnceValue(func() goldmark.Markdown {
	return goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(gmhtml.WithUnsafe()))
})

// RenderMarkdown is Markdown of GitHub's flavour as HTML, its raw HTML sanitized.
func RenderMarkdown(source string) string {
	var b bytes.Buffer
	if err := converter().Convert([]byte(source), &b); err != nil {
		return "<pre>" + html.EscapeString(source) + "</pre>"
	}
	return policy().Sanitize(b.String())
}

var formatter = sync.OnceValue(func() *chromahtml.Formatter {
	return chromahtml.New(chromahtml.WithClasses(true), chromahtml.ClassPrefix("hl-"))
})

// Highlight is source as HTML. What is not in a language of notebooks is only
// escaped.
func Highlight(language, source string) string { return highlight(language, source) }

func highlight(language, source string) string {
	name := map[string]string{"sh": "bash", "fs": "text", "run": "text", "md": "markdown"}[language]
	if name == "" {
		name = language
	}
	plain := "<pre>" + html.EscapeString(source) + "</pre>"
	lexer := lexer(name)
	if lexer == nil {
		return plain
	}
	tokens, err := chroma.Coalesce(lexer).Tokenise(nil, source)
	var b strings.Builder
	if err == nil {
		err = formatter().Format(&b, highlightStyle("github"), tokens)
	}
	if err != nil {
		return plain
	}
	return b.String()
}

// CSS is the style sheet of highlighted source and terminal colours, for light
// and dark pages.
var CSS = sync.OnceValue(func() string {
	var b strings.Builder
	// Apart: each style has colours for words that the other leaves alone.
	b.WriteString("@media (prefers-color-scheme: light) {\n")
	_ = formatter().WriteCSS(&b, highlightStyle("github"))
	b.WriteString("}\n" + ansiCSS)
	b.WriteString("@media (prefers-color-scheme: dark) {\n")
	_ = formatter().WriteCSS(&b, highlightStyle("github-dark"))
	b.WriteString("}\n")
	return b.String()
})

const ansiCSS = `.ansi-bold{font-weight:bold}.ansi-italic{font-style:italic}.ansi-underline{text-decoration:underline}
.ansi-0{color:#3e424d}.ansi-1,.ansi-9{color:#d1242f}.ansi-2,.ansi-10{color:#1a7f37}.ansi-3,.ansi-11{color:#9a6700}
.ansi-4,.ansi-12{color:#218bff}.ansi-5,.ansi-13{color:#a475f9}.ansi-6,.ansi-14{color:#1b8f9e}.ansi-7{color:#8c959f}.ansi-8{color:#6e7781}.ansi-15{color:inherit}
.ansi-bg-0{background:#3e424d}.ansi-bg-1,.ansi-bg-9{background:#ffcecb}.ansi-bg-2,.ansi-bg-10{background:#aceebb}.ansi-bg-3,.ansi-bg-11{background:#fae17d}
.ansi-bg-4,.ansi-bg-12{background:#b6e3ff}.ansi-bg-5,.ansi-bg-13{background:#e2c5ff}.ansi-bg-6,.ansi-bg-14{background:#b3f0ff}.ansi-bg-7,.ansi-bg-15{background:#d0d7de}
`
