package storage

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// blob serves one file through the Blob API.
func (s *Service) blob(w http.ResponseWriter, r *http.Request, q *request) error {
	if _, err := s.lake.stat(s.lake.name(q, "")); errors.Is(err, fs.ErrNotExist) {
		return q.noContainer()
	}
	comp := r.URL.Query().Get("comp")
	switch {
	case q.path == "":
		return unsupported("this kind of container operations")
	case q.method == http.MethodGet && comp == "":
		return s.read(w, r, q)
	case q.method == http.MethodHead && comp == "":
		return s.blobProperties(w, r, q)
	case q.method == http.MethodDelete && comp == "":
		return s.deleteBlob(w, r, q)
	case q.method == http.MethodPut && comp == "":
		return s.putBlob(w, r, q)
	case q.method == http.MethodPut && comp == "block":
		return s.putBlock(w, r, q)
	case q.method == http.MethodPut && comp == "blocklist":
		return s.putBlockList(w, r, q)
	case q.method == http.MethodPut && (comp == "properties" || comp == "metadata"):
		return s.changePath(w, r, q, func(m *meta) {
			if comp == "metadata" {
				m.Metadata = nil
			}
			setProperties(m, r)
		})
	default:
		return unsupported("Blob requests of the kind " + q.method + " " + comp)
	}
}

func (s *Service) blobProperties(w http.ResponseWriter, r *http.Request, q *request) error {
	e, err := s.lake.stat(s.lake.name(q, q.path))
	if err != nil {
		return err
	}
	if err := mayRead(r, e); err != nil {
		return err
	}
	setEntryHeaders(w.Header(), e)
	w.Header().Set("Content-Length", itoa(size(e)))
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) deleteBlob(w http.ResponseWriter, r *http.Request, q *request) error {
	err := s.lake.remove(s.lake.name(q, q.path), false, conditions(r))
	if errors.Is(err, unix.ENOTEMPTY) {
		return conflict("DirectoryIsNotEmpty", "This operation is not permitted on a non-empty directory.")
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// putBlob writes a whole block blob. delta-rs commits with If-None-Match: *,
// so that condition is settled by the rename that gives the file its name.
func (s *Service) putBlob(w http.ResponseWriter, r *http.Request, q *request) error {
	if kind := r.Header.Get("x-ms-blob-type"); kind != "BlockBlob" {
		return unsupported("blobs of type " + kind)
	}
	if r.Header.Get("x-ms-copy-source") != "" {
		return unsupported("copies from a URL")
	}
	return s.writeBlob(w, r, q, func(f *os.File) error {
		sum := md5.New()
		if _, err := io.Copy(io.MultiWriter(f, sum), r.Body); err != nil {
			return err
		}
		if want := r.Header.Get("Content-MD5"); want != "" && want != base64.StdEncoding.EncodeToString(sum.Sum(nil)) {
			return badRequest("Md5Mismatch", "The MD5 value specified in the request did not match with the MD5 value calculated by the server.")
		}
		return nil
	})
}

func (s *Service) writeBlob(w http.ResponseWriter, r *http.Request, q *request, fill func(*os.File) error) error {
	name := s.lake.name(q, q.path)
	exists := conflict("BlobAlreadyExists", "The specified blob already exists.")
	exclusive := r.Header.Get("If-None-Match") == "*"
	ok := func(e *entry) error {
		switch {
		case exclusive && e != nil:
			return exists
		case e != nil && e.IsDir():
			return unix.EISDIR
		}
		return mayWrite(r, e)
	}
	if _, err := s.lake.now(name, ok); err != nil { // before the body is read; asked again when it is
		return err
	}
	e, err := s.lake.create(name, exclusive, ok, func(f *os.File) (m meta, err error) {
		setProperties(&m, r)
		return m, fill(f)
	})
	if errors.Is(err, fs.ErrExist) {
		return exists
	}
	if err != nil {
		return err
	}
	if err := s.lake.dropStaged(name); err != nil {
		return err
	}
	return created(w, e)
}

// Blocks wait like appended bytes do, a file each, named by the block's id.

func blockName(dir, id string) string { return path.Join(dir, "block-"+digest(id)) }

func (s *Service) putBlock(w http.ResponseWriter, r *http.Request, q *request) error {
	id := r.URL.Query().Get("blockid")
	if _, err := base64.StdEncoding.DecodeString(id); err != nil || id == "" {
		return badRequest("InvalidQueryParameterValue", "blockid must be base64")
	}
	name := s.lake.name(q, q.path)
	if _, err := s.lake.now(name, func(e *entry) error { return checkLease(r.Header.Get("x-ms-lease-id"), e, "Blob", true) }); err != nil {
		return err
	}
	dir := s.lake.stagingDir(name)
	if err := s.lake.root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	_, err := s.lake.create(blockName(dir, id), false, anything, func(f *os.File) (meta, error) {
		_, err := io.Copy(f, r.Body)
		return meta{}, err
	})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (s *Service) putBlockList(w http.ResponseWriter, r *http.Request, q *request) error {
	var list struct {
		Blocks []struct {
			XMLName xml.Name
			ID      string `xml:",chardata"`
		} `xml:",any"`
	}
	if err := xml.NewDecoder(io.LimitReader(r.Body, 8<<20)).Decode(&list); err != nil {
		return badRequest("InvalidXmlDocument", "The block list is not valid XML.")
	}
	dir := s.lake.stagingDir(s.lake.name(q, q.path))
	names := make([]string, len(list.Blocks))
	for i, b := range list.Blocks {
		if b.XMLName.Local == "Committed" {
			return unsupported("block lists that keep committed blocks")
		}
		names[i] = blockName(dir, b.ID)
		if _, err := s.lake.root.Stat(names[i]); err != nil {
			return badRequest("InvalidBlockList", "The specified block list is invalid: a block was not uploaded.")
		}
	}
	return s.writeBlob(w, r, q, func(f *os.File) error { return s.lake.join(f, names) })
}
