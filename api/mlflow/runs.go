package mlflow

import (
	"context"
	"encoding/json"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/mlflow"
)

// showRun renders the artifact URI for the caller.
func (s *Service) showRun(ctx context.Context, i *mlflow.RunInfo) {
	i.ArtifactURI = render(ctx, s.runRoot(i))
}

type createRunIn struct {
	ExperimentID looseString  `json:"experiment_id"`
	UserID       string       `json:"user_id"`
	Name         string       `json:"run_name"`
	StartTime    wherry.Int64 `json:"start_time"`
	Tags         []mlflow.KV  `json:"tags"`
}

type runOut struct {
	Run *mlflow.Run `json:"run"`
}

func (s *Service) createRun(ctx context.Context, in *createRunIn) (*runOut, error) {
	run, err := s.store.CreateRun(ctx, mlflow.WhoFrom(ctx), mlflow.NewRun{ExperimentID: string(in.ExperimentID), UserID: in.UserID, Name: in.Name, StartTime: int64(in.StartTime), Tags: in.Tags})
	if err != nil {
		return nil, err
	}
	s.showRun(ctx, &run.Info)
	return &runOut{run}, nil
}

type updateRunIn struct {
	runRef
	Status  mlflow.RunStatus `json:"status"`
	EndTime wherry.Int64     `json:"end_time"`
	Name    string           `json:"run_name"`
}

type runInfoOut struct {
	Info mlflow.RunInfo `json:"run_info"`
}

func (s *Service) updateRun(ctx context.Context, in *updateRunIn) (*runInfoOut, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	info, err := s.store.UpdateRun(ctx, ws(ctx), id, in.Status, int64(in.EndTime), in.Name)
	if err != nil {
		return nil, err
	}
	s.showRun(ctx, &info)
	return &runInfoOut{info}, nil
}

func (s *Service) getRun(ctx context.Context, in *runRef) (*runOut, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	run, err := s.store.Run(ctx, ws(ctx), id)
	if err != nil {
		return nil, err
	}
	s.showRun(ctx, &run.Info)
	return &runOut{run}, nil
}

type searchRunsIn struct {
	experimentIDs
	Filter     string        `json:"filter"`
	ViewType   view          `json:"run_view_type"`
	MaxResults *wherry.Int64 `json:"max_results"`
	OrderBy    []string      `json:"order_by"`
	PageToken  string        `json:"page_token"`
}

type searchRunsOut struct {
	Runs []*mlflow.Run `json:"runs,omitempty"`
	Next string        `json:"next_page_token,omitempty"`
}

func (s *Service) searchRuns(ctx context.Context, in *searchRunsIn) (*searchRunsOut, error) {
	n, err := limit(in.MaxResults, 1000, 50000)
	if err != nil {
		return nil, err
	}
	runs, next, err := s.store.SearchRuns(ctx, ws(ctx), plain(in.ExperimentIDs), string(in.ViewType), mlflow.Page{Filter: in.Filter, OrderBy: in.OrderBy, Max: n, Token: in.PageToken})
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		s.showRun(ctx, &r.Info)
	}
	return &searchRunsOut{runs, next}, nil
}

func (s *Service) deleteRun(ctx context.Context, in *runRef) (*api.Empty, error) {
	return s.stageRun(ctx, in, mlflow.Deleted)
}

func (s *Service) restoreRun(ctx context.Context, in *runRef) (*api.Empty, error) {
	return s.stageRun(ctx, in, mlflow.Active)
}

func (s *Service) stageRun(ctx context.Context, in *runRef, stage string) (*api.Empty, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	return &api.Empty{}, s.store.SetRunStage(ctx, ws(ctx), id, stage)
}

// logMetricIn is a metric beside the run that it is of.
type logMetricIn struct {
	runRef
	metric mlflow.Metric
}

// UnmarshalJSON reads both from the one flat document.
func (in *logMetricIn) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &in.runRef); err != nil {
		return err
	}
	return json.Unmarshal(b, &in.metric)
}

func (s *Service) logMetric(ctx context.Context, in *logMetricIn) (*api.Empty, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	in.metric.RunID = ""
	return &api.Empty{}, s.store.Log(ctx, ws(ctx), &mlflow.Batch{RunID: id, Metrics: []mlflow.Metric{in.metric}})
}

type logPairIn struct {
	runRef
	mlflow.KV
}

func (s *Service) logParam(ctx context.Context, in *logPairIn) (*api.Empty, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	return &api.Empty{}, s.store.Log(ctx, ws(ctx), &mlflow.Batch{RunID: id, Params: []mlflow.KV{in.KV}})
}

func (s *Service) setTag(ctx context.Context, in *logPairIn) (*api.Empty, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	return &api.Empty{}, s.store.Log(ctx, ws(ctx), &mlflow.Batch{RunID: id, Tags: []mlflow.KV{in.KV}})
}

func (s *Service) deleteTag(ctx context.Context, in *logPairIn) (*api.Empty, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	return &api.Empty{}, s.store.DeleteTag(ctx, ws(ctx), id, in.Key)
}

// logBatchIn is a batch of at most a megabyte.
type logBatchIn struct{ mlflow.Batch }

// UnmarshalJSON refuses larger documents, as the reference server does.
func (in *logBatchIn) UnmarshalJSON(b []byte) error {
	if len(b) > 1_000_000 {
		return invalid("Batched logging API requests must be at most 1000000 bytes in size. Got a request of size %d.", len(b))
	}
	return json.Unmarshal(b, &in.Batch)
}

func (s *Service) logBatch(ctx context.Context, in *logBatchIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.Log(ctx, ws(ctx), &in.Batch)
}

type logInputsIn struct {
	runRef
	Datasets []mlflow.DatasetInput `json:"datasets"`
	Models   []mlflow.RunModel     `json:"models"`
}

func (s *Service) logInputs(ctx context.Context, in *logInputsIn) (*api.Empty, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	return &api.Empty{}, s.store.LogInputs(ctx, ws(ctx), id, in.Datasets, in.Models)
}

type logOutputsIn struct {
	runRef
	Models []mlflow.RunModel `json:"models"`
}

func (s *Service) logOutputs(ctx context.Context, in *logOutputsIn) (*api.Empty, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	return &api.Empty{}, s.store.LogOutputs(ctx, ws(ctx), id, in.Models)
}

type logModelIn struct {
	runRef
	ModelJSON string `json:"model_json"`
}

// historyTag lists the models that clients before MLflow 3 logged in a run.
const historyTag = "mlflow.log-model.history"

// logModel adds the model to the run's history; when the tag is full its
// oldest entries go.
func (s *Service) logModel(ctx context.Context, in *logModelIn) (*api.Empty, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	var model map[string]any
	if err := json.Unmarshal([]byte(in.ModelJSON), &model); err != nil || model["flavors"] == nil || model["artifact_path"] == nil {
		return nil, invalid("Malformed model info. model_json must be the JSON of an MLmodel file")
	}
	for _, big := range []string{"signature", "saved_input_example_info", "metadata"} {
		delete(model, big)
	}
	run, err := s.store.Run(ctx, ws(ctx), id)
	if err != nil {
		return nil, err
	}
	var history []any
	for _, t := range run.Data.Tags {
		if t.Key == historyTag {
			_ = json.Unmarshal([]byte(t.Value), &history) // a tag that someone else wrote starts anew
		}
	}
	history = append(history, model)
	for {
		b, err := json.Marshal(history)
		if err != nil {
			return nil, err
		}
		if len(b) <= 8000 || len(history) == 1 {
			return &api.Empty{}, s.store.Log(ctx, ws(ctx), &mlflow.Batch{RunID: id, Tags: []mlflow.KV{{Key: historyTag, Value: string(b)}}})
		}
		history = history[1:]
	}
}

type historyIn struct {
	runRef
	Key        string       `json:"metric_key"`
	PageToken  string       `json:"page_token"`
	MaxResults wherry.Int64 `json:"max_results"`
}

type historyOut struct {
	Metrics []mlflow.Metric `json:"metrics,omitempty"`
	Next    string          `json:"next_page_token,omitempty"`
}

func (s *Service) getHistory(ctx context.Context, in *historyIn) (*historyOut, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	list, next, err := s.store.History(ctx, ws(ctx), id, in.Key, int(in.MaxResults), in.PageToken)
	for i := range list {
		list[i].RunID = "" // the caller named it
	}
	return &historyOut{list, next}, err
}

type historyBulkIn struct {
	RunID      []string      `json:"run_id"`  // get-history-bulk
	RunIDs     []string      `json:"run_ids"` // get-history-bulk-interval
	Key        string        `json:"metric_key"`
	MaxResults *wherry.Int64 `json:"max_results"`
	StartStep  *wherry.Int64 `json:"start_step"`
	EndStep    *wherry.Int64 `json:"end_step"`
}

// historyBulkOut is written by hand in the reference server: it names each
// value's run.
type historyBulkOut struct {
	Metrics []mlflow.Metric `json:"metrics"`
}

const maxBulkRuns = 100

func (s *Service) getHistoryBulk(ctx context.Context, in *historyBulkIn) (*historyBulkOut, error) {
	switch {
	case len(in.RunID) == 0:
		return nil, invalid("GetMetricHistoryBulk request must specify at least one run_id.")
	case len(in.RunID) > maxBulkRuns:
		return nil, invalid("GetMetricHistoryBulk request cannot specify more than %d run_ids. Received %d run_ids.", maxBulkRuns, len(in.RunID))
	case in.Key == "":
		return nil, invalid("GetMetricHistoryBulk request must specify a metric_key.")
	}
	n := 25000
	if in.MaxResults != nil {
		n = max(0, min(n, int(*in.MaxResults)))
	}
	list, err := s.store.HistoryBulk(ctx, ws(ctx), in.RunID, in.Key, n)
	if list == nil {
		list = []mlflow.Metric{}
	}
	return &historyBulkOut{list}, err
}

func (s *Service) getHistoryInterval(ctx context.Context, in *historyBulkIn) (*historyOut, error) {
	list, err := s.interval(ctx, in)
	return &historyOut{Metrics: list}, err
}

func (s *Service) interval(ctx context.Context, in *historyBulkIn) ([]mlflow.Metric, error) {
	if len(in.RunIDs) == 0 || len(in.RunIDs) > maxBulkRuns || in.Key == "" {
		return nil, invalid("GetMetricHistoryBulkInterval takes 1 to %d run_ids and a metric_key", maxBulkRuns)
	}
	n, err := limit(in.MaxResults, 320, 2500)
	if err != nil {
		return nil, err
	}
	if in.StartStep != nil && in.EndStep != nil && *in.StartStep > *in.EndStep {
		return nil, invalid("end_step must be greater than start_step. Found start_step=%d and end_step=%d.", *in.StartStep, *in.EndStep)
	}
	return s.store.HistoryInterval(ctx, ws(ctx), in.RunIDs, in.Key, (*int64)(in.StartStep), (*int64)(in.EndStep), n)
}
