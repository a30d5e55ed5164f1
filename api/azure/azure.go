// Package azure serves Azure's management API, Microsoft Graph and Key Vault
// under their production host names, as far as Terraform's providers and the
// SDKs need them. What is made through it is real: storage accounts store,
// workspaces serve, service principals sign in.
package azure

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	storageapi "github.com/wherry-ml/wherry/api/storage"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/azure"
	accounts "github.com/wherry-ml/wherry/store/storage"
	"github.com/wherry-ml/wherry/store/workspace"
)

// Config is what the APIs stand on.
type Config struct {
	DB       *store.DB
	SignIn   *auth.Service
	Lake     *storageapi.Service
	Accounts *accounts.Store
	// Key seals the secrets of vaults.
	Key *workspace.Key
	// OpenWorkspace makes the folders of a new workspace; CloseWorkspace ends
	// what a removed one runs.
	OpenWorkspace, CloseWorkspace func(ctx context.Context, id int64) error
	// NewHost is called when there are more host names, before their maker is told.
	NewHost func(context.Context)
}

// Service serves the APIs.
type Service struct {
	Config
	store  *azure.Store
	kinds  map[string]*kind // by type, in lower case
	routes []graphRoute
}

// New returns the service.
func New(cfg Config) *Service {
	s := &Service{Config: cfg, store: azure.New(cfg.DB), routes: graphRoutes()}
	s.kinds = map[string]*kind{}
	for _, k := range s.table() {
		s.kinds[strings.ToLower(k.name)] = k
	}
	return s
}

// Document is a JSON object as a client sees it.
type Document = azure.Document

// fault is an error in the form that Azure's clients read: they match Code.
type fault struct {
	Status  int
	Code    string
	Message string
	Header  map[string]string
}

func (f *fault) Error() string { return f.Code + ": " + f.Message }

func badRequest(code, message string) error {
	return &fault{Status: http.StatusBadRequest, Code: code, Message: message}
}

func notFound(code, message string) error {
	return &fault{Status: http.StatusNotFound, Code: code, Message: message}
}

func conflict(code, message string) error {
	return &fault{Status: http.StatusConflict, Code: code, Message: message}
}

// call is one request, signed in.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	who    wherry.Identity
	tenant string
	object string // the caller's object id
	query  url.Values
}

func (c *call) ctx() context.Context { return c.r.Context() }

// by is who is written down as the maker.
func (c *call) by() string { return c.who.UserName }

// maxBody bounds a request, as the management API does.
const maxBody = 4 << 20

// body reads the request's JSON object; none is an empty one.
func (c *call) body() (Document, error) {
	b, err := c.read()
	if err != nil {
		return nil, err
	}
	return parseBody(b)
}

func (c *call) read() ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, &fault{Status: http.StatusRequestEntityTooLarge, Code: "RequestContentTooLarge", Message: "The request content is larger than 4 MB."}
	}
	return b, err
}

func parseBody(b []byte) (Document, error) {
	doc := Document{}
	if len(strings.TrimSpace(string(b))) == 0 {
		return doc, nil
	}
	if err := json.Unmarshal(b, &doc); err != nil || doc == nil {
		return nil, badRequest("InvalidRequestContent", "The request content was invalid and could not be deserialized: a JSON object is expected.")
	}
	return doc, nil
}

// answer writes a document.
func (c *call) answer(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Cache-Control", "no-store")
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		_, err = c.w.Write(b)
	}
	return err
}

// empty answers without a body.
func (c *call) empty(status int) error {
	c.w.WriteHeader(status)
	return nil
}

// ServeHTTP serves the three APIs by host name.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	id := auth.NewGUID()
	h.Set("x-ms-request-id", id)
	h.Set("x-ms-correlation-request-id", id)
	h.Set("request-id", id)
	if sent := r.Header.Get("client-request-id"); sent != "" {
		h.Set("client-request-id", sent)
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	c := &call{w: w, r: r, query: r.URL.Query()}
	var err error
	switch {
	case host == "graph.microsoft.com":
		err = s.serve(c, []string{auth.AudienceGraph, auth.AudienceGraphID}, s.graph)
	case strings.HasSuffix(host, vaultDomain):
		err = s.serve(c, []string{auth.AudienceVault}, s.vault)
	case r.URL.Path == "/metadata/endpoints":
		err = s.metadata(c)
	default:
		err = s.serve(c, []string{auth.AudienceManagement, auth.AudienceManagementOlder}, s.management)
	}
	if err != nil {
		c.fail(err)
	}
}

// serve signs the caller in and calls fn.
func (s *Service) serve(c *call, audiences []string, fn func(*call) error) error {
	kind, token, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	challenge := map[string]string{"WWW-Authenticate": `Bearer authorization="https://login.microsoftonline.com/` + storageapi.Tenant + `", authorization_uri="https://login.microsoftonline.com/` + storageapi.Tenant + `", resource="` + audiences[0] + `"`}
	if !strings.EqualFold(kind, "Bearer") {
		return &fault{Status: http.StatusUnauthorized, Code: "AuthenticationFailed", Message: "Authentication failed. The 'Authorization' header is missing.", Header: challenge}
	}
	who, claims, err := s.SignIn.Verify(c.ctx(), strings.TrimSpace(token), audiences...)
	if e, ok := errors.AsType[*wherry.Error](err); ok {
		return &fault{Status: http.StatusUnauthorized, Code: "InvalidAuthenticationToken", Message: e.Message, Header: challenge}
	}
	if err != nil {
		return err
	}
	c.who, c.tenant, c.object = who, claims.Tenant, auth.ObjectID(who.Principal)
	if !auth.IsGUID(c.tenant) {
		c.tenant = storageapi.Tenant
	}
	return fn(c)
}

// fail writes an error as Azure's clients read it.
func (c *call) fail(err error) {
	f, ok := errors.AsType[*fault](err)
	if !ok {
		f = c.faultOf(err)
	}
	for name, value := range f.Header {
		c.w.Header().Set(name, value)
	}
	c.w.Header().Set("x-ms-failure-cause", "gateway")
	if err := c.answer(f.Status, Document{"error": Document{"code": f.Code, "message": f.Message, "innerError": Document{"date": time.Now().UTC().Format("2006-01-02T15:04:05"), "request-id": c.w.Header().Get("request-id")}}}); err != nil {
		slog.Debug("the client went away", "error", err)
	}
}

// faultOf turns an error of the stores into Azure's form; what is not for the
// caller is logged and hidden.
func (c *call) faultOf(err error) *fault {
	e, ok := errors.AsType[*wherry.Error](err)
	if !ok {
		if c.ctx().Err() == nil {
			slog.Error("request failed", "method", c.r.Method, "host", c.r.Host, "path", c.r.URL.Path, "err", err)
		}
		return &fault{Status: http.StatusInternalServerError, Code: "InternalServerError", Message: "internal error"}
	}
	switch e.Code {
	case wherry.CodeDoesNotExist, wherry.CodeNotFound:
		return &fault{Status: http.StatusNotFound, Code: "ResourceNotFound", Message: e.Message}
	case wherry.CodeAlreadyExists, wherry.CodeConflict, wherry.CodeAborted, wherry.CodeInvalidState:
		return &fault{Status: http.StatusConflict, Code: "Conflict", Message: e.Message}
	case wherry.CodePermissionDenied:
		return &fault{Status: http.StatusForbidden, Code: "AuthorizationFailed", Message: e.Message}
	case wherry.CodeNotImplemented:
		return &fault{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: e.Message}
	default:
		return &fault{Status: http.StatusBadRequest, Code: "BadRequest", Message: e.Message}
	}
}

// object returns the object at a name of a document, an empty one if there is
// none.
func object(d Document, name string) Document {
	if sub, ok := d[name].(map[string]any); ok {
		return sub
	}
	return Document{}
}

// text returns the string at a name of a document, "" if there is none.
func text(d Document, name string) string {
	t, _ := d[name].(string)
	return t
}

// fill sets what a document does not say.
func fill(d Document, defaults Document) {
	for name, value := range defaults {
		if have, ok := d[name]; !ok || have == nil {
			d[name] = value
		}
	}
}

// stamp is a time as the management API writes it.
func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.0000000Z") }
