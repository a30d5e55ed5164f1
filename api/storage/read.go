package storage

import (
	"crypto/md5"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// read serves the bytes of a file, whole or a range, to both APIs.
func (s *Service) read(w http.ResponseWriter, r *http.Request, q *request) error {
	f, err := s.lake.root.Open(s.lake.name(q, q.path))
	if err != nil {
		return err
	}
	defer f.Close()
	e, err := statFile(f)
	if err != nil {
		return err
	}
	if e.IsDir() && q.dfs {
		return unix.EISDIR
	}
	if err := mayRead(r, e); err != nil {
		return err
	}
	asked := orElse(r.Header.Get("x-ms-range"), r.Header.Get("Range"))
	from, to, ok := byteRange(asked, size(e))
	if !ok {
		return &Error{
			Status: http.StatusRequestedRangeNotSatisfiable, Code: "InvalidRange", Message: "The range specified is invalid for the current size of the resource.",
			Header: map[string]string{"Content-Range": "bytes */" + itoa(size(e))},
		}
	}
	h := w.Header()
	setEntryHeaders(h, e)
	status := http.StatusOK
	if asked != "" {
		status = http.StatusPartialContent
		h.Set("Content-Range", "bytes "+itoa(from)+"-"+itoa(to-1)+"/"+itoa(size(e)))
		h.Del("Content-MD5")
	}
	if r.Header.Get("x-ms-range-get-content-md5") == "true" && to-from <= 4<<20 {
		b := make([]byte, to-from)
		if _, err := f.ReadAt(b, from); err != nil && err != io.EOF {
			return err
		}
		sum := md5.Sum(b)
		h.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	h.Set("Content-Length", itoa(to-from))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil // the answer has begun
	}
	_, _ = io.CopyN(w, f, to-from) // a short body tells the client, by its length
	return nil
}

// byteRange reads "bytes=a-b" and "bytes=a-"; to is exclusive. No range is all.
func byteRange(header string, size int64) (from, to int64, ok bool) {
	spec, isBytes := strings.CutPrefix(header, "bytes=")
	if !isBytes {
		return 0, size, true
	}
	a, b, _ := strings.Cut(spec, "-")
	from, err := strconv.ParseInt(a, 10, 64)
	if err != nil || from >= size {
		return 0, 0, false
	}
	to, err = strconv.ParseInt(b, 10, 64)
	if err != nil || to >= size {
		return from, size, b == "" || err == nil
	}
	if to < from {
		return 0, 0, false
	}
	return from, to + 1, true
}
