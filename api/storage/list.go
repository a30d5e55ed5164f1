package storage

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

// walk calls fn for the entries below dir in the order of their names, with
// their paths in the container, from the first one after the marker on. fn
// ends the walk with fs.SkipAll.
func (s *Service) walk(q *request, dir string, recursive bool, after string, fn func(p string, e *entry) error) error {
	items, err := fs.ReadDir(s.lake.root.FS(), s.lake.name(q, dir))
	if err != nil {
		return err
	}
	for _, item := range items {
		p := path.Join(dir, item.Name())
		seen := after != "" && before(p, after)
		if seen && p != after && !strings.HasPrefix(after, p+"/") {
			continue
		}
		e, err := s.lake.stat(s.lake.name(q, p))
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since
		}
		if err != nil {
			return err
		}
		if !seen {
			if err := fn(p, e); err != nil {
				return err
			}
		}
		if recursive && e.IsDir() {
			if err := s.walk(q, p, true, after, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// before tells whether p comes before after in a walk, or is it: by components,
// for "a/b" comes before "a-b" there.
func before(p, after string) bool {
	return slices.Compare(strings.Split(p, "/"), strings.Split(after, "/")) <= 0
}

func encodeMarker(p string) string { return base64.URLEncoding.EncodeToString([]byte(p)) }

func decodeMarker(m string) (string, error) {
	b, err := base64.URLEncoding.DecodeString(m)
	if err != nil {
		return "", badRequest("InvalidQueryParameterValue", "the continuation token is not one of ours")
	}
	return string(b), nil
}

func maxResults(r *http.Request, name string) (int, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return 5000, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n <= 0 {
		return 0, badRequest("OutOfRangeQueryParameterValue", name+" must be a positive number")
	}
	return min(n, 5000), nil
}

// pathItem is a line of List Paths. The service writes these values as
// strings, and isDirectory only when true; ABFS and the SDKs read that.
type pathItem struct {
	Name          string `json:"name"`
	IsDirectory   string `json:"isDirectory,omitempty"`
	ContentLength string `json:"contentLength"`
	LastModified  string `json:"lastModified"`
	ETag          string `json:"etag"`
	Owner         string `json:"owner"`
	Group         string `json:"group"`
	Permissions   string `json:"permissions"`
	CreationTime  string `json:"creationTime"` // Windows ticks; readers accept any integer
}

func (s *Service) listPaths(w http.ResponseWriter, r *http.Request, q *request) error {
	query := r.URL.Query()
	dir, err := cleanPath(query.Get("directory"))
	if err != nil {
		return err
	}
	limit, err := maxResults(r, "maxResults")
	if err != nil {
		return err
	}
	after, err := decodeMarker(query.Get("continuation"))
	if err != nil {
		return err
	}
	e, err := s.lake.stat(s.lake.name(q, dir))
	if err != nil {
		return &Error{Status: http.StatusNotFound, Code: "PathNotFound", Message: "The specified path does not exist."}
	}
	if !e.IsDir() { // ABFS's listStatus of a file is the file; Spark infers the schema of CSV and JSON by it
		return writeJSON(w, map[string]any{"paths": []pathItem{listed(dir, e)}})
	}
	items, last := []pathItem{}, ""
	err = s.walk(q, dir, query.Get("recursive") == "true", after, func(p string, e *entry) error {
		if len(items) == limit {
			w.Header().Set("x-ms-continuation", encodeMarker(last))
			return fs.SkipAll
		}
		last = p
		items = append(items, listed(p, e))
		return nil
	})
	if err != nil && !errors.Is(err, fs.SkipAll) {
		return err
	}
	return writeJSON(w, map[string]any{"paths": items})
}

func listed(p string, e *entry) pathItem {
	item := pathItem{
		Name: p, ContentLength: itoa(size(e)), LastModified: httpTime(e.ModTime()), ETag: strings.Trim(e.ETag(), `"`),
		Owner: orElse(e.Owner, "$superuser"), Group: orElse(e.Group, "$superuser"), Permissions: permissions(e),
		CreationTime: itoa(e.ModTime().UnixNano()/100 + 116444736000000000),
	}
	if e.IsDir() {
		item.IsDirectory = "true"
	}
	return item
}

type blobProperties struct {
	LastModified  string `xml:"Last-Modified"`
	Etag          string
	ResourceType  string
	ContentLength int64  `xml:"Content-Length"`
	ContentType   string `xml:"Content-Type"`
	BlobType      string
	LeaseStatus   string
	LeaseState    string
}

type blobItem struct {
	Name       string
	Properties blobProperties
	Metadata   *struct {
		IsFolder string `xml:"hdi_isfolder"`
	} `xml:",omitempty"`
}

type blobPrefix struct{ Name string }

type blobList struct {
	XMLName         xml.Name `xml:"EnumerationResults"`
	ServiceEndpoint string   `xml:"ServiceEndpoint,attr"`
	ContainerName   string   `xml:"ContainerName,attr"`
	Prefix          string
	Delimiter       string
	Blobs           struct {
		Blob       []blobItem
		BlobPrefix []blobPrefix
	}
	NextMarker string
}

func (s *Service) listBlobs(w http.ResponseWriter, r *http.Request, q *request) error {
	query := r.URL.Query()
	prefix, delimiter := query.Get("prefix"), query.Get("delimiter")
	limit, err := maxResults(r, "maxresults")
	if err != nil {
		return err
	}
	after, err := decodeMarker(query.Get("marker"))
	if err != nil {
		return err
	}
	dir, _ := path.Split(prefix)
	if dir, err = cleanPath(dir); err != nil {
		return err
	}
	out := blobList{ContainerName: q.container, ServiceEndpoint: "https://" + q.account + ".blob.core.windows.net/", Prefix: prefix, Delimiter: delimiter}
	n, last := 0, ""
	err = s.walk(q, dir, delimiter == "", after, func(p string, e *entry) error {
		if !strings.HasPrefix(p, prefix) {
			return nil
		}
		if n == limit {
			out.NextMarker = encodeMarker(last)
			return fs.SkipAll
		}
		n, last = n+1, p
		if e.IsDir() && delimiter == "/" {
			out.Blobs.BlobPrefix = append(out.Blobs.BlobPrefix, blobPrefix{p + "/"})
			return nil
		}
		item := blobItem{Name: p, Properties: blobProperties{
			httpTime(e.ModTime()), strings.Trim(e.ETag(), `"`), "file", size(e),
			orElse(e.Headers["Content-Type"], "application/octet-stream"), "BlockBlob", e.Lease.status(), e.Lease.state(),
		}}
		if e.IsDir() {
			item.Properties.ResourceType = "directory"
			item.Metadata = &struct {
				IsFolder string `xml:"hdi_isfolder"`
			}{"true"}
		}
		out.Blobs.Blob = append(out.Blobs.Blob, item)
		return nil
	})
	if err != nil && !errors.Is(err, fs.SkipAll) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return writeXML(w, out)
}

// setAccessRecursive sets ACLs below a path, and counts: azdatalake reads all
// four fields.
func (s *Service) setAccessRecursive(w http.ResponseWriter, r *http.Request, q *request) error {
	if mode := r.URL.Query().Get("mode"); mode != "set" {
		return unsupported("recursive ACL changes of mode " + mode)
	}
	var dirs, files int
	set := func(p string, e *entry) error {
		if e.IsDir() {
			dirs++
		} else {
			files++
		}
		_, err := s.lake.change(s.lake.name(q, p), anything, func(m *meta) { setAccess(m, r) })
		return err
	}
	e, err := s.lake.stat(s.lake.name(q, q.path))
	if err != nil {
		return err
	}
	if err := set(q.path, e); err != nil {
		return err
	}
	if e.IsDir() {
		if err := s.walk(q, q.path, true, "", set); err != nil {
			return err
		}
	}
	return writeJSON(w, map[string]any{"directoriesSuccessful": dirs, "filesSuccessful": files, "failureCount": 0, "failedEntries": []string{}})
}
