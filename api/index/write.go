package index

import (
	"encoding/json"
	"html/template"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Types of a page (PEP 691).
const (
	typeJSON = "application/vnd.pypi.simple.v1+json"
	typeHTML = "application/vnd.pypi.simple.v1+html"
)

// accepted is the type that the request prefers; text/html where it says
// nothing that is known.
func accepted(r *http.Request) string {
	best, quality := "text/html", 0.0
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		kind, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if text, ok := parameters["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		switch kind {
		case "application/vnd.pypi.simple.latest+json":
			kind = typeJSON
		case "application/vnd.pypi.simple.latest+html":
			kind = typeHTML
		case typeJSON, typeHTML, "text/html":
		default:
			continue
		}
		if q > quality {
			best, quality = kind, q
		}
	}
	return best
}

// link leads from a project's page to a file, whatever the server is called.
func (p *page) link(f *file) string {
	return "../../files/" + p.Name + "/" + f.digest() + "/" + url.PathEscape(f.Name)
}

func write(w http.ResponseWriter, r *http.Request, p *page) error {
	kind := accepted(r)
	if kind == typeJSON {
		w.Header().Set("Content-Type", kind)
		return json.NewEncoder(w).Encode(p.asJSON())
	}
	w.Header().Set("Content-Type", kind+"; charset=utf-8")
	return htmlPage.Execute(w, p.asLinks())
}

func (p *page) asJSON() map[string]any {
	files := []map[string]any{} // never null
	for i := range p.Files {
		f := &p.Files[i]
		hashes := f.Hashes
		if hashes == nil {
			hashes = map[string]string{}
		}
		out := map[string]any{"filename": f.Name, "url": p.link(f), "hashes": hashes, "yanked": false}
		if f.Yanked != nil {
			out["yanked"] = true
			if *f.Yanked != "" {
				out["yanked"] = *f.Yanked
			}
		}
		if f.RequiresPython != "" {
			out["requires-python"] = f.RequiresPython
		}
		switch f.Metadata {
		case "":
		case "true":
			out["core-metadata"], out["dist-info-metadata"] = true, true
		default:
			digest := map[string]string{"sha256": f.Metadata}
			out["core-metadata"], out["dist-info-metadata"] = digest, digest
		}
		if f.Size > 0 {
			out["size"] = f.Size
		}
		if f.Uploaded != "" {
			out["upload-time"] = f.Uploaded
		}
		files = append(files, out)
	}
	// Version 1.1 promises the versions and every file's size, which an HTML
	// index does not tell.
	meta, doc := "1.0", map[string]any{"name": p.Name, "files": files}
	if len(p.Versions) > 0 {
		meta, doc["versions"] = "1.1", p.Versions
	}
	doc["meta"] = map[string]string{"api-version": meta}
	return doc
}

type anchor struct {
	Name, URL, RequiresPython, Metadata string
	Yanked                              *string
}

func (p *page) asLinks() map[string]any {
	links := []anchor{}
	for i := range p.Files {
		f := &p.Files[i]
		to := anchor{Name: f.Name, URL: p.link(f), RequiresPython: f.RequiresPython, Metadata: f.Metadata, Yanked: f.Yanked}
		if d := f.digest(); d != "-" {
			to.URL += "#sha256=" + d
		} else {
			for kind, value := range f.Hashes {
				to.URL += "#" + kind + "=" + url.QueryEscape(value)
				break
			}
		}
		if len(to.Metadata) == 64 {
			to.Metadata = "sha256=" + to.Metadata
		}
		links = append(links, to)
	}
	return map[string]any{"Name": p.Name, "Links": links}
}

var htmlPage = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html><head><meta name="pypi:repository-version" content="1.0"><title>Links for {{.Name}}</title></head>
<body><h1>Links for {{.Name}}</h1>
{{range .Links}}<a href="{{.URL}}"{{with .RequiresPython}} data-requires-python="{{.}}"{{end}}{{with .Yanked}} data-yanked="{{.}}"{{end}}{{with .Metadata}} data-core-metadata="{{.}}" data-dist-info-metadata="{{.}}"{{end}}>{{.Name}}</a><br>
{{end}}</body></html>
`))
