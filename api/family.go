package api

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/wherry-ml/wherry"
)

// Family is how one group of clients wants its errors.
type Family struct {
	// Name is for messages and OpenAPI; "" is the workspace API.
	Name string
	// Status maps a code to a status number; nil means WorkspaceStatus.
	Status func(code string) int
	// Body makes the error document; nil means {"error_code","message"}.
	Body func(w http.ResponseWriter, status int, e *wherry.Error) any
	// Page shows the error to a person, in the place of a document; nil for
	// families of programs.
	Page func(w http.ResponseWriter, r *http.Request, status int, e *wherry.Error) error
}

// WorkspaceStatus is the workspace API's map from code to status.
func WorkspaceStatus(code string) int {
	switch code {
	case wherry.CodeUnauthenticated:
		return http.StatusUnauthorized
	case wherry.CodePermissionDenied:
		return http.StatusForbidden
	case wherry.CodeDoesNotExist, wherry.CodeNotFound, wherry.CodeFeatureDisabled,
		wherry.CodeCatalogNotFound, wherry.CodeSchemaNotFound, wherry.CodeTableNotFound:
		return http.StatusNotFound
	case wherry.CodeAborted, wherry.CodeConflict:
		return http.StatusConflict
	case wherry.CodeExhausted, wherry.CodeLimitExceeded:
		return http.StatusTooManyRequests
	case wherry.CodeNotImplemented:
		return http.StatusNotImplemented
	case wherry.CodeInternal:
		return http.StatusInternalServerError
	default:
		return http.StatusBadRequest
	}
}

func (f Family) write(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(r, err)
	if e.Code == wherry.CodeUnauthenticated && navigates(r) {
		http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		return
	}
	status := WorkspaceStatus
	if f.Status != nil {
		status = f.Status
	}
	code := status(e.Code)
	if f.Page != nil {
		if err := f.Page(w, r, code, e); err != nil {
			logError(r, err)
		}
		return
	}
	var body any = e
	if f.Body != nil {
		body = f.Body(w, code, e)
	}
	if werr := WriteJSON(w, code, body); werr != nil {
		logError(r, werr)
	}
}

// navigates tells a person who opens a page from a program: only the former can
// sign in.
func navigates(r *http.Request) bool {
	if r.Method != http.MethodGet || r.Header.Get("Authorization") != "" {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// asError shows an *Error as it is and hides anything else, logging it.
func asError(r *http.Request, err error) *wherry.Error {
	if e, ok := asWherry(err); ok {
		return e
	}
	logError(r, err)
	return wherry.Errorf(wherry.CodeInternal, "internal error")
}

func logError(r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // the caller went away
	}
	slog.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
}

func asWherry(err error) (*wherry.Error, bool) { return errors.AsType[*wherry.Error](err) }
