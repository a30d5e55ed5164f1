package storage

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// path serves one file or directory of the DFS API.
func (s *Service) path(w http.ResponseWriter, r *http.Request, q *request) error {
	if _, err := s.lake.stat(s.lake.name(q, "")); errors.Is(err, fs.ErrNotExist) {
		return q.noContainer()
	}
	action := r.URL.Query().Get("action")
	switch {
	case q.method == http.MethodPut && r.Header.Get("x-ms-rename-source") != "":
		return s.renamePath(w, r, q)
	case q.method == http.MethodPut:
		return s.createPath(w, r, q)
	case q.method == http.MethodPatch && action == "append":
		return s.appendData(w, r, q)
	case q.method == http.MethodPatch && action == "flush":
		return s.flushData(w, r, q)
	case q.method == http.MethodPatch && action == "setProperties":
		return s.changePath(w, r, q, func(m *meta) { setProperties(m, r) })
	case q.method == http.MethodPatch && action == "setAccessControl":
		return s.changePath(w, r, q, func(m *meta) { setAccess(m, r) })
	case q.method == http.MethodPatch && action == "setAccessControlRecursive":
		return s.setAccessRecursive(w, r, q)
	case q.method == http.MethodHead:
		return s.pathStatus(w, r, q)
	case q.method == http.MethodGet:
		return s.read(w, r, q)
	case q.method == http.MethodDelete:
		return s.deletePath(w, r, q)
	default:
		return unsupported("requests of the kind " + q.method + " " + action)
	}
}

// sameTag compares an ETag with one that a client sends back: lists give them
// without quotes, and ABFS sends them so.
func sameTag(sent string, e *entry) bool {
	return sent == "*" || strings.Trim(sent, `"`) == strings.Trim(e.ETag(), `"`)
}

// check applies the request's conditions to what is there (nil: nothing).
func check(r *http.Request, e *entry) error {
	if match := r.Header.Get("If-Match"); match != "" && (e == nil || !sameTag(match, e)) {
		return conditionNotMet()
	}
	if none := r.Header.Get("If-None-Match"); none != "" && e != nil && sameTag(none, e) {
		return conditionNotMet()
	}
	if t, err := http.ParseTime(r.Header.Get("If-Unmodified-Since")); err == nil && e != nil && e.ModTime().Unix() > t.Unix() {
		return conditionNotMet()
	}
	return nil
}

// conditions are those of the request on what is there.
func conditions(r *http.Request) allow {
	return func(e *entry) error { return mayWrite(r, e) }
}

func (s *Service) createPath(w http.ResponseWriter, r *http.Request, q *request) error {
	name := s.lake.name(q, q.path)
	exclusive := r.Header.Get("If-None-Match") == "*"
	var wantDir bool
	var was *entry
	ok := func(e *entry) error {
		if was = e; e != nil && (exclusive || e.IsDir() != wantDir) {
			return pathExists(e)
		}
		if err := mayWrite(r, e); err != nil {
			return err
		}
		return s.lake.dropStaged(name)
	}
	edit := func(m *meta) { setProperties(m, r); setAccess(m, r) }
	var e *entry
	var err error
	switch r.URL.Query().Get("resource") {
	case "directory":
		wantDir = true
		e, err = s.lake.makeDir(name, ok, edit)
	case "file":
		e, err = s.lake.create(name, exclusive, ok, func(*os.File) (m meta, err error) { edit(&m); return m, nil })
	default:
		return badRequest("InvalidQueryParameterValue", "resource must be file or directory")
	}
	if errors.Is(err, fs.ErrExist) {
		return pathExists(was)
	}
	if err != nil {
		return err
	}
	return created(w, e)
}

func created(w http.ResponseWriter, e *entry) error {
	w.Header().Set("ETag", e.ETag())
	w.Header().Set("Last-Modified", httpTime(e.ModTime()))
	w.Header().Set("x-ms-request-server-encrypted", "false")
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return nil
}

// pathExists tells ABFS what is there: a mkdir on a directory is a success.
func pathExists(e *entry) error {
	err := &Error{Status: http.StatusConflict, Code: "PathAlreadyExists", Message: "The specified path already exists.", Header: map[string]string{}}
	if e != nil && e.IsDir() {
		err.Header["x-ms-existing-resource-type"] = "directory"
	} else {
		err.Header["x-ms-existing-resource-type"] = "file"
	}
	return err
}

// renamePath moves a file or directory within the account.
func (s *Service) renamePath(w http.ResponseWriter, r *http.Request, q *request) error {
	from, to := path.Join(q.account, q.source), s.lake.name(q, q.path)
	if strings.HasPrefix(to+"/", from+"/") || !strings.Contains(q.source, "/") {
		return conflict("InvalidRenameSourcePath", "The source directory cannot be the same as the destination directory, nor can the destination be a subdirectory of the source directory.")
	}
	if _, err := s.lake.stat(path.Dir(to)); err != nil {
		return &Error{Status: http.StatusNotFound, Code: "RenameDestinationParentPathNotFound", Message: "The parent directory of the destination path does not exist."}
	}
	exclusive := r.Header.Get("If-None-Match") == "*"
	src, err := s.lake.move(from, to, exclusive, func(src, dst *entry) error {
		if match := r.Header.Get("x-ms-source-if-match"); match != "" && !sameTag(match, src) {
			return &Error{Status: http.StatusPreconditionFailed, Code: "SourceConditionNotMet", Message: "The source condition specified using HTTP conditional header(s) is not met."}
		}
		if dst != nil && (exclusive || dst.IsDir() != src.IsDir()) {
			return conflict("PathAlreadyExists", "The specified path already exists.")
		}
		if err := checkLease(r.Header.Get("x-ms-source-lease-id"), src, "Blob", true); err != nil {
			return err
		}
		return mayWrite(r, dst)
	})
	switch {
	case errors.Is(err, fs.ErrExist), errors.Is(err, unix.ENOTEMPTY):
		return conflict("DestinationPathAlreadyExists", "The specified destination path already exists.")
	case errors.Is(err, fs.ErrNotExist):
		return &Error{Status: http.StatusNotFound, Code: "SourcePathNotFound", Message: "The source path for a rename operation does not exist."}
	case err != nil:
		return err
	}
	return created(w, src)
}

func (s *Service) appendData(w http.ResponseWriter, r *http.Request, q *request) error {
	position, err := strconv.ParseInt(r.URL.Query().Get("position"), 10, 64)
	if err != nil || position < 0 {
		return badRequest("InvalidQueryParameterValue", "position is missing or not a number")
	}
	name := s.lake.name(q, q.path)
	e, err := s.lake.stat(name)
	if err != nil {
		return err
	}
	if e.IsDir() {
		return unix.EISDIR
	}
	holder := func(e *entry) error { return checkLease(r.Header.Get("x-ms-lease-id"), e, "Blob", true) }
	if err := holder(e); err != nil {
		return err
	}
	n, err := s.lake.append(name, position, r.Body)
	if err != nil {
		return err
	}
	if r.URL.Query().Get("flush") == "true" {
		e, err := s.lake.flush(name, position+n, retains(r), holder, func(m *meta) { setProperties(m, r) })
		if err != nil {
			return err
		}
		w.Header().Set("ETag", e.ETag())
		w.Header().Set("Last-Modified", httpTime(e.ModTime()))
	}
	w.Header().Set("x-ms-request-server-encrypted", "false")
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// retains tells whether appended bytes beyond a flush's position stay: clients
// that append ahead of their flushes ask for it.
func retains(r *http.Request) bool { return r.URL.Query().Get("retainUncommittedData") == "true" }

func (s *Service) flushData(w http.ResponseWriter, r *http.Request, q *request) error {
	position, err := strconv.ParseInt(r.URL.Query().Get("position"), 10, 64)
	if err != nil || position < 0 {
		return badRequest("InvalidQueryParameterValue", "position is missing or not a number")
	}
	name := s.lake.name(q, q.path)
	e, err := s.lake.flush(name, position, retains(r), conditions(r), func(m *meta) { setProperties(m, r) })
	if err != nil {
		return err
	}
	w.Header().Set("ETag", e.ETag())
	w.Header().Set("Last-Modified", httpTime(e.ModTime()))
	w.Header().Set("x-ms-request-server-encrypted", "false")
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) changePath(w http.ResponseWriter, r *http.Request, q *request, edit func(*meta)) error {
	e, err := s.lake.change(s.lake.name(q, q.path), conditions(r), edit)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", e.ETag())
	w.Header().Set("Last-Modified", httpTime(e.ModTime()))
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) pathStatus(w http.ResponseWriter, r *http.Request, q *request) error {
	e, err := s.lake.stat(s.lake.name(q, q.path))
	if err != nil {
		return err
	}
	if err := mayRead(r, e); err != nil {
		return err
	}
	h := w.Header()
	setEntryHeaders(h, e)
	h.Set("x-ms-owner", orElse(e.Owner, "$superuser"))
	h.Set("x-ms-group", orElse(e.Group, "$superuser"))
	h.Set("x-ms-permissions", permissions(e))
	h.Set("x-ms-acl", acl(e))
	h.Set("Content-Length", itoa(size(e)))
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) deletePath(w http.ResponseWriter, r *http.Request, q *request) error {
	err := s.lake.remove(s.lake.name(q, q.path), r.URL.Query().Get("recursive") == "true", conditions(r))
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrExist) {
		return conflict("DirectoryNotEmpty", "The recursive query parameter value must be true to delete a non-empty directory.")
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func writeJSON(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeBody(w, "application/json;charset=utf-8", b)
}

func writeXML(w http.ResponseWriter, v any) error {
	b, err := xml.Marshal(v)
	if err != nil {
		return err
	}
	return writeBody(w, "application/xml", append([]byte(xml.Header), b...))
}

func writeBody(w http.ResponseWriter, contentType string, b []byte) error {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(http.StatusOK)
	_, err := io.Writer(w).Write(b)
	return err
}
