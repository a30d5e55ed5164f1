package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
)

// Folders of the cache: pages by project, whole files by sha256, and files on
// their way by sha256.
const (
	pages   = "pages"
	whole   = "files"
	partial = "partial"
)

// maxPage bounds a page of the index: the largest of PyPI have some 20 MB.
const maxPage = 128 << 20

// page is what the index says of a project, as it is kept.
type page struct {
	Name     string    `json:"name"`
	Versions []string  `json:"versions,omitempty"`
	Files    []file    `json:"files"`
	Asked    time.Time `json:"asked"` // when the index last said so
	ETag     string    `json:"etag,omitempty"`
	Modified string    `json:"last_modified,omitempty"`
}

// file is one of a project's.
type file struct {
	Name           string            `json:"filename"`
	URL            string            `json:"url"` // absolute, of upstream: never shown
	Hashes         map[string]string `json:"hashes,omitempty"`
	RequiresPython string            `json:"requires_python,omitempty"`
	Yanked         *string           `json:"yanked,omitempty"` // the reason, which may be empty
	// Metadata is the sha256 of the metadata beside the file, "true" for one
	// whose hash is not told, "" for none.
	Metadata string `json:"metadata,omitempty"`
	Size     int64  `json:"size,omitempty"`
	Uploaded string `json:"upload_time,omitempty"`
}

// Forms of what becomes a part of a path.
var (
	fileForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+!-]{0,254}$`)
	digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// digest is the file's sha256 in small letters, "-" if the index tells none.
func (f *file) digest() string {
	if d := strings.ToLower(f.Hashes["sha256"]); digestForm.MatchString(d) {
		return d
	}
	return "-"
}

func (a *API) project(w http.ResponseWriter, r *http.Request) error {
	p, stale, err := a.page(r)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Vary", "Accept")
	h.Set("Cache-Control", "no-cache")
	if stale {
		h.Set("Warning", `110 - "Response is Stale"`)
	}
	return write(w, r, p)
}

// page returns what is known of the project that the request names; stale says
// that the index could not be asked.
func (a *API) page(r *http.Request) (p *page, stale bool, err error) {
	name := r.PathValue("project")
	if !projectForm.MatchString(name) {
		return nil, false, wherry.Errorf(wherry.CodeNotFound, "no project is called %.100q", name)
	}
	name = normal(name)
	s, err := a.source(r)
	if err != nil {
		return nil, false, err
	}
	kept, err := a.keptPage(name)
	if err != nil {
		return nil, false, err
	}
	if kept != nil && time.Since(kept.Asked) < a.fresh {
		return kept, false, nil
	}
	// One request for all that ask at once, which ends though its caller goes.
	got, err, _ := a.fetches.Do(name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 2*time.Minute)
		defer cancel()
		return a.fetchPage(ctx, s, name, kept)
	})
	switch {
	case err == nil:
		return got.(*page), false, nil
	case kept != nil && wherry.CodeOf(err) == codeUpstream:
		return kept, true, nil
	}
	return nil, false, err
}

// keptPage reads a page from the cache, nil if there is none.
func (a *API) keptPage(name string) (*page, error) {
	b, err := a.dir.ReadFile(path.Join(pages, name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := &page{}
	if err := json.Unmarshal(b, p); err != nil {
		return nil, nil //nolint:nilerr // of another version: it is asked for anew
	}
	return p, nil
}

func (a *API) keepPage(name string, p *page) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return a.dir.Put(path.Join(pages, name+".json"), strings.NewReader(string(b)), true)
}

// fetchPage asks the index for a project, sparing it what kept says already.
func (a *API) fetchPage(ctx context.Context, s *source, name string, kept *page) (*page, error) {
	header := http.Header{"Accept": {typeJSON + ", " + typeHTML + ";q=0.2, text/html;q=0.01"}}
	if kept != nil && kept.ETag != "" {
		header.Set("If-None-Match", kept.ETag)
	} else if kept != nil && kept.Modified != "" {
		header.Set("If-Modified-Since", kept.Modified)
	}
	resp, err := a.get(ctx, s, s.base.JoinPath(name, "/").String(), header)
	if err != nil {
		return nil, s.unreachable(err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && kept != nil:
		again := *kept
		again.Asked = time.Now()
		return &again, a.keepPage(name, &again)
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone:
		return nil, wherry.Errorf(wherry.CodeNotFound, "the package index has no project %s", name)
	case resp.StatusCode != http.StatusOK:
		return nil, wherry.Errorf(codeUpstream, "the package index at %s answered %s", s.base.Host, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage+1))
	if err != nil {
		return nil, s.unreachable(err)
	}
	if len(body) > maxPage {
		return nil, wherry.Errorf(codeUpstream, "the page of %s at the package index is too large", name)
	}
	p, err := parse(resp.Request.URL, resp.Header.Get("Content-Type"), body)
	if err != nil {
		return nil, wherry.Errorf(codeUpstream, "the page of %s at the package index cannot be read: %v", name, err)
	}
	p.Name, p.Asked = name, time.Now()
	p.ETag, p.Modified = resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	return p, a.keepPage(name, p)
}

// isJSON tells the two forms of a page apart.
func isJSON(contentType string) (bool, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false, fmt.Errorf("its type %.100q is not valid", contentType)
	}
	switch kind {
	case typeJSON, "application/json":
		return true, nil
	case typeHTML, "text/html", "application/xhtml+xml":
		return false, nil
	}
	return false, fmt.Errorf("its type %.100q is neither JSON nor HTML", contentType)
}
