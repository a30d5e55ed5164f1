// Package index passes on the one package index that this machine uses and
// keeps what passed: boxes and workflows install what was installed before
// without a network, and a file travels once. It speaks PEP 503 (HTML), PEP 691
// (JSON) and PEP 658 (metadata of wheels beside them).
package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/blob"
)

// Config is what the index needs.
type Config struct {
	Dir string // the cache; made if it is not there
	// Upstream tells the index to pass on, asked once, at the first request. Its
	// URL may carry a user and a password: they go to its host alone.
	Upstream func(context.Context) (string, error)
	Fresh    time.Duration // how long a page is passed on without asking again; 0 is a minute
}

// API serves the routes.
type API struct {
	dir       *blob.Dir
	find      func(context.Context) (string, error)
	fresh     time.Duration
	client    *http.Client
	fetches   singleflight.Group // of pages, by project
	downloads downloads

	mu    sync.Mutex
	known *source // once found
}

// source is the index that is passed on.
type source struct {
	base           *url.URL // without user and password, ending in "/"
	user, password string
}

// New opens the cache. The API works while Run does.
func New(cfg Config) (*API, error) {
	dir, err := blob.Open(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the package cache: %w", err)
	}
	for _, name := range []string{pages, whole, partial} {
		if err := dir.MkdirAll(name, 0o700); err != nil {
			return nil, fmt.Errorf("open the package cache: %w", err)
		}
	}
	a := &API{dir: dir, find: cfg.Upstream, fresh: cmp.Or(cfg.Fresh, time.Minute)}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	transport.ResponseHeaderTimeout = 60 * time.Second
	transport.DisableCompression = true // files are to be kept as they are
	a.client = &http.Client{Transport: transport, CheckRedirect: a.checkRedirect}
	a.downloads.running = map[string]*download{}
	return a, nil
}

// Routes is the API's part of the route table. Packages are public; an index
// that asks for a password is passed on to this machine only.
func (a *API) Routes() []api.Route {
	return []api.Route{
		{Method: "GET", Path: "/pypi/simple/{$}", Permission: api.Public, Handler: api.Raw(a.list), Summary: "All projects: not supported", Family: family},
		{Method: "GET", Path: "/pypi/simple/{project}/{$}", Permission: api.Public, Handler: api.Raw(a.project), Summary: "The files of a project (PEP 503, PEP 691)", Family: family},
		{Method: "GET", Path: "/pypi/simple/{project}", Permission: api.Public, Handler: api.Raw(redirect), Summary: "To the page with a / at its end", Family: family},
		{Method: "GET", Path: "/pypi/files/{project}/{digest}/{name}", Permission: api.Public, Handler: api.Raw(a.file), Summary: "A file of a project, or a wheel's metadata (PEP 658)", Family: family},
	}
}

// codeUpstream marks errors of the index that is passed on: 502, at which
// installers try again.
const codeUpstream = "UPSTREAM_ERROR"

var family = api.Family{Name: "packages", Status: func(code string) int {
	if code == codeUpstream {
		return http.StatusBadGateway
	}
	return api.WorkspaceStatus(code)
}}

func (a *API) list(http.ResponseWriter, *http.Request) error {
	return wherry.NotImplemented("the list of all projects of a package index")
}

func redirect(w http.ResponseWriter, r *http.Request) error {
	http.Redirect(w, r, normal(r.PathValue("project"))+"/", http.StatusMovedPermanently)
	return nil
}

var (
	separators  = regexp.MustCompile(`[-_.]+`)
	projectForm = regexp.MustCompile(`(?i)^[a-z0-9](?:[a-z0-9._-]{0,198}[a-z0-9])?$`)
)

// normal is a project's name as PEP 503 compares it.
func normal(name string) string {
	return strings.ToLower(separators.ReplaceAllString(name, "-"))
}

// source returns the upstream for a request, and refuses what may not use it.
func (a *API) source(r *http.Request) (*source, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known == nil {
		text, err := a.find(r.Context())
		if err != nil {
			return nil, fmt.Errorf("find the package index of this machine: %w", err)
		}
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, wherry.Errorf(codeUpstream, "the package index that this machine is configured with has no valid http(s) URL")
		}
		s := &source{user: u.User.Username()}
		s.password, _ = u.User.Password()
		u.User, u.RawQuery, u.Fragment = nil, "", ""
		s.base = u.JoinPath("/") // with exactly one "/" at its end
		a.known = s
	}
	s := a.known
	if strings.EqualFold(s.base.Host, r.Host) && strings.HasPrefix(s.base.Path, "/pypi/") {
		return nil, wherry.Errorf(codeUpstream, "the package index that this machine is configured with is this server: it has no other to ask")
	}
	if s.user != "" && !fromHere(r) {
		return nil, wherry.Errorf(wherry.CodePermissionDenied, "the package index asks for a password: it is passed on to this machine only")
	}
	return s, nil
}

// fromHere tells whether the request comes from the machine itself.
func fromHere(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// get asks the index, or a host that one of its pages names.
func (a *API) get(ctx context.Context, s *source, target string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(context.WithValue(ctx, sourceKey{}, s), http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("User-Agent", "wherry")
	if err := s.prepare(req); err != nil {
		return nil, err
	}
	return a.client.Do(req)
}

type sourceKey struct{}

// checkRedirect holds each hop to the rules of the first.
func (a *API) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 5 {
		return fmt.Errorf("the package index redirects too often")
	}
	s, _ := req.Context().Value(sourceKey{}).(*source)
	return s.prepare(req)
}

// prepare signs a request to the index's own host, and refuses one to a host
// that the index may not send us to: without TLS, by address, or local.
func (s *source) prepare(req *http.Request) error {
	req.URL.User = nil
	req.Header.Del("Authorization")
	req.Header.Del("Referer")
	if req.URL.Scheme == s.base.Scheme && strings.EqualFold(req.URL.Host, s.base.Host) {
		if s.user != "" {
			req.SetBasicAuth(s.user, s.password)
		}
		return nil
	}
	if host := req.URL.Hostname(); req.URL.Scheme != "https" || net.ParseIP(host) != nil || !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") {
		return fmt.Errorf("the package index names a file at %s://%s, which is not a public host with https", req.URL.Scheme, req.URL.Host)
	}
	return nil
}

// unreachable is the error for an index that did not answer, without any
// detail of its URL but the host.
func (s *source) unreachable(err error) error {
	if cause, ok := errors.AsType[*url.Error](err); ok { // its text holds the whole URL
		err = cause.Err
	}
	return wherry.Errorf(codeUpstream, "the package index at %s did not answer: %v", s.base.Host, err)
}
