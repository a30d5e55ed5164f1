package mlflow

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/wherry-ml/wherry/api/mlflow/graphql"
	"github.com/wherry-ml/wherry/store/mlflow"
)

// pairs is the type of params and of the various tags.
var pairs = map[string]string{"key": "String", "value": "String"}

// webSchema has the fields of the reference server's schema, so that other
// selections than those of today's pages work too.
var webSchema = graphql.Schema{
	"Query": {
		"test":                               "Test",
		"mlflowGetExperiment":                "MlflowGetExperimentResponse",
		"mlflowGetMetricHistoryBulkInterval": "MlflowGetMetricHistoryBulkIntervalResponse",
		"mlflowGetRun":                       "MlflowGetRunResponse",
		"mlflowListArtifacts":                "MlflowListArtifactsResponse",
		"mlflowSearchModelVersions":          "MlflowSearchModelVersionsResponse",
		"mlflowSearchRuns":                   "MlflowSearchRunsResponse",
	},
	"Mutation": {
		"testMutation":         "Test",
		"mlflowSearchDatasets": "MlflowSearchDatasetsResponse",
		"mlflowSearchRuns":     "MlflowSearchRunsResponse",
	},
	"Test":                        {"output": "String"},
	"ApiError":                    {"code": "String", "message": "String", "helpUrl": "String", "traceId": "String", "errorDetails": "[ErrorDetail]"},
	"ErrorDetail":                 {"field": "String", "message": "String"},
	"MlflowGetExperimentResponse": {"experiment": "MlflowExperiment", "apiError": "ApiError"},
	"MlflowExperiment": {
		"experimentId": "String", "name": "String", "artifactLocation": "String", "lifecycleStage": "String", "lastUpdateTime": "Long",
		"creationTime": "Long", "tags": "[MlflowExperimentTag]", "effectiveTraceArchivalRetention": "String", "workspace": "String",
	},
	"MlflowExperimentTag":                        pairs,
	"MlflowGetMetricHistoryBulkIntervalResponse": {"metrics": "[MlflowMetricWithRunId]", "apiError": "ApiError"},
	"MlflowMetricWithRunId":                      {"key": "String", "value": "Float", "timestamp": "Long", "step": "Long", "runId": "String"},
	"MlflowGetRunResponse":                       {"run": "MlflowRun", "apiError": "ApiError"},
	"MlflowSearchRunsResponse":                   {"runs": "[MlflowRun]", "nextPageToken": "String", "apiError": "ApiError"},
	"MlflowRun": {
		"info": "MlflowRunInfo", "data": "MlflowRunData", "inputs": "MlflowRunInputs", "outputs": "MlflowRunOutputs",
		"experiment": "MlflowExperiment", "modelVersions": "[MlflowModelVersion]",
	},
	"MlflowRunInfo": {
		"runId": "String", "runUuid": "String", "runName": "String", "experimentId": "String", "userId": "String", "status": "String",
		"startTime": "Long", "endTime": "Long", "artifactUri": "String", "lifecycleStage": "String",
	},
	"MlflowRunData": {"metrics": "[MlflowMetric]", "params": "[MlflowParam]", "tags": "[MlflowRunTag]"},
	"MlflowMetric": {
		"key": "String", "value": "Float", "timestamp": "Long", "step": "Long", "datasetName": "String", "datasetDigest": "String",
		"modelId": "String", "runId": "String",
	},
	"MlflowParam":                       pairs,
	"MlflowRunTag":                      pairs,
	"MlflowRunInputs":                   {"datasetInputs": "[MlflowDatasetInput]", "modelInputs": "[MlflowModelInput]"},
	"MlflowRunOutputs":                  {"modelOutputs": "[MlflowModelOutput]"},
	"MlflowDatasetInput":                {"tags": "[MlflowInputTag]", "dataset": "MlflowDataset"},
	"MlflowInputTag":                    pairs,
	"MlflowDataset":                     {"name": "String", "digest": "String", "sourceType": "String", "source": "String", "schema": "String", "profile": "String"},
	"MlflowModelInput":                  {"modelId": "String"},
	"MlflowModelOutput":                 {"modelId": "String", "step": "Long"},
	"MlflowListArtifactsResponse":       {"rootUri": "String", "files": "[MlflowFileInfo]", "nextPageToken": "String", "apiError": "ApiError"},
	"MlflowFileInfo":                    {"path": "String", "isDir": "Boolean", "fileSize": "Long"},
	"MlflowSearchModelVersionsResponse": {"modelVersions": "[MlflowModelVersion]", "nextPageToken": "String", "apiError": "ApiError"},
	"MlflowModelVersion": {
		"name": "String", "version": "String", "creationTimestamp": "Long", "lastUpdatedTimestamp": "Long", "userId": "String",
		"currentStage": "String", "description": "String", "source": "String", "runId": "String", "status": "String", "statusMessage": "String",
		"tags": "[MlflowModelVersionTag]", "runLink": "String", "aliases": "[String]", "modelId": "String", "modelParams": "[MlflowModelParam]",
		"modelMetrics": "[MlflowModelMetric]", "deploymentJobState": "MlflowModelVersionDeploymentJobState",
	},
	"MlflowModelVersionTag":                pairs,
	"MlflowModelParam":                     {"name": "String", "value": "String"},
	"MlflowModelMetric":                    {"key": "String", "value": "Float", "timestamp": "Long", "step": "Long", "datasetName": "String", "datasetDigest": "String", "modelId": "String", "runId": "String"},
	"MlflowModelVersionDeploymentJobState": {"jobId": "String", "runId": "String", "jobState": "String", "runState": "String", "currentTaskName": "String"},
	"MlflowSearchDatasetsResponse":         {"datasetSummaries": "[MlflowDatasetSummary]", "apiError": "ApiError"},
	"MlflowDatasetSummary":                 {"experimentId": "String", "name": "String", "digest": "String", "context": "String"},
}

func (s *Service) graphQL(ctx context.Context, in *graphql.Request) (*graphql.Response, error) {
	e := graphql.Executor{Schema: webSchema, Resolve: s.graphRoot, Expand: s.graphField}
	out := e.Do(ctx, *in)
	return &out, nil
}

// graphRoot answers a root field by the REST handler of the same name.
func (s *Service) graphRoot(ctx context.Context, field string, args map[string]any) (any, error) {
	input := args["input"]
	switch field {
	case "mlflowGetExperiment":
		return call(ctx, input, s.getExperiment)
	case "mlflowGetMetricHistoryBulkInterval":
		return call(ctx, input, s.getHistoryIntervalNamed)
	case "mlflowGetRun":
		return call(ctx, input, s.getRun)
	case "mlflowListArtifacts":
		return call(ctx, input, s.listArtifacts)
	case "mlflowSearchModelVersions":
		return call(ctx, input, s.searchVersions)
	case "mlflowSearchRuns":
		return call(ctx, input, s.searchRuns)
	case "mlflowSearchDatasets":
		return call(ctx, input, s.searchDatasets)
	default: // test, testMutation
		return map[string]any{"output": args["input_string"]}, nil
	}
}

// getHistoryIntervalNamed keeps each value's run, which the pages need.
func (s *Service) getHistoryIntervalNamed(ctx context.Context, in *historyBulkIn) (*historyBulkOut, error) {
	list, err := s.interval(ctx, in)
	return &historyBulkOut{list}, err
}

// call runs a REST handler on an input of GraphQL's.
func call[In, Out any](ctx context.Context, input any, handler func(context.Context, *In) (*Out, error)) (any, error) {
	in := new(In)
	b, err := json.Marshal(input)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, in); err != nil {
		return nil, invalid("invalid input: %v", err)
	}
	out, err := handler(ctx, in)
	if err != nil {
		return nil, err
	}
	return generic(out)
}

// generic is a value as encoding/json reads it, numbers kept as written.
func generic(v any) (out any, err error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return out, d.Decode(&out)
}

// graphField gives what a run's document does not hold.
func (s *Service) graphField(ctx context.Context, typeName, field string, object map[string]any) (any, bool, error) {
	info, _ := object["info"].(map[string]any)
	if typeName != "MlflowRun" || info == nil {
		return nil, false, nil
	}
	switch field {
	case "experiment":
		id, _ := info["experiment_id"].(string)
		e, err := s.getExperiment(ctx, &experimentID{id})
		if err != nil {
			return nil, false, err
		}
		v, err := generic(e.Experiment)
		return v, true, err
	case "modelVersions":
		id, _ := info["run_id"].(string)
		list, _, err := s.store.SearchVersions(ctx, ws(ctx), mlflow.Page{Filter: "run_id = '" + id + "'", Max: 1000})
		if err != nil {
			return nil, false, err
		}
		v, err := generic(list)
		return v, true, err
	}
	return nil, false, nil
}
