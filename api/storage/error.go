package storage

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"syscall"
)

// Error is an error of the storage APIs: Code is matched by name in clients.
type Error struct {
	Status  int
	Code    string
	Message string
	Header  map[string]string // more headers that clients read
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func badRequest(code, message string) error {
	return &Error{Status: http.StatusBadRequest, Code: code, Message: message}
}

func conflict(code, message string) error {
	return &Error{Status: http.StatusConflict, Code: code, Message: message}
}

func unsupported(feature string) error {
	return &Error{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: feature + " are not supported by wherry's storage endpoint"}
}

func conditionNotMet() error {
	return &Error{Status: http.StatusPreconditionFailed, Code: "ConditionNotMet", Message: "The condition specified using HTTP conditional header(s) is not met."}
}

// notFound names what is missing as each API does: ABFS matches PathNotFound
// in JSON, the Blob SDKs BlobNotFound.
func (q *request) notFound() error {
	code := "BlobNotFound"
	if q.dfs {
		code = "PathNotFound"
	}
	return &Error{Status: http.StatusNotFound, Code: code, Message: "The specified path does not exist."}
}

func (q *request) noContainer() error {
	code := "ContainerNotFound"
	if q.dfs {
		code = "FilesystemNotFound"
	}
	return &Error{Status: http.StatusNotFound, Code: code, Message: "The specified filesystem does not exist."}
}

// writeError answers in JSON on the DFS API and in XML on the Blob API.
func writeError(w http.ResponseWriter, r *http.Request, q *request, err error) {
	e, ok := errors.AsType[*Error](err)
	switch {
	case ok:
	case errors.Is(err, fs.ErrNotExist):
		e, _ = errors.AsType[*Error](q.notFound())
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		e = &Error{Status: http.StatusConflict, Code: "ResourceTypeMismatch", Message: "The resource type specified in the request does not match the resource."}
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL):
		e = &Error{Status: http.StatusBadRequest, Code: "InvalidResourceName", Message: "The path is not valid."}
	case escapes(err):
		e = &Error{Status: http.StatusBadRequest, Code: "InvalidUri", Message: "The path leads out of the container."}
	default:
		if r.Context().Err() == nil {
			slog.Error("storage request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		}
		e = &Error{Status: http.StatusInternalServerError, Code: "InternalError", Message: "internal error"}
	}
	h := w.Header()
	h.Set("x-ms-error-code", e.Code)
	for k, v := range e.Header {
		h.Set(k, v)
	}
	var body []byte
	if q != nil && q.dfs {
		h.Set("Content-Type", "application/json;charset=utf-8")
		body, _ = json.Marshal(map[string]any{"error": map[string]string{"code": e.Code, "message": e.Message}})
	} else {
		h.Set("Content-Type", "application/xml")
		text, _ := xml.Marshal(struct {
			XMLName xml.Name `xml:"Error"`
			Code    string
			Message string
		}{Code: e.Code, Message: e.Message})
		body = append([]byte(xml.Header), text...)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// escapes tells os.Root's refusal of a link that leads out: a PathError that
// no system call made.
func escapes(err error) bool {
	_, isPath := errors.AsType[*fs.PathError](err)
	_, isCall := errors.AsType[syscall.Errno](err)
	return isPath && !isCall
}
