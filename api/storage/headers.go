package storage

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
)

// contentHeaders are kept with a file: DFS sends them as x-ms-content-*, Blob
// as x-ms-blob-content-*.
var contentHeaders = []string{"Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control", "Content-MD5"}

func setProperties(m *meta, r *http.Request) {
	if p := r.Header.Get("x-ms-properties"); p != "" {
		m.Metadata = parseProperties(p)
	}
	for name, values := range r.Header {
		if key, ok := strings.CutPrefix(strings.ToLower(name), "x-ms-meta-"); ok {
			if m.Metadata == nil {
				m.Metadata = map[string]string{}
			}
			m.Metadata[key] = values[0]
		}
	}
	for _, name := range contentHeaders {
		lower := strings.ToLower(name)
		v := r.Header.Get("x-ms-" + lower)
		if v == "" {
			v = r.Header.Get("x-ms-blob-" + lower)
		}
		if v != "" {
			if m.Headers == nil {
				m.Headers = map[string]string{}
			}
			m.Headers[name] = v
		}
	}
}

// parseProperties reads "name=base64,name=base64": the DFS API's spelling of
// what the Blob API sends as x-ms-meta-name.
func parseProperties(p string) map[string]string {
	all := map[string]string{}
	for pair := range strings.SplitSeq(p, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if b, err := base64.StdEncoding.DecodeString(value); err == nil && name != "" {
			all[name] = string(b)
		}
	}
	return all
}

func setAccess(m *meta, r *http.Request) {
	for name, field := range map[string]*string{"x-ms-owner": &m.Owner, "x-ms-group": &m.Group, "x-ms-acl": &m.ACL} {
		if v := r.Header.Get(name); v != "" {
			*field = v
		}
	}
	if v := r.Header.Get("x-ms-permissions"); v != "" {
		m.Permissions = symbolic(v)
		m.ACL = ""
	}
}

// symbolic turns 0750 into rwxr-x---; what is symbolic already stays.
func symbolic(p string) string {
	if len(p) < 3 || strings.Trim(p, "01234567") != "" {
		return p
	}
	var b strings.Builder
	for _, d := range p[len(p)-3:] {
		for i, c := range "rwx" {
			if (d-'0')&(4>>i) != 0 {
				b.WriteRune(c)
			} else {
				b.WriteByte('-')
			}
		}
	}
	return b.String()
}

func permissions(e *entry) string {
	if e.Permissions != "" {
		return e.Permissions
	}
	if e.IsDir() {
		return "rwxr-x---"
	}
	return "rw-r-----"
}

func acl(e *entry) string {
	if e.ACL != "" {
		return e.ACL
	}
	p := permissions(e)
	if len(p) < 9 {
		return ""
	}
	return "user::" + p[:3] + ",group::" + p[3:6] + ",other::" + p[6:9]
}

func orElse(v, other string) string {
	if v == "" {
		return other
	}
	return v
}

func size(e *entry) int64 {
	if e.IsDir() {
		return 0
	}
	return e.Size()
}

func setMetaHeaders(h http.Header, e *entry) {
	pairs := make([]string, 0, len(e.Metadata))
	for k, v := range e.Metadata {
		h["x-ms-meta-"+k] = []string{v}
		pairs = append(pairs, k+"="+base64.StdEncoding.EncodeToString([]byte(v)))
	}
	slices.Sort(pairs)
	h.Set("x-ms-properties", strings.Join(pairs, ","))
}

// setEntryHeaders sets what both APIs say of a file or directory.
func setEntryHeaders(h http.Header, e *entry) {
	setMetaHeaders(h, e)
	h.Set("Content-Type", "application/octet-stream")
	for k, v := range e.Headers {
		h.Set(k, v)
	}
	h.Set("ETag", e.ETag())
	h.Set("Last-Modified", httpTime(e.ModTime()))
	h.Set("Accept-Ranges", "bytes")
	h.Set("x-ms-creation-time", httpTime(e.ModTime()))
	h.Set("x-ms-blob-type", "BlockBlob")
	setLeaseHeaders(h, e.Lease)
	h.Set("x-ms-server-encrypted", "false")
	kind := "file"
	if e.IsDir() {
		kind = "directory"
		h["x-ms-meta-hdi_isfolder"] = []string{"true"} // how the Blob SDKs see a directory
	}
	h.Set("x-ms-resource-type", kind)
}
