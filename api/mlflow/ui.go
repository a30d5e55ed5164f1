package mlflow

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/environment"
)

// contentPolicy lets the bundle run its own scripts and show what users made
// only in frames without our origin. Its styles are inline; its code editor
// and plots make workers and evaluate code.
const contentPolicy = "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; frame-src 'self' blob: data:; " +
	"media-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"

// clientVersion is the mlflow whose API this is.
const clientVersion = "3.17.2"

// InstalledUI is the folder of the pages in the Python environment, "" before
// set-up.
func InstalledUI() string {
	e, err := environment.Open()
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(e.SparkHome), "mlflow", "server", "js", "build") // beside package pyspark
}

// uiRoutes serve the web pages that the installed mlflow package brings, and
// the calls that only they make.
func (s *Service) uiRoutes() []api.Route {
	p := s.cfg.Prefix
	routes := []api.Route{
		{Method: "GET", Path: p + "/{$}", Permission: api.Read, Handler: api.Raw(s.index), Summary: "MLflow's web UI"},
		{Method: "GET", Path: p + "/static-files/{path...}", Permission: api.SignedIn, Handler: api.Raw(s.static), Summary: "MLflow's web UI"},
		{Method: "GET", Path: p + "/version", Permission: api.SignedIn, Handler: api.Raw(s.version), Summary: "MLflow's version"},
		{Method: "GET", Path: p + "/get-artifact", Permission: api.Read, Handler: api.Raw(s.getArtifact), Summary: "Download a run's artifact"},
		{Method: "GET", Path: p + "/model-versions/get-artifact", Permission: api.Read, Handler: api.Raw(s.getVersionArtifact), Summary: "Download a version's file"},
		{Method: "GET", Path: p + "/graphql", Permission: api.Read, Handler: api.JSON(s.graphQL), Summary: "GraphQL of MLflow's web UI"},
		{Method: "POST", Path: p + "/graphql", Permission: api.Read, Handler: api.JSON(s.graphQL), Summary: "GraphQL of MLflow's web UI"},
	}
	for _, prefix := range s.prefixes() {
		routes = append(routes,
			api.Route{Method: "GET", Path: prefix + "/3.0/mlflow/server-info", Permission: api.SignedIn, Handler: api.JSON(serverInfo), Summary: "What this MLflow server offers"},
			api.Route{Method: "GET", Path: prefix + "/3.0/mlflow/ui-telemetry", Permission: api.SignedIn, Handler: api.JSON(noTelemetry), Summary: "Telemetry: off"},
			api.Route{Method: "POST", Path: prefix + "/3.0/mlflow/ui-telemetry", Permission: api.SignedIn, Handler: api.JSON(noTelemetry), Summary: "Telemetry: off"},
		)
		if prefix != "/api" { // there the mux itself answers for what is not in the table
			routes = append(routes, api.Route{Path: prefix + "/3.0/mlflow/assistant/", Permission: api.SignedIn, Handler: api.Raw(noAssistant), Summary: "MLflow's assistant: none"})
			routes = append(routes, api.Route{Path: prefix + "/", Permission: api.SignedIn, Handler: api.Raw(notFound), Summary: "What the web UI asks for and is not here"})
		}
	}
	for i := range routes {
		routes[i].Family = family
	}
	if p != "" {
		// Clients in Databricks mode print links of this form.
		routes = append(routes, api.Route{Method: "GET", Path: "/ml/{path...}", Permission: api.SignedIn, Summary: "MLflow's web UI", Handler: api.Raw(func(w http.ResponseWriter, r *http.Request) error {
			u := url.URL{Path: p + "/", Fragment: "/" + r.PathValue("path")}
			http.Redirect(w, r, u.String(), http.StatusFound)
			return nil
		})})
		routes = append(routes, api.Route{Method: "GET", Path: p, Permission: api.SignedIn, Summary: "MLflow's web UI", Handler: api.Raw(func(w http.ResponseWriter, r *http.Request) error {
			http.Redirect(w, r, p+"/", http.StatusMovedPermanently)
			return nil
		})})
	}
	return routes
}

func notFound(_ http.ResponseWriter, r *http.Request) error {
	return wherry.Errorf("ENDPOINT_NOT_FOUND", "%s %s is not an endpoint of this server", r.Method, r.URL.Path)
}

// noAssistant answers as the reference server does where its assistant is not
// allowed: the pages tolerate it.
func noAssistant(http.ResponseWriter, *http.Request) error {
	return wherry.Errorf(wherry.CodePermissionDenied, "MLflow's assistant is not supported by wherry")
}

type serverInfoOut struct {
	StoreType      string `json:"store_type"` // "FileStore" would grey features out
	Workspaces     bool   `json:"workspaces_enabled"`
	TraceArchival  bool   `json:"trace_archival_enabled"`
	MultipartUp    bool   `json:"multipart_uploads_enabled"`
	MultipartDown  bool   `json:"multipart_downloads_enabled"`
	PresignedRun   bool   `json:"presigned_upload_run_id_supported"`
	PresignedModel bool   `json:"presigned_upload_model_id_supported"`
}

func serverInfo(context.Context, *api.Empty) (*serverInfoOut, error) {
	return &serverInfoOut{StoreType: "SqlStore"}, nil
}

type telemetryOut struct {
	Disable bool   `json:"disable_ui_telemetry"`
	Events  []any  `json:"disable_ui_events"`
	Rollout int    `json:"ui_rollout_percentage"`
	Status  string `json:"status"`
}

func noTelemetry(context.Context, *api.Empty) (*telemetryOut, error) {
	return &telemetryOut{Disable: true, Events: []any{}, Status: "disabled"}, nil
}

func (s *Service) version(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain")
	_, err := w.Write([]byte(clientVersion))
	return err
}

func (s *Service) index(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Security-Policy", contentPolicy)
	w.Header().Set("X-Frame-Options", "SAMEORIGIN")
	w.Header().Set("Cache-Control", "no-cache")
	return s.uiFile(w, r, "index.html")
}

func (s *Service) static(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "private, max-age=2419200") // the names hold the files' hashes
	return s.uiFile(w, r, r.PathValue("path"))
}

func (s *Service) uiFile(w http.ResponseWriter, r *http.Request, name string) error {
	dir := s.cfg.UI()
	if dir == "" {
		return wherry.Errorf(wherry.CodeDoesNotExist, "MLflow's web pages come with the Python environment, which is not set up: run `wherry setup`")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return wherry.Errorf(wherry.CodeDoesNotExist, "MLflow's web pages are not installed: run `wherry setup`")
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return noFile(name, err)
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil || i.IsDir() {
		return noFile(name, err)
	}
	if strings.HasSuffix(name, ".js") {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	}
	http.ServeContent(w, r, name, i.ModTime(), f)
	return nil
}
