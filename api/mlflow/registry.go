package mlflow

import (
	"context"
	"regexp"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/mlflow"
)

// registryRoutes are the workspace's registry, with stages.
func (s *Service) registryRoutes() []api.Route {
	return []api.Route{
		{Method: "POST", Path: "/mlflow/registered-models/create", Permission: api.Write, Handler: api.JSON(s.createModel), Summary: "Create a registered model"},
		{Method: "GET", Path: "/mlflow/registered-models/get", Permission: api.Read, Handler: api.JSON(s.getModel), Summary: "Get a registered model"},
		{Method: "GET", Path: "/mlflow/registered-models/search", Permission: api.Read, Handler: api.JSON(s.searchModels), Summary: "Search registered models"},
		{Method: "GET", Path: "/mlflow/registered-models/list", Permission: api.Read, Handler: api.JSON(s.searchModels), Summary: "List registered models"},
		{Method: "PATCH", Path: "/mlflow/registered-models/update", Permission: api.Write, Handler: api.JSON(s.updateModel), Summary: "Describe a registered model"},
		{Method: "POST", Path: "/mlflow/registered-models/rename", Permission: api.Write, Handler: api.JSON(s.renameModel), Summary: "Rename a registered model"},
		{Method: "DELETE", Path: "/mlflow/registered-models/delete", Permission: api.Write, Handler: api.JSON(s.deleteModel), Summary: "Delete a registered model"},
		{Method: "POST", Path: "/mlflow/registered-models/get-latest-versions", Permission: api.Read, Handler: api.JSON(s.latestVersions), Summary: "Newest versions of stages"},
		{Method: "GET", Path: "/mlflow/registered-models/get-latest-versions", Permission: api.Read, Handler: api.JSON(s.latestVersions), Summary: "Newest versions of stages"},
		{Method: "POST", Path: "/mlflow/registered-models/set-tag", Permission: api.Write, Handler: api.JSON(s.setModelTag), Summary: "Set a registered model's tag"},
		{Method: "DELETE", Path: "/mlflow/registered-models/delete-tag", Permission: api.Write, Handler: api.JSON(s.deleteModelTag), Summary: "Delete a registered model's tag"},
		{Method: "POST", Path: "/mlflow/registered-models/alias", Permission: api.Write, Handler: api.JSON(s.setAlias), Summary: "Set an alias"},
		{Method: "DELETE", Path: "/mlflow/registered-models/alias", Permission: api.Write, Handler: api.JSON(s.deleteAlias), Summary: "Delete an alias"},
		{Method: "GET", Path: "/mlflow/registered-models/alias", Permission: api.Read, Handler: api.JSON(s.versionByAlias), Summary: "Version of an alias"},

		{Method: "POST", Path: "/mlflow/model-versions/create", Permission: api.Write, Handler: api.JSON(s.createVersion), Summary: "Create a model version"},
		{Method: "GET", Path: "/mlflow/model-versions/get", Permission: api.Read, Handler: api.JSON(s.getVersion), Summary: "Get a model version"},
		{Method: "GET", Path: "/mlflow/model-versions/search", Permission: api.Read, Handler: api.JSON(s.searchVersions), Summary: "Search model versions"},
		{Method: "GET", Path: "/mlflow/model-versions/get-download-uri", Permission: api.Read, Handler: api.JSON(s.downloadURI), Summary: "Where a version's files are"},
		{Method: "PATCH", Path: "/mlflow/model-versions/update", Permission: api.Write, Handler: api.JSON(s.updateVersion), Summary: "Describe a model version"},
		{Method: "DELETE", Path: "/mlflow/model-versions/delete", Permission: api.Write, Handler: api.JSON(s.deleteVersion), Summary: "Delete a model version"},
		{Method: "POST", Path: "/mlflow/model-versions/transition-stage", Permission: api.Write, Handler: api.JSON(s.transition), Summary: "Move a version to a stage"},
		{Method: "POST", Path: "/mlflow/model-versions/set-tag", Permission: api.Write, Handler: api.JSON(s.setVersionTag), Summary: "Set a version's tag"},
		{Method: "DELETE", Path: "/mlflow/model-versions/delete-tag", Permission: api.Write, Handler: api.JSON(s.deleteVersionTag), Summary: "Delete a version's tag"},
		// As clients in Databricks mode read a version's files.
		{Method: "GET", Path: "/mlflow/model-versions/list-artifacts", Permission: api.Read, Handler: api.JSON(s.listVersion), Summary: "List a version's files"},
		{Method: "GET", Path: "/mlflow/model-versions/get-signed-download-uri", Permission: api.Read, Handler: api.JSON(s.signVersionFile), Summary: "Sign a URL to download a version's file"},
		// The workspace's own spelling of get, as databricks-sdk calls it.
		{Method: "GET", Path: "/mlflow/databricks/registered-models/get", Permission: api.Read, Handler: api.JSON(s.getModelDatabricks), Summary: "Get a registered model (databricks-sdk)"},
		{Method: "POST", Path: "/mlflow/databricks/model-versions/transition-stage", Permission: api.Write, Handler: api.JSON(s.transitionDatabricks), Summary: "Move a version to a stage (databricks-sdk)"},
	}
}

// registryIn has the fields that name and describe a model or version.
type registryIn struct {
	Name        string      `json:"name"`
	NewName     string      `json:"new_name"`
	Version     looseString `json:"version"`
	Description *string     `json:"description"`
	Tags        []mlflow.KV `json:"tags"`
	Key         string      `json:"key"`
	Value       string      `json:"value"`
	Alias       string      `json:"alias"`
	Stage       string      `json:"stage"`
	Stages      []string    `json:"stages"`
	Archive     bool        `json:"archive_existing_versions"`
	Source      string      `json:"source"`
	RunID       string      `json:"run_id"`
	RunLink     string      `json:"run_link"`
	ModelID     string      `json:"model_id"`
}

func (in *registryIn) description() string {
	if in.Description == nil {
		return ""
	}
	return *in.Description
}

type modelOut struct {
	Model *mlflow.RegisteredModel `json:"registered_model"`
}

// modelOut renders the sources for the caller.
func (s *Service) modelOut(ctx context.Context, m *mlflow.RegisteredModel, err error) (*modelOut, error) {
	if err != nil {
		return nil, err
	}
	for _, v := range m.LatestVersions {
		showVersion(ctx, v)
	}
	return &modelOut{m}, nil
}

func showVersion(ctx context.Context, v *mlflow.ModelVersion) { v.Source = render(ctx, v.Source) }

func (s *Service) createModel(ctx context.Context, in *registryIn) (*modelOut, error) {
	m, err := s.store.CreateModel(ctx, mlflow.WhoFrom(ctx), ws(ctx), in.Name, in.description(), in.Tags)
	return s.modelOut(ctx, m, err)
}

func (s *Service) getModel(ctx context.Context, in *registryIn) (*modelOut, error) {
	m, err := s.store.Model(ctx, ws(ctx), in.Name)
	return s.modelOut(ctx, m, err)
}

type databricksModelOut struct {
	Model struct {
		*mlflow.RegisteredModel
		ID         string `json:"id"`
		Permission string `json:"permission_level"`
	} `json:"registered_model_databricks"`
}

func (s *Service) getModelDatabricks(ctx context.Context, in *registryIn) (*databricksModelOut, error) {
	m, err := s.getModel(ctx, in)
	if err != nil {
		return nil, err
	}
	out := &databricksModelOut{}
	out.Model.RegisteredModel, out.Model.ID, out.Model.Permission = m.Model, m.Model.Name, "CAN_MANAGE"
	return out, nil
}

func (s *Service) updateModel(ctx context.Context, in *registryIn) (*modelOut, error) {
	m, err := s.store.UpdateModel(ctx, ws(ctx), in.Name, "", in.Description)
	return s.modelOut(ctx, m, err)
}

func (s *Service) renameModel(ctx context.Context, in *registryIn) (*modelOut, error) {
	if in.NewName == "" {
		return nil, invalid("Missing value for required parameter 'new_name'.")
	}
	m, err := s.store.UpdateModel(ctx, ws(ctx), in.Name, in.NewName, nil)
	return s.modelOut(ctx, m, err)
}

func (s *Service) deleteModel(ctx context.Context, in *registryIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.DeleteModel(ctx, ws(ctx), in.Name)
}

type searchRegistryIn struct {
	Filter     string        `json:"filter"`
	MaxResults *wherry.Int64 `json:"max_results"`
	OrderBy    []string      `json:"order_by"`
	PageToken  string        `json:"page_token"`
}

type searchModelsOut struct {
	Models []*mlflow.RegisteredModel `json:"registered_models,omitempty"`
	Next   string                    `json:"next_page_token,omitempty"`
}

func (s *Service) searchModels(ctx context.Context, in *searchRegistryIn) (*searchModelsOut, error) {
	n, err := limit(in.MaxResults, 100, 1000)
	if err != nil {
		return nil, err
	}
	list, next, err := s.store.SearchModels(ctx, ws(ctx), mlflow.Page{Filter: in.Filter, OrderBy: in.OrderBy, Max: n, Token: in.PageToken})
	for _, m := range list {
		for _, v := range m.LatestVersions {
			showVersion(ctx, v)
		}
	}
	return &searchModelsOut{list, next}, err
}

type versionsOut struct {
	Versions []*mlflow.ModelVersion `json:"model_versions,omitempty"`
	Next     string                 `json:"next_page_token,omitempty"`
}

func (s *Service) latestVersions(ctx context.Context, in *registryIn) (*versionsOut, error) {
	list, err := s.store.LatestVersions(ctx, ws(ctx), in.Name, in.Stages)
	for _, v := range list {
		showVersion(ctx, v)
	}
	return &versionsOut{Versions: list}, err
}

func (s *Service) setModelTag(ctx context.Context, in *registryIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.SetModelTag(ctx, ws(ctx), in.Name, mlflow.KV{Key: in.Key, Value: in.Value})
}

func (s *Service) deleteModelTag(ctx context.Context, in *registryIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.DeleteModelTag(ctx, ws(ctx), in.Name, in.Key)
}

func (s *Service) setAlias(ctx context.Context, in *registryIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.SetAlias(ctx, mlflow.WhoFrom(ctx), ws(ctx), in.Name, in.Alias, string(in.Version))
}

func (s *Service) deleteAlias(ctx context.Context, in *registryIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.DeleteAlias(ctx, ws(ctx), in.Name, in.Alias)
}

type versionOut struct {
	Version *mlflow.ModelVersion `json:"model_version"`
}

func versionOutOf(ctx context.Context, v *mlflow.ModelVersion, err error) (*versionOut, error) {
	if err != nil {
		return nil, err
	}
	showVersion(ctx, v)
	return &versionOut{v}, nil
}

func (s *Service) versionByAlias(ctx context.Context, in *registryIn) (*versionOut, error) {
	v, err := s.store.VersionByAlias(ctx, ws(ctx), in.Name, in.Alias)
	return versionOutOf(ctx, v, err)
}

func (s *Service) createVersion(ctx context.Context, in *registryIn) (*versionOut, error) {
	source, err := s.versionSource(ctx, in)
	if err != nil {
		return nil, err
	}
	v, err := s.store.CreateVersion(ctx, mlflow.WhoFrom(ctx), ws(ctx), mlflow.NewVersion{
		Name: in.Name, Source: source, RunID: in.RunID, RunLink: in.RunLink,
		Description: in.description(), LoggedModelID: in.ModelID, Tags: in.Tags,
	})
	return versionOutOf(ctx, v, err)
}

var loggedSource = regexp.MustCompile(`^models:/(m-[0-9a-f]{32})(/[^?#;%\\]*)?$`)

// versionSource checks where a version's files are said to be. Ours must be
// of a run or logged model that exists; a place of this machine, or a URL that
// the server would have to fetch, is refused (mlflow.md §6b).
func (s *Service) versionSource(ctx context.Context, in *registryIn) (string, error) {
	bad := invalid("Invalid model version source: '%s'. It must be the place of a run's or a logged model's files.", in.Source)
	if m := loggedSource.FindStringSubmatch(in.Source); m != nil {
		if in.ModelID != "" && in.ModelID != m[1] || hasDotDot(in.Source) {
			return "", bad
		}
		return in.Source, s.ofModel(ctx, in, m[1])
	}
	if rest, ok := strings.CutPrefix(in.Source, "models:/"); ok { // a copy of another version: the source is where its files are
		name, version, _ := strings.Cut(rest, "/")
		v, err := s.store.Version(ctx, ws(ctx), name, version)
		if err != nil {
			return "", bad
		}
		return v.Source, nil
	}
	if rest, ok := strings.CutPrefix(in.Source, "runs:/"); ok {
		id, p, _ := strings.Cut(rest, "/")
		info, err := s.store.Info(ctx, ws(ctx), id)
		if err != nil || checkPath(p) != nil {
			return "", bad
		}
		return s.runRoot(&info) + "/" + p, nil
	}
	if p, ok := s.belowFolder(in.Source); ok && (runPlace.MatchString(p) || modelPlace.MatchString(p)) {
		return in.Source, nil
	}
	source, err := canonical(ctx, "model version source", in.Source)
	if m := modelPlace.FindStringSubmatch(strings.TrimPrefix(source, ours)); err == nil && m != nil {
		err = s.ofModel(ctx, in, m[2])
	} else if m := runPlace.FindStringSubmatch(strings.TrimPrefix(source, ours)); err == nil && m != nil {
		if _, err = s.store.Info(ctx, ws(ctx), m[2]); in.RunID == "" {
			in.RunID = m[2]
		}
	}
	return source, err
}

// ofModel says that a version is made of a logged model, and so of its run.
func (s *Service) ofModel(ctx context.Context, in *registryIn, modelID string) error {
	logged, err := s.store.LoggedModel(ctx, ws(ctx), modelID)
	if err != nil {
		return err
	}
	if in.ModelID = modelID; in.RunID == "" {
		in.RunID = logged.Info.SourceRunID
	}
	return nil
}

func (s *Service) getVersion(ctx context.Context, in *registryIn) (*versionOut, error) {
	v, err := s.store.Version(ctx, ws(ctx), in.Name, string(in.Version))
	return versionOutOf(ctx, v, err)
}

func (s *Service) searchVersions(ctx context.Context, in *searchRegistryIn) (*versionsOut, error) {
	n, err := limit(in.MaxResults, 10_000, 200_000)
	if err != nil {
		return nil, err
	}
	list, next, err := s.store.SearchVersions(ctx, ws(ctx), mlflow.Page{Filter: in.Filter, OrderBy: in.OrderBy, Max: n, Token: in.PageToken})
	for _, v := range list {
		showVersion(ctx, v)
	}
	return &versionsOut{list, next}, err
}

type uriOut struct {
	URI string `json:"artifact_uri"`
}

// downloadURI is asked by who is about to load the version: trace notes it.
func (s *Service) downloadURI(ctx context.Context, in *registryIn) (*uriOut, error) {
	v, err := s.store.Version(ctx, ws(ctx), in.Name, string(in.Version))
	if err != nil {
		return nil, err
	}
	if err := s.store.NoteRead(ctx, mlflow.WhoFrom(ctx), v); err != nil {
		return nil, err
	}
	if v.Uploaded {
		return &uriOut{ours + modelsFolder + "/" + modelPath(v.Name) + "/" + v.Version}, nil
	}
	return &uriOut{render(ctx, v.Source)}, nil
}

func (s *Service) updateVersion(ctx context.Context, in *registryIn) (*versionOut, error) {
	v, err := s.store.UpdateVersion(ctx, ws(ctx), in.Name, string(in.Version), in.description())
	return versionOutOf(ctx, v, err)
}

func (s *Service) deleteVersion(ctx context.Context, in *registryIn) (*api.Empty, error) {
	_, err := s.store.DeleteVersion(ctx, ws(ctx), in.Name, string(in.Version))
	return &api.Empty{}, err
}

func (s *Service) transition(ctx context.Context, in *registryIn) (*versionOut, error) {
	v, err := s.store.Transition(ctx, mlflow.WhoFrom(ctx), ws(ctx), in.Name, string(in.Version), in.Stage, in.Archive)
	return versionOutOf(ctx, v, err)
}

type databricksVersionOut struct {
	Version *mlflow.ModelVersion `json:"model_version_databricks"`
}

func (s *Service) transitionDatabricks(ctx context.Context, in *registryIn) (*databricksVersionOut, error) {
	v, err := s.transition(ctx, in)
	if err != nil {
		return nil, err
	}
	return &databricksVersionOut{v.Version}, nil
}

func (s *Service) setVersionTag(ctx context.Context, in *registryIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.SetVersionTag(ctx, ws(ctx), in.Name, string(in.Version), mlflow.KV{Key: in.Key, Value: in.Value})
}

func (s *Service) deleteVersionTag(ctx context.Context, in *registryIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.DeleteVersionTag(ctx, ws(ctx), in.Name, string(in.Version), in.Key)
}
