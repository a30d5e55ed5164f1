package mlflow

import (
	"context"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/mlflow"
)

// Inside, a place of our artifact store is written mlflow-artifacts:/PATH, with
// PATH = <experiment>/<run>/artifacts/… or <experiment>/models/<model>/artifacts/….
// A plain client sees it so and asks the server it tracks to. A client in
// Databricks mode sees dbfs:/databricks/mlflow-tracking/…, which it reads and
// writes through databricks-sdk's Files API (/WorkspaceInternal/Mlflow/…) with
// the credentials it has; an http URL would be asked without any.
const (
	ours         = "mlflow-artifacts:/"
	dbfsTracking = "dbfs:/databricks/mlflow-tracking/"
	modelsFolder = ".models" // the first element of PATH for files of Unity Catalog versions
)

// inDatabricksMode tells by the client's name; mlflow goes through
// databricks-sdk if and only if its tracking URI is databricks.
func inDatabricksMode(ctx context.Context) bool {
	return strings.Contains(wherry.IdentityFrom(ctx).UserAgent, "databricks-sdk")
}

// experimentRoot is where an experiment's runs and models put their files.
func (s *Service) experimentRoot(id, location string) string {
	switch {
	case location != "":
		return strings.TrimSuffix(location, "/")
	case s.cfg.Root != "":
		return strings.TrimSuffix(s.cfg.Root, "/") + "/" + id
	default:
		return ours + id
	}
}

func (s *Service) runRoot(i *mlflow.RunInfo) string {
	return s.experimentRoot(i.ExperimentID, i.ArtifactURI) + "/" + i.RunID + "/artifacts"
}

func (s *Service) modelRoot(i *mlflow.LoggedModelInfo) string {
	return s.experimentRoot(i.ExperimentID, i.ArtifactURI) + "/models/" + i.ModelID + "/artifacts"
}

var (
	runPlace   = regexp.MustCompile(`^(\d+)/([0-9a-f]{32})(/artifacts(?:/.*)?)?$`)
	modelPlace = regexp.MustCompile(`^(\d+)/models/(m-[0-9a-f]{32})(/artifacts(?:/.*)?)?$`)
)

// render writes a location as the caller can use it.
func render(ctx context.Context, location string) string {
	p, ok := strings.CutPrefix(location, ours)
	if !ok || !inDatabricksMode(ctx) {
		return location
	}
	if m := modelPlace.FindStringSubmatch(p); m != nil {
		return dbfsTracking + m[1] + "/logged_models/" + m[2] + m[3]
	}
	if runPlace.MatchString(p) || !strings.Contains(p, "/") {
		return dbfsTracking + p
	}
	return wherry.IdentityFrom(ctx).BaseURL + "/api/2.0/mlflow-artifacts/artifacts/" + p
}

// canonical reads a location that a client gives. Our own places, in all
// their spellings, become mlflow-artifacts:/PATH; places of other stores stay.
// The rest is refused: paths of this machine, and URLs, which the server
// never fetches (20 and more of MLflow's vulnerabilities came that way).
func canonical(ctx context.Context, what, uri string) (string, error) {
	refused := invalid("Invalid %s: '%s'. It must be a place below mlflow-artifacts:/, or in a store that clients reach by themselves (s3:, gs:, abfss:, wasbs:, dbfs:).", what, uri)
	decoded, err := decode(uri)
	if err != nil || strings.ContainsAny(decoded, "?#;\\\x00") || hasDotDot(decoded) || len(uri) > 2048 {
		return "", refused
	}
	u, err := url.Parse(uri)
	if err != nil || u.User != nil {
		return "", refused
	}
	switch u.Scheme {
	case "mlflow-artifacts":
		if u.Host != "" && "http://"+u.Host != wherry.IdentityFrom(ctx).BaseURL {
			return "", refused
		}
		return ourPath(u.Path, refused)
	case "http", "https":
		p, ok := strings.CutPrefix(u.Path, "/api/2.0/mlflow-artifacts/artifacts/")
		if !ok || u.Scheme+"://"+u.Host != wherry.IdentityFrom(ctx).BaseURL {
			return "", refused
		}
		return ourPath(p, refused)
	case "dbfs":
		if p, ok := strings.CutPrefix(uri, dbfsTracking); ok {
			return ourPath(strings.Replace(p, "/logged_models/", "/models/", 1), refused)
		}
		if !strings.HasPrefix(u.Path, "/") || u.Host != "" {
			return "", refused
		}
		return uri, nil
	case "s3", "gs", "abfss", "abfs", "wasbs", "wasb", "r2", "b2":
		if u.Host == "" {
			return "", refused
		}
		return uri, nil
	}
	return "", refused
}

func ourPath(p string, refused error) (string, error) {
	p = strings.Trim(p, "/")
	if p == "" || path.Clean(p) != p || p == "." || strings.HasPrefix(p, ".") {
		return "", refused
	}
	return ours + p, nil
}

// decode takes percent-encoding off until nothing changes.
func decode(s string) (string, error) {
	for range 10 {
		d, err := url.PathUnescape(s)
		if err != nil || d == s {
			return s, nil // a lone % is a character
		}
		s = d
	}
	return "", invalid("Invalid path")
}

func hasDotDot(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if strings.TrimSpace(part) == ".." {
			return true
		}
	}
	return false
}

var drive = regexp.MustCompile(`^[A-Za-z]:`)

// checkPath refuses artifact paths that are not plainly below their root, in
// any of their encodings. What it lets through is opened by os.Root.
func checkPath(p string) error {
	d, err := decode(p)
	if err != nil {
		return err
	}
	for _, s := range []string{p, d} {
		if strings.HasPrefix(s, "/") || strings.ContainsAny(s, "\\\x00#?") || hasDotDot(s) || drive.MatchString(s) || strings.HasPrefix(s, "file:") || len(s) > 4096 {
			return invalid("Invalid path")
		}
	}
	return nil
}
