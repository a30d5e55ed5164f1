-- +goose Up
CREATE TABLE mlflow_experiment (
  id BIGINT PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  name TEXT NOT NULL,
  -- '' is our own artifact store; another store's URI is kept as the client gave it.
  artifact_location TEXT NOT NULL,
  stage TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  UNIQUE (workspace_id, name)
);
INSERT INTO mlflow_experiment
  SELECT 0, 1, 'Default', '', 'active', t, t FROM (SELECT CAST(strftime('%s', 'now') AS INTEGER) * 1000 AS t) clock;
CREATE TABLE mlflow_experiment_tag (
  experiment_id BIGINT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (experiment_id, name)
) WITHOUT ROWID;

-- Names of metrics, params and tags are stored once; rows carry their number.
CREATE TABLE mlflow_key (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

CREATE TABLE mlflow_run (
  id INTEGER PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  uuid TEXT NOT NULL UNIQUE,
  experiment_id BIGINT NOT NULL,
  name TEXT NOT NULL,
  user_id TEXT NOT NULL,
  status TEXT NOT NULL,
  stage TEXT NOT NULL,
  start_time BIGINT NOT NULL,
  end_time BIGINT,
  -- The task run whose token made it, 0 outside of a run.
  task_run_id BIGINT NOT NULL
);
CREATE INDEX mlflow_run_listing ON mlflow_run (experiment_id, stage, start_time DESC, uuid);
CREATE INDEX mlflow_run_task ON mlflow_run (task_run_id);

-- A run's metrics are one range of the clustered key, a metric's history one scan of it.
CREATE TABLE mlflow_metric (
  run_id BIGINT NOT NULL, key_id BIGINT NOT NULL, step BIGINT NOT NULL, at BIGINT NOT NULL,
  value DOUBLE PRECISION NOT NULL, is_nan BOOLEAN NOT NULL,
  PRIMARY KEY (run_id, key_id, at, step, value, is_nan)
) WITHOUT ROWID;
CREATE TABLE mlflow_latest_metric (
  run_id BIGINT NOT NULL, key_id BIGINT NOT NULL, step BIGINT NOT NULL, at BIGINT NOT NULL,
  value DOUBLE PRECISION NOT NULL, is_nan BOOLEAN NOT NULL,
  PRIMARY KEY (run_id, key_id)
) WITHOUT ROWID;
CREATE TABLE mlflow_param (
  run_id BIGINT NOT NULL, key_id BIGINT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (run_id, key_id)
) WITHOUT ROWID;
CREATE TABLE mlflow_tag (
  run_id BIGINT NOT NULL, key_id BIGINT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (run_id, key_id)
) WITHOUT ROWID;

CREATE TABLE mlflow_dataset (
  id INTEGER PRIMARY KEY,
  experiment_id BIGINT NOT NULL,
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  source_type TEXT NOT NULL,
  source TEXT NOT NULL,
  schema TEXT NOT NULL,
  profile TEXT NOT NULL,
  UNIQUE (experiment_id, name, digest)
);
-- context is the tag mlflow.data.context, tags all of them as a JSON object.
CREATE TABLE mlflow_input (
  run_id BIGINT NOT NULL, dataset_id BIGINT NOT NULL, context TEXT, tags TEXT NOT NULL,
  PRIMARY KEY (run_id, dataset_id)
) WITHOUT ROWID;
-- direction is 'input' or 'output'.
CREATE TABLE mlflow_run_model (
  run_id BIGINT NOT NULL, direction TEXT NOT NULL, model_id TEXT NOT NULL, step BIGINT NOT NULL,
  PRIMARY KEY (run_id, direction, model_id)
) WITHOUT ROWID;

CREATE TABLE mlflow_logged_model (
  id INTEGER PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  model_id TEXT NOT NULL UNIQUE,
  experiment_id BIGINT NOT NULL,
  name TEXT NOT NULL,
  model_type TEXT NOT NULL,
  source_run_id TEXT NOT NULL,
  status TEXT NOT NULL,
  status_message TEXT NOT NULL,
  stage TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX mlflow_logged_model_listing ON mlflow_logged_model (experiment_id, stage, created_at DESC, model_id);
CREATE INDEX mlflow_logged_model_run ON mlflow_logged_model (source_run_id);
CREATE TABLE mlflow_logged_model_param (
  model_id BIGINT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (model_id, name)
) WITHOUT ROWID;
CREATE TABLE mlflow_logged_model_tag (
  model_id BIGINT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (model_id, name)
) WITHOUT ROWID;
CREATE TABLE mlflow_logged_model_metric (
  model_id BIGINT NOT NULL, name TEXT NOT NULL, at BIGINT NOT NULL, step BIGINT NOT NULL, run_id TEXT NOT NULL,
  value DOUBLE PRECISION NOT NULL, dataset_name TEXT NOT NULL, dataset_digest TEXT NOT NULL,
  PRIMARY KEY (model_id, name, at, step, run_id)
) WITHOUT ROWID;

-- The two registries share their tables: a workspace's models have its id, those
-- of Unity Catalog (catalog.schema.model) belong to the account and have 0.
CREATE TABLE mlflow_registered_model (
  id INTEGER PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  user_id TEXT NOT NULL,
  next_version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  UNIQUE (workspace_id, name)
);
CREATE TABLE mlflow_registered_model_tag (
  model_id BIGINT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (model_id, name)
) WITHOUT ROWID;
CREATE TABLE mlflow_model_version (
  model_id BIGINT NOT NULL,
  version BIGINT NOT NULL,
  stage TEXT NOT NULL,
  description TEXT NOT NULL,
  source TEXT NOT NULL,
  run_id TEXT NOT NULL,
  run_link TEXT NOT NULL,
  logged_model_id TEXT NOT NULL,
  status TEXT NOT NULL,
  status_message TEXT NOT NULL,
  user_id TEXT NOT NULL,
  -- uploaded: the files are our copy below state.Models; else they are at source.
  uploaded BOOLEAN NOT NULL,
  digest TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (model_id, version)
);
CREATE INDEX mlflow_model_version_run ON mlflow_model_version (run_id);
CREATE TABLE mlflow_model_version_tag (
  model_id BIGINT NOT NULL, version BIGINT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (model_id, version, name)
) WITHOUT ROWID;
CREATE TABLE mlflow_model_alias (
  model_id BIGINT NOT NULL, alias TEXT NOT NULL, version BIGINT NOT NULL,
  PRIMARY KEY (model_id, alias)
) WITHOUT ROWID;
