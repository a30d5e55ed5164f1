package deployments

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
)

// kind knows the API of one type of resource.
type kind struct {
	// find looks for a resource by what names it, "" if there is none; nil for
	// a type whose names need not be unique.
	find func(ctx context.Context, c *caller, config map[string]any) (id string, err error)
	// get returns the settings as they are, in the shape of a create request;
	// nil if there is no such resource.
	get    func(ctx context.Context, c *caller, id string) (map[string]any, error)
	create func(ctx context.Context, c *caller, config map[string]any) (id string, err error)
	// update makes the settings those of config; before are those there are.
	update func(ctx context.Context, c *caller, id string, before, config map[string]any) (newID string, err error)
	remove func(ctx context.Context, c *caller, id string) error
	// fixed are the fields that cannot change: another value makes another
	// resource.
	fixed []string
	// permissions is the object type of the permissions API, "" for none.
	permissions string
	// securable is the type in the grants API, "" for none.
	securable string
	name      func(config map[string]any) string
	// normal brings settings into the shape in which the API gives them back;
	// nil for a type that gives back what it got.
	normal func(config map[string]any)
	// setPermissions and livePermissions are for a type that has its own API
	// for them.
	setPermissions  func(ctx context.Context, c *caller, id string, before, list []map[string]any) error
	livePermissions func(ctx context.Context, c *caller, id string) ([]map[string]any, error)
}

// kinds are the types that can be deployed, in the order in which they are made
// where nothing else says.
var kindOrder = []string{
	"secret_scopes", "external_locations", "catalogs", "schemas", "volumes", "registered_models", "models", "experiments", "clusters", "jobs",
}

var kinds = map[string]kind{
	"jobs": {
		get: getJob, create: createJob, remove: removeJob, permissions: "jobs", name: field("name"),
		update: func(ctx context.Context, c *caller, id string, _, config map[string]any) (string, error) {
			return id, c.call(ctx, "POST", "/api/2.2/jobs/reset", map[string]any{"job_id": number(id), "new_settings": config}, nil)
		},
	},
	"experiments": {
		find: findExperiment, get: getExperiment, create: createExperiment, update: updateExperiment, fixed: []string{"artifact_location"}, permissions: "experiments", name: field("name"),
		remove: func(ctx context.Context, c *caller, id string) error {
			return c.call(ctx, "POST", "/api/2.0/mlflow/experiments/delete", map[string]any{"experiment_id": id}, nil)
		},
	},
	"catalogs":           securable("catalogs", "catalog", "name"),
	"schemas":            securable("schemas", "schema", "catalog_name", "name"),
	"volumes":            securable("volumes", "volume", "catalog_name", "schema_name", "name"),
	"registered_models":  securable("models", "function", "catalog_name", "schema_name", "name"),
	"external_locations": securable("external-locations", "external_location", "name"),
	"models": {
		find: findModel, get: getModel, create: createModel, update: updateModel, permissions: "registered-models", name: field("name"),
		remove: func(ctx context.Context, c *caller, id string) error {
			return c.call(ctx, "DELETE", "/api/2.0/mlflow/registered-models/delete", map[string]any{"name": id}, nil)
		},
	},
	"clusters": {
		get: getCluster, create: createCluster, update: updateCluster, permissions: "clusters", name: field("cluster_name"), normal: normalCluster,
		remove: func(ctx context.Context, c *caller, id string) error {
			return c.call(ctx, "POST", "/api/2.1/clusters/permanent-delete", map[string]any{"cluster_id": id}, nil)
		},
	},
	"secret_scopes": {
		find: findScope, create: createScope, fixed: []string{"name", "backend_type"}, name: field("name"), permissions: "secret-scopes",
		setPermissions: setScopePermissions, livePermissions: scopePermissions,
		get: func(ctx context.Context, c *caller, id string) (map[string]any, error) {
			found, err := findScope(ctx, c, map[string]any{"name": id})
			if err != nil || found == "" {
				return nil, err
			}
			return map[string]any{"name": id}, nil
		},
		normal: func(config map[string]any) {
			if text(config["backend_type"]) == "DATABRICKS" { // the default, which no answer names
				delete(config, "backend_type")
			}
		},
		update: func(_ context.Context, _ *caller, id string, _, _ map[string]any) (string, error) { return id, nil },
		remove: func(ctx context.Context, c *caller, id string) error {
			return c.call(ctx, "POST", "/api/2.0/secrets/scopes/delete", map[string]any{"scope": id}, nil)
		},
	},
}

func field(name string) func(map[string]any) string {
	return func(config map[string]any) string { return text(config[name]) }
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func number(id string) json.Number { return json.Number(id) }

func getJob(ctx context.Context, c *caller, id string) (map[string]any, error) {
	var settings map[string]any
	token := ""
	for {
		var page struct {
			Settings  map[string]any `json:"settings"`
			NextToken string         `json:"next_page_token"`
		}
		path := "/api/2.2/jobs/get?job_id=" + url.QueryEscape(id) + "&page_token=" + url.QueryEscape(token)
		if err := c.call(ctx, "GET", path, nil, &page); err != nil {
			if missing(err) || wherry.CodeOf(err) == wherry.CodeInvalidParameter && strings.Contains(err.Error(), "does not exist") {
				return nil, nil
			}
			return nil, err
		}
		if settings == nil {
			settings = page.Settings
		} else {
			for _, list := range []string{"tasks", "job_clusters", "environments", "parameters"} { // in pages of 100
				have, _ := settings[list].([]any)
				more, _ := page.Settings[list].([]any)
				if len(more) > 0 {
					settings[list] = append(have, more...)
				}
			}
		}
		if token = page.NextToken; token == "" {
			return settings, nil
		}
	}
}

func createJob(ctx context.Context, c *caller, config map[string]any) (string, error) {
	var out struct {
		JobID int64 `json:"job_id"`
	}
	err := c.call(ctx, "POST", "/api/2.2/jobs/create", config, &out)
	return strconv.FormatInt(out.JobID, 10), err
}

func removeJob(ctx context.Context, c *caller, id string) error {
	return c.call(ctx, "POST", "/api/2.2/jobs/delete", map[string]any{"job_id": number(id)}, nil)
}

type experiment struct {
	ID        string           `json:"experiment_id"`
	Name      string           `json:"name"`
	Location  string           `json:"artifact_location"`
	Lifecycle string           `json:"lifecycle_stage"`
	Tags      []map[string]any `json:"tags"`
}

func findExperiment(ctx context.Context, c *caller, config map[string]any) (string, error) {
	var out struct {
		Experiment experiment `json:"experiment"`
	}
	err := c.call(ctx, "GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name="+url.QueryEscape(text(config["name"])), nil, &out)
	if missing(err) {
		return "", nil
	}
	return out.Experiment.ID, err
}

func getExperiment(ctx context.Context, c *caller, id string) (map[string]any, error) {
	var out struct {
		Experiment experiment `json:"experiment"`
	}
	err := c.call(ctx, "GET", "/api/2.0/mlflow/experiments/get?experiment_id="+url.QueryEscape(id), nil, &out)
	if missing(err) || err == nil && out.Experiment.Lifecycle == "deleted" {
		return nil, nil
	}
	tags := []any{}
	for _, tag := range out.Experiment.Tags {
		tags = append(tags, map[string]any{"key": tag["key"], "value": tag["value"]})
	}
	return map[string]any{"name": out.Experiment.Name, "artifact_location": out.Experiment.Location, "tags": tags}, err
}

// createExperiment takes a deleted experiment of the name back: names stay
// taken after a delete.
func createExperiment(ctx context.Context, c *caller, config map[string]any) (string, error) {
	if id, err := findExperiment(ctx, c, config); err != nil {
		return "", err
	} else if id != "" {
		if err := c.call(ctx, "POST", "/api/2.0/mlflow/experiments/restore", map[string]any{"experiment_id": id}, nil); err == nil {
			return updateExperiment(ctx, c, id, map[string]any{"name": config["name"]}, config)
		}
	}
	var out struct {
		ID string `json:"experiment_id"`
	}
	err := c.call(ctx, "POST", "/api/2.0/mlflow/experiments/create", config, &out)
	return out.ID, err
}

func updateExperiment(ctx context.Context, c *caller, id string, before, config map[string]any) (string, error) {
	if text(before["name"]) != text(config["name"]) {
		if err := c.call(ctx, "POST", "/api/2.0/mlflow/experiments/update", map[string]any{"experiment_id": id, "new_name": config["name"]}, nil); err != nil {
			return id, err
		}
	}
	tags, _ := config["tags"].([]any)
	for _, t := range tags {
		tag, _ := t.(map[string]any)
		if err := c.call(ctx, "POST", "/api/2.0/mlflow/experiments/set-experiment-tag", map[string]any{"experiment_id": id, "key": tag["key"], "value": tag["value"]}, nil); err != nil {
			return id, err
		}
	}
	return id, nil
}
