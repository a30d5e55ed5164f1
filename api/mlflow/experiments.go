package mlflow

import (
	"context"
	"strconv"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/mlflow"
)

// trackingRoutes are paths below /api/2.0 ("v3:" below /api/3.0).
func (s *Service) trackingRoutes() []api.Route {
	return []api.Route{
		{Method: "POST", Path: "/mlflow/experiments/create", Permission: api.Write, Handler: api.JSON(s.createExperiment), Summary: "Create an experiment"},
		{Method: "GET", Path: "/mlflow/experiments/get", Permission: api.Read, Handler: api.JSON(s.getExperiment), Summary: "Get an experiment"},
		{Method: "GET", Path: "/mlflow/experiments/get-by-name", Permission: api.Read, Handler: api.JSON(s.getExperimentByName), Summary: "Get an experiment by name"},
		{Method: "POST", Path: "/mlflow/experiments/search", Permission: api.Read, Handler: api.JSON(s.searchExperiments), Summary: "Search experiments"},
		{Method: "GET", Path: "/mlflow/experiments/search", Permission: api.Read, Handler: api.JSON(s.searchExperiments), Summary: "Search experiments"},
		{Method: "GET", Path: "/mlflow/experiments/list", Permission: api.Read, Handler: api.JSON(s.searchExperiments), Summary: "List experiments"},
		{Method: "POST", Path: "/mlflow/experiments/delete", Permission: api.Write, Handler: api.JSON(s.deleteExperiment), Summary: "Delete an experiment"},
		{Method: "POST", Path: "/mlflow/experiments/restore", Permission: api.Write, Handler: api.JSON(s.restoreExperiment), Summary: "Restore an experiment"},
		{Method: "POST", Path: "/mlflow/experiments/update", Permission: api.Write, Handler: api.JSON(s.updateExperiment), Summary: "Rename an experiment"},
		{Method: "POST", Path: "/mlflow/experiments/set-experiment-tag", Permission: api.Write, Handler: api.JSON(s.setExperimentTag), Summary: "Set an experiment's tag"},
		{Method: "POST", Path: "/mlflow/experiments/delete-experiment-tag", Permission: api.Write, Handler: api.JSON(s.deleteExperimentTag), Summary: "Delete an experiment's tag"},
		{Method: "POST", Path: "/mlflow/experiments/search-datasets", Permission: api.Read, Handler: api.JSON(s.searchDatasets), Summary: "Datasets of experiments"},

		{Method: "POST", Path: "/mlflow/runs/create", Permission: api.Write, Handler: api.JSON(s.createRun), Summary: "Start a run"},
		{Method: "POST", Path: "/mlflow/runs/update", Permission: api.Write, Handler: api.JSON(s.updateRun), Summary: "Update a run"},
		{Method: "GET", Path: "/mlflow/runs/get", Permission: api.Read, Handler: api.JSON(s.getRun), Summary: "Get a run"},
		{Method: "POST", Path: "/mlflow/runs/search", Permission: api.Read, Handler: api.JSON(s.searchRuns), Summary: "Search runs"},
		{Method: "POST", Path: "/mlflow/runs/delete", Permission: api.Write, Handler: api.JSON(s.deleteRun), Summary: "Delete a run"},
		{Method: "POST", Path: "/mlflow/runs/restore", Permission: api.Write, Handler: api.JSON(s.restoreRun), Summary: "Restore a run"},
		{Method: "POST", Path: "/mlflow/runs/log-metric", Permission: api.Write, Handler: api.JSON(s.logMetric), Summary: "Log a metric"},
		{Method: "POST", Path: "/mlflow/runs/log-parameter", Permission: api.Write, Handler: api.JSON(s.logParam), Summary: "Log a param"},
		{Method: "POST", Path: "/mlflow/runs/log-batch", Permission: api.Write, Handler: api.JSON(s.logBatch), Summary: "Log metrics, params and tags"},
		{Method: "POST", Path: "/mlflow/runs/log-inputs", Permission: api.Write, Handler: api.JSON(s.logInputs), Summary: "Log inputs"},
		{Method: "POST", Path: "/mlflow/runs/outputs", Permission: api.Write, Handler: api.JSON(s.logOutputs), Summary: "Log outputs"},
		{Method: "POST", Path: "/mlflow/runs/log-model", Permission: api.Write, Handler: api.JSON(s.logModel), Summary: "Note a model (clients before MLflow 3)"},
		{Method: "POST", Path: "/mlflow/runs/set-tag", Permission: api.Write, Handler: api.JSON(s.setTag), Summary: "Set a run's tag"},
		{Method: "POST", Path: "/mlflow/runs/delete-tag", Permission: api.Write, Handler: api.JSON(s.deleteTag), Summary: "Delete a run's tag"},
		{Method: "GET", Path: "/mlflow/metrics/get-history", Permission: api.Read, Handler: api.JSON(s.getHistory), Summary: "History of a metric"},
		{Method: "GET", Path: "/mlflow/metrics/get-history-bulk", Permission: api.Read, Handler: api.JSON(s.getHistoryBulk), Summary: "History of a metric in several runs"},
		{Method: "GET", Path: "/mlflow/metrics/get-history-bulk-interval", Permission: api.Read, Handler: api.JSON(s.getHistoryInterval), Summary: "Sampled history of a metric in several runs"},
		{Method: "GET", Path: "/mlflow/artifacts/list", Permission: api.Read, Handler: api.JSON(s.listArtifacts), Summary: "List a run's artifacts"},
	}
}

type createExperimentIn struct {
	Name             string      `json:"name"`
	ArtifactLocation string      `json:"artifact_location"`
	Tags             []mlflow.KV `json:"tags"`
}

type experimentID struct {
	ExperimentID string `json:"experiment_id"`
}

// UnmarshalJSON takes the id as text or as a number.
func (e *experimentID) UnmarshalJSON(b []byte) error {
	in := struct {
		ID *looseString `json:"experiment_id"`
	}{}
	if err := unmarshal(b, &in); err != nil {
		return err
	}
	if in.ID != nil {
		e.ExperimentID = string(*in.ID)
	}
	return nil
}

func (s *Service) createExperiment(ctx context.Context, in *createExperimentIn) (*experimentID, error) {
	if in.ArtifactLocation != "" {
		location, err := canonical(ctx, "artifact_location", in.ArtifactLocation)
		if err != nil {
			return nil, err
		}
		in.ArtifactLocation = location
	}
	id, err := s.store.CreateExperiment(ctx, mlflow.WhoFrom(ctx), in.Name, in.ArtifactLocation, in.Tags)
	if err != nil {
		return nil, err
	}
	return &experimentID{strconv.FormatInt(id, 10)}, nil
}

type experimentOut struct {
	Experiment *mlflow.Experiment `json:"experiment"`
}

// show renders the location for the caller.
func (s *Service) showExperiment(ctx context.Context, e *mlflow.Experiment) {
	e.ArtifactLocation = render(ctx, s.experimentRoot(e.ID, e.ArtifactLocation))
}

func (s *Service) getExperiment(ctx context.Context, in *experimentID) (*experimentOut, error) {
	e, err := s.store.Experiment(ctx, ws(ctx), in.ExperimentID)
	if err != nil {
		return nil, err
	}
	s.showExperiment(ctx, e)
	return &experimentOut{e}, nil
}

type experimentName struct {
	Name string `json:"experiment_name"`
}

func (s *Service) getExperimentByName(ctx context.Context, in *experimentName) (*experimentOut, error) {
	e, err := s.store.ExperimentByName(ctx, ws(ctx), in.Name)
	if err != nil {
		return nil, err
	}
	s.showExperiment(ctx, e)
	return &experimentOut{e}, nil
}

type searchExperimentsIn struct {
	MaxResults *wherry.Int64 `json:"max_results"`
	PageToken  string        `json:"page_token"`
	Filter     string        `json:"filter"`
	OrderBy    []string      `json:"order_by"`
	ViewType   view          `json:"view_type"`
}

type searchExperimentsOut struct {
	Experiments []*mlflow.Experiment `json:"experiments,omitempty"`
	Next        string               `json:"next_page_token,omitempty"`
}

const maxExperiments = 50000

func (s *Service) searchExperiments(ctx context.Context, in *searchExperimentsIn) (*searchExperimentsOut, error) {
	n, err := limit(in.MaxResults, 1000, maxExperiments)
	if err != nil {
		return nil, err
	}
	list, next, err := s.store.SearchExperiments(ctx, ws(ctx), string(in.ViewType), mlflow.Page{Filter: in.Filter, OrderBy: in.OrderBy, Max: n, Token: in.PageToken})
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		s.showExperiment(ctx, e)
	}
	return &searchExperimentsOut{list, next}, nil
}

func (s *Service) deleteExperiment(ctx context.Context, in *experimentID) (*api.Empty, error) {
	return &api.Empty{}, s.store.SetExperimentStage(ctx, ws(ctx), in.ExperimentID, mlflow.Deleted)
}

func (s *Service) restoreExperiment(ctx context.Context, in *experimentID) (*api.Empty, error) {
	return &api.Empty{}, s.store.SetExperimentStage(ctx, ws(ctx), in.ExperimentID, mlflow.Active)
}

type updateExperimentIn struct {
	ExperimentID looseString `json:"experiment_id"`
	NewName      string      `json:"new_name"`
}

func (s *Service) updateExperiment(ctx context.Context, in *updateExperimentIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.RenameExperiment(ctx, ws(ctx), string(in.ExperimentID), in.NewName)
}

type experimentTagIn struct {
	ExperimentID looseString `json:"experiment_id"`
	mlflow.KV
}

func (s *Service) setExperimentTag(ctx context.Context, in *experimentTagIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.SetExperimentTag(ctx, ws(ctx), string(in.ExperimentID), in.KV)
}

func (s *Service) deleteExperimentTag(ctx context.Context, in *experimentTagIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.DeleteExperimentTag(ctx, ws(ctx), string(in.ExperimentID), in.Key)
}

type experimentIDs struct {
	ExperimentIDs []looseString `json:"experiment_ids"`
}

func plain(list []looseString) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

type datasetsOut struct {
	Summaries []mlflow.DatasetSummary `json:"dataset_summaries,omitempty"`
}

func (s *Service) searchDatasets(ctx context.Context, in *experimentIDs) (*datasetsOut, error) {
	if len(in.ExperimentIDs) > 20 {
		return nil, invalid("SearchDatasets request cannot specify more than 20 experiment_ids. Received %d experiment_ids.", len(in.ExperimentIDs))
	}
	list, err := s.store.SearchDatasets(ctx, ws(ctx), plain(in.ExperimentIDs))
	return &datasetsOut{list}, err
}
