// Package api turns plain functions into HTTP handlers and holds the rules all
// of them share: one route table, sign-in, permissions (deny by default), and
// the error envelope of each wire family.
package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
)

// Permission is what a route asks of the caller before its handler runs.
type Permission string

// Permissions. Until grants are enforced (a later release) a principal is
// admin or not: non-admins reach Public and SignedIn routes only, and those
// that mark themselves Own, whose handlers answer with the caller's own things.
// A run that an admin started reaches all but Admin routes, whoever it runs as.
const (
	Public   Permission = "public"    // no sign-in
	SignedIn Permission = "signed in" // any active principal
	Own      Permission = "own"       // signed in; the handler shows and changes only what is the caller's own
	Storage  Permission = "storage"   // the storage endpoint's own authorisation, checked by its handler
	Read     Permission = "read"      // admin until grants are enforced
	Write    Permission = "write"     // admin until grants are enforced
	Admin    Permission = "admin"
)

func (p Permission) known() bool {
	return slices.Contains([]Permission{Public, SignedIn, Own, Storage, Read, Write, Admin}, p)
}

// Route is one line of the route table.
type Route struct {
	Method     string // "" for any
	Path       string // a net/http.ServeMux pattern without method and host, e.g. /api/2.0/fs/files/{path...}
	Permission Permission
	Handler    Handler
	Summary    string // one line for OpenAPI
	Family     Family // how errors are written; the zero Family is the workspace API's
}

// Handler serves one route. It is made by JSON or Raw.
type Handler interface {
	serve(w http.ResponseWriter, r *http.Request) error
	// types returns values of the input and output types, nil for Raw.
	types() (in, out any)
}

// Mux checks and serves a route table.
type Mux struct {
	mux    *http.ServeMux
	routes []Route
	// Workspace, if set, tells which workspace a host name leads to; else all
	// lead to the first. Set it before serving.
	Workspace func(ctx context.Context, host string) (int64, error)
	// Manages, if set, tells whether a principal who is no admin manages a
	// workspace that is not the first: it may do there what admins may, but for
	// what is of the whole installation. Set it before serving.
	Manages func(ctx context.Context, p wherry.Principal, workspace int64) (bool, error)
	// CIRun, if set, names the job of a workflow that a call with
	// wherry.CIRunHeader comes from, by the attempt that its token is of (0 for
	// none) or by the header, its proof. Set it before serving.
	CIRun func(ctx context.Context, taskRun int64, proof string) (string, error)
}

// Authenticator finds out who calls. It returns the zero Identity and no
// error for a request without credentials.
type Authenticator interface {
	Authenticate(r *http.Request) (wherry.Identity, error)
}

// NewMux builds a handler from the table. A route without a permission that we
// know, a handler or a path is a mistake of ours and panics at start.
func NewMux(auth Authenticator, routes ...Route) *Mux {
	m := &Mux{mux: http.NewServeMux(), routes: routes}
	for _, rt := range routes {
		if !rt.Permission.known() || rt.Handler == nil || !strings.HasPrefix(rt.Path, "/") {
			panic(fmt.Sprintf("api: route %s %s lacks a permission, a handler or a path", rt.Method, rt.Path))
		}
		m.mux.Handle(strings.TrimSpace(rt.Method+" "+rt.Path), &endpoint{Route: rt, auth: auth, mux: m})
	}
	return m
}

// Routes returns the table, for OpenAPI and for the permission test.
func (m *Mux) Routes() []Route { return m.routes }

// orgID names the workspace that answered: the Terraform provider fails without.
const orgID = "X-Databricks-Org-Id"

func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set(orgID, fmt.Sprint(wherry.DefaultWorkspace)) // endpoints know better
	if hostile(r.URL.Path) {
		Family{}.write(w, r, wherry.Errorf(wherry.CodeInvalidParameter, "the path is not valid: %.200q", r.URL.Path))
		return
	}
	if _, pattern := m.mux.Handler(r); pattern == "" && strings.HasPrefix(r.URL.Path, "/api/") {
		err := wherry.Errorf(wherry.CodeNotFound, "no API at %s %s", r.Method, r.URL.Path)
		if kind := unsupported(r.URL.Path); kind != "" {
			err = wherry.NotImplemented(kind)
		}
		Family{}.write(w, r, err)
		return
	}
	m.mux.ServeHTTP(w, r)
}

// hostile reports a path with a part "." or "..", however it was written, or a
// NUL. No client sends them; the standard mux would redirect elsewhere.
func hostile(path string) bool {
	if strings.ContainsRune(path, 0) {
		return true
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

// unsupported names the feature of a path of the platform's API that we do not
// have, "" for a path that no API has.
func unsupported(path string) string {
	for prefix, feature := range map[string]string{
		"/api/2.0/serving-endpoints": "model serving", "/api/2.0/pipelines": "Lakeflow pipelines", "/api/2.0/sql/": "the SQL warehouse API",
		"/api/2.0/lakeview": "dashboards", "/api/2.0/apps": "apps", "/api/2.0/database": "database instances", "/api/2.0/genie": "Genie",
		"/api/2.0/vector-search": "vector search", "/api/2.0/instance-pools": "instance pools", "/api/2.0/policies": "cluster policies",
		"/api/2.0/repos": "Git folders", "/api/2.0/git-credentials": "Git credentials", "/api/2.0/global-init-scripts": "global init scripts",
		"/api/2.1/quality-monitoring": "quality monitors", "/api/data-quality": "data quality monitors", "/api/2.0/alerts": "alerts",
	} {
		if strings.HasPrefix(path, prefix) {
			return feature
		}
	}
	return ""
}

type endpoint struct {
	Route
	auth Authenticator
	mux  *Mux
}

// workspace is the one that the request's host name leads to, or at the
// installation's own address the header.
func (m *Mux) workspace(r *http.Request) (int64, error) {
	if m.Workspace == nil {
		return wherry.DefaultWorkspace, nil
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	at, err := m.Workspace(r.Context(), host)
	if name := r.Header.Get(wherry.WorkspaceHeader); name != "" && err == nil && at == wherry.DefaultWorkspace {
		return m.Workspace(r.Context(), name)
	}
	return at, err
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := e.identify(w, r)
	if err != nil {
		e.Family.write(w, r, err)
		return
	}
	r = r.WithContext(wherry.WithIdentity(r.Context(), id))
	t := &tracker{ResponseWriter: w}
	if err := e.Handler.serve(t, r); err != nil {
		if t.wrote { // too late for an error envelope: break the connection, so that no client takes it for whole
			logError(r, err)
			panic(http.ErrAbortHandler)
		}
		e.Family.write(w, r, err)
	}
}

// permits tells whether one who is signed in may call the route.
func (rt *Route) permits(id wherry.Identity) bool {
	switch rt.Permission {
	case Public, Storage, SignedIn, Own:
		return true
	default:
		return id.Admin || id.ForAdmin && rt.Permission != Admin
	}
}

// Permits tells whether one who is signed in may open a page: what links to it
// asks. A page that is not in the table nobody may.
func (m *Mux) Permits(id wherry.Identity, path string) bool {
	h, _ := m.mux.Handler(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}})
	e, ok := h.(*endpoint)
	return ok && e.permits(id)
}

func (e *endpoint) identify(w http.ResponseWriter, r *http.Request) (wherry.Identity, error) {
	at, err := e.mux.workspace(r)
	base := wherry.Identity{WorkspaceID: at, BaseURL: baseURL(r), UserAgent: r.UserAgent()}
	if err != nil {
		return base, err
	}
	w.Header().Set(orgID, fmt.Sprint(at))
	if e.Permission == Public || e.Permission == Storage {
		return base, nil
	}
	if err := sameOrigin(r); err != nil {
		return base, err
	}
	id, err := e.auth.Authenticate(r)
	if err != nil {
		return base, err
	}
	if id.Principal.ID == 0 {
		w.Header().Set("WWW-Authenticate", `Bearer realm="wherry"`)
		return base, wherry.Errorf(wherry.CodeUnauthenticated, "sign in with a token: none was sent")
	}
	if err := enter(&id, at); err != nil {
		return base, err
	}
	w.Header().Set(orgID, fmt.Sprint(id.WorkspaceID))
	if manages := e.mux.Manages; manages != nil && !id.Admin && !id.ForAdmin && id.WorkspaceID != wherry.DefaultWorkspace {
		if id.ForAdmin, err = manages(r.Context(), id.Principal, id.WorkspaceID); err != nil {
			return base, err
		}
	}
	id.BaseURL, id.UserAgent = base.BaseURL, base.UserAgent
	if proof := r.Header.Get(wherry.CIRunHeader); proof != "" && e.mux.CIRun != nil {
		if id.CIRun, err = e.mux.CIRun(r.Context(), id.RunID, proof); err != nil {
			return base, err
		}
	}
	id.Deployment = wherry.IdentityFrom(r.Context()).Deployment // a call within the server
	if !e.permits(id) {
		return base, wherry.Errorf(wherry.CodePermissionDenied, "%s may not %s %s: only admins may until grants are enforced", id.UserName, r.Method, e.Path)
	}
	return id, nil
}

// enter puts the caller into the workspace of the host name. A token of another
// workspace does not open it, unless it is an admin's: they are of the account.
// At our own address, and at names of no workspace of ours, a token leads to its
// own.
func enter(id *wherry.Identity, at int64) error {
	switch {
	case at == wherry.DefaultWorkspace || id.WorkspaceID == at:
		return nil
	case id.RunID != 0 || id.WorkspaceID != wherry.DefaultWorkspace || !id.Admin && !id.Account:
		return wherry.Errorf(wherry.CodeUnauthenticated, "the token is of another workspace")
	}
	id.WorkspaceID = at
	return nil
}

// sameOrigin refuses a change that another site's page asked for.
func sameOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if r.Method == http.MethodGet || r.Method == http.MethodHead || origin == "" || origin == baseURL(r) {
		return nil
	}
	return wherry.Errorf(wherry.CodePermissionDenied, "a page of %s may not change anything here", origin)
}

func baseURL(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// tracker notes whether a response was begun.
type tracker struct {
	http.ResponseWriter
	wrote bool
}

func (t *tracker) WriteHeader(status int) { t.wrote = true; t.ResponseWriter.WriteHeader(status) }

func (t *tracker) Write(b []byte) (int, error) { t.wrote = true; return t.ResponseWriter.Write(b) }

// Unwrap lets http.ResponseController reach Flush and Hijack.
func (t *tracker) Unwrap() http.ResponseWriter { return t.ResponseWriter }
