// Package mlflow serves MLflow's REST API, artifacts and web UI, and Unity
// Catalog's model registry, as the mlflow client (3.17) and databricks-sdk
// call them.
package mlflow

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/mlflow"
)

// Config is what the service needs.
type Config struct {
	Store     *mlflow.Store
	Artifacts string // folder of the artifacts that are served
	Models    string // folder of Unity Catalog's model files; "" leaves that registry out
	// Root is where experiments put artifacts that name no place: "" is our own
	// store, served by us; `mlflow serve` may name another store's URI, or a
	// file:///FOLDER that its clients see too and that Artifacts names as well.
	Root string
	// UI is the folder of MLflow's built web pages, "" when there is none.
	UI func() string
	// Prefix is where the UI and its API are mounted besides /ajax-api: "/mlflow" or "".
	Prefix string
}

// Service answers the API.
type Service struct {
	cfg       Config
	store     *mlflow.Store
	artifacts *os.Root
	models    *os.Root
	// key signs the URLs that files are uploaded and downloaded by; clients ask
	// for new ones when a restart has made another key.
	key []byte
}

// New opens the folders.
func New(cfg Config) (*Service, error) {
	if cfg.UI == nil {
		cfg.UI = func() string { return "" }
	}
	s := &Service{cfg: cfg, store: cfg.Store, key: make([]byte, 32)}
	_, _ = rand.Read(s.key) // never fails (crypto/rand)
	for _, d := range []struct {
		path string
		root **os.Root
	}{{cfg.Artifacts, &s.artifacts}, {cfg.Models, &s.models}} {
		if d.path == "" {
			continue
		}
		if err := os.MkdirAll(d.path, 0o700); err != nil {
			return nil, fmt.Errorf("open artifacts: %w", err)
		}
		root, err := os.OpenRoot(d.path)
		if err != nil {
			return nil, fmt.Errorf("open artifacts: %w", err)
		}
		*d.root = root
	}
	return s, nil
}

// Close closes the folders.
func (s *Service) Close() {
	for _, r := range []*os.Root{s.artifacts, s.models} {
		if r != nil {
			_ = r.Close()
		}
	}
}

// family has MLflow's status numbers: RESOURCE_ALREADY_EXISTS is 400 there,
// which WorkspaceStatus gives too; a user's mistake is never 5xx, which the
// client would retry for minutes.
var family = api.Family{Name: "mlflow", Status: func(code string) int {
	switch code {
	case wherry.CodeConflict:
		return http.StatusConflict
	case "ENDPOINT_NOT_FOUND":
		return http.StatusNotFound
	}
	return api.WorkspaceStatus(code)
}}

// Routes is MLflow's surface.
func (s *Service) Routes() []api.Route {
	v2 := slices.Concat(s.trackingRoutes(), s.loggedModelRoutes(), s.registryRoutes(), s.proxyRoutes(), s.unsupportedRoutes())
	var routes []api.Route
	for _, rt := range v2 {
		for _, prefix := range s.prefixes() {
			r := rt
			major := "2.0"
			if rest, ok := strings.CutPrefix(r.Path, "v3:"); ok {
				major, r.Path = "3.0", rest
			}
			r.Path, r.Family = prefix+"/"+major+r.Path, family
			routes = append(routes, r)
		}
	}
	routes = append(routes, s.uiRoutes()...)
	if s.models != nil {
		routes = append(routes, s.unityRoutes()...)
		routes = append(routes, s.catalogRoutes()...)
		routes = append(routes, s.internalFileRoutes()...)
	}
	return routes
}

func (s *Service) prefixes() []string {
	p := []string{"/api", "/ajax-api"}
	if s.cfg.Prefix != "" {
		p = append(p, s.cfg.Prefix+"/ajax-api")
	}
	return p
}

func ws(ctx context.Context) int64 { return wherry.IdentityFrom(ctx).WorkspaceID }

func invalid(format string, args ...any) *wherry.Error {
	return wherry.Errorf(wherry.CodeInvalidParameter, format, args...)
}

// limit gives the page size: the default for none, an error beyond the maximum.
func limit(n *wherry.Int64, standard, most int) (int, error) {
	if n == nil {
		return standard, nil
	}
	if *n < 1 || int64(*n) > int64(most) {
		return 0, invalid("Invalid value %d for parameter 'max_results' supplied: It must be at least 1 and at most %d", *n, most)
	}
	return int(*n), nil
}

// unsupportedRoutes answers the parts of MLflow that are not here: reading what
// nobody could have written finds nothing, writing is refused by name.
func (s *Service) unsupportedRoutes() []api.Route {
	none := func(field string) api.Handler {
		return api.JSON(func(context.Context, *api.Empty) (*map[string]any, error) {
			return &map[string]any{field: []any{}}, nil
		})
	}
	return []api.Route{
		{Method: "GET", Path: "/mlflow/traces", Permission: api.Read, Handler: none("traces"), Summary: "Traces: none"},
		{Method: "POST", Path: "v3:/mlflow/traces/search", Permission: api.Read, Handler: none("traces"), Summary: "Traces: none"},
		refuse("POST", "/mlflow/traces", "MLflow tracing"),
		refuse("POST", "v3:/mlflow/traces", "MLflow tracing"),
		refuse("POST", "v3:/mlflow/datasets/create", "MLflow evaluation datasets"),
		{Method: "POST", Path: "v3:/mlflow/datasets/search", Permission: api.Read, Handler: none("datasets"), Summary: "Evaluation datasets: none"},
		{Method: "GET", Path: "v3:/mlflow/datasets/search", Permission: api.Read, Handler: none("datasets"), Summary: "Evaluation datasets: none"},
		{Method: "GET", Path: "v3:/mlflow/scorers/list", Permission: api.Read, Handler: none("scorers"), Summary: "Scorers: none"},
		refuse("POST", "v3:/mlflow/scorers/register", "MLflow scorers"),
		{Method: "GET", Path: "/mlflow/webhooks", Permission: api.Read, Handler: none("webhooks"), Summary: "Webhooks: none"},
		refuse("POST", "/mlflow/webhooks", "MLflow webhooks"),
	}
}

// refuse answers 501 for a feature that is not here.
func refuse(method, path, feature string) api.Route {
	return api.Route{
		Method: method, Path: path, Permission: api.Write, Summary: "Not supported: " + feature,
		Handler: api.Raw(func(http.ResponseWriter, *http.Request) error { return wherry.NotImplemented(feature) }),
	}
}
