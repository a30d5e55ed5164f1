package index

import (
	"bytes"
	"encoding/json"
	"net/url"
	"path"
	"strings"

	"golang.org/x/net/html"
)

// parse reads a page of either form; base is where it was found.
func parse(base *url.URL, contentType string, body []byte) (*page, error) {
	json, err := isJSON(contentType)
	if err != nil {
		return nil, err
	}
	if json {
		return parseJSON(base, body)
	}
	return parseHTML(base, body)
}

// add adds a file whose name and URL can be used.
func (p *page) add(base *url.URL, f file) {
	u, err := base.Parse(f.URL)
	if err != nil || !fileForm.MatchString(f.Name) || u.Scheme != "http" && u.Scheme != "https" {
		return
	}
	u.User, u.Fragment = nil, ""
	f.URL = u.String()
	p.Files = append(p.Files, f)
}

// jsonPage is the form of PEP 691 and 700.
type jsonPage struct {
	Versions []string `json:"versions"`
	Files    []struct {
		Filename       string            `json:"filename"`
		URL            string            `json:"url"`
		Hashes         map[string]string `json:"hashes"`
		RequiresPython string            `json:"requires-python"`
		Yanked         any               `json:"yanked"`
		Metadata       any               `json:"core-metadata"`
		OldMetadata    any               `json:"dist-info-metadata"`
		Size           int64             `json:"size"`
		Uploaded       string            `json:"upload-time"`
	} `json:"files"`
}

func parseJSON(base *url.URL, body []byte) (*page, error) {
	var in jsonPage
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	p := &page{Versions: in.Versions}
	for _, f := range in.Files {
		out := file{
			Name: f.Filename, URL: f.URL, Hashes: f.Hashes, RequiresPython: f.RequiresPython, Size: f.Size, Uploaded: f.Uploaded,
			Metadata: metadataOf(f.Metadata),
		}
		if out.Metadata == "" {
			out.Metadata = metadataOf(f.OldMetadata)
		}
		switch y := f.Yanked.(type) {
		case string:
			out.Yanked = &y
		case bool:
			if y {
				out.Yanked = new(string)
			}
		}
		p.add(base, out)
	}
	return p, nil
}

// metadataOf reads true, false or the hashes of a wheel's metadata.
func metadataOf(v any) string {
	switch m := v.(type) {
	case bool:
		if m {
			return "true"
		}
	case map[string]any:
		if d, ok := m["sha256"].(string); ok && digestForm.MatchString(d) {
			return d
		}
		return "true"
	}
	return ""
}

// parseHTML reads the form of PEP 503: links, with a hash in the fragment.
func parseHTML(base *url.URL, body []byte) (*page, error) {
	p := &page{}
	tokens := html.NewTokenizer(bytes.NewReader(body))
	for {
		switch tokens.Next() {
		case html.ErrorToken: // the end: a tokenizer of memory has no other error
			return p, nil
		case html.StartTagToken, html.SelfClosingTagToken:
			t := tokens.Token()
			switch t.Data {
			case "base":
				if u, err := base.Parse(attributes(t)["href"]); err == nil {
					base = u
				}
			case "a":
				p.addLink(base, attributes(t))
			}
		}
	}
}

func attributes(t html.Token) map[string]string {
	found := map[string]string{}
	for _, a := range t.Attr {
		found[a.Key] = a.Val
	}
	return found
}

// addLink adds the file of an anchor; its name is the last part of the path.
func (p *page) addLink(base *url.URL, attr map[string]string) {
	u, err := base.Parse(attr["href"])
	if err != nil || strings.HasSuffix(u.Path, "/") {
		return
	}
	f := file{Name: path.Base(u.Path), URL: attr["href"], RequiresPython: attr["data-requires-python"]}
	if kind, value, ok := strings.Cut(u.Fragment, "="); ok {
		f.Hashes = map[string]string{kind: value}
	}
	if reason, ok := attr["data-yanked"]; ok {
		f.Yanked = &reason
	}
	metadata, ok := attr["data-core-metadata"]
	if !ok {
		metadata, ok = attr["data-dist-info-metadata"]
	}
	if ok && metadata != "false" {
		f.Metadata = "true"
		if d, told := strings.CutPrefix(metadata, "sha256="); told && digestForm.MatchString(d) {
			f.Metadata = d
		}
	}
	p.add(base, f)
}
