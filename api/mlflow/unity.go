package mlflow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/mlflow"
)

const unityPrefix = "/api/2.0/mlflow/unity-catalog"

// unityRoutes are the registry that mlflow calls databricks-uc. A version's
// files are uploaded to us by signed URLs (its storage mode is the platform's
// default storage), so no cloud is needed.
func (s *Service) unityRoutes() []api.Route {
	routes := []api.Route{
		{Method: "POST", Path: "/registered-models/create", Permission: api.Write, Handler: api.JSON(s.ucCreateModel), Summary: "Create a registered model (Unity Catalog)"},
		{Method: "GET", Path: "/registered-models/get", Permission: api.Read, Handler: api.JSON(s.ucGetModel), Summary: "Get a registered model (Unity Catalog)"},
		{Method: "GET", Path: "/registered-models/search", Permission: api.Read, Handler: api.JSON(s.ucSearchModels), Summary: "Search registered models (Unity Catalog)"},
		{Method: "PATCH", Path: "/registered-models/update", Permission: api.Write, Handler: api.JSON(s.ucUpdateModel), Summary: "Update a registered model (Unity Catalog)"},
		{Method: "DELETE", Path: "/registered-models/delete", Permission: api.Write, Handler: api.JSON(s.ucDeleteModel), Summary: "Delete a registered model (Unity Catalog)"},
		{Method: "POST", Path: "/registered-models/set-tag", Permission: api.Write, Handler: api.JSON(s.ucSetModelTag), Summary: "Set a registered model's tag (Unity Catalog)"},
		{Method: "DELETE", Path: "/registered-models/delete-tag", Permission: api.Write, Handler: api.JSON(s.ucDeleteModelTag), Summary: "Delete a registered model's tag (Unity Catalog)"},
		{Method: "POST", Path: "/registered-models/alias", Permission: api.Write, Handler: api.JSON(s.ucSetAlias), Summary: "Set an alias (Unity Catalog)"},
		{Method: "DELETE", Path: "/registered-models/alias", Permission: api.Write, Handler: api.JSON(s.ucDeleteAlias), Summary: "Delete an alias (Unity Catalog)"},
		{Method: "GET", Path: "/registered-models/alias", Permission: api.Read, Handler: api.JSON(s.ucVersionByAlias), Summary: "Version of an alias (Unity Catalog)"},
		{Method: "GET", Path: "/registered-models:is-databricks-sdk-models-artifact-repository-enabled", Permission: api.Read, Handler: api.JSON(sdkUploads), Summary: "Whether clients upload by the Files API: no"},
		{Method: "POST", Path: "/model-versions/create", Permission: api.Write, Handler: api.JSON(s.ucCreateVersion), Summary: "Create a model version (Unity Catalog)"},
		{Method: "GET", Path: "/model-versions/get", Permission: api.Read, Handler: api.JSON(s.ucGetVersion), Summary: "Get a model version (Unity Catalog)"},
		{Method: "GET", Path: "/model-versions/search", Permission: api.Read, Handler: api.JSON(s.ucSearchVersions), Summary: "Search model versions (Unity Catalog)"},
		{Method: "GET", Path: "/model-versions/get-download-uri", Permission: api.Read, Handler: api.JSON(s.ucDownloadURI), Summary: "Where a version's files are (Unity Catalog)"},
		{Method: "PATCH", Path: "/model-versions/update", Permission: api.Write, Handler: api.JSON(s.ucUpdateVersion), Summary: "Describe a model version (Unity Catalog)"},
		{Method: "DELETE", Path: "/model-versions/delete", Permission: api.Write, Handler: api.JSON(s.ucDeleteVersion), Summary: "Delete a model version (Unity Catalog)"},
		{Method: "POST", Path: "/model-versions/finalize", Permission: api.Write, Handler: api.JSON(s.ucFinalize), Summary: "A version's files are uploaded (Unity Catalog)"},
		{Method: "POST", Path: "/model-versions/generate-temporary-credentials", Permission: api.Read, Handler: api.JSON(s.ucCredentials), Summary: "How to reach a version's files (Unity Catalog)"},
		{Method: "POST", Path: "/model-versions/emit-lineage", Permission: api.Read, Handler: api.JSON(s.ucLineage), Summary: "Note that a version is used (Unity Catalog)"},
		{Method: "POST", Path: "/model-versions/set-tag", Permission: api.Write, Handler: api.JSON(s.ucSetVersionTag), Summary: "Set a version's tag (Unity Catalog)"},
		{Method: "DELETE", Path: "/model-versions/delete-tag", Permission: api.Write, Handler: api.JSON(s.ucDeleteVersionTag), Summary: "Delete a version's tag (Unity Catalog)"},
	}
	for i := range routes {
		routes[i].Path, routes[i].Family = unityPrefix+routes[i].Path, family
	}
	return routes
}

// unityVersion is how this registry writes a version: aliases as objects, no
// stage.
type unityVersion struct {
	*mlflow.ModelVersion
	Stage           string         `json:"current_stage,omitempty"`
	Aliases         []mlflow.Alias `json:"aliases,omitempty"`
	StorageLocation string         `json:"storage_location"`
}

func unityView(ctx context.Context, v *mlflow.ModelVersion) *unityVersion {
	showVersion(ctx, v)
	out := &unityVersion{ModelVersion: v, StorageLocation: storageLocation(v)}
	for _, a := range v.Aliases {
		out.Aliases = append(out.Aliases, mlflow.Alias{Alias: a, Version: v.Version})
	}
	return out
}

// storageLocation names a version's files; clients reach them by signed URLs.
func storageLocation(v *mlflow.ModelVersion) string {
	return "dbfs:/Models/" + modelPath(v.Name) + "/" + v.Version
}

type unityModelOut struct {
	Model *mlflow.RegisteredModel `json:"registered_model"`
}

func unityModel(m *mlflow.RegisteredModel, err error) (*unityModelOut, error) {
	if err != nil {
		return nil, err
	}
	m.LatestVersions = nil // there are no stages here
	return &unityModelOut{m}, nil
}

func (s *Service) ucCreateModel(ctx context.Context, in *registryIn) (*unityModelOut, error) {
	return unityModel(s.store.CreateModel(ctx, mlflow.WhoFrom(ctx), mlflow.Account, in.Name, in.description(), in.Tags))
}

func (s *Service) ucGetModel(ctx context.Context, in *registryIn) (*unityModelOut, error) {
	return unityModel(s.store.Model(ctx, mlflow.Account, in.Name))
}

func (s *Service) ucSearchModels(ctx context.Context, in *searchRegistryIn) (*searchModelsOut, error) {
	n, err := limit(in.MaxResults, 100, 1000)
	if err != nil {
		return nil, err
	}
	list, next, err := s.store.SearchModels(ctx, mlflow.Account, mlflow.Page{Filter: in.Filter, Max: n, Token: in.PageToken})
	for _, m := range list {
		m.LatestVersions = nil
	}
	return &searchModelsOut{list, next}, err
}

func (s *Service) ucUpdateModel(ctx context.Context, in *registryIn) (*unityModelOut, error) {
	return unityModel(s.store.UpdateModel(ctx, mlflow.Account, in.Name, in.NewName, in.Description))
}

func (s *Service) ucDeleteModel(ctx context.Context, in *registryIn) (*api.Empty, error) {
	if err := s.store.DeleteModel(ctx, mlflow.Account, in.Name); err != nil {
		return nil, err
	}
	return &api.Empty{}, s.models.RemoveAll(modelPath(in.Name))
}

func (s *Service) ucSetModelTag(ctx context.Context, in *registryIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.SetModelTag(ctx, mlflow.Account, in.Name, mlflow.KV{Key: in.Key, Value: in.Value})
}

func (s *Service) ucDeleteModelTag(ctx context.Context, in *registryIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.DeleteModelTag(ctx, mlflow.Account, in.Name, in.Key)
}

func (s *Service) ucSetAlias(ctx context.Context, in *registryIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.SetAlias(ctx, mlflow.WhoFrom(ctx), mlflow.Account, in.Name, in.Alias, string(in.Version))
}

func (s *Service) ucDeleteAlias(ctx context.Context, in *registryIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.DeleteAlias(ctx, mlflow.Account, in.Name, in.Alias)
}

type unityVersionOut struct {
	Version *unityVersion `json:"model_version"`
}

func unityOut(ctx context.Context, v *mlflow.ModelVersion, err error) (*unityVersionOut, error) {
	if err != nil {
		return nil, err
	}
	return &unityVersionOut{unityView(ctx, v)}, nil
}

func (s *Service) ucVersionByAlias(ctx context.Context, in *registryIn) (*unityVersionOut, error) {
	v, err := s.store.VersionByAlias(ctx, mlflow.Account, in.Name, in.Alias)
	if err == nil {
		err = s.store.NoteRead(ctx, mlflow.WhoFrom(ctx), v)
	}
	return unityOut(ctx, v, err)
}

type sdkUploadsOut struct {
	Enabled bool `json:"is_databricks_sdk_models_artifact_repository_enabled"`
}

func sdkUploads(context.Context, *api.Empty) (*sdkUploadsOut, error) { return &sdkUploadsOut{}, nil }

// ucCreateVersion makes a pending version. Its source is only told: the
// client reads the files there itself and uploads them.
func (s *Service) ucCreateVersion(ctx context.Context, in *registryIn) (*unityVersionOut, error) {
	if len(in.Source) > 4096 {
		return nil, invalid("Invalid model version source: it is longer than 4096 characters")
	}
	if source, err := canonical(ctx, "model version source", in.Source); err == nil {
		in.Source = source
	}
	v, err := s.store.CreateVersion(ctx, mlflow.WhoFrom(ctx), mlflow.Account, mlflow.NewVersion{
		Name: in.Name, Source: in.Source, RunID: in.RunID,
		Description: in.description(), LoggedModelID: in.ModelID, Tags: in.Tags, Uploaded: true,
	})
	return unityOut(ctx, v, err)
}

func (s *Service) ucGetVersion(ctx context.Context, in *registryIn) (*unityVersionOut, error) {
	v, err := s.store.Version(ctx, mlflow.Account, in.Name, string(in.Version))
	return unityOut(ctx, v, err)
}

type unityVersionsOut struct {
	Versions []*unityVersion `json:"model_versions,omitempty"`
	Next     string          `json:"next_page_token,omitempty"`
}

func (s *Service) ucSearchVersions(ctx context.Context, in *searchRegistryIn) (*unityVersionsOut, error) {
	n, err := limit(in.MaxResults, 10_000, 200_000)
	if err != nil {
		return nil, err
	}
	list, next, err := s.store.SearchVersions(ctx, mlflow.Account, mlflow.Page{Filter: in.Filter, Max: n, Token: in.PageToken})
	out := &unityVersionsOut{Next: next}
	for _, v := range list {
		out.Versions = append(out.Versions, unityView(ctx, v))
	}
	return out, err
}

func (s *Service) ucDownloadURI(ctx context.Context, in *registryIn) (*uriOut, error) {
	v, err := s.readVersion(ctx, in)
	if err != nil {
		return nil, err
	}
	return &uriOut{storageLocation(v)}, nil
}

// readVersion finds a version that the caller is about to load and notes it.
func (s *Service) readVersion(ctx context.Context, in *registryIn) (*mlflow.ModelVersion, error) {
	v, err := s.store.Version(ctx, mlflow.Account, in.Name, string(in.Version))
	if err != nil {
		return nil, err
	}
	return v, s.store.NoteRead(ctx, mlflow.WhoFrom(ctx), v)
}

func (s *Service) ucUpdateVersion(ctx context.Context, in *registryIn) (*unityVersionOut, error) {
	v, err := s.store.UpdateVersion(ctx, mlflow.Account, in.Name, string(in.Version), in.description())
	return unityOut(ctx, v, err)
}

func (s *Service) ucDeleteVersion(ctx context.Context, in *registryIn) (*api.Empty, error) {
	v, err := s.store.DeleteVersion(ctx, mlflow.Account, in.Name, string(in.Version))
	if err != nil || !v.Uploaded {
		return &api.Empty{}, err
	}
	return &api.Empty{}, s.models.RemoveAll(modelPath(v.Name) + "/" + v.Version)
}

func (s *Service) ucFinalize(ctx context.Context, in *registryIn) (*unityVersionOut, error) {
	v, err := s.store.Version(ctx, mlflow.Account, in.Name, string(in.Version))
	if err != nil {
		return nil, err
	}
	if !v.Uploaded {
		return nil, invalid("Model version %s of %s was not created with an upload", v.Version, v.Name)
	}
	digest, err := digestFolder(s.models, modelPath(v.Name)+"/"+v.Version)
	if err != nil {
		return nil, err
	}
	v, err = s.store.FinalizeVersion(ctx, mlflow.WhoFrom(ctx), mlflow.Account, in.Name, string(in.Version), digest)
	return unityOut(ctx, v, err)
}

// digestFolder is the SHA-256 over the names and digests of all files of a
// folder, in the order of their names.
func digestFolder(root *os.Root, folder string) (string, error) {
	total, files := sha256.New(), 0
	err := fs.WalkDir(root.FS(), folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		rel, _ := pathBelow(folder, name)
		files++
		_, err = fmt.Fprintf(total, "%s %x\n", rel, h.Sum(nil))
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || err == nil && files == 0 {
		return "", invalid("The model version has no files: upload them before it is finalized")
	}
	return "sha256:" + hex.EncodeToString(total.Sum(nil)), err
}

func pathBelow(folder, name string) (string, bool) {
	if len(name) > len(folder) && name[:len(folder)] == folder && name[len(folder)] == '/' {
		return name[len(folder)+1:], true
	}
	return path.Base(name), false
}

type credentialsIn struct {
	registryIn
	Operation looseString `json:"operation"`
}

type credentialsOut struct {
	Credentials struct {
		StorageMode string `json:"storage_mode"`
	} `json:"credentials"`
}

// ucCredentials sends the client to the signed URLs.
func (s *Service) ucCredentials(ctx context.Context, in *credentialsIn) (*credentialsOut, error) {
	v, err := s.store.Version(ctx, mlflow.Account, in.Name, string(in.Version))
	if err != nil {
		return nil, err
	}
	if in.Operation == "MODEL_VERSION_OPERATION_READ_WRITE" || in.Operation == "2" {
		if v.Status != mlflow.VersionPending {
			return nil, wherry.Errorf(wherry.CodePermissionDenied, "Model version %s of %s is %s: its files do not change any more", v.Version, v.Name, v.Status)
		}
	} else if err := s.store.NoteRead(ctx, mlflow.WhoFrom(ctx), v); err != nil {
		return nil, err
	}
	out := &credentialsOut{}
	out.Credentials.StorageMode = "DEFAULT_STORAGE"
	return out, nil
}

type lineageIn struct {
	registryIn
	Info json.RawMessage `json:"model_version_lineage_info"`
}

// ucLineage is sent by clients that load a version; trace has it by the read.
func (s *Service) ucLineage(ctx context.Context, in *lineageIn) (*api.Empty, error) {
	_, err := s.readVersion(ctx, &in.registryIn)
	return &api.Empty{}, err
}

func (s *Service) ucSetVersionTag(ctx context.Context, in *registryIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.SetVersionTag(ctx, mlflow.Account, in.Name, string(in.Version), mlflow.KV{Key: in.Key, Value: in.Value})
}

func (s *Service) ucDeleteVersionTag(ctx context.Context, in *registryIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.DeleteVersionTag(ctx, mlflow.Account, in.Name, string(in.Version), in.Key)
}
