package mlflow

import (
	"context"
	"net/http"
	"path"

	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/mlflow"
)

// proxyRoutes stream artifacts to and from our own store.
func (s *Service) proxyRoutes() []api.Route {
	return []api.Route{
		{Method: "GET", Path: "/mlflow-artifacts/artifacts", Permission: api.Read, Handler: api.JSON(s.proxyList), Summary: "List artifacts"},
		{Method: "GET", Path: "/mlflow-artifacts/artifacts/{path...}", Permission: api.Read, Handler: api.Raw(s.proxyGet), Summary: "Download an artifact"},
		{Method: "PUT", Path: "/mlflow-artifacts/artifacts/{path...}", Permission: api.Write, Handler: api.Raw(s.proxyPut), Summary: "Upload an artifact"},
		{Method: "DELETE", Path: "/mlflow-artifacts/artifacts/{path...}", Permission: api.Write, Handler: api.Raw(s.proxyDelete), Summary: "Delete artifacts"},
		// The client falls back to PUT and to the proxy.
		refuse("POST", "/mlflow-artifacts/mpu/create/{path...}", "multipart artifact upload"),
		refuse("POST", "/mlflow-artifacts/mpu/complete/{path...}", "multipart artifact upload"),
		refuse("POST", "/mlflow-artifacts/mpu/abort/{path...}", "multipart artifact upload"),
		refuse("GET", "/mlflow-artifacts/presigned/{path...}", "presigned artifact URLs"),
		{Method: "POST", Path: "/mlflow/upload-artifact", Permission: api.Write, Handler: api.Raw(s.uploadArtifact), Summary: "Upload a run's artifact (web UI)"},
	}
}

type proxyListIn struct {
	Path string `json:"path"`
}

type filesOut struct {
	RootURI string     `json:"root_uri,omitempty"`
	Files   []fileInfo `json:"files,omitempty"`
}

func (s *Service) proxyList(_ context.Context, in *proxyListIn) (*filesOut, error) {
	p := in.Path
	if p == "" {
		p = "."
	}
	list, err := s.list(p)
	return &filesOut{Files: list}, err
}

func (s *Service) proxyGet(w http.ResponseWriter, r *http.Request) error {
	return s.send(w, r, r.PathValue("path"))
}

func (s *Service) proxyPut(w http.ResponseWriter, r *http.Request) error {
	if err := s.receive(r.PathValue("path"), r.Body); err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, api.Empty{})
}

func (s *Service) proxyDelete(w http.ResponseWriter, r *http.Request) error {
	if err := s.remove(r.PathValue("path")); err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, api.Empty{})
}

type listArtifactsIn struct {
	runRef
	Path string `json:"path"`
}

func (s *Service) listArtifacts(ctx context.Context, in *listArtifactsIn) (*filesOut, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	info, err := s.store.Info(ctx, ws(ctx), id)
	if err != nil {
		return nil, err
	}
	return s.listBelow(ctx, s.runRoot(&info), in.Path)
}

// listBelow lists a folder below a location; the entries' paths are relative
// to the location.
func (s *Service) listBelow(ctx context.Context, location, rel string) (*filesOut, error) {
	root, err := s.inside(location)
	if err != nil {
		return nil, err
	}
	folder, err := join(root, rel)
	if err != nil {
		return nil, err
	}
	list, err := s.list(folder)
	for i := range list {
		list[i].Path = path.Join(rel, list[i].Path)
	}
	return &filesOut{RootURI: render(ctx, location), Files: list}, err
}

func (s *Service) listLoggedModel(ctx context.Context, in *loggedModelIn) (*filesOut, error) {
	m, err := s.store.LoggedModel(ctx, ws(ctx), in.ModelID)
	if err != nil {
		return nil, err
	}
	return s.listBelow(ctx, s.modelRoot(&m.Info), in.Directory)
}

func (s *Service) loggedModelFile(w http.ResponseWriter, r *http.Request) error {
	m, err := s.store.LoggedModel(r.Context(), ws(r.Context()), r.PathValue("model_id"))
	if err != nil {
		return err
	}
	root, err := s.inside(s.modelRoot(&m.Info))
	if err != nil {
		return err
	}
	p, err := join(root, r.URL.Query().Get("artifact_file_path"))
	if err != nil {
		return err
	}
	return s.send(w, r, p)
}

// runFile is the PATH of a run's artifact that a query names.
func (s *Service) runFile(r *http.Request) (string, error) {
	q := r.URL.Query()
	ref := runRef{RunID: q.Get("run_id"), RunUUID: q.Get("run_uuid")}
	id, err := ref.id()
	if err != nil {
		return "", err
	}
	if q.Get("path") == "" {
		return "", invalid("Missing value for required parameter 'path'.")
	}
	if err := checkPath(q.Get("path")); err != nil {
		return "", err
	}
	info, err := s.store.Info(r.Context(), ws(r.Context()), id)
	if err != nil {
		return "", err
	}
	root, err := s.inside(s.runRoot(&info))
	if err != nil {
		return "", err
	}
	return join(root, q.Get("path"))
}

// getArtifact is the web UI's download of a run's file.
func (s *Service) getArtifact(w http.ResponseWriter, r *http.Request) error {
	p, err := s.runFile(r)
	if err != nil {
		return err
	}
	return s.send(w, r, p)
}

// maxUIUpload is the reference server's limit for uploads by the UI.
const maxUIUpload = 10 << 20

func (s *Service) uploadArtifact(w http.ResponseWriter, r *http.Request) error {
	p, err := s.runFile(r)
	if err != nil {
		return err
	}
	if r.ContentLength > maxUIUpload {
		return invalid("Artifact size is too large. Max size is 10MB.")
	}
	if err := s.receive(p, http.MaxBytesReader(w, r.Body, maxUIUpload)); err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, api.Empty{})
}

// getVersionArtifact is the web UI's download of a registered version's file.
func (s *Service) getVersionArtifact(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	if err := checkPath(q.Get("path")); err != nil {
		return err
	}
	v, err := s.store.Version(r.Context(), ws(r.Context()), q.Get("name"), q.Get("version"))
	if err != nil {
		return err
	}
	root, err := s.versionFolder(r.Context(), v)
	if err != nil {
		return err
	}
	p, err := join(root, q.Get("path"))
	if err != nil {
		return err
	}
	return s.send(w, r, p)
}

type versionFileIn struct {
	registryIn
	Path string `json:"path"`
}

// versionPlace finds a version that is about to be read, and notes that.
func (s *Service) versionPlace(ctx context.Context, in *versionFileIn) (string, error) {
	v, err := s.store.Version(ctx, ws(ctx), in.Name, string(in.Version))
	if err != nil {
		return "", err
	}
	if err := s.store.NoteRead(ctx, mlflow.WhoFrom(ctx), v); err != nil {
		return "", err
	}
	root, err := s.versionFolder(ctx, v)
	if err != nil {
		return "", err
	}
	return join(root, in.Path)
}

func (s *Service) listVersion(ctx context.Context, in *versionFileIn) (*filesOut, error) {
	folder, err := s.versionPlace(ctx, in)
	if err != nil {
		return nil, err
	}
	list, err := s.list(folder)
	for i := range list {
		list[i].Path = path.Join(in.Path, list[i].Path)
	}
	return &filesOut{Files: list}, err
}

type signedOut struct {
	URI string `json:"signed_uri"`
}

func (s *Service) signVersionFile(ctx context.Context, in *versionFileIn) (*signedOut, error) {
	place, err := s.versionPlace(ctx, in)
	if err != nil {
		return nil, err
	}
	return &signedOut{s.signedURL(ctx, http.MethodGet, place)}, nil
}
