// Package ui serves the pages that people look at: HTML made on the server from
// the same reads of the store as the APIs. Pages work without JavaScript; with
// it, what is live is replaced in place.
package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/api/deployments"
	"github.com/wherry-ml/wherry/api/environments"
	workspaceapi "github.com/wherry-ml/wherry/api/workspace"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/cicd"
	"github.com/wherry-ml/wherry/cicd/git"
	"github.com/wherry-ml/wherry/cluster"
	"github.com/wherry-ml/wherry/notebook"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store/catalog"
	"github.com/wherry-ml/wherry/store/compute"
	deploymentstore "github.com/wherry-ml/wherry/store/deployments"
	gitstore "github.com/wherry-ml/wherry/store/git"
	"github.com/wherry-ml/wherry/store/jobs"
	"github.com/wherry-ml/wherry/store/mlflow"
	"github.com/wherry-ml/wherry/store/notify"
	graph "github.com/wherry-ml/wherry/store/trace"
	"github.com/wherry-ml/wherry/trace"
)

// Config is where pages read.
type Config struct {
	State     state.Dir
	Jobs      *jobs.Store
	Compute   *compute.Store
	Clusters  *cluster.Manager // nil if tasks run elsewhere
	Catalog   *catalog.Store
	Files     *workspaceapi.Service
	Models    *mlflow.Store
	Trace     *trace.Service
	Notices   *notify.Store
	Graph     *graph.Store // of Trace
	Workflows *cicd.Service
	Git       *gitstore.Store
	Hosting   *git.Service
	// Environments and Deployments are their APIs.
	Environments *environments.API
	Deployments  *deployments.Service
	Deployed     *deploymentstore.Store
	SignIn       *auth.Service
	// Permits tells by the table of routes whether one who is signed in may open
	// a page.
	Permits func(id wherry.Identity, path string) bool
	// Owner is the organisation of the repositories, as in OWNER/NAME.
	Owner string
	// Issuer is who else signs people in, "" for nobody.
	Issuer string
	// Stop is closed when the server stops: live streams end then.
	Stop <-chan struct{}
}

// Service serves the pages.
type Service struct {
	cfg   Config
	pages map[string]*template.Template
}

// New returns the service. The templates are part of the program: one that
// does not parse panics at start.
func New(cfg Config) *Service {
	s := &Service{cfg: cfg, pages: map[string]*template.Template{}}
	base := template.Must(template.New("").Funcs(funcs()).ParseFS(files, "template/base.html", "template/parts.html"))
	names, err := fs.Glob(files, "template/page-*.html")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		key := strings.TrimSuffix(strings.TrimPrefix(path.Base(name), "page-"), ".html")
		s.pages[key] = template.Must(template.Must(base.Clone()).ParseFS(files, name))
	}
	return s
}

//go:embed template static
var files embed.FS

// Routes lists the pages.
func (s *Service) Routes() []api.Route {
	const (
		run    = "/jobs/{job}/runs/{run}"
		schema = "/catalog/{catalog}/{schema}"
	)
	routes := []api.Route{
		{Method: "GET", Path: "/{$}", Permission: api.Own, Summary: "Home page", Handler: api.Raw(s.home)},
		{Method: "GET", Path: "/login", Permission: api.Public, Summary: "Sign-in page", Handler: api.Raw(s.login)},
		{Method: "POST", Path: "/login", Permission: api.Public, Summary: "Start a browser session: a user's password, a link's secret or a token", Handler: api.Raw(s.enter)},
		{Method: "GET", Path: "/ui/{file}", Permission: api.Public, Summary: "Style, script and icon of the pages", Handler: api.Raw(s.static)},
		{Method: "GET", Path: "/jobs", Permission: api.Read, Summary: "Page of all jobs", Handler: api.Raw(s.jobs)},
		{Method: "GET", Path: "/jobs/{job}", Permission: api.Read, Summary: "Page of a job", Handler: api.Raw(s.job)},
		{Method: "POST", Path: "/jobs/{job}/run-now", Permission: api.Write, Summary: "Run a job, from its page", Handler: api.Raw(s.runNow)},
		{Method: "GET", Path: "/runs", Permission: api.Own, Summary: "Page of all runs", Handler: api.Raw(s.runs)},
		{Method: "GET", Path: run, Permission: api.Own, Summary: "Page of a run", Handler: api.Raw(s.run)},
		{Method: "GET", Path: run + "/live", Permission: api.Own, Summary: "Changes of a run's page, as server-sent events", Handler: api.Raw(s.liveRun)},
		{Method: "POST", Path: run + "/cancel", Permission: api.Write, Summary: "Cancel a run, from its page", Handler: api.Raw(s.cancel)},
		{Method: "POST", Path: run + "/repair", Permission: api.Write, Summary: "Run the failed tasks of a run again, from its page", Handler: api.Raw(s.repair)},
		{Method: "GET", Path: run + "/tasks/{task}", Permission: api.Own, Summary: "Page of a task run", Handler: api.Raw(s.task)},
		{Method: "GET", Path: run + "/tasks/{task}/live", Permission: api.Own, Summary: "Changes of a task run's page, as server-sent events", Handler: api.Raw(s.liveTask)},
		{Method: "GET", Path: run + "/tasks/{task}/log", Permission: api.Own, Summary: "The whole log of a task run", Handler: api.Raw(s.log)},
		{Method: "GET", Path: run + "/tasks/{task}/frames/{frame}", Permission: api.Own, Summary: "An output of a notebook that needs scripts, isolated", Handler: api.Raw(s.frame)},
		{Method: "GET", Path: "/models", Permission: api.Read, Summary: "Page of all registered models", Handler: api.Raw(s.models)},
		{Method: "GET", Path: "/models/{name}", Permission: api.Read, Summary: "Page of a registered model", Handler: api.Raw(s.model)},
		{Method: "GET", Path: "/trace", Permission: api.Read, Summary: "Page of what a thing came of, or what came of it", Handler: api.Raw(s.trace)},
		{Method: "GET", Path: "/catalog", Permission: api.Read, Summary: "Page of all catalogs", Handler: api.Raw(s.catalogs)},
		{Method: "GET", Path: "/catalog/{catalog}", Permission: api.Read, Summary: "Page of a catalog", Handler: api.Raw(s.catalog)},
		{Method: "GET", Path: schema, Permission: api.Read, Summary: "Page of a schema", Handler: api.Raw(s.schema)},
		{Method: "GET", Path: schema + "/live", Permission: api.Read, Summary: "Changes of a schema's page, as server-sent events", Handler: api.Raw(s.liveSchema)},
		{Method: "GET", Path: schema + "/tables/{table}", Permission: api.Read, Summary: "Page of a table or view", Handler: api.Raw(s.table)},
		{Method: "GET", Path: schema + "/tables/{table}/live", Permission: api.Read, Summary: "Changes of a table's page, as server-sent events", Handler: api.Raw(s.liveTable)},
		{Method: "GET", Path: schema + "/volumes/{volume}", Permission: api.Read, Summary: "Page of a volume and its files", Handler: api.Raw(s.volume)},
		{Method: "GET", Path: "/workspace/{path...}", Permission: api.Read, Summary: "Page of a folder, notebook or file of the workspace", Handler: api.Raw(s.workspace)},
		{Method: "GET", Path: "/search", Permission: api.Read, Summary: "Page of the jobs, tables and models of a name", Handler: api.Raw(s.search)},
	}
	routes = append(routes, s.computeRoutes()...)
	routes = append(routes, s.workflowRoutes()...)
	routes = append(routes, s.repoRoutes()...)
	routes = append(routes, s.environmentRoutes()...)
	routes = append(routes, s.driftRoutes()...)
	if !slices.ContainsFunc(routes, func(r api.Route) bool { return strings.HasPrefix(r.Path, "/"+s.cfg.Owner+"/") }) { // an owner called jobs has none
		routes = append(routes, s.forgeRoutes()...)
	}
	for i := range routes {
		routes[i].Family = s.Family()
	}
	return routes
}

// Family is how pages show errors.
func (s *Service) Family() api.Family { return api.Family{Name: "pages", Page: s.failed} }

// link is a line of the navigation; g and then its key lead there too.
type link struct{ Section, Path, Name, Key string }

// links are those that the caller may follow.
func (s *Service) links(id wherry.Identity) []link {
	list := []link{
		{"jobs", "/jobs", "Jobs", "j"},
		{"runs", "/runs", "Runs", "r"},
		{"repos", "/repos", "Repos", "p"},
		{"workflows", "/workflows", "Workflows", "o"},
		{"environments", "/environments", "Environments", "e"},
		{"drift", "/drift", "Drift", "d"},
		{"models", "/models", "Models", "m"},
		{"catalog", "/catalog", "Catalog", "c"},
	}
	if s.cfg.Clusters != nil {
		list = append(list, link{"compute", "/compute", "Compute", "k"})
	}
	list = append(list, link{"workspace", "/workspace/", "Workspace", "w"}, link{"trace", "/trace", "Trace", "t"}, link{"mlflow", "/mlflow/", "MLflow", "f"})
	return slices.DeleteFunc(list, func(l link) bool { return !s.cfg.Permits(id, l.Path) })
}

// policy lets a page use what comes from here only. Frames hold notebooks'
// outputs, with a policy of their own.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// outputPolicy is for pages with output of tasks: sanitized tables and terminal
// colours carry style attributes.
const outputPolicy = policy + "; style-src-attr 'unsafe-inline'"

// page is what base.html needs.
type page struct {
	Title   string
	Section string // of the navigation
	Query   string // what was searched for
	User    string // "" before sign-in
	Links   []link // of the navigation
	Search  bool   // whether the caller may search
	Live    string // path of the event stream, "" for none
	Output  bool   // shows output of tasks
	Version string // of style and script
	Body    any
}

func (s *Service) render(w http.ResponseWriter, r *http.Request, status int, name string, p page) error {
	p.Version = assets().version
	if id := wherry.IdentityFrom(r.Context()); id.UserName != "" {
		p.User, p.Links, p.Search = id.UserName, s.links(id), s.cfg.Permits(id, "/search")
	}
	var b bytes.Buffer
	if err := s.pages[name].ExecuteTemplate(&b, "base", p); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	h.Set("Content-Security-Policy", policy)
	if p.Output {
		h.Set("Content-Security-Policy", outputPolicy)
	}
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err := b.WriteTo(w)
	return err
}

// failed shows an error as a page.
func (s *Service) failed(w http.ResponseWriter, r *http.Request, status int, e *wherry.Error) error {
	if e.Code == wherry.CodeInvalidParameter && strings.HasSuffix(e.Message, "does not exist.") {
		status = http.StatusNotFound // the Jobs API has 400 for it
	}
	return s.render(w, r, status, "error", page{Title: http.StatusText(status), Body: e})
}

// assets are the files beside the pages; version names their content.
var assets = sync.OnceValue(func() (a struct {
	content map[string][]byte
	version string
},
) {
	a.content = map[string][]byte{}
	sum := sha256.New()
	for _, name := range []string{"wherry.css", "wherry.js", "icon.svg"} {
		b, err := files.ReadFile("static/" + name)
		if err != nil {
			panic(err)
		}
		switch name {
		case "wherry.css":
			b = append(b, notebook.CSS()...)
		case "wherry.js":
			b = append(b, notebook.FrameScript...)
		}
		a.content[name] = b
		sum.Write(b)
	}
	a.version = hex.EncodeToString(sum.Sum(nil)[:6])
	return a
})

func (s *Service) static(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("file")
	b, ok := assets().content[name]
	if !ok {
		return wherry.Errorf(wherry.CodeNotFound, "there is no file %s", name)
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
	return nil
}

// form reads a form that one of our pages sent. Browsers name the origin of
// every form; the route table has compared it with ours, and the session's
// cookie is not sent along from elsewhere.
func form(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if r.Header.Get("Origin") == "" {
		return nil, wherry.Errorf(wherry.CodePermissionDenied, "this form is for the pages of this server; programs use the API")
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "the form cannot be read")
	}
	return r.PostForm, nil
}

func pathID(r *http.Request, name string) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue(name), 10, 64)
	if err != nil || id < 0 {
		return 0, wherry.Errorf(wherry.CodeNotFound, "%q is not an id", r.PathValue(name))
	}
	return id, nil
}

func seeOther(w http.ResponseWriter, r *http.Request, to string) error {
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}
