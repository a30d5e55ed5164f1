package index

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
)

// file serves a file that a page of the index names, or the metadata beside it.
// The request says which, never where: the URL is the index's.
func (a *API) file(w http.ResponseWriter, r *http.Request) error {
	name, digest := r.PathValue("name"), r.PathValue("digest")
	if digestForm.MatchString(digest) && !strings.HasSuffix(name, ".metadata") {
		if ok, err := a.serveWhole(w, r, digest); ok || err != nil { // known by its content: no page is needed
			return err
		}
	}
	p, _, err := a.page(r)
	if err != nil {
		return err
	}
	s, err := a.source(r)
	if err != nil {
		return err
	}
	f, beside := p.find(name, digest)
	if f == nil {
		return wherry.Errorf(wherry.CodeNotFound, "the package index has no such file of %s", p.Name)
	}
	target, want := f.URL, f.digest()
	if beside {
		if target, err = metadataURL(f.URL); err != nil {
			return err
		}
		want = f.Metadata
	}
	if !digestForm.MatchString(want) {
		return a.passOn(w, r, s, target)
	}
	if beside {
		if ok, err := a.serveWhole(w, r, want); ok || err != nil {
			return err
		}
	}
	return a.fetchFile(w, r, s, target, want)
}

// find returns the file of a link; beside says that its metadata is meant.
func (p *page) find(name, digest string) (f *file, beside bool) {
	for i := range p.Files {
		f := &p.Files[i]
		if f.digest() != digest {
			continue
		}
		if f.Name == name {
			return f, false
		}
		if f.Metadata != "" && f.Name+".metadata" == name {
			return f, true
		}
	}
	return nil, false
}

// metadataURL is where PEP 658 puts a wheel's metadata.
func metadataURL(file string) (string, error) {
	u, err := url.Parse(file)
	if err != nil {
		return "", err
	}
	u.Path, u.RawPath = u.Path+".metadata", ""
	return u.String(), nil
}

// place is where the content of a digest is kept.
func place(digest string) string { return path.Join(whole, digest[:2], digest) }

// serveWhole serves content that is here; false if it is not.
func (a *API) serveWhole(w http.ResponseWriter, r *http.Request, digest string) (bool, error) {
	f, err := a.dir.Open(place(digest))
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	describe(w.Header(), r, digest)
	http.ServeContent(w, r, "", time.Time{}, f)
	return true, nil
}

// describe sets what is so of all content with a known hash: it never changes.
// On this machine it is as near as a cache of pip's would be, and what workflows
// keep of that cache is better without it.
func describe(h http.Header, r *http.Request, digest string) {
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	if fromHere(r) {
		h.Set("Cache-Control", "no-store")
	}
	h.Set("ETag", `"`+digest+`"`)
}

// passOn passes a file on that the index tells no sha256 of. It is not kept:
// nothing would tell that it is still the same, or whole.
func (a *API) passOn(w http.ResponseWriter, r *http.Request, s *source, target string) error {
	resp, err := a.get(r.Context(), s, target, http.Header{})
	if err != nil {
		return s.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s.refused(resp)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if resp.ContentLength >= 0 {
		w.Header().Set("Content-Length", fmt.Sprint(resp.ContentLength))
	}
	_, err = io.Copy(w, resp.Body)
	return err
}

// refused is the error for a file that the index names and does not give.
func (s *source) refused(resp *http.Response) error {
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone {
		return wherry.Errorf(wherry.CodeNotFound, "the package index has this file no more")
	}
	return wherry.Errorf(codeUpstream, "the package index at %s answered %s", s.base.Host, resp.Status)
}

// fetchFile serves a file while it arrives. Its end is held back until its hash
// is known to be right: nobody gets the whole of a file that is not.
func (a *API) fetchFile(w http.ResponseWriter, r *http.Request, s *source, target, digest string) error {
	d, err := a.downloads.join(r.Context(), a, s, target, digest)
	if err != nil {
		return err
	}
	size, err := d.begun(r.Context())
	if err != nil {
		return err
	}
	f, err := a.dir.Open(path.Join(partial, digest))
	if r.Method == http.MethodHead || r.Header.Get("Range") != "" || size < 0 || err != nil {
		if err == nil {
			_ = f.Close()
		}
		return a.serveFinished(w, r, d, digest) // what was asked for must be known whole, or it became so just now
	}
	defer f.Close()
	if _, err := d.reached(r.Context(), 0); err != nil { // before a word of success
		return err
	}
	describe(w.Header(), r, digest)
	w.Header().Set("Content-Length", fmt.Sprint(size))
	for sent := int64(0); sent < size; {
		ready, err := d.reached(r.Context(), sent)
		if err != nil {
			return err
		}
		n, err := io.CopyN(w, f, ready-sent)
		if err != nil {
			return err
		}
		sent += n
	}
	return nil
}

// serveFinished waits for the whole of a file and serves it.
func (a *API) serveFinished(w http.ResponseWriter, r *http.Request, d *download, digest string) error {
	if err := d.finished(r.Context()); err != nil {
		return err
	}
	ok, err := a.serveWhole(w, r, digest)
	if err == nil && !ok {
		err = fmt.Errorf("the package cache lost %s", digest)
	}
	return err
}
