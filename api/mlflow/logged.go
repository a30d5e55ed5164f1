package mlflow

import (
	"context"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/mlflow"
)

func (s *Service) loggedModelRoutes() []api.Route {
	return []api.Route{
		{Method: "POST", Path: "/mlflow/logged-models", Permission: api.Write, Handler: api.JSON(s.createLoggedModel), Summary: "Create a logged model"},
		{Method: "POST", Path: "/mlflow/logged-models/search", Permission: api.Read, Handler: api.JSON(s.searchLoggedModels), Summary: "Search logged models"},
		{Method: "GET", Path: "/mlflow/logged-models/{model_id}", Permission: api.Read, Handler: api.JSON(s.getLoggedModel), Summary: "Get a logged model"},
		{Method: "PATCH", Path: "/mlflow/logged-models/{model_id}", Permission: api.Write, Handler: api.JSON(s.finalizeLoggedModel), Summary: "Set a logged model's status"},
		{Method: "DELETE", Path: "/mlflow/logged-models/{model_id}", Permission: api.Write, Handler: api.JSON(s.deleteLoggedModel), Summary: "Delete a logged model"},
		{Method: "PATCH", Path: "/mlflow/logged-models/{model_id}/tags", Permission: api.Write, Handler: api.JSON(s.setLoggedModelTags), Summary: "Set a logged model's tags"},
		{Method: "DELETE", Path: "/mlflow/logged-models/{model_id}/tags/{tag_key}", Permission: api.Write, Handler: api.JSON(s.deleteLoggedModelTag), Summary: "Delete a logged model's tag"},
		{Method: "POST", Path: "/mlflow/logged-models/{model_id}/params", Permission: api.Write, Handler: api.JSON(s.logLoggedModelParams), Summary: "Log a logged model's params"},
		{Method: "GET", Path: "/mlflow/logged-models/{model_id}/artifacts/directories", Permission: api.Read, Handler: api.JSON(s.listLoggedModel), Summary: "List a logged model's files"},
		{Method: "GET", Path: "/mlflow/logged-models/{model_id}/artifacts/files", Permission: api.Read, Handler: api.Raw(s.loggedModelFile), Summary: "Download a logged model's file"},
	}
}

type loggedModelOut struct {
	Model *mlflow.LoggedModel `json:"model"`
}

// loggedOut renders a model for the caller.
func (s *Service) loggedOut(ctx context.Context, m *mlflow.LoggedModel, err error) (*loggedModelOut, error) {
	if err != nil {
		return nil, err
	}
	s.showLogged(ctx, m)
	return &loggedModelOut{m}, nil
}

func (s *Service) showLogged(ctx context.Context, m *mlflow.LoggedModel) {
	m.Info.ArtifactURI = render(ctx, s.modelRoot(&m.Info))
}

type createLoggedModelIn struct {
	ExperimentID looseString `json:"experiment_id"`
	Name         string      `json:"name"`
	ModelType    string      `json:"model_type"`
	SourceRunID  string      `json:"source_run_id"`
	Params       []mlflow.KV `json:"params"`
	Tags         []mlflow.KV `json:"tags"`
}

func (s *Service) createLoggedModel(ctx context.Context, in *createLoggedModelIn) (*loggedModelOut, error) {
	m, err := s.store.CreateLoggedModel(ctx, ws(ctx), mlflow.NewLoggedModel{ExperimentID: string(in.ExperimentID), Name: in.Name, ModelType: in.ModelType, SourceRunID: in.SourceRunID, Params: in.Params, Tags: in.Tags})
	return s.loggedOut(ctx, m, err)
}

type loggedModelIn struct {
	ModelID   string      `json:"model_id"`
	Status    looseString `json:"status"`
	Tags      []mlflow.KV `json:"tags"`
	TagKey    string      `json:"tag_key"`
	Params    []mlflow.KV `json:"params"`
	Directory string      `json:"artifact_directory_path"`
}

func (s *Service) getLoggedModel(ctx context.Context, in *loggedModelIn) (*loggedModelOut, error) {
	m, err := s.store.LoggedModel(ctx, ws(ctx), in.ModelID)
	return s.loggedOut(ctx, m, err)
}

func (s *Service) finalizeLoggedModel(ctx context.Context, in *loggedModelIn) (*loggedModelOut, error) {
	m, err := s.store.FinalizeLoggedModel(ctx, ws(ctx), in.ModelID, string(in.Status))
	return s.loggedOut(ctx, m, err)
}

func (s *Service) deleteLoggedModel(ctx context.Context, in *loggedModelIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.DeleteLoggedModel(ctx, ws(ctx), in.ModelID)
}

func (s *Service) setLoggedModelTags(ctx context.Context, in *loggedModelIn) (*loggedModelOut, error) {
	m, err := s.store.SetLoggedModelTags(ctx, ws(ctx), in.ModelID, in.Tags)
	return s.loggedOut(ctx, m, err)
}

func (s *Service) deleteLoggedModelTag(ctx context.Context, in *loggedModelIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.DeleteLoggedModelTag(ctx, ws(ctx), in.ModelID, in.TagKey)
}

func (s *Service) logLoggedModelParams(ctx context.Context, in *loggedModelIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.LogLoggedModelParams(ctx, ws(ctx), in.ModelID, in.Params)
}

type searchLoggedModelsIn struct {
	experimentIDs
	Filter     string                 `json:"filter"`
	Datasets   []mlflow.DatasetFilter `json:"datasets"`
	MaxResults *wherry.Int64          `json:"max_results"`
	OrderBy    []mlflow.ModelOrder    `json:"order_by"`
	PageToken  string                 `json:"page_token"`
}

type searchLoggedModelsOut struct {
	Models []*mlflow.LoggedModel `json:"models,omitempty"`
	Next   string                `json:"next_page_token,omitempty"`
}

func (s *Service) searchLoggedModels(ctx context.Context, in *searchLoggedModelsIn) (*searchLoggedModelsOut, error) {
	n, err := limit(in.MaxResults, 50, 1000)
	if err != nil {
		return nil, err
	}
	list, next, err := s.store.SearchLoggedModels(ctx, ws(ctx), plain(in.ExperimentIDs), in.Datasets, in.OrderBy, mlflow.Page{Filter: in.Filter, Max: n, Token: in.PageToken})
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		s.showLogged(ctx, m)
	}
	return &searchLoggedModelsOut{list, next}, nil
}
