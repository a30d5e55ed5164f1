package storage

import (
	"encoding/xml"
	"errors"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// container serves a filesystem (DFS) or container (Blob) as a whole.
func (s *Service) container(w http.ResponseWriter, r *http.Request, q *request) error {
	query := r.URL.Query()
	name := s.lake.name(q, "")
	if q.method == http.MethodPut && query.Get("comp") == "" {
		return s.createContainer(w, r, q, name)
	}
	e, err := s.lake.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return q.noContainer()
	}
	if err != nil {
		return err
	}
	switch {
	case query.Get("comp") == "list" || q.method == http.MethodGet && query.Get("resource") == "filesystem":
		if query.Get("comp") == "list" {
			return s.listBlobs(w, r, q)
		}
		return s.listPaths(w, r, q)
	case q.method == http.MethodDelete:
		if err := checkLease(r.Header.Get("x-ms-lease-id"), e, "Container", true); err != nil {
			return err
		}
		if err := s.lake.root.RemoveAll(name); err != nil {
			return err
		}
		w.WriteHeader(http.StatusAccepted)
		return nil
	case q.method == http.MethodPatch || q.method == http.MethodPut && query.Get("comp") == "metadata":
		e, err = s.lake.change(name, anything, func(m *meta) { setProperties(m, r) })
		if err != nil {
			return err
		}
	case q.method != http.MethodHead && q.method != http.MethodGet:
		return unsupported("this kind of container operations")
	}
	h := w.Header()
	h.Set("ETag", e.ETag())
	h.Set("Last-Modified", httpTime(e.ModTime()))
	h.Set("x-ms-namespace-enabled", "true")
	h.Set("x-ms-has-immutability-policy", "false")
	h.Set("x-ms-has-legal-hold", "false")
	setLeaseHeaders(h, e.Lease)
	setMetaHeaders(h, e)
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) createContainer(w http.ResponseWriter, r *http.Request, q *request, name string) error {
	if err := s.lake.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	err := s.lake.root.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		code := "ContainerAlreadyExists"
		if q.dfs {
			code = "FilesystemAlreadyExists"
		}
		return conflict(code, "The specified filesystem already exists.")
	}
	if err != nil {
		return err
	}
	e, err := s.lake.change(name, anything, func(m *meta) { setProperties(m, r) })
	if err != nil {
		return err
	}
	w.Header().Set("ETag", e.ETag())
	w.Header().Set("Last-Modified", httpTime(e.ModTime()))
	w.Header().Set("x-ms-namespace-enabled", "true")
	w.WriteHeader(http.StatusCreated)
	return nil
}

// listContainers answers both List Filesystems (JSON) and List Containers (XML).
func (s *Service) listContainers(w http.ResponseWriter, r *http.Request, q *request) error {
	dir, err := fs.ReadDir(s.lake.root.FS(), q.account)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	type properties struct {
		LastModified string `xml:"Last-Modified"`
		Etag         string
		LeaseStatus  string
		LeaseState   string
	}
	type item struct {
		Name       string
		Properties properties
	}
	type filesystem struct {
		Name         string `json:"name"`
		LastModified string `json:"lastModified"`
		ETag         string `json:"eTag"`
	}
	var blob struct {
		XMLName    xml.Name `xml:"EnumerationResults"`
		Containers struct {
			Container []item
		}
		NextMarker string
	}
	dfs := []filesystem{}
	for _, d := range dir {
		if !strings.HasPrefix(d.Name(), r.URL.Query().Get("prefix")) {
			continue
		}
		e, err := s.lake.stat(path.Join(q.account, d.Name()))
		if err != nil {
			return err
		}
		blob.Containers.Container = append(blob.Containers.Container, item{d.Name(), properties{httpTime(e.ModTime()), e.ETag(), e.Lease.status(), e.Lease.state()}})
		dfs = append(dfs, filesystem{d.Name(), httpTime(e.ModTime()), e.ETag()})
	}
	if r.URL.Query().Get("resource") == "account" {
		return writeJSON(w, map[string]any{"filesystems": dfs})
	}
	return writeXML(w, blob)
}
